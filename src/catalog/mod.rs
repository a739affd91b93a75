//! The shape of an activity as people write it: in the catalogue's files, in the body of a PUT, in MySQL.
//!
//! One reader takes all three to [`Definition`], the form that the domain knows to be sound, and tells all faults at
//! once. One writer goes back, such that reading its output gives the same definition. What the shape allows and this
//! version has not built is refused by its name. Who may change what of a running activity is the domain's business.
//!
//! ```text
//! 1001.toml ──▶ faults::tree ──▶ read ──▶ Definition ──▶ write ──▶ JSON
//! PUT body  ──▶      "
//! MySQL row ──▶      "
//! ```

mod conflict;
mod dir;
mod instant;
mod packets;
mod read;
mod shop_packet;
mod table;
mod write;

use std::path::Path;

use crate::domain::definition::Definition;
use crate::faults::{At, Fault, Faults, Node, tree};
use crate::ids::ActivityId;

pub use conflict::{Conflict, conflict, conflicts};
pub use dir::{ENTRIES_MAX, FILE_BYTES_MAX, file_of, place_of_sku, read_all, read_one};
pub use instant::{INSTANT_MAX, rfc3339};
pub use packets::RoundWritten;
pub use shop_packet::{EXPIRES_IN_S_MAX, SHOP_PACKETS_MAX, ShopPacket};
pub use table::{Row, TABLE_BYTES_MAX, place_of_row, read_row, read_rows};
pub use write::{FlashSaleWritten, RedPacketWritten, SkuWritten, Written, to_json};

/// One activity of a catalogue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The activity, by the file's name or the row's key.
    pub activity_id: ActivityId,
    /// What its entry says, or all that is wrong with it.
    pub definition: Result<Definition, Vec<Fault>>,
}

/// A whole catalogue.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The activities in the order of their numbers.
    pub entries: Vec<Entry>,
    /// What is wrong beside the activities: no directory, a file or a row that names no activity.
    pub faults: Vec<Fault>,
}

/// Reads the text of a catalogue file. `file` is only named in the faults, not opened.
///
/// # Errors
/// All faults, in the order of their lines.
pub fn read_toml(text: &str, file: &Path) -> Result<Definition, Vec<Fault>> {
    let faults = Faults::new(Some(file));
    let definition = tree::from_toml(text, &faults).and_then(|root| read::definition(&root, &faults));
    sound(definition, faults)
}

/// Parses a request's body, and reads nothing yet: what fails here is malformed, what fails in [`read`] is invalid.
///
/// # Errors
/// The one fault of syntax.
pub fn parse_json(body: &[u8]) -> Result<Node, Vec<Fault>> {
    let faults = Faults::default();
    sound(tree::from_json(body, &faults), faults)
}

/// Reads what [`parse_json`] gave, or any other tree.
///
/// # Errors
/// All faults.
pub fn read(root: &Node) -> Result<Definition, Vec<Fault>> {
    let faults = Faults::default();
    sound(read::definition(root, &faults), faults)
}

/// Reads a JSON value that someone else parsed; a name that stood twice in it can no longer be seen.
///
/// # Errors
/// All faults.
pub fn read_value(value: &serde_json::Value) -> Result<Definition, Vec<Fault>> {
    let root: Node = serde::Deserialize::deserialize(value).expect("a tree holds every JSON value");
    read(&root)
}

/// A fault of a whole file or row.
fn fault(place: &Path, what: &str, mend: &str) -> Fault {
    Fault { file: Some(place.into()), at: At::Nowhere, path: String::new(), what: what.into(), mend: mend.into() }
}

/// A thing was read if and only if nothing was wrong with it.
fn sound<T>(read: Option<T>, faults: Faults) -> Result<T, Vec<Fault>> {
    match read {
        Some(thing) if faults.is_empty() => Ok(thing),
        _ => {
            assert!(!faults.is_empty(), "what could not be read has a fault that says why");
            Err(faults.into_sorted())
        }
    }
}
