//! The tables as the audit reads them: which columns there are, in which order rows stand, and values that can be
//! compared whatever wrote them. The shipper's own statements are in `write.rs`; the two share nothing, so that neither
//! can hide the other's fault.

use std::borrow::Cow;
use std::fmt;

use sqlx::Row;
use sqlx::mysql::MySqlRow;

/// A table, and how its rows are told apart.
#[derive(Debug)]
pub(super) struct Table {
    pub name: &'static str,
    /// How many of the columns, from the first on, are its primary key. Rows are read and expected in its order.
    pub key: usize,
    pub columns: &'static [(&'static str, Kind)],
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Text,
    Bytes,
    /// A text that may be long: of it only a digest is kept.
    LongText,
}

use Kind::{Bytes, LongText, Signed, Text, Unsigned};

pub(super) const ORDERS: Table = Table {
    name: "orders",
    key: 1,
    columns: &[
        ("order_id", Unsigned),
        ("activity_id", Unsigned),
        ("sku_id", Text),
        ("user_id", Text),
        ("quantity", Unsigned),
        ("amount_cents", Unsigned),
        ("currency", Text),
        ("state", Text),
        ("ref", Text),
        ("idempotency_digest", Bytes),
        ("held_at_ms", Unsigned),
        ("expires_at_ms", Unsigned),
        ("ended_at_ms", Unsigned),
        ("placed_seq", Unsigned),
        ("seq", Unsigned),
    ],
};

pub(super) const ORDER_SLOTS: Table = Table {
    name: "order_slots",
    key: 2,
    columns: &[
        ("order_id", Unsigned),
        ("slot", Unsigned),
        ("activity_id", Unsigned),
        ("sku_id", Text),
        ("live", Unsigned),
    ],
};

pub(super) const PAYMENTS: Table = Table {
    name: "payments",
    key: 1,
    columns: &[
        ("payment_id", Text),
        ("owner_shard", Unsigned),
        ("number", Unsigned),
        ("order_id", Unsigned),
        ("order_named", Text),
        ("activity_id", Unsigned),
        ("amount_cents", Unsigned),
        ("currency", Text),
        ("payment_state", Text),
        ("reason", Text),
        ("reacquired", Unsigned),
        ("received_at_ms", Unsigned),
        ("due_at_ms", Unsigned),
        ("done_at_ms", Unsigned),
        ("refunded_by", Text),
        ("done_by", Text),
        ("received_seq", Unsigned),
        ("seq", Unsigned),
    ],
};

pub(super) const ACTIVITIES: Table = Table {
    name: "activities",
    key: 1,
    columns: &[
        ("activity_id", Unsigned),
        ("kind", Text),
        ("title", Text),
        ("currency", Text),
        ("starts_at_ms", Unsigned),
        ("ends_at_ms", Unsigned),
        ("per_user_limit", Unsigned),
        ("payment_window_ms", Unsigned),
        ("version", Unsigned),
        ("paused", Unsigned),
        ("closed", Unsigned),
        ("seq", Unsigned),
    ],
};

pub(super) const ACTIVITY_SHARDS: Table = Table {
    name: "activity_shards",
    key: 1,
    columns: &[("shard_id", Unsigned), ("activity_id", Unsigned), ("part", Unsigned), ("orders_placed", Unsigned)],
};

pub(super) const SKU_STOCK: Table = Table {
    name: "sku_stock",
    key: 2,
    columns: &[
        ("activity_id", Unsigned),
        ("sku_id", Text),
        ("sku_index", Unsigned),
        ("title", Text),
        ("price_cents", Unsigned),
        ("listed", Unsigned),
        ("stock", Signed),
        ("available", Signed),
        ("held", Signed),
        ("sold", Signed),
        ("seq", Unsigned),
    ],
};

