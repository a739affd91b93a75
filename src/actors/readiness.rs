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

/// What is wrong with the catalogue; at most one text for each of its entries.
#[derive(Debug, Default)]
struct CatalogFaults {
    entries: BTreeMap<ActivityId, String>,
    strays: Vec<String>,
}

/// The process's readiness. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    storage_low: AtomicBool,
    catalog: Mutex<CatalogFaults>,
    notes: Mutex<BTreeMap<&'static str, Vec<String>>>,
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

    /// What is wrong with the catalogue as last applied, in words.
    #[must_use]
    pub fn catalog_faults(&self) -> Vec<String> {
        let faults = self.catalog();
        let entries = faults.entries.iter().map(|(activity_id, fault)| format!("catalog {activity_id}: {fault}"));
        entries.chain(faults.strays.iter().cloned()).collect()
    }

    /// Says what is wrong with one entry of the catalogue, or that nothing is.
    pub fn set_catalog_fault(&self, activity_id: ActivityId, fault: Option<String>) {
        let entries = &mut self.catalog().entries;
        match fault {
            Some(fault) => {
                tracing::warn!(activity = %activity_id, fault, "a catalogue entry was not applied");
                entries.insert(activity_id, fault);
            }
            None => _ = entries.remove(&activity_id),
        }
    }

    /// Forgets what was wrong with entries that the catalogue does not have any more.
    pub fn keep_catalog_faults(&self, has: impl Fn(ActivityId) -> bool) {
        self.catalog().entries.retain(|activity_id, _| has(*activity_id));
    }

    /// Says what is wrong beside the entries.
    pub fn set_catalog_strays(&self, strays: Vec<String>) {
        self.catalog().strays = strays;
    }

    /// What else somebody should look after, each text after its topic.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let notes = self.0.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().flat_map(|(topic, texts)| texts.iter().map(move |text| format!("{topic}: {text}"))).collect()
    }

    /// Says what somebody should look after of a topic; nothing where all is well again.
    pub fn set_notes(&self, topic: &'static str, texts: Vec<String>) {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, texts);
    }

    fn catalog(&self) -> MutexGuard<'_, CatalogFaults> {
        self.0.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
