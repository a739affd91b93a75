//! The next generation, made and opened ahead by a thread of its own, so that going on in it takes no call to the disk.
//!
//! It stands under its own name from then on, empty and durable. A start finds it so, and drops it.

use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::engine::Engine;
use super::layout::{Layout, discard, partial, remove, rename, sync_tree};
use crate::persist::Error;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Next {
    layout: Layout,
    /// The one that was asked for last and not taken yet.
    asked: Option<u32>,
    // Dropped first, which ends the thread.
    requests: Option<Sender<u32>>,
    made: Receiver<Result<Engine, Error>>,
    thread: Option<JoinHandle<()>>,
}

impl Next {
    pub(super) fn start(layout: &Layout) -> Result<Self, Error> {
        // Room for one, so that neither side ever waits to hand over.
        let (requests, asked) = bounded(1);
        let (hand_over, made) = bounded(1);
        let of = layout.clone();
        let thread = thread::Builder::new()
            .name("next generation".to_owned())
            .spawn(move || {
                for number in &asked {
                    // Nobody takes it where the journal was dropped meanwhile.
                    let _ = hand_over.send(make_generation(&of, number));
                }
            })
            .map_err(|source| Error::Thread { name: "next generation", source })?;
        Ok(Self { layout: layout.clone(), asked: None, requests: Some(requests), made, thread: Some(thread) })
    }

    /// Has generation `number` made, unless that is under way. Returns at once.
    pub(super) fn ask(&mut self, number: u32) {
        if self.asked.replace(number) != Some(number)
            && let Some(requests) = &self.requests
        {
            // Where the thread is gone, taking what it made says so.
            let _ = requests.send(number);
        }
    }

    /// Generation `number`, open and empty; waits until it is made.
    ///
    /// # Errors
    /// What making it failed of. It may be asked for again, and is made from the beginning then.
    pub(super) fn take(&mut self, number: u32) -> Result<Engine, Error> {
        self.ask(number);
        self.asked = None;
        self.made.recv().unwrap_or_else(|_| Err(Error::WriterPanicked { message: "no next generation".to_owned() }))
    }

    /// Ends, and removes generation `number`, if that was made ahead, or what an attempt left of it.
    pub(super) fn end(mut self, number: u32) -> Result<(), Error> {
        if self.asked.is_some()
            && let Ok(engine) = self.take(number)
        {
            engine.close()?;
        }
        discard(&self.layout.generation(number))
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}

/// Makes a generation and opens it. It has its name only once it is whole: sled writes its settings in two steps, and a
/// kill between them leaves a directory that it never opens again.
pub(super) fn make_generation(layout: &Layout, number: u32) -> Result<Engine, Error> {
    let generation = layout.generation(number);
    // What an attempt that failed left; it never held a record.
    discard(&generation)?;
    let making = partial(&generation);
    Engine::open(&making)?.close()?;
    // Only the settings are wanted: a log that was opened before is filled with zeros to a segment's end.
    remove(&making.join("db"))?;
    sync_tree(&making)?;
    rename(&making, &generation)?;
    // Opening makes the log anew, and that has to be an entry on the disk before anything in it is acknowledged.
    let opened = Engine::open(&generation).and_then(|engine| sync_tree(&generation).map(|()| engine));
    if opened.is_err() {
        // Nobody may take it for a generation of this journal that lost its records.
        discard(&generation)?;
    }
    opened
}
