//! A shop that keeps the contract, for testing the crowd; and the bugs that can be planted in it.

#![allow(dead_code, unused_imports, reason = "each test uses its own part")]

mod bug;
mod pay;
pub mod rain;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use loadtest::{Plan, Rain, Report};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

pub use bug::Bug;
pub use pay::PAYMENTS_SECRET;

pub const SECRET: &str = "a secret of at least thirty-two bytes";
const EXPIRES_AT_MS: u64 = 9_000_000_000_000;

/// The shop's books.
#[derive(Default)]
pub struct Books {
    pub free: BTreeSet<u64>,
    pub orders: HashMap<u64, Value>,
    users: HashMap<u64, Vec<u64>>,
    keys: HashMap<(u64, String), (Value, u64)>,
    pub asked: u64,
    crashed: bool,
    till: pay::Till,
    pub sky: rain::Sky,
}

pub struct Shop {
    bug: Bug,
    pub books: Mutex<Books>,
}

struct Ask {
    method: String,
    path: String,
    user: u64,
    key: Option<String>,
    signature: Option<String>,
    raw: Vec<u8>,
    body: Value,
}

enum Reply {
    Json(u16, Value, bool),
    Close,
    Crash,
}

/// Opens a shop with `stock` units of SKU 2001 in activity 1001, and sends a crowd that `adjust` makes.
pub fn crowd_at(bug: Bug, stock: u64, adjust: impl FnOnce(&mut Plan)) -> (Report, Arc<Shop>) {
    let (runtime, plan, shop) = opened(bug, stock, adjust);
    let report = runtime.block_on(loadtest::run(&plan, loadtest::silent()));
    (report.expect("the run can be made"), shop)
}

/// Opens a shop whose ten red packets a crowd grabs.
pub fn rain_at(bug: Bug, adjust: impl FnOnce(&mut Plan)) -> (Report, Arc<Shop>) {
    crowd_at(bug, 0, |plan| {
        (plan.activity_id, plan.attempts) = (rain::RAIN, 300);
        plan.rain = Some(Rain { operator: plan.target, close: true });
        adjust(plan);
    })
}

/// The same, but the crowd is dropped as soon as it has told of an order.
pub fn dropped_after_first_order(adjust: impl FnOnce(&mut Plan)) -> Arc<Shop> {
    let (runtime, plan, shop) = opened(Bug::None, 1_000_000, adjust);
    let seen = Arc::new(tokio::sync::Notify::new());
    let tell = seen.clone();
    runtime.block_on(async move {
        let progress = Arc::new(move |now: &loadtest::Snapshot| {
            if now.accepted > 0 {
                tell.notify_one();
            }
        });
        let running = tokio::spawn(async move { loadtest::run(&plan, progress).await.map(|_| ()) });
        seen.notified().await;
        running.abort();
        assert!(running.await.expect_err("dropped").is_cancelled());
    });
    shop
}

/// An open shop on a runtime of its own, and a plan for it.
pub fn opened(bug: Bug, stock: u64, adjust: impl FnOnce(&mut Plan)) -> (Runtime, Plan, Arc<Shop>) {
    let books = Books { free: (1..=stock).collect(), ..Books::default() };
    let shop = Arc::new(Shop { bug, books: Mutex::new(books) });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(open(shop.clone(), listener, address));
    let mut plan = Plan { target: address, attempts: 2000, connections: 16, ..Plan::new(1001, SECRET) };
    adjust(&mut plan);
    (runtime, plan, shop)
}

async fn open(shop: Arc<Shop>, mut listener: TcpListener, address: SocketAddr) {
    let (crash, mut crashed) = tokio::sync::mpsc::channel(1);
    let mut customers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                customers.spawn(serve(shop.clone(), stream, crash.clone()));
            }
            _ = crashed.recv() => {
                drop(listener);
                customers.shutdown().await;
                listener = TcpListener::bind(address).await.expect("the port is free again");
            }
        }
    }
}

