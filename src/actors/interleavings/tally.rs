//! What happened in a run, counted: what did not happen was not tested.

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub accepted: u64,
    pub replays: u64,
    pub sold_out: u64,
    pub overloaded: u64,
    pub refused: u64,
    pub served_later: u64,
    pub moves: u64,
    pub changes: u64,
    pub reductions: u64,
    pub too_low: u64,
    pub payments: u64,
    pub payments_reused: u64,
    pub reacquired: u64,
    pub reacquired_later: u64,
    pub too_late: u64,
    pub refunds: u64,
    pub paid_back: u64,
    pub crashes: u64,
    pub crashes_in_move: u64,
    pub crashes_in_change: u64,
}

impl Tally {
    pub fn add(&mut self, run: &Self) {
        self.accepted += run.accepted;
        self.replays += run.replays;
        self.sold_out += run.sold_out;
        self.overloaded += run.overloaded;
        self.refused += run.refused;
        self.served_later += run.served_later;
        self.moves += run.moves;
        self.changes += run.changes;
        self.reductions += run.reductions;
        self.too_low += run.too_low;
        self.payments += run.payments;
        self.payments_reused += run.payments_reused;
        self.reacquired += run.reacquired;
        self.reacquired_later += run.reacquired_later;
        self.too_late += run.too_late;
        self.refunds += run.refunds;
        self.paid_back += run.paid_back;
        self.crashes += run.crashes;
        self.crashes_in_move += run.crashes_in_move;
        self.crashes_in_change += run.crashes_in_change;
    }
}
