//! The writer's promises: nothing is acknowledged before it is durable, everything in order, and nothing after a fault.

mod journal;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use doorbuster::domain::event::Entry;
use doorbuster::ids::Seq;
use doorbuster::persist::memory::{DiskFault, MemoryDisk, Tear};
use doorbuster::persist::{
    Acknowledge, DurableGroup, Error, Handle, Observe, Options, RECORD_BYTES_MAX, Submission, Tail, Writer, WriterGone,
};
use journal::{Ack, acks, assert_orders, entries, large, orders};
use smallvec::SmallVec;

fn quiet() -> Options {
    options(Box::new(()), Box::new(|error| panic!("the disk is sound: {error}")))
}

fn options(observe: Box<dyn Observe>, on_fault: Box<dyn FnOnce(Error) + Send>) -> Options {
    Options { queue_submissions_max: 64, observe, on_fault }
}

/// A writer whose fault is sent on.
fn writer<A: Acknowledge>(disk: &MemoryDisk) -> (Writer<A>, Receiver<Error>) {
    let (fault, faults) = channel();
    let on_fault = Box::new(move |error| fault.send(error).expect("the test listens"));
    let journal = disk.open().expect("what was written holds");
    (Writer::spawn(journal, options(Box::new(()), on_fault)).expect("a thread can be started"), faults)
}

fn barrier(number: u64, acks: &Sender<u64>) -> Submission<Ack> {
    Submission { entries: SmallVec::new(), ack: Ack(number, acks.clone()) }
}

/// Checks its promise when it is told: the event is on the disk.
struct Witnessing(MemoryDisk, Seq, Sender<bool>);

impl Acknowledge for Witnessing {
    fn durable(self) {
        self.2.send(self.0.durable_seq() >= self.1).expect("the test listens");
    }
}

#[test]
fn acknowledgements_come_in_order_and_never_before_the_record_is_durable() {
    let disk = MemoryDisk::new();
    let (writer, _faults) = writer(&disk);
    let (told, held) = channel();
    for n in 1..=500 {
        let entries = SmallVec::from_iter([journal::order(n)]);
        let ack = Witnessing(disk.clone(), Seq(u64::from(n)), told.clone());
        writer.handle().submit(Submission { entries, ack }).expect("the writer runs");
    }
    assert!(held.iter().take(500).all(|durable| durable), "an acknowledgement is a promise already kept");
    writer.stop().expect("a sound disk");
    assert_orders(&disk.open().expect("it holds"), 500);
}

#[test]
fn a_stop_makes_durable_and_acknowledges_all_that_came_before() {
    let disk = MemoryDisk::new();
    let (acks, acked) = acks();
    let writer = Writer::spawn(disk.open().expect("a new journal"), quiet()).expect("a thread can be started");
    let handle = writer.handle();
    for first in (1..=90).step_by(3) {
        handle.submit(orders(first, 3, &acks)).expect("the writer runs");
    }
    let tail = writer.stop().expect("a sound disk");
    assert_eq!(tail.seq, Seq(90));
    assert_eq!(acked.try_iter().collect::<Vec<_>>(), (1..=90).step_by(3).collect::<Vec<_>>(), "in order");
    assert_eq!((handle.durable_seq(), handle.is_idle()), (Seq(90), true));
    assert_eq!(handle.submit(orders(91, 1, &acks)), Err(WriterGone));
    assert_orders(&disk.open().expect("it holds"), 90);
}

#[test]
fn a_barrier_waits_for_what_came_before_and_writes_nothing_itself() {
    let disk = MemoryDisk::new();
    let (acks, acked) = acks();
    let (writer, _faults) = writer(&disk);
    let handle = writer.handle();
    handle.submit(barrier(7, &acks)).expect("the writer runs");
    assert_eq!(acked.recv(), Ok(7));
    assert_eq!(disk.record_count(), 0, "a barrier needs no record");
    handle.submit(orders(1, 1, &acks)).expect("the writer runs");
    handle.submit(barrier(8, &acks)).expect("the writer runs");
    assert_eq!((acked.recv(), acked.recv()), (Ok(1), Ok(8)));
    assert_eq!(disk.durable_seq(), Seq(1));
    writer.stop().expect("a sound disk");
}