async fn serve(shop: Arc<Shop>, mut stream: TcpStream, crash: tokio::sync::mpsc::Sender<()>) {
    let mut buffer = Vec::new();
    loop {
        let (ask, used) = loop {
            if let Some(found) = parse(&buffer) {
                break found;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        buffer.drain(..used);
        let reply = shop.answer(&ask);
        let (status, body, replayed) = match reply {
            Reply::Json(status, body, replayed) => (status, body.to_string(), replayed),
            Reply::Close => return,
            Reply::Crash => {
                let _ = crash.send(()).await;
                return std::future::pending().await;
            }
        };
        let problem = status >= 400 && !(shop.bug == Bug::NotAProblem && body.contains("sold_out"));
        let kind = if problem { "application/problem+json" } else { "application/json" };
        let replayed = if replayed { "Idempotent-Replayed: true\r\n" } else { "" };
        let len = body.len();
        let text =
            format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{replayed}Content-Length: {len}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(Ask, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes).expect("the crowd speaks HTTP") {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial => return None,
    };
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let len: usize = header("content-length").map_or(0, |text| text.parse().expect("a length"));
    let body = bytes.get(head..head + len)?;
    let signature = header("doorbuster-signature");
    // A callback is signed and has no token.
    let user = if signature.is_some() { 0 } else { user_of(&header("authorization").expect("a token")) };
    let ask = Ask {
        method: request.method.expect("whole").to_owned(),
        path: request.path.expect("whole").to_owned(),
        user,
        key: header("idempotency-key"),
        signature,
        raw: body.to_vec(),
        body: serde_json::from_slice(body).unwrap_or(Value::Null),
    };
    Some((ask, head + len))
}

fn user_of(token: &str) -> u64 {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&["doorbuster"]);
    rules.set_issuer(&["doorbuster"]);
    rules.set_required_spec_claims(&["exp", "sub", "iss", "aud"]);
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    let claims = decode::<Claims>(token.trim_start_matches("Bearer "), &key, &rules).expect("a valid token").claims;
    claims.sub.parse().expect("a decimal sub")
}

fn problem(status: u16, code: &str) -> Reply {
    Reply::Json(status, json!({"type": "about:blank", "status": status, "code": code, "order_ids": []}), false)
}

impl Shop {
    fn answer(&self, ask: &Ask) -> Reply {
        let mut books = self.books.lock().expect("no panics here");
        let parts: Vec<_> = ask.path.trim_start_matches("/v1/").split(['/', '?']).collect();
        match (ask.method.as_str(), parts.as_slice()) {
            ("GET", ["activities", "1001"]) => {
                let whole = books.free.len() + books.orders.len();
                let stock = if self.bug == Bug::Oversells { whole / 2 } else { whole };
                let sku = json!({"sku_id": "2001", "title": "Phone", "price_cents": 199_900, "stock": stock});
                Reply::Json(200, json!({"activity_id": "1001", "kind": "flash_sale", "skus": [sku]}), false)
            }
            ("POST", ["flash-sales", "1001", "orders"]) => {
                books.asked += 1;
                let reply = self.order(&mut books, ask);
                match self.bug {
                    Bug::InternalError if books.asked.is_multiple_of(10) => Reply::Json(500, json!("oops"), false),
                    Bug::LosesReplies if books.asked.is_multiple_of(7) => Reply::Close,
                    Bug::CrashesOnce if books.asked >= 100 && !std::mem::replace(&mut books.crashed, true) => {
                        Reply::Crash
                    }
                    _ => reply,
                }
            }
            ("GET", ["flash-sales", "1001", "result", _]) => self.poll(&books, ask.user),
            ("POST", ["orders", id, "cancel"]) => self.cancel(&mut books, id.parse().expect("an id")),
            _ => {
                let in_rain = self.answer_in_rain(&mut books, ask);
                let answer = in_rain.or_else(|| self.answer_for_money(&mut books, ask));
                answer.unwrap_or_else(|| problem(404, "not_found"))
            }
        }
    }

    fn order(&self, books: &mut Books, ask: &Ask) -> Reply {
        let quantity = ask.body["quantity"].as_u64().expect("a quantity");
        let known = ask.key.as_ref().and_then(|key| books.keys.get(&(ask.user, key.clone())));
        if let Some((body, id)) = known.filter(|_| self.bug != Bug::KeyForgotten) {
            if *body != ask.body && self.bug != Bug::ReuseAccepted {
                return problem(422, "idempotency_key_reused");
            }
            if self.bug == Bug::ReplayRefused {
                return problem(409, "sold_out");
            }
            let mut order = books.orders[id].clone();
            if self.bug == Bug::ReplayNamesAnother {
                order["order_id"] = json!((id + 500_000).to_string());
            }
            return Reply::Json(200, order, true);
        }
        let held: u64 = books.users.get(&ask.user).map_or(0, |ids| {
            let live = ids.iter().filter(|id| books.orders[id]["state"] == "held");
            live.map(|id| books.orders[id]["quantity"].as_u64().expect("a number")).sum()
        });
        let newcomer_refused = self.bug == Bug::LimitForEveryone && ask.user.is_multiple_of(2);
        if (held + quantity > 1 && !matches!(self.bug, Bug::LimitForgotten | Bug::KeyForgotten)) || newcomer_refused {
            return problem(409, "limit_reached");
        }
        if self.bug == Bug::SellsAfterTheEnd && books.asked.is_multiple_of(5) {
            return problem(409, "ended");
        }
        let slots: Vec<u64> = books.free.iter().copied().take(usize::try_from(quantity).expect("small")).collect();
        if slots.len() as u64 != quantity {
            return problem(409, "sold_out");
        }
        if self.bug != Bug::SlotTwice {
            slots.iter().for_each(|slot| _ = books.free.remove(slot));
        }
        let id = if self.bug == Bug::OrderIdTwice { 7 } else { 1 + books.orders.len() as u64 };
        let mut order = json!({"order_id": id.to_string(), "activity_id": "1001", "sku_id": "2001", "quantity": quantity,
            "amount_cents": quantity * 199_900 + u64::from(self.bug == Bug::WrongAmount), "slots": slots,
            "state": "held", "expires_at_ms": EXPIRES_AT_MS, "ref": ask.body.get("ref")});
        books.orders.insert(id, order.clone());
        books.users.entry(ask.user).or_default().push(id);
        if let Some(key) = &ask.key {
            books.keys.insert((ask.user, key.clone()), (ask.body.clone(), id));
        }
        match self.bug {
            Bug::NumericId => order["order_id"] = json!(id),
            Bug::WrongSku => order["sku_id"] = json!("2002"),
            Bug::NewOrderPaid => order["state"] = json!("paid"),
            _ => {}
        }
        Reply::Json(201, order, false)
    }

    fn poll(&self, books: &Books, user: u64) -> Reply {
        let ids = books.users.get(&user).into_iter().flatten();
        match ids.rev().find(|id| books.orders[id]["state"] == "held").filter(|_| self.bug != Bug::PollForgets) {
            None => Reply::Json(200, json!({"result": "-1"}), false),
            Some(id) => {
                let id = id.to_string();
                let found = json!({"result": id, "order_id": id, "state": "held", "expires_at_ms": EXPIRES_AT_MS});
                Reply::Json(200, found, false)
            }
        }
    }

    fn cancel(&self, books: &mut Books, id: u64) -> Reply {
        let Books { orders, free, .. } = books;
        let order = orders.get_mut(&id).expect("an order of ours");
        let cancellable = order["state"] == "held" || self.bug == Bug::CancelsWhatIsPaid;
        if order["state"] == "paid" && !cancellable {
            return problem(409, "order_not_cancellable");
        }
        if self.bug != Bug::CancelForgotten && cancellable {
            order["state"] = json!("cancelled");
            free.extend(order["slots"].as_array().expect("slots").iter().filter_map(Value::as_u64));
        }
        Reply::Json(200, order.clone(), false)
    }
}