pub(super) const RED_PACKET_ROUNDS: Table = Table {
    name: "red_packet_rounds",
    key: 2,
    columns: &[
        ("activity_id", Unsigned),
        ("round", Unsigned),
        ("starts_at_ms", Unsigned),
        ("ends_at_ms", Unsigned),
        ("split", Text),
        ("min_cents", Unsigned),
        ("max_cents", Unsigned),
        ("listed", Unsigned),
        ("total_cents", Unsigned),
        ("packets", Unsigned),
        ("first_slot", Unsigned),
        ("granted", Unsigned),
        ("granted_cents", Unsigned),
        ("refunded", Unsigned),
        ("refunded_cents", Unsigned),
        ("is_over", Unsigned),
        ("ended_at_ms", Unsigned),
        ("commitment", Text),
        ("seed", Text),
        ("merchant_id", Text),
        ("funding_ref", Text),
        ("seq", Unsigned),
    ],
};

pub(super) const RED_PACKET_GRABS: Table = Table {
    name: "red_packet_grabs",
    key: 1,
    columns: &[
        ("grab_id", Unsigned),
        ("activity_id", Unsigned),
        ("round", Unsigned),
        ("packet", Unsigned),
        ("user_id", Text),
        ("amount_cents", Unsigned),
        ("currency", Text),
        ("idempotency_digest", Bytes),
        ("granted_at_ms", Unsigned),
        ("seq", Unsigned),
    ],
};

pub(super) const OPERATOR_ACTIONS: Table = Table {
    name: "operator_actions",
    key: 1,
    columns: &[
        ("seq", Unsigned),
        ("change_id", Unsigned),
        ("at_ms", Unsigned),
        ("activity_id", Unsigned),
        ("actor", Text),
        ("user_id", Text),
        ("action", Text),
        ("version", Unsigned),
        ("definition", LongText),
        ("stock", LongText),
    ],
};

/// A value of a row. Ordered as MySQL orders the keys: numbers by size, texts of ASCII by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell<'a> {
    Null,
    Number(i128),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// Of a long text.
    Digest([u8; 32]),
    /// What no such column can hold, which is like nothing that a journal gives.
    Unreadable(String),
}

impl Cell<'_> {
    pub fn number(number: impl Into<i128>) -> Self {
        Self::Number(number.into())
    }

    /// A number that there may be.
    pub fn number_or_null(number: Option<impl Into<i128>>) -> Self {
        number.map_or(Self::Null, Self::number)
    }

    pub fn digest(text: &str) -> Self {
        Self::Digest(*blake3::hash(text.as_bytes()).as_bytes())
    }
}

impl<'a> Cell<'a> {
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// A text that there may be.
    pub fn text_or_null(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::text)
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters of a text that are shown.
        const SHOWN: usize = 80;
        match self {
            Self::Null => f.write_str("null"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) if text.chars().count() > SHOWN => {
                write!(f, "'{}…'", text.chars().take(SHOWN).collect::<String>())
            }
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Digest(digest) => {
                f.write_str("a text of digest ")?;
                digest[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Unreadable(why) => write!(f, "unreadable ({why})"),
        }
    }
}

impl Table {
    /// The statement that reads all of it, in the order of its key.
    pub fn select(&self) -> String {
        let columns: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), self.name, columns[..self.key].join(", "))
    }

    /// The values of a row that [`Self::select`] read.
    pub fn cells<'a>(&self, row: &'a MySqlRow) -> Vec<Cell<'a>> {
        self.columns.iter().enumerate().map(|(place, (_, kind))| cell(row, place, *kind)).collect()
    }

    /// A row by its key, in words.
    pub fn named(&self, cells: &[Cell<'_>]) -> String {
        let key: Vec<String> = cells[..self.key].iter().map(Cell::to_string).collect();
        format!("{} {}", self.name, key.join(", "))
    }
}

fn cell(row: &MySqlRow, place: usize, kind: Kind) -> Cell<'_> {
    let read = match kind {
        Unsigned => row.try_get::<Option<u64>, _>(place).map(Cell::number_or_null),
        Signed => row.try_get::<Option<i64>, _>(place).map(Cell::number_or_null),
        Text => row.try_get::<Option<&str>, _>(place).map(Cell::text_or_null),
        Bytes => row.try_get::<Option<&[u8]>, _>(place).map(|bytes| bytes.map_or(Cell::Null, Cell::Bytes)),
        LongText => row.try_get::<Option<&str>, _>(place).map(|text| text.map_or(Cell::Null, Cell::digest)),
    };
    read.unwrap_or_else(|error| Cell::Unreadable(error.to_string()))
}
