//! What a reply means by the contract, and whether it has the contract's shape.
//!
//! A reply is read once into an [`Answer`] that borrows nothing; the common one, a
//! refusal, costs no allocation.

use std::borrow::Cow;

use serde::Deserialize;

use crate::code::Code;
use crate::connection::Reply;

/// An order, as every route returns it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Order {
    #[serde(deserialize_with = "decimal")]
    pub(crate) order_id: u64,
    #[serde(deserialize_with = "decimal")]
    pub(crate) activity_id: u64,
    pub(crate) sku_id: String,
    pub(crate) quantity: u32,
    pub(crate) amount_cents: u64,
    pub(crate) slots: Vec<u64>,
    pub(crate) state: State,
    pub(crate) expires_at_ms: u64,
    #[serde(default, rename = "ref")]
    pub(crate) reference: Option<String>,
    /// Only where one order is looked at.
    #[serde(default)]
    pub(crate) payments: Vec<Line>,
}

/// A packet of a red-packet rain that was grabbed, as every route returns it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Grab {
    #[serde(deserialize_with = "decimal")]
    pub(crate) grab_id: u64,
    #[serde(deserialize_with = "decimal")]
    pub(crate) activity_id: u64,
    pub(crate) round: usize,
    pub(crate) packet: u32,
    pub(crate) amount_cents: u64,
    pub(crate) state: Granted,
}

/// A grab is final.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Granted {
    Granted,
}

/// A payment, as its order shows it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) payment_id: String,
    pub(crate) payment_state: PaymentState,
}

/// The answer to a payment.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) payment_id: String,
    pub(crate) payment_state: PaymentState,
    #[serde(deserialize_with = "decimal")]
    pub(crate) order_id: u64,
    pub(crate) state: State,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PaymentState {
    Applied,
    RefundDue,
    Refunded,
}

impl PaymentState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::RefundDue => "refund_due",
            Self::Refunded => "refunded",
        }
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Held,
    Paid,
    Cancelled,
    Expired,
    Refunded,
}

impl State {
    pub(crate) const ALL: [Self; 5] = [Self::Held, Self::Paid, Self::Cancelled, Self::Expired, Self::Refunded];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Refunded => "refunded",
        }
    }

    /// The units are the user's.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Held | Self::Paid)
    }
}

/// The poll's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// `-1`.
    Nothing,
    /// `0` or an id, with the order that came along.
    Order { order_id: u64, state: State },
}

/// What the shopper asked for, as far as reading the reply needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Order,
    Cancel,
    Poll,
    /// One order, with its payments.
    Look,
    /// The callback of the payment provider.
    Pay,
    /// A packet of a red-packet rain.
    Grab,
    /// The caller's own grabs.
    OwnGrabs,
    /// An operator's request, whose answer its asker reads.
    Operator,
}

/// A reply, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201: a new order.
    Accepted(Box<Order>),
    /// 200 with `Idempotent-Replayed`: the order that this key got before.
    Replayed(Box<Order>),
    /// 200 to a cancel.
    Cancelled(Box<Order>),
    /// 200 to a poll.
    Polled(Polled),
    /// 200 to a look.
    Found(Box<Order>),
    /// 200 to a payment.
    Paid(Box<Receipt>),
    /// 201: a packet.
    Granted(Grab),
    /// 200 with `Idempotent-Replayed`: the packet that this key got before.
    GrantedBefore(Grab),
    /// 200: a page of the caller's grabs, all of them where nobody grabs often.
    Grabs(Vec<Grab>),
    /// `limit_reached`, with the grabs that reached it.
    AtLimit(Code, Vec<u64>),
    /// 200 to an operator.
    Done { body: serde_json::Value, replayed: bool },
    /// A refusal of the contract.
    Refused(Code),
    /// Not of the contract's shape: which rule it breaks, and how.
    Broken(&'static str, String),
}

/// The rule that a reply of the wrong shape breaks.
pub(crate) const RULE_SHAPE: &str = "contract: shape of a reply";
/// The rule that a 5xx or an unknown status breaks.
pub(crate) const RULE_STATUS: &str = "contract: status of a reply";

/// Reads a reply to a request of this route.
pub(crate) fn read(route: Route, reply: &Reply<'_>) -> Answer {
    let read = match (route, reply.status) {
        (Route::Order, 201) => order(reply).map(Answer::Accepted),
        (Route::Order, 200) if reply.replayed => order(reply).map(Answer::Replayed),
        (Route::Cancel, 200) => order(reply).map(Answer::Cancelled),
        (Route::Poll, 200) => polled(reply).map(Answer::Polled),
        (Route::Look, 200) => order(reply).map(Answer::Found),
        (Route::Pay, 200) => parsed(reply).map(Answer::Paid),
        (Route::Grab, 201) => parsed(reply).map(Answer::Granted),
        (Route::Grab, 200) if reply.replayed => parsed(reply).map(Answer::GrantedBefore),
        (Route::Order | Route::Grab, 200) => Err("status 200 without `Idempotent-Replayed: true`".to_owned()),
        (Route::OwnGrabs, 200) => grabs(reply),
        (Route::Operator, 200) => parsed(reply).map(|body| Answer::Done { body, replayed: reply.replayed }),
        (_, 400..=499 | 503) => refusal(route, reply),
        (_, status) => return Answer::Broken(RULE_STATUS, format!("status {status}: {}", excerpt(reply.body))),
    };
    read.unwrap_or_else(|fault| {
        Answer::Broken(RULE_SHAPE, format!("{fault} in status {}: {}", reply.status, excerpt(reply.body)))
    })
}

