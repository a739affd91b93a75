//! The JSON that goes out. Ids are strings, instants are integers named `…_ms`, money is integer cents.

use std::fmt::Display;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::actors::ask::{Changed, SaleView};
use crate::actors::router::Listing;
use crate::catalog;
use crate::domain::{Definition, OrderState, OrderView};
use crate::ids::{ActivityId, OrderId, UserId};

/// An id as a string.
fn text<S: Serializer, T: Display>(id: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(id)
}

/// A response with a JSON body.
pub fn reply(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let body = serde_json::to_vec(body).expect("our own views are serializable");
    HttpResponse::build(status).content_type("application/json").body(body)
}

/// An order.
#[derive(Serialize, ToSchema)]
pub struct Order {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "68719476737")]
    order_id: OrderId,
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "1001")]
    activity_id: ActivityId,
    #[schema(example = "2001")]
    sku_id: String,
    quantity: u32,
    amount_cents: u64,
    /// The numbered units; after a release, those that the order had.
    #[schema(example = json!([17]))]
    slots: Vec<u32>,
    #[schema(value_type = String, example = "held")]
    state: OrderState,
    expires_at_ms: u64,
    held_at_ms: u64,
    #[serde(rename = "ref")]
    reference: Option<Box<str>>,
    /// Always empty in this version: payments are not taken yet.
    #[schema(value_type = Vec<Object>)]
    payments: [(); 0],
    /// Whose it is; only operators see it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "maybe_text")]
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
}

fn maybe_text<S: Serializer>(id: &Option<UserId>, to: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => to.collect_str(id),
        None => to.serialize_none(),
    }
}

impl Order {
    /// As its owner sees it.
    pub fn own(order: OrderView) -> Self {
        Self {
            order_id: order.order_id,
            activity_id: order.activity_id,
            sku_id: order.sku_id.to_string(),
            quantity: order.quantity.0,
            amount_cents: order.amount_cents.0,
            slots: order.slots.iter().collect(),
            state: order.state,
            expires_at_ms: order.expires_at_ms.0,
            held_at_ms: order.held_at_ms.0,
            reference: order.reference,
            payments: [],
            user_id: None,
        }
    }

    /// As an operator sees it.
    pub fn for_operator(order: OrderView) -> Self {
        let user = order.user;
        Self { user_id: Some(user), ..Self::own(order) }
    }
}

/// Several orders.
#[derive(Serialize, ToSchema)]
pub struct Orders {
    /// Newest first for a shopper, oldest first for an operator.
    pub orders: Vec<Order>,
    /// Where the next page starts; `null` at the end. A page may be short and still have a next one.
    pub next_cursor: Option<String>,
}

