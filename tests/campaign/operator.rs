//! An operator who restocks, redefines, pauses and resumes while the server dies under them. Each change has a key and is
//! asked for until it is answered, so each must take effect exactly once; what the stock should be is kept here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{Dice, PATIENCE, Reply, SKU, Stage};

/// The operator.
pub struct Operator<'a> {
    stage: &'a Stage,
    dice: Dice,
    /// The longest rest between two changes.
    rest_ms: u64,
    /// Changes asked for, for others to see.
    asked: &'a AtomicU64,
    done: Done,
}

/// What the operator did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// What the stock must be.
    pub stock: u64,
    /// Changes made.
    pub changes: u64,
    /// Changes that an earlier try had made already.
    pub replays: u64,
}

impl<'a> Operator<'a> {
    pub fn new(stage: &'a Stage, dice: Dice, rest_ms: u64, asked: &'a AtomicU64) -> Self {
        Self { stage, dice, rest_ms, asked, done: Done::default() }
    }

    /// Works until the sale is over; leaves it resumed.
    pub fn work(mut self, stock: u64, over: &AtomicBool) -> Done {
        self.done.stock = stock;
        while !over.load(Ordering::SeqCst) {
            match self.dice.below(10) {
                0..4 => self.restock(),
                4..8 => self.redefine(),
                8 => {
                    self.change("POST", "/pause", "");
                    self.change("POST", "/resume", "");
                }
                _ => self.change("POST", "/reload", ""),
            }
            // People do not hammer; nothing waits for this.
            thread::sleep(Duration::from_millis(self.dice.below(self.rest_ms)));
        }
        self.done
    }

    /// Pauses, resumes and reloads until the rain is over or closed.
    pub fn work_in_rain(mut self, over: &AtomicBool) -> Done {
        while !over.load(Ordering::SeqCst) {
            let moves: &[&str] = if self.dice.one_in(3) { &["/reload"] } else { &["/pause", "/resume"] };
            for path in moves {
                let reply = self.ask("POST", path, "");
                match reply.status {
                    200 => self.count(&reply),
                    // The crowd closes it when it goes home.
                    409 if reply.code() == "activity_closed" => return self.done,
                    _ => panic!("{path} was answered {reply:?}"),
                }
            }
            thread::sleep(Duration::from_millis(self.dice.below(self.rest_ms)));
        }
        self.done
    }

    fn restock(&mut self) {
        let add = 1 + self.dice.below(3);
        self.change("POST", "/stock", &format!("{{\"sku_id\":\"{SKU}\",\"add\":{add}}}"));
        self.done.stock += add;
    }

    /// Puts the stock a little up or down. Down is refused where not as many units are free.
    fn redefine(&mut self) {
        let (before, by) = (self.done.stock, self.dice.below(7));
        let stock = (before + by).saturating_sub(3).max(1);
        let reply = self.ask("PUT", "", &self.stage.definition(stock));
        match reply.status {
            200 => {
                self.count(&reply);
                self.done.stock = stock;
            }
            422 if stock < before => {}
            _ => panic!("a PUT of stock {stock} after {before} was answered {reply:?}"),
        }
    }

    fn change(&mut self, method: &str, path: &str, body: &str) {
        let reply = self.ask(method, path, body);
        assert_eq!(reply.status, 200, "{method} {path}: {reply:?}");
        self.count(&reply);
    }

    fn count(&mut self, reply: &Reply) {
        self.done.changes += 1;
        self.done.replays += u64::from(reply.header("Idempotent-Replayed").is_some());
    }

    /// Asks with a fresh key until the server says something.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let key = format!("change-{}", self.asked.fetch_add(1, Ordering::SeqCst));
        let begun = Instant::now();
        loop {
            match self.stage.operate(method, path, Some(&key), body) {
                Ok(reply) if !reply.is_passing() => return reply,
                _ => assert!(begun.elapsed() < PATIENCE, "{method} {path} was never answered"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
