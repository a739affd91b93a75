//! A shop's packets as it asks for them: one round that starts at once, with a budget of its own.

use super::packets::{bounds, check_budget};
use super::read::{currency, title};
use super::{Fault, Faults, Node, sound};
use crate::domain::definition::{Definition, Packets, RoundDefinition, Shop};
use crate::domain::split::Terms;
use crate::faults::Fields;
use crate::ids::{JSON_INTEGER_MAX, Qty, UnixMillis};

/// Packets that a shop may make of one budget. They are in memory until they expire, 4 bytes each, and any number of shops
/// makes them.
pub const SHOP_PACKETS_MAX: u32 = 10_000;
/// How long they may be there to be grabbed: 30 days.
pub const EXPIRES_IN_S_MAX: u64 = 30 * 24 * 3600;
/// The longest reference for the money, in characters.
const FUNDING_REF_MAX: usize = 64;

/// What a shop asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopPacket {
    /// What shoppers see.
    pub title: String,
    /// ISO 4217, three capital letters.
    pub currency: String,
    /// The budget, and how it is split.
    pub terms: Terms,
    /// For how many seconds it can be grabbed.
    pub expires_in_s: u64,
    /// The shop's own reference for the money.
    pub funding_ref: Option<Box<str>>,
}

impl ShopPacket {
    /// Reads what a request says.
    ///
    /// # Errors
    /// All faults.
    pub fn read(root: &Node) -> Result<Self, Vec<Fault>> {
        let faults = Faults::default();
        sound(Self::read_noting(root, &faults), faults)
    }

    fn read_noting(root: &Node, faults: &Faults) -> Option<Self> {
        let mut fields = Fields::of(root, "", faults)?;
        let (title, currency) = (title(&mut fields), currency(&mut fields));
        fields.required("total_cents", "add the budget");
        fields.required("packets", "add into how many packets it is split");
        fields.required("expires_in_s", "add after how many seconds what nobody grabbed is refunded");
        let total_cents = fields.integer("total_cents", 1..=JSON_INTEGER_MAX);
        let packets = fields.integer("packets", 1..=SHOP_PACKETS_MAX);
        let (split, min_cents, max_cents) = bounds(&mut fields);
        let expires_in_s = fields.integer("expires_in_s", 1..=EXPIRES_IN_S_MAX);
        let funding_ref = fields.text("funding_ref");
        let is_reference =
            |text: &str| text.len() <= FUNDING_REF_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        if funding_ref.is_some_and(|text| !is_reference(text)) {
            let what = format!("must be at most {FUNDING_REF_MAX} visible ASCII characters");
            fields.fault("funding_ref", what, "write it without spaces, or leave it out");
        }
        let terms = match (total_cents, packets, min_cents, max_cents) {
            (Some(total_cents), Some(packets), Some(min_cents), Some(max_cents)) => {
                let terms = Terms { split, packets, total_cents, min_cents, max_cents };
                check_budget(&fields, terms);
                Some(terms)
            }
            _ => None,
        };
        fields.finish();
        let funding_ref = funding_ref.filter(|text| !text.is_empty()).map(Into::into);
        Some(Self { title: title?, currency, terms: terms?, expires_in_s: expires_in_s?, funding_ref })
    }

    /// Everything that it says, so that two requests are the same where this is.
    #[must_use]
    pub fn canonical(&self) -> String {
        let Self { title, currency, terms, expires_in_s, funding_ref } = self;
        let funding_ref = funding_ref.as_deref().unwrap_or_default();
        // None of them has a line feed.
        format!("{title}\n{currency}\n{terms:?}\n{expires_in_s}\n{funding_ref}")
    }

    /// The activity that it is, from `now_ms` on.
    #[must_use]
    pub fn definition(&self, shop: Shop, now_ms: UnixMillis) -> Definition {
        let Terms { split, packets, total_cents, min_cents, max_cents } = self.terms;
        let ends_at_ms = now_ms.plus_ms(self.expires_in_s * 1000);
        let round = RoundDefinition { starts_at_ms: now_ms, ends_at_ms, total_cents, packets, plan: None };
        let packets = Packets { split, min_cents, max_cents, rounds: vec![round], shop: Some(shop) };
        Definition::of_packets(self.title.clone(), self.currency.clone(), 1, Qty(1), packets)
    }
}
