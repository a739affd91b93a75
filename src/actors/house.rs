//! Puts the actors of a process together: recovered shards on their arbiters, the router to them, the operator's desk.

use std::path::PathBuf;

use actix::{Actor, Arbiter, ArbiterHandle};

use super::ack::Ack;
use super::desk::Desk;
use super::readiness::Readiness;
use super::router::{Entrance, Router};
use super::shard::{Shard, Shared};
use crate::clock::Clock;
use crate::domain::{Sale, Sales};
use crate::ids::ActivityId;
use crate::persist::Handle;

/// What a process's actors need.
pub struct Settings {
    /// The way to the journal's writer.
    pub journal: Handle<Ack>,
    /// The process clock.
    pub clock: Clock,
    /// What `/readyz` tells.
    pub readiness: Readiness,
    /// Where the catalogue's files are.
    pub catalog_dir: PathBuf,
    /// Messages that may wait for one shard.
    pub mailbox: usize,
    /// Threads that the shards are spread over.
    pub arbiters: usize,
}

/// The actors of a process.
pub struct House {
    /// The way to every shard.
    pub router: Router,
    /// Where operators' changes are made.
    pub desk: Desk,
    arbiters: Vec<Arbiter>,
}

/// Starts shards, each on one of a few arbiters in turn.
pub(super) struct Nursery {
    shared: Shared,
    router: Router,
    arbiters: Vec<ArbiterHandle>,
    started: usize,
}

impl Nursery {
    /// Starts a shard and shows its door.
    pub fn start(&mut self, sale: Sale) {
        let (shard, door) = Shard::new(sale, self.shared.clone());
        let arbiter = &self.arbiters[self.started % self.arbiters.len()];
        self.started += 1;
        let shard = Shard::start_in_arbiter(arbiter, |_| shard);
        self.router.add(Entrance { door, shard });
    }

    pub fn journal(&self) -> &Handle<Ack> {
        &self.shared.journal
    }
}

impl House {
    /// Starts an actor for every recovered shard. Runs inside an actix system; requests are refused with `recovering`
    /// until the caller says [`Readiness::ready`].
    #[must_use]
    pub fn open(settings: Settings, recovered: Sales) -> Self {
        let Settings { journal, clock, readiness, catalog_dir, mailbox, arbiters } = settings;
        let router = Router::new(clock.clone(), readiness.clone());
        let arbiters: Vec<Arbiter> = (0..arbiters.max(1)).map(|_| Arbiter::new()).collect();
        let mut nursery = Nursery {
            shared: Shared { journal, clock, readiness, mailbox },
            router: router.clone(),
            arbiters: arbiters.iter().map(Arbiter::handle).collect(),
            started: 0,
        };
        let desk = Desk::open(router.clone(), catalog_dir, &recovered);
        for sale in recovered.into_shards().into_values() {
            nursery.start(sale);
        }
        Self { router, desk: desk.with(nursery), arbiters }
    }

    /// Waits until every recovered shard has started.
    pub async fn settle(&self) {
        for listing in self.router.list(ActivityId(0), |_| true, usize::MAX) {
            self.router.settle(listing.activity_id).await;
        }
    }

    /// Stops the arbiters and waits for them: after this no actor submits anything.
    pub fn close(self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        for arbiter in self.arbiters {
            // An arbiter that panicked has aborted the process already; see `Shard`'s drop.
            drop(arbiter.join());
        }
    }
}
