//! What an audit found: for each invariant how often it was checked, and the first few places where it does not hold.

use std::fmt;

/// The faults that are kept of one invariant; the rest are only counted. MySQL has seven tables, the first fault of each of
/// which is told.
const EXAMPLES_MAX: usize = 7;

/// The invariants by id, as docs/INVARIANTS.md lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "docs/INVARIANTS.md says what each id means")]
#[rustfmt::skip]
pub enum Id {
    J1, J2, J3, J4, J5, J6, J7,
    S1, S2, S3, S4, S5,
    U1, U2, U3, U4,
    M1, M2, M3, M4, M5, M6,
    X1, X2, X3,
    A1,
}

impl Id {
    /// Every id, in order.
    #[rustfmt::skip]
    pub const ALL: [Self; 26] = [
        Self::J1, Self::J2, Self::J3, Self::J4, Self::J5, Self::J6, Self::J7,
        Self::S1, Self::S2, Self::S3, Self::S4, Self::S5,
        Self::U1, Self::U2, Self::U3, Self::U4,
        Self::M1, Self::M2, Self::M3, Self::M4, Self::M5, Self::M6,
        Self::X1, Self::X2, Self::X3,
        Self::A1,
    ];
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One invariant's outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How often it was checked.
    pub checked: u64,
    /// How often it did not hold.
    pub broken: u64,
    /// The first faults, in words.
    pub examples: Vec<String>,
}

/// Every invariant's outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By the id's place in [`Id::ALL`]: a check costs no search, and there are several to each event.
    findings: [Finding; Id::ALL.len()],
    notes: Vec<(Id, String)>,
    /// What could not be checked at all, or not of all, and why; the latest word on each.
    left_out: Vec<(Id, String)>,
}

impl Report {
    /// Counts a check, and a fault where it does not hold.
    pub fn check(&mut self, id: Id, holds: bool, fault: impl FnOnce() -> String) {
        self.findings[id as usize].checked += 1;
        if !holds {
            self.fault(id, fault());
        }
    }

    /// Counts `checks` that all held.
    pub fn held(&mut self, id: Id, checks: u64) {
        self.findings[id as usize].checked += checks;
    }

    /// Counts a check that does not hold.
    pub fn broken(&mut self, id: Id, fault: String) {
        self.findings[id as usize].checked += 1;
        self.fault(id, fault);
    }

    /// Counts checks of which `times` do not hold; `first` tells the first of them.
    pub fn broken_times(&mut self, id: Id, times: u64, first: String) {
        let finding = &mut self.findings[id as usize];
        finding.checked += times;
        finding.broken += times - 1;
        self.fault(id, first);
    }

    /// Keeps something worth telling that is no fault.
    pub fn note(&mut self, id: Id, words: String) {
        self.notes.push((id, words));
    }

    fn fault(&mut self, id: Id, fault: String) {
        let finding = &mut self.findings[id as usize];
        finding.broken += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(fault);
        }
    }

    /// Says that an invariant could not be checked, or not in full.
    pub fn leave_out(&mut self, id: Id, why: String) {
        self.left_out.retain(|(known, _)| *known != id);
        self.left_out.push((id, why));
    }

    /// Why an invariant could not be checked in full, if it could not.
    #[must_use]
    pub fn left_out(&self, id: Id) -> Option<&str> {
        self.left_out.iter().find(|(known, _)| *known == id).map(|(_, why)| why.as_str())
    }

    /// Whether everything that was checked holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.broken == 0)
    }

    /// The outcome of one invariant; `None` where nothing was there to check.
    #[must_use]
    pub fn finding(&self, id: Id) -> Option<&Finding> {
        Some(&self.findings[id as usize]).filter(|finding| finding.checked > 0)
    }

    /// What is worth telling beside the outcomes.
    pub fn notes(&self) -> impl Iterator<Item = (Id, &str)> {
        self.notes.iter().map(|(id, words)| (*id, words.as_str()))
    }

    /// Every outcome, in the order of the ids.
    pub fn findings(&self) -> impl Iterator<Item = (Id, &Finding)> {
        Id::ALL.into_iter().zip(&self.findings).filter(|(_, finding)| finding.checked > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_stands_at_its_own_place() {
        for (place, id) in Id::ALL.into_iter().enumerate() {
            assert_eq!(id as usize, place, "{id}");
        }
    }
}