/// What became of a request to buy.
#[derive(Serialize, ToSchema)]
pub struct Outcome {
    /// `-1`, `0` or the order's id.
    #[schema(example = "68719476737")]
    pub result: String,
    /// The order's id, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub state: Option<OrderState>,
    /// When its hold runs out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// An activity in a shopper's list.
#[derive(Serialize, ToSchema)]
pub struct ActivityLine {
    #[serde(serialize_with = "text")]
    #[schema(value_type = String, example = "1001")]
    activity_id: ActivityId,
    #[schema(example = "flash_sale")]
    kind: &'static str,
    title: String,
    /// `scheduled`, `running`, `paused` or `ended`.
    state: &'static str,
    starts_at_ms: u64,
    ends_at_ms: u64,
}

impl From<&Listing> for ActivityLine {
    fn from(listing: &Listing) -> Self {
        Self::new(listing.activity_id, &listing.definition, listing.phase.as_str())
    }
}

impl ActivityLine {
    fn new(activity_id: ActivityId, definition: &Definition, state: &'static str) -> Self {
        Self {
            activity_id,
            kind: "flash_sale",
            title: definition.title.clone(),
            state,
            starts_at_ms: definition.starts_at_ms.0,
            ends_at_ms: definition.ends_at_ms.0,
        }
    }
}

/// A shopper's list of activities.
#[derive(Serialize, ToSchema)]
pub struct Activities {
    /// The server's time, for countdowns.
    pub server_time_ms: u64,
    /// In the order of their ids.
    pub activities: Vec<ActivityLine>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// An activity with what it sells.
#[derive(Serialize, ToSchema)]
pub struct ActivityDetail {
    #[serde(flatten)]
    line: ActivityLine,
    server_time_ms: u64,
    per_user_limit: u32,
    currency: String,
    skus: Vec<SkuLine>,
}

/// What an activity sells.
#[derive(Serialize, ToSchema)]
pub struct SkuLine {
    #[schema(example = "2001")]
    sku_id: String,
    title: String,
    price_cents: u64,
    stock: u32,
    remaining: u32,
}

impl ActivityDetail {
    /// A sale as shoppers see it.
    pub fn new(activity_id: ActivityId, sale: &SaleView) -> Self {
        let definition = &sale.definition;
        let lines = definition.skus.iter().zip(&sale.skus).map(|(sku, count)| SkuLine {
            sku_id: sku.sku_id.to_string(),
            title: sku.title.clone(),
            price_cents: sku.price_cents.0,
            stock: count.stock.0,
            remaining: count.available.0,
        });
        Self {
            line: ActivityLine::new(activity_id, definition, sale.phase.as_str()),
            server_time_ms: sale.at_ms.0,
            per_user_limit: definition.per_user_limit.0,
            currency: definition.currency.clone(),
            skus: lines.collect(),
        }
    }
}

/// A definition with what stands beside it, as operators see it.
pub fn definition(id: ActivityId, definition: &Definition, version: u64, state: &str, paused: bool) -> Value {
    let mut value = catalog::to_json(definition);
    if let Value::Object(fields) = &mut value {
        fields.insert("activity_id".to_owned(), id.to_string().into());
        fields.insert("version".to_owned(), version.into());
        fields.insert("state".to_owned(), state.into());
        fields.insert("paused".to_owned(), paused.into());
    }
    value
}

/// What an operator's change did.
#[derive(Serialize, ToSchema)]
pub struct ChangeReport {
    #[schema(example = "1001")]
    activity_id: String,
    version: u64,
    /// What the activity is doing now.
    state: &'static str,
    /// Whether an operator paused it, in its window or not.
    paused: bool,
    changes: Vec<FieldChange>,
}

/// One field that changed.
#[derive(Serialize, ToSchema)]
pub struct FieldChange {
    /// Such as `title` or `skus.2001.stock`.
    #[schema(example = "skus.2001.stock")]
    field: String,
    /// `null` where it was not there.
    #[schema(value_type = Object)]
    from: Value,
    /// `null` where it is gone.
    #[schema(value_type = Object)]
    to: Value,
}

impl ChangeReport {
    /// The report on a change.
    pub fn new(activity_id: ActivityId, changed: &Changed) -> Self {
        let flat = |definition: &Definition| flatten(&catalog::to_json(definition));
        let before = changed.before.as_deref().map(flat).unwrap_or_default();
        let mut after = flat(&changed.after);
        let mut changes = Vec::new();
        for (field, from) in before {
            let to = after.remove(&field).unwrap_or(Value::Null);
            if from != to {
                changes.push(FieldChange { field, from, to });
            }
        }
        let is_new = |(field, to)| FieldChange { field, from: Value::Null, to };
        changes.extend(after.into_iter().map(is_new));
        Self {
            activity_id: activity_id.to_string(),
            version: changed.version,
            state: changed.phase.as_str(),
            paused: changed.paused,
            changes,
        }
    }
}

/// A definition's fields by name; those of a SKU as `skus.<sku_id>.<field>`.
fn flatten(definition: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    for (name, value) in definition.as_object().into_iter().flatten() {
        let Some(skus) = value.as_array().filter(|_| name == "skus") else {
            flat.insert(name.clone(), value.clone());
            continue;
        };
        for sku in skus {
            let sku_id = sku["sku_id"].as_str().unwrap_or_default();
            let fields = sku.as_object().into_iter().flatten().filter(|(name, _)| *name != "sku_id");
            flat.extend(fields.map(|(name, value)| (format!("skus.{sku_id}.{name}"), value.clone())));
        }
    }
    flat
}

/// A sale's numbers.
#[derive(Serialize, ToSchema)]
pub struct Stats {
    activity_id: String,
    state: &'static str,
    skus: Vec<SkuStats>,
    /// Orders ever placed.
    accepted: u64,
    /// Refusals by code since the process started.
    #[schema(value_type = Object, example = json!({"sold_out": 49000}))]
    refused: Map<String, Value>,
    shards: Vec<ShardStats>,
}

/// One SKU's units: `stock = available + held + sold`.
#[derive(Clone, Serialize, ToSchema)]
pub struct SkuStats {
    sku_id: String,
    stock: u32,
    available: u32,
    held: u32,
    sold: u32,
}

/// One shard's part of a sale.
#[derive(Serialize, ToSchema)]
pub struct ShardStats {
    shard: u32,
    accepted: u64,
    skus: Vec<SkuStats>,
}

impl Stats {
    /// The numbers of a sale.
    pub fn new(activity_id: ActivityId, sale: &SaleView) -> Self {
        let skus: Vec<SkuStats> = sale
            .skus
            .iter()
            .map(|count| SkuStats {
                sku_id: count.sku_id.to_string(),
                stock: count.stock.0,
                available: count.available.0,
                held: count.held.0,
                sold: count.sold.0,
            })
            .collect();
        let shard = ShardStats { shard: sale.shard.0, accepted: sale.accepted, skus: skus.clone() };
        Self {
            activity_id: activity_id.to_string(),
            state: sale.phase.as_str(),
            skus,
            accepted: sale.accepted,
            refused: sale.refused.iter().map(|(code, count)| ((*code).to_owned(), (*count).into())).collect(),
            shards: vec![shard],
        }
    }
}
