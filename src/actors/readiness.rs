//! What `/readyz` tells: whether the process may be sent traffic, and what is not as it should be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::ActivityId;

/// How far the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The journal is being read.
    Recovering,
    /// Orders are taken.
    Ready,
    /// The process is stopping: what is in flight is answered, new traffic belongs elsewhere.
    Draining,
}

/// The process's readiness. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    storage_low: AtomicBool,
    catalog_faults: Mutex<CatalogFaults>,
}

/// What of the catalogue could not be applied, in words.
#[derive(Debug, Default)]
struct CatalogFaults {
    entries: BTreeMap<ActivityId, String>,
    strays: Vec<String>,
}

impl Readiness {
    /// How far the process is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::SeqCst) {
            0 => Stage::Recovering,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    /// Recovery is over.
    pub fn ready(&self) {
        self.0.stage.store(1, Ordering::SeqCst);
    }

    /// The process is stopping.
    pub fn draining(&self) {
        self.0.stage.store(2, Ordering::SeqCst);
    }

    /// Whether the disk has less free space than configured.
    #[must_use]
    pub fn is_storage_low(&self) -> bool {
        self.0.storage_low.load(Ordering::Relaxed)
    }

    /// Says whether the disk has less free space than configured.
    pub fn set_storage_low(&self, low: bool) {
        self.0.storage_low.store(low, Ordering::Relaxed);
    }

    /// What of the catalogue could not be applied, in words.
    #[must_use]
    pub fn catalog_faults(&self) -> Vec<String> {
        let faults = self.lock();
        faults.entries.values().chain(&faults.strays).cloned().collect()
    }

    /// Says which of the catalogue's entries could not be applied, after all were read, and what is wrong beside them.
    pub fn set_catalog_faults(&self, entries: BTreeMap<ActivityId, String>, strays: Vec<String>) {
        *self.lock() = CatalogFaults { entries, strays };
    }

    /// Says whether one entry could be applied, after it alone was read.
    pub fn set_catalog_fault(&self, activity_id: ActivityId, fault: Option<String>) {
        let mut faults = self.lock();
        faults.entries.remove(&activity_id);
        faults.entries.extend(fault.map(|fault| (activity_id, fault)));
    }

    fn lock(&self) -> MutexGuard<'_, CatalogFaults> {
        self.0.catalog_faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