fn order(reply: &Reply<'_>) -> Result<Box<Order>, String> {
    serde_json::from_slice(reply.body).map(Box::new).map_err(|error| error.to_string())
}

fn parsed<T: serde::de::DeserializeOwned>(reply: &Reply<'_>) -> Result<T, String> {
    serde_json::from_slice(reply.body).map_err(|error| error.to_string())
}

fn polled(reply: &Reply<'_>) -> Result<Polled, String> {
    #[derive(Deserialize)]
    struct Poll {
        result: String,
        #[serde(default, deserialize_with = "maybe_decimal")]
        order_id: Option<u64>,
        state: Option<State>,
        expires_at_ms: Option<u64>,
    }
    let poll: Poll = serde_json::from_slice(reply.body).map_err(|error| error.to_string())?;
    if poll.result == "-1" {
        return Ok(Polled::Nothing);
    }
    let order_id = poll.order_id.ok_or("`order_id` is missing")?;
    let state = poll.state.ok_or("`state` is missing")?;
    poll.expires_at_ms.ok_or("`expires_at_ms` is missing")?;
    if poll.result != "0" && parse_decimal(&poll.result) != Some(order_id) {
        return Err("`result` is neither -1, 0 nor the order's id".to_owned());
    }
    Ok(Polled::Order { order_id, state })
}

fn grabs(reply: &Reply<'_>) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Page {
        grabs: Vec<Grab>,
    }
    serde_json::from_slice(reply.body).map(|Page { grabs }| Answer::Grabs(grabs)).map_err(|error| error.to_string())
}

fn refusal(route: Route, reply: &Reply<'_>) -> Result<Answer, String> {
    #[derive(Deserialize)]
    struct Problem<'a> {
        #[serde(borrow)]
        code: Cow<'a, str>,
        status: Option<u16>,
        order_ids: Option<Vec<String>>,
        starts_at_ms: Option<u64>,
        server_time_ms: Option<u64>,
    }
    if !reply.problem {
        return Err("`Content-Type` is not application/problem+json".to_owned());
    }
    let problem: Problem<'_> = serde_json::from_slice(reply.body).map_err(|error| error.to_string())?;
    let code = Code::named(&problem.code).ok_or_else(|| format!("unknown code `{}`", problem.code))?;
    if code.status() != reply.status || problem.status.is_some_and(|status| status != reply.status) {
        return Err(format!("code `{}` belongs to status {}", code.name(), code.status()));
    }
    if code.is_busy() && !reply.retry_after {
        return Err("`Retry-After` is missing".to_owned());
    }
    match code.name() {
        "limit_reached" => {
            let ids = problem.order_ids.ok_or("`order_ids` is missing")?;
            if route != Route::Grab {
                return Ok(Answer::Refused(code));
            }
            let ids: Option<Vec<u64>> = ids.iter().map(|id| parse_decimal(id)).collect();
            ids.map(|ids| Answer::AtLimit(code, ids)).ok_or_else(|| "`order_ids` are not decimal ids".to_owned())
        }
        "not_started" if problem.starts_at_ms.is_none() => Err("`starts_at_ms` is missing".to_owned()),
        "not_started" if problem.server_time_ms.is_none() => Err("`server_time_ms` is missing".to_owned()),
        _ => Ok(Answer::Refused(code)),
    }
}

/// Enough of a body to recognise it by.
pub(crate) fn excerpt(body: &[u8]) -> String {
    const SHOWN: usize = 300;
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    if body.len() > SHOWN { format!("{text}…") } else { text.into_owned() }
}

/// The contract's decimal ids: digits only, no leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// Reads an id, which is a string of digits: a JSON number is refused.
pub(crate) fn decimal<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    parse_decimal(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a decimal id")))
}

fn maybe_decimal<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    decimal(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(status: u16, body: &str) -> String {
        let reply = Reply { status, replayed: false, retry_after: false, problem: true, body: body.as_bytes() };
        match read(Route::Order, &reply) {
            Answer::Broken(_, fault) => fault,
            sound => panic!("taken for sound: {sound:?}"),
        }
    }

    #[test]
    fn a_reply_of_another_shape_is_told_from_a_sound_one() {
        let sound = r#"{"order_id":"7","activity_id":"1","sku_id":"2001","quantity":1,"amount_cents":5,"slots":[3],"state":"held","expires_at_ms":9,"ref":null}"#;
        let reply = Reply { status: 201, replayed: false, retry_after: false, problem: false, body: sound.as_bytes() };
        assert!(matches!(read(Route::Order, &reply), Answer::Accepted(order) if order.order_id == 7));

        assert!(broken(201, &sound.replace("\"7\"", "7")).contains("string"));
        assert!(broken(201, &sound.replace("\"slots\":[3],", "")).contains("slots"));
        assert!(broken(201, &sound.replace("held", "reserved")).contains("reserved"));
        assert!(broken(200, sound).contains("Idempotent-Replayed"));
        assert!(broken(409, r#"{"code":"gone_fishing"}"#).contains("gone_fishing"));
        assert!(broken(409, r#"{"code":"overloaded"}"#).contains("503"));
        assert!(broken(503, r#"{"code":"overloaded"}"#).contains("Retry-After"));
        assert!(broken(409, r#"{"code":"limit_reached"}"#).contains("order_ids"));
        assert!(broken(500, "oops").contains("status 500"));
    }
}
