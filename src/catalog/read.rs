//! From a tree to a definition. Every bound is the domain's; this file says it in words.

use crate::domain::definition::{
    Definition, OnLatePayment, PAYMENT_WINDOW_S_MAX, PER_USER_LIMIT_MAX, PRICE_CENTS_MAX, SKUS_MAX, STOCK_MAX,
    SkuDefinition, TITLE_BYTES_MAX,
};
use crate::domain::part::SHARDS_MAX;
use crate::faults::tree::Value;
use crate::faults::{Faults, Fields, Node, clipped};
use crate::ids::{Cents, Qty, SkuId, UnixMillis};

use super::instant;
use super::packets::packets;

const CURRENCY_DEFAULT: &str = "CNY";
const PER_USER_LIMIT_DEFAULT: u32 = 1;
const PAYMENT_WINDOW_S_DEFAULT: u64 = 300;

/// Reads an activity; `None` only where a fault was noted. Where faults were noted, what is returned is not sound.
pub fn definition(root: &Node, faults: &Faults) -> Option<Definition> {
    let mut fields = Fields::of(root, "", faults)?;
    let kind = kind(&mut fields)?;
    let title = title(&mut fields);
    if kind == "red_packet" {
        let (currency, shards, limit) = (currency(&mut fields), shards(&mut fields), limit(&mut fields));
        let packets = packets(&mut fields, faults);
        fields.finish();
        let packets = packets.filter(|packets| !packets.rounds.is_empty())?;
        return Some(Definition::of_packets(title.unwrap_or_default(), currency, shards, limit, packets));
    }
    let window = window(&mut fields);
    let definition = Definition {
        title: title.unwrap_or_default(),
        currency: currency(&mut fields),
        starts_at_ms: window.0,
        ends_at_ms: window.1,
        shards: shards(&mut fields),
        per_user_limit: limit(&mut fields),
        payment_window_ms: 1000
            * fields.integer("payment_window_s", 1..=PAYMENT_WINDOW_S_MAX).unwrap_or(PAYMENT_WINDOW_S_DEFAULT),
        on_late_payment: on_late_payment(&mut fields),
        shared_sku: fields.flag("shared_sku").unwrap_or(false),
        skus: skus(&mut fields, faults),
        packets: None,
    };
    fields.finish();
    Some(definition)
}

/// Of no known kind nothing else is read: its fields would only be told to be unknown.
fn kind<'n>(fields: &mut Fields<'n>) -> Option<&'n str> {
    fields.required("kind", "add kind = \"flash_sale\" or \"red_packet\"");
    fields.choice("kind", &["flash_sale", "red_packet"])
}

fn shards(fields: &mut Fields<'_>) -> u16 {
    fields.integer("shards", 1..=SHARDS_MAX).unwrap_or(1)
}

fn limit(fields: &mut Fields<'_>) -> Qty {
    Qty(fields.integer("per_user_limit", 1..=PER_USER_LIMIT_MAX).unwrap_or(PER_USER_LIMIT_DEFAULT))
}

pub(super) fn title(fields: &mut Fields<'_>) -> Option<String> {
    fields.required("title", "add what shoppers shall see");
    let text = fields.text("title")?;
    if text.trim().is_empty() {
        fields.fault("title", "is empty", "write what shoppers shall see");
    } else if text.len() > TITLE_BYTES_MAX {
        fields.fault("title", format!("must be at most {TITLE_BYTES_MAX} bytes, is {}", text.len()), "shorten it");
    } else if text.chars().any(char::is_control) {
        fields.fault("title", "holds a control character", "write it on one line, without tabs");
    }
    Some(text.to_owned())
}

pub(super) fn currency(fields: &mut Fields<'_>) -> String {
    let text = fields.text("currency").unwrap_or(CURRENCY_DEFAULT);
    if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        fields.fault("currency", "must be three capital letters", "write its ISO 4217 code, such as \"CNY\"");
    }
    text.to_owned()
}

pub(super) fn window(fields: &mut Fields<'_>) -> (UnixMillis, UnixMillis) {
    match (instant_of(fields, "starts_at"), instant_of(fields, "ends_at")) {
        (Some(starts_at), Some(ends_at)) => {
            if ends_at <= starts_at {
                fields.fault("ends_at", "must be after starts_at", "move one of the two");
            }
            (starts_at, ends_at)
        }
        _ => Default::default(),
    }
}

fn instant_of(fields: &mut Fields<'_>, name: &'static str) -> Option<UnixMillis> {
    fields.required(name, "add a time such as \"2026-11-11T00:00:00+08:00\"");
    let text = match &fields.node(name)?.value {
        Value::Time(text) => text,
        _ => fields.text(name)?,
    };
    instant::parse(text).map_err(|(what, mend)| fields.fault(name, what, mend)).ok()
}

fn on_late_payment(fields: &mut Fields<'_>) -> OnLatePayment {
    match fields.choice("on_late_payment", &["reacquire_or_refund", "refund"]) {
        Some("refund") => OnLatePayment::Refund,
        _ => OnLatePayment::ReacquireOrRefund,
    }
}

fn skus(fields: &mut Fields<'_>, faults: &Faults) -> Vec<SkuDefinition> {
    fields.required("skus", "add what is for sale, at least one entry with sku_id, title, price_cents and stock");
    let Some(items) = fields.list("skus") else { return Vec::new() };
    if items.is_empty() {
        fields.fault("skus", "is empty", "add at least one");
    } else if items.len() > SKUS_MAX {
        let what = format!("must be at most {SKUS_MAX}, are {}", items.len());
        fields.fault("skus", what, "spread them over several activities");
        return Vec::new();
    }
    let mut skus: Vec<SkuDefinition> = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let path = format!("skus[{place}]");
        let Some(mut fields) = Fields::of(item, &path, faults) else { continue };
        if let Some(sku) = sku(&mut fields) {
            if skus.iter().any(|earlier| earlier.sku_id == sku.sku_id) {
                let what = format!("{} stands in an earlier entry too", sku.sku_id);
                fields.fault("sku_id", what, "give each entry a sku_id of its own");
            }
            skus.push(sku);
        }
        fields.finish();
    }
    skus
}

/// `None` only without a SKU's name, so that names are compared even where other fields are faulty.
fn sku(fields: &mut Fields<'_>) -> Option<SkuDefinition> {
    fields.required("sku_id", "add its name, in quotes");
    let sku_id = fields.text("sku_id").and_then(|text| {
        text.parse::<SkuId>()
            .map_err(|bad| fields.fault("sku_id", bad.to_string(), format!("rename \"{}\"", clipped(text))))
            .ok()
    });
    let title = title(fields);
    fields.required("price_cents", "add a unit's price in hundredths of the currency");
    let price_cents = fields.integer("price_cents", 0..=PRICE_CENTS_MAX);
    fields.required("stock", "add the number of units");
    let stock = fields.integer("stock", 0..=STOCK_MAX);
    Some(SkuDefinition {
        sku_id: sku_id?,
        title: title.unwrap_or_default(),
        price_cents: Cents(price_cents.unwrap_or_default()),
        stock: Qty(stock.unwrap_or_default()),
    })
}