#[test]
fn after_a_fault_nothing_is_acknowledged_ever_again() {
    for fault in [DiskFault::Write, DiskFault::Sync, DiskFault::Full] {
        for tear in [Tear::Dropped, Tear::Half, Tear::Kept] {
            let disk = MemoryDisk::new();
            let (acks, acked) = acks();
            let (writer, faults) = writer(&disk);
            let handle = writer.handle();
            handle.submit(orders(1, 1, &acks)).expect("the writer runs");
            assert_eq!(acked.recv(), Ok(1));
            disk.fail_after(0, fault);
            handle.submit(orders(2, 1, &acks)).expect("the writer runs");
            assert!(matches!(faults.recv(), Ok(Error::Io { .. })), "{fault:?} is told of");
            // More than the queue holds: they are swallowed, so that nobody waits for ever.
            for first in 3..100 {
                handle.submit(orders(first, 1, &acks)).expect("the writer swallows");
            }
            handle.submit(barrier(100, &acks)).expect("the writer swallows");
            assert!(!handle.is_idle(), "what the fault left in doubt is not durable");
            assert!(matches!(writer.stop(), Err(Error::Failed)));
            assert!(faults.recv().is_err(), "a fault is told of once");
            assert_eq!(acked.try_recv().ok(), None, "{fault:?}, and an acknowledgement after it");
            assert_eq!(handle.durable_seq(), Seq(1));
            disk.crash(tear);
            // The record that was not acknowledged may be there or not, whole; what was acknowledged is there.
            let there = u64::from(fault == DiskFault::Sync && tear == Tear::Kept);
            assert_orders(&disk.open().expect("a torn tail is no damage"), 1 + there);
        }
    }
}

struct Panicking;

impl Acknowledge for Panicking {
    fn durable(self) {
        panic!("planted");
    }
}

#[test]
fn a_panic_on_the_writers_thread_is_a_fault() {
    let disk = MemoryDisk::new();
    let (writer, faults) = writer(&disk);
    let entries = SmallVec::from_iter([journal::order(1)]);
    writer.handle().submit(Submission { entries, ack: Panicking }).expect("the writer runs");
    assert!(matches!(faults.recv(), Ok(Error::WriterPanicked { message }) if message == "planted"));
    assert!(matches!(writer.stop(), Err(Error::Failed)));
}

#[test]
fn a_command_larger_than_a_record_is_a_fault_and_not_split() {
    let disk = MemoryDisk::new();
    let (acks, acked) = acks();
    let (writer, faults) = writer(&disk);
    let entries: SmallVec<[Entry; 1]> = (0..3).map(|n| large(n, RECORD_BYTES_MAX / 2)).collect();
    writer.handle().submit(Submission { entries, ack: Ack(1, acks) }).expect("the writer runs");
    assert!(matches!(faults.recv(), Ok(Error::CommandTooLarge { bytes }) if bytes > RECORD_BYTES_MAX));
    assert!(writer.stop().is_err());
    assert_eq!((acked.try_recv().ok(), disk.record_count()), (None, 0));
}

/// Keeps what it sees.
struct Groups(Arc<Mutex<Vec<DurableGroup>>>);

impl Observe for Groups {
    fn group(&mut self, group: &DurableGroup) {
        self.0.lock().expect("no test panics under it").push(*group);
    }
}

/// Tells when it is told, and waits to be let on: holds the writer where the test wants it.
struct Gate(Sender<()>, Receiver<()>);

impl Acknowledge for Gate {
    fn durable(self) {
        self.0.send(()).expect("the test listens");
        self.1.recv().expect("the test lets on");
    }
}

enum Either {
    Gate(Gate),
    Ack(Ack),
}

impl Acknowledge for Either {
    fn durable(self) {
        match self {
            Self::Gate(gate) => gate.durable(),
            Self::Ack(ack) => ack.durable(),
        }
    }
}

/// Makes the writer wait in an acknowledgement, until the sender returned is used.
fn hold(handle: &Handle<Either>) -> Sender<()> {
    let ((arrived, arrival), (let_on, go)) = (channel(), channel());
    let ack = Either::Gate(Gate(arrived, go));
    handle.submit(Submission { entries: SmallVec::new(), ack }).expect("the writer runs");
    arrival.recv().expect("the writer runs");
    let_on
}

