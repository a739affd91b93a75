//! What an audit found: for each invariant how often it was checked, and the first few places where it does not hold.

use std::collections::BTreeMap;
use std::fmt;

/// The faults that are kept of one invariant; the rest are only counted.
const EXAMPLES_MAX: usize = 3;

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
    findings: BTreeMap<Id, Finding>,
}

impl Report {
    /// Counts a check, and a fault where it does not hold.
    pub fn check(&mut self, id: Id, holds: bool, fault: impl FnOnce() -> String) {
        self.findings.entry(id).or_default().checked += 1;
        if !holds {
            self.fault(id, fault());
        }
    }

    /// Counts `checks` that all held.
    pub fn held(&mut self, id: Id, checks: u64) {
        self.findings.entry(id).or_default().checked += checks;
    }

    /// Counts a check that does not hold.
    pub fn broken(&mut self, id: Id, fault: String) {
        self.findings.entry(id).or_default().checked += 1;
        self.fault(id, fault);
    }

    fn fault(&mut self, id: Id, fault: String) {
        let finding = self.findings.entry(id).or_default();
        finding.broken += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(fault);
        }
    }

    /// Whether everything that was checked holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.values().all(|finding| finding.broken == 0)
    }

    /// The outcome of one invariant; `None` where nothing was there to check.
    #[must_use]
    pub fn finding(&self, id: Id) -> Option<&Finding> {
        self.findings.get(&id)
    }

    /// Every outcome, in the order of the ids.
    pub fn findings(&self) -> impl Iterator<Item = (Id, &Finding)> {
        self.findings.iter().map(|(id, finding)| (*id, finding))
    }
}
