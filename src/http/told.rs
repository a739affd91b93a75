//! What a reload could not apply, as `/readyz` and the log tell it: in words, by file and line, on one line each. The
//! shopper listener shows it too, so it names files and not where they lie.

use super::problem::Problem;
use super::state::State;
use crate::actors::Answer;
use crate::actors::desk::Reloaded;
use crate::faults::{At, Fault};
use crate::ids::ActivityId;

impl State {
    /// Takes down what a reload of the whole catalogue came to, and gives what it could not apply.
    pub fn note_reload_of_all(&self, reloaded: &[(ActivityId, Reloaded)], strays: &[Fault]) -> Vec<String> {
        let entries = reloaded.iter().filter_map(|(id, outcome)| Some((*id, fault_of(*id, outcome)?)));
        let strays = strays.iter().map(|stray| format!("catalog: {}", in_words(stray))).collect();
        self.readiness.set_catalog_faults(entries.collect(), strays);
        self.readiness.catalog_faults()
    }

    /// Takes down what a reload of one activity came to.
    pub(super) fn note_reload(&self, activity_id: ActivityId, outcome: &Reloaded) {
        self.readiness.set_catalog_fault(activity_id, fault_of(activity_id, outcome));
    }
}

fn fault_of(activity_id: ActivityId, outcome: &Reloaded) -> Option<String> {
    match outcome {
        Reloaded::Faulty(faults) => {
            let faults: Vec<String> = faults.iter().map(in_words).collect();
            Some(format!("catalog {activity_id}: {}", faults.join("; ")))
        }
        Reloaded::Read(Answer::Refused(refused)) => {
            Some(format!("catalog {activity_id}: {}", Problem::refused(refused).detail()))
        }
        Reloaded::Read(_) | Reloaded::Absent => None,
    }
}

/// A fault on one line.
pub fn in_words(fault: &Fault) -> String {
    let mut words = String::new();
    if let Some(file) = file_name(fault) {
        words += &file;
        if let At::Line(line) = fault.at {
            words += &format!(":{line}");
        }
        words += ": ";
    }
    if !fault.path.is_empty() {
        words += &format!("{}: ", fault.path);
    }
    words + &format!("{} ({})", fault.what, fault.mend)
}

/// The name of the file that a fault stands in.
pub fn file_name(fault: &Fault) -> Option<String> {
    fault.file.as_ref()?.file_name().map(|name| name.to_string_lossy().into_owned())
}
