//! The shop's cash desk, and its operator's. Bugs are planted where they say.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Ask, Books, Bug, Reply, Shop, problem};

pub const PAYMENTS_SECRET: &str = "a secret of the provider, of at least 32 bytes";
const TOLERANCE_S: u64 = 300;

/// Payments by their ids.
#[derive(Default)]
pub(super) struct Till {
    payments: BTreeMap<String, Payment>,
    keys: BTreeMap<String, Value>,
}

struct Payment {
    order: u64,
    amount_cents: u64,
    currency: String,
    state: &'static str,
    /// 404 or 422 where it was recorded and refused.
    refused: Option<(u16, &'static str)>,
}

impl Shop {
    /// What this desk answers; `None` where it is not asked.
    pub(super) fn answer_for_money(&self, books: &mut Books, ask: &Ask) -> Option<Reply> {
        let path = ask.path.split('?').next().expect("a path");
        let parts: Vec<_> = path.trim_start_matches('/').split('/').skip(1).collect();
        let method = ask.method.as_str();
        Some(match (method, parts.as_slice()) {
            ("POST", ["payments", "callback"]) => self.callback(books, ask),
            ("GET", ["orders", id]) => self.look(books, id.parse().expect("an id")),
            ("GET", ["v1", "activities", "1001", "stats"]) => self.stats(books),
            ("GET", ["v1", "refunds"]) => refunds(books, &ask.path),
            ("POST", ["v1", "refunds", id, "done"]) => self.done(books, ask, id),
            ("POST", ["v1", "orders", id, "refund"]) => self.refund(books, ask, id.parse().expect("an id")),
            _ => return None,
        })
    }

    fn is_signed(&self, ask: &Ask) -> bool {
        let header = ask.signature.as_ref().expect("a callback is signed");
        let (time, digest) = header.split_once(',').expect("two parts");
        let time = time.strip_prefix("t=").expect("a time");
        let mut mac = Hmac::<Sha256>::new_from_slice(PAYMENTS_SECRET.as_bytes()).expect("any length");
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(&ask.raw);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let fresh = now.abs_diff(time.parse().expect("seconds")) <= TOLERANCE_S;
        (digest == format!("v1={hex}") || self.bug == Bug::BelievesEverybody)
            && (fresh || self.bug == Bug::ForgetsTheTime)
    }

    fn callback(&self, books: &mut Books, ask: &Ask) -> Reply {
        if !self.is_signed(ask) {
            return problem(401, "bad_signature");
        }
        let text = |name: &str| ask.body[name].as_str().expect("text").to_owned();
        let (id, currency) = (text("payment_id"), text("currency"));
        let order: u64 = text("order_id").parse().expect("an id");
        let amount_cents = ask.body["amount_cents"].as_u64().expect("cents");
        if let Some(known) = books.till.payments.get(&id) {
            let same = (known.order, known.amount_cents, &known.currency) == (order, amount_cents, &currency);
            if !same && self.bug != Bug::PaymentIdReused {
                return problem(422, "payment_mismatch");
            }
            if let Some((status, code)) = known.refused {
                return problem(status, code);
            }
            let state = if self.bug == Bug::RepeatIsDueBack { "refund_due" } else { known.state };
            return receipt(&id, order, state, &books.orders[&order]["state"]);
        }
        let Some(found) = books.orders.get_mut(&order) else {
            if self.bug == Bug::PaysForNothing {
                return receipt(&id, order, "refund_due", &json!("cancelled"));
            }
            let refused = Some((404, "order_not_found"));
            books.till.payments.insert(id, Payment { order, amount_cents, currency, state: "refund_due", refused });
            return problem(404, "order_not_found");
        };
        let fits = found["amount_cents"].as_u64() == Some(amount_cents) && currency == "CNY";
        if !fits && self.bug != Bug::AnyAmountWillDo {
            let refused = Some((422, "payment_mismatch"));
            if self.bug != Bug::MismatchForgotten {
                books.till.payments.insert(id, Payment { order, amount_cents, currency, state: "refund_due", refused });
            }
            return problem(422, "payment_mismatch");
        }
        let applies = match found["state"].as_str() {
            Some("held") => true,
            Some("paid") => self.bug == Bug::PaidTwice,
            Some("cancelled") => self.bug == Bug::CancelledIsPaid,
            _ => false,
        };
        if applies {
            found["state"] = json!("paid");
        }
        let state = if applies { "applied" } else { "refund_due" };
        let answer = receipt(&id, order, state, &found["state"]);
        books.till.payments.insert(id, Payment { order, amount_cents, currency, state, refused: None });
        answer
    }