#[test]
fn what_waits_becomes_one_record_and_a_full_record_is_cut_between_commands() {
    let disk = MemoryDisk::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (acks, acked) = acks();
    let options = Options { observe: Box::new(Groups(Arc::clone(&seen))), ..quiet() };
    let writer = Writer::spawn(disk.open().expect("a new journal"), options).expect("a thread can be started");
    let handle = writer.handle();
    let let_on = hold(&handle);
    for n in 0..5 {
        // Two entries of a sixth of a record each: two commands fit one record, three do not.
        let entries = (0..2).map(|i| large(2 * n + i, RECORD_BYTES_MAX / 6)).collect();
        let ack = Either::Ack(Ack(u64::from(n), acks.clone()));
        handle.submit(Submission { entries, ack }).expect("the writer runs");
    }
    assert_eq!((handle.depth(), handle.capacity(), handle.is_idle()), (5, 64, false));
    let_on.send(()).expect("the writer waits");
    assert_eq!(acked.iter().take(5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let tail = writer.stop().expect("a sound disk");
    let groups = seen.lock().expect("the writer is gone").clone();
    assert_eq!(groups.iter().map(|group| group.events).collect::<Vec<_>>(), [4, 4, 2]);
    assert!(groups.iter().all(|group| group.bytes <= RECORD_BYTES_MAX));
    let journal = disk.open().expect("it holds");
    assert_eq!(entries(&journal, Tail::START).expect("it holds").len(), 10);
    assert_eq!(tail.seq, Seq(10));
}

#[test]
fn a_full_queue_holds_the_submitter_until_there_is_room() {
    let disk = MemoryDisk::new();
    let (acks, acked) = acks();
    let options = Options { queue_submissions_max: 1, ..quiet() };
    let writer = Writer::spawn(disk.open().expect("a new journal"), options).expect("a thread can be started");
    let handle = writer.handle();
    let let_on = hold(&handle);
    let submitter = std::thread::spawn({
        let handle = handle.clone();
        move || {
            for n in 1..=20 {
                let entries = SmallVec::from_iter([journal::order(n)]);
                let ack = Either::Ack(Ack(u64::from(n), acks.clone()));
                handle.submit(Submission { entries, ack }).expect("the writer runs");
            }
        }
    });
    while handle.depth() < 1 {
        std::thread::yield_now();
    }
    assert!(!submitter.is_finished(), "twenty do not fit a queue of one");
    let_on.send(()).expect("the writer waits");
    submitter.join().expect("there was room for all in the end");
    assert_eq!(acked.iter().take(20).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    writer.stop().expect("a sound disk");
}

#[test]
fn a_batch_shares_a_record_and_is_acknowledged_in_its_order() {
    let disk = MemoryDisk::new();
    let (acks, acked) = acks();
    let writer = Writer::spawn(disk.open().expect("a new journal"), quiet()).expect("a thread can be started");
    let handle = writer.handle();
    handle.submit_all((1..=50).map(|n| orders(n, 1, &acks)).collect()).expect("the writer runs");
    assert_eq!(acked.iter().take(50).collect::<Vec<_>>(), (1..=50).collect::<Vec<_>>());
    assert_eq!((disk.record_count(), disk.durable_seq()), (1, Seq(50)), "one wake-up, one group");
    handle.submit_all(Vec::new()).expect("nothing to do");
    assert!(handle.is_idle(), "nothing is not waited for");
    assert_eq!(writer.stop().expect("a sound disk").seq, Seq(50));
    assert_eq!(handle.submit_all(vec![orders(51, 1, &acks)]), Err(WriterGone));
}

#[test]
fn a_queue_counts_submissions_and_takes_a_batch_that_is_larger_than_it_when_it_is_empty() {
    let disk = MemoryDisk::new();
    let (acks, acked) = acks();
    let options = Options { queue_submissions_max: 10, ..quiet() };
    let writer = Writer::spawn(disk.open().expect("a new journal"), options).expect("a thread can be started");
    let handle = writer.handle();
    let let_on = hold(&handle);
    let batch = |from: u32, count: u32| -> Vec<Submission<Either>> {
        let order = |n| Submission {
            entries: SmallVec::from_iter([journal::order(n)]),
            ack: Either::Ack(Ack(u64::from(n), acks.clone())),
        };
        (from..from + count).map(order).collect()
    };
    handle.submit_all(batch(1, 30)).expect("nothing is before it");
    assert_eq!((handle.depth(), handle.capacity()), (30, 10));
    let submitter = std::thread::spawn({
        let (handle, more) = (handle.clone(), batch(31, 4));
        move || handle.submit_all(more)
    });
    assert!(!submitter.is_finished(), "the writer stands still, and thirty wait");
    let_on.send(()).expect("the writer waits");
    submitter.join().expect("it does not panic").expect("there was room in the end");
    writer.stop().expect("a sound disk");
    assert_eq!(acked.iter().take(34).collect::<Vec<_>>(), (1..=34).collect::<Vec<_>>());
    assert_eq!((handle.depth(), disk.durable_seq()), (0, Seq(34)));
}
