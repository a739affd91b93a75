//! The home's side of moves: bringing free slots from where they are to where they are wanted, one job at a time, so that
//! two dry parts cannot swap a unit for ever.
//!
//! A fetch asks the richest part for half of what it has, then the next, until there is enough or nobody is left who has
//! any; then it grants what there is. A gathering, for a change that lowers the stock or for a round's end, asks all parts
//! for all.

use tokio::sync::oneshot;

use super::Shard;
use crate::actors::ask::{Answer, Operation};
use crate::actors::letter::Letter;
use crate::actors::turn::Turn;
use crate::domain::event::STOCK_RANGES_MAX;
use crate::ids::SkuIndex;

/// What waits for slots at the home.
#[derive(Debug)]
pub(super) struct Job {
    sku: SkuIndex,
    aim: Aim,
    /// The parts that were asked.
    asked: Vec<u16>,
    /// Those of them that have not answered.
    outstanding: usize,
}

#[derive(Debug)]
enum Aim {
    /// A part is to have so many.
    Fetch { part: u16, units: u32 },
    /// A change needs all that are free.
    Change(Box<Change>),
    /// A round is over: all that are free are refunded.
    EndRound,
}

/// A change that is decided once the slots it needs are at home.
#[derive(Debug)]
pub(super) struct Change {
    pub operation: Operation,
    pub reply: oneshot::Sender<Answer>,
    /// The SKUs whose free slots were gathered for it.
    pub gathered: Vec<SkuIndex>,
}

impl Job {
    /// For a part that is to have so many units.
    pub fn fetch(part: u16, sku: SkuIndex, units: u32) -> Self {
        Self { sku, aim: Aim::Fetch { part, units }, asked: Vec::new(), outstanding: 0 }
    }

    /// For a change that needs all free slots of a SKU at home.
    pub fn gather(sku: SkuIndex, change: Change) -> Self {
        Self { sku, aim: Aim::Change(Box::new(change)), asked: Vec::new(), outstanding: 0 }
    }

    /// For the end of the round whose packets these are.
    pub fn end_round(sku: SkuIndex) -> Self {
        Self { sku, aim: Aim::EndRound, asked: Vec::new(), outstanding: 0 }
    }
}

impl Shard {
    /// Adds a job, and works on it where none is before it.
    pub(super) fn queue(&mut self, job: Job, turn: &mut Turn) {
        self.jobs.push_back(job);
        if self.jobs.len() == 1 {
            self.work(turn);
        }
    }

    /// Adds a job before those that wait: nothing may take away what was gathered for a change.
    pub(super) fn queue_next(&mut self, job: Job, turn: &mut Turn) {
        self.jobs.insert(self.jobs.len().min(1), job);
        if self.jobs.len() == 1 {
            self.work(turn);
        }
    }

    /// Works on the first job until it waits for other parts, then on.
    fn work(&mut self, turn: &mut Turn) {
        while let Some(job) = self.jobs.front() {
            let ask = self.whom_to_ask(job, turn);
            let units = match job.aim {
                Aim::Fetch { part, units } => self.missing(job.sku, part, units),
                Aim::Change(_) | Aim::EndRound => u32::MAX,
            };
            let sku = job.sku;
            ask.iter().for_each(|part| turn.write(*part, Letter::Collect { sku, units }));
            let job = self.jobs.front_mut().expect("it was just looked at");
            job.outstanding += ask.len();
            job.asked.extend(ask);
            if job.outstanding > 0 {
                return;
            }
            self.finish(turn);
        }
    }

    /// How many units must come home so that a part can have so many. What the part has now counts, not what it had when
    /// it asked: that may have been collected for another meanwhile. Until the job is done nobody else takes any of it.
    fn missing(&self, sku: SkuIndex, part: u16, units: u32) -> u32 {
        let here = self.state.free_units(sku);
        let there = if part == 0 { 0 } else { self.units[usize::from(sku.0)].at(part) };
        units.saturating_sub(here.saturating_add(there))
    }

    /// Whom the job must ask next, if anybody.
    fn whom_to_ask(&self, job: &Job, turn: &Turn) -> Vec<u16> {
        if job.outstanding > 0 {
            return Vec::new();
        }
        let units = &self.units[usize::from(job.sku.0)];
        let mut others = (1..self.door.parts()).filter(|part| !job.asked.contains(part));
        match job.aim {
            Aim::Change(_) | Aim::EndRound => others.collect(),
            Aim::Fetch { part, units } if self.missing(job.sku, part, units) == 0 => Vec::new(),
            Aim::Fetch { part: taker, .. } => {
                // Holds that ran out there count as free, and the question makes the part release them.
                let has_some = |part: &u16| units.at(*part) > 0 || !self.door.is_part_current(*part, turn.at_ms);
                let givers = others.by_ref().filter(|part| *part != taker).filter(has_some);
                givers.max_by_key(|part| units.at(*part)).into_iter().collect()
            }
        }
    }

    /// Ends the first job with what is at home by now.
    fn finish(&mut self, turn: &mut Turn) {
        // It stays first meanwhile, so that what this leads to waits for its turn.
        let job = self.jobs.front_mut().expect("there is a job to finish");
        let sku = job.sku;
        let aim = std::mem::replace(&mut job.aim, Aim::Fetch { part: 0, units: 0 });
        match aim {
            Aim::Fetch { part: 0, .. } => self.serve_parked(sku, turn),
            Aim::Fetch { part, units } => {
                // More than is asked for, so that a crowd at one part does not ask for each unit.
                let fair = self.state.free_units(sku) / u32::from(self.door.parts());
                let wanting = units.saturating_sub(self.units[usize::from(sku.0)].at(part));
                let slots = self.move_to(part, sku, wanting.max(fair), turn);
                turn.write(part, Letter::Grant { sku, slots });
            }
            Aim::Change(change) => {
                let Change { operation, reply, mut gathered } = *change;
                gathered.push(sku);
                self.change_with(operation, reply, gathered, turn);
            }
            Aim::EndRound => self.end_round(sku, turn),
        }
        self.jobs.pop_front();
    }

    /// A part has answered; what it gave is taken in already.
    pub(super) fn collected(&mut self, part: u16, more: bool, turn: &mut Turn) {
        let job = self.jobs.front_mut().expect("only the job that is worked on asks");
        job.outstanding -= 1;
        if more && !matches!(job.aim, Aim::Fetch { .. }) {
            job.outstanding += 1;
            turn.write(part, Letter::Collect { sku: job.sku, units: u32::MAX });
        }
        self.work(turn);
    }

    /// Gives the home at least so many units, and at least half: what is asked for once is asked for again.
    pub(super) fn give_up(&mut self, sku: SkuIndex, units: u32, turn: &mut Turn) {
        // What has lapsed is on sale again, here as elsewhere.
        while self.state.free_units(sku) < units && self.expire(turn) {}
        let units = units.max(self.state.free_units(sku).div_ceil(2));
        let slots = self.move_to(0, sku, units, turn);
        let more = slots.ranges().len() == STOCK_RANGES_MAX;
        turn.write(0, Letter::Collected { part: self.part(), sku, slots, more });
    }
}