    fn look(&self, books: &Books, id: u64) -> Reply {
        let mut order = books.orders[&id].clone();
        let mine = books.till.payments.iter().filter(|(_, payment)| payment.order == id);
        let shown = mine.map(|(id, payment)| json!({"payment_id": id, "payment_state": payment.state}));
        order["payments"] = shown.skip(usize::from(self.bug == Bug::HidesPayments)).collect();
        Reply::Json(200, order, false)
    }

    fn stats(&self, books: &Books) -> Reply {
        let count = |wanted: &dyn Fn(&Value) -> bool| {
            let orders = books.orders.values().filter(|order| wanted(order));
            orders.map(|order| order["quantity"].as_u64().expect("a number")).sum::<u64>()
        };
        let held = count(&|order| order["state"] == "held");
        let mut sold =
            count(&|order| order["state"] == "paid" || (order["state"] == "refunded" && order["kept"] == true));
        let mut available = books.free.len() as u64;
        let stock = held + sold + available;
        if self.bug == Bug::SoldForgotten && sold > 0 {
            (sold, available) = (sold - 1, available + 1);
        }
        let sku = json!({"sku_id": "2001", "stock": stock, "available": available, "held": held, "sold": sold});
        Reply::Json(200, json!({"activity_id": "1001", "skus": [sku]}), false)
    }

    /// Whether a key was used before. The second answer is the first one.
    fn repeated(&self, books: &mut Books, ask: &Ask, now: Value) -> Reply {
        let key = format!("{} {}", ask.path, ask.key.as_deref().expect("operators send keys"));
        let known = books.till.keys.insert(key, now.clone()).is_some();
        Reply::Json(200, now, known && self.bug != Bug::DoneAgain)
    }

    fn done(&self, books: &mut Books, ask: &Ask, id: &str) -> Reply {
        let Some(payment) = books.till.payments.get_mut(id) else { return problem(404, "not_found") };
        if payment.state == "applied" {
            return problem(409, "refund_not_due");
        }
        if self.bug != Bug::DoneForgotten {
            payment.state = "refunded";
        }
        self.repeated(books, ask, json!({"payment_id": id, "payment_state": "refunded"}))
    }

    fn refund(&self, books: &mut Books, ask: &Ask, id: u64) -> Reply {
        let order = books.orders.get_mut(&id).expect("an order of ours");
        match order["state"].as_str() {
            Some("paid") => {
                order["state"] = json!("refunded");
                order["kept"] = json!(ask.body["restock"] == false);
                if ask.body["restock"] == true {
                    books.free.extend(order["slots"].as_array().expect("slots").iter().filter_map(Value::as_u64));
                }
                if self.bug != Bug::RefundOwesNothing {
                    let mut payments = books.till.payments.values_mut();
                    let applied = payments.find(|payment| payment.order == id && payment.state == "applied");
                    applied.expect("it was paid").state = "refund_due";
                }
            }
            Some("refunded") => {}
            _ => return problem(409, "order_not_refundable"),
        }
        let now = books.orders[&id].clone();
        self.repeated(books, ask, now)
    }
}

fn receipt(id: &str, order: u64, payment_state: &str, state: &Value) -> Reply {
    let answer =
        json!({"payment_id": id, "payment_state": payment_state, "order_id": order.to_string(), "state": state});
    Reply::Json(200, answer, false)
}

/// Pages of as many as are asked for; the cursor is the last id of the page before.
fn refunds(books: &Books, path: &str) -> Reply {
    let value = |name: &str| {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let (state, after) = (value("state").expect("a state"), value("cursor").unwrap_or(""));
    let limit: usize = value("limit").expect("a limit").parse().expect("a number");
    let wanted = books.till.payments.iter().filter(|(id, payment)| payment.state == state && id.as_str() > after);
    let line = |(id, payment): (&String, &Payment)| {
        json!({"payment_id": id, "payment_state": payment.state, "order_id": payment.order.to_string(),
            "amount_cents": payment.amount_cents, "currency": payment.currency})
    };
    let page: Vec<Value> = wanted.take(limit).map(line).collect();
    let next = (page.len() == limit).then(|| page[limit - 1]["payment_id"].clone());
    Reply::Json(200, json!({"refunds": page, "next_cursor": next}), false)
}
