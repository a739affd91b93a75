//! Sales of several shards: which users a shard serves, and how they ask.

use std::time::{Duration, Instant};

use doorbuster::domain::part::Spread;
use doorbuster::ids::UserId;
use serde_json::{Value, json};

use super::{Client, ORDERS, Reply, SALE, Server, Settings, post, put, sale_with, wish};

/// How long a server may be too busy for one user: generous, for a loaded machine.
const BUSY_AT_MOST: Duration = Duration::from_secs(20);

/// A server with a sale of `shards` shards; some fields of it otherwise.
pub fn selling_in_shards(shards: u16, stock: u32, fields: Value) -> Server {
    let server = Server::start(Settings::default());
    server.operator(put(SALE, &sharded(shards, stock, fields))).ok(201);
    server
}

/// That sale.
pub fn sharded(shards: u16, stock: u32, fields: Value) -> Value {
    let mut sale = sale_with(stock, fields);
    sale["shards"] = shards.into();
    sale
}

/// The users from `from` on that a part serves.
pub fn users_of(part: u16, parts: u16, from: u64) -> impl Iterator<Item = u64> {
    (from..).filter(move |user| Spread::default().part_of(UserId(*user), parts) == part)
}

/// The first user from `from` on that a part serves.
pub fn user_of(part: u16, parts: u16, from: u64) -> u64 {
    users_of(part, parts, from).next().expect("every part serves somebody")
}

/// Buys, and asks again as long as the server is too busy: that is no answer, and never a no.
pub fn buy(server: &Server, client: &mut Client, user: u64, quantity: u32) -> Reply {
    let request = post(ORDERS).json(&wish(quantity)).token(&server.token(user, None));
    let begun = Instant::now();
    loop {
        let reply = client.ask(&request);
        if reply.status != 503 {
            return reply;
        }
        reply.problem(503, "overloaded");
        assert!(begun.elapsed() < BUSY_AT_MOST, "user {user} is never served");
    }
}

/// Lets users buy one unit each over `lanes` connections at once.
pub fn buy_at_once(server: &Server, users: &[u64], lanes: usize) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let lane = |users: Vec<u64>| {
            let mut client = server.shopper_client();
            users.into_iter().map(|user| buy(server, &mut client, user, 1)).collect::<Vec<_>>()
        };
        let share = |n| users.iter().skip(n).step_by(lanes).copied().collect();
        let lanes: Vec<_> = (0..lanes).map(|n| scope.spawn(move || lane(share(n)))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect()
    })
}

/// How many have that status.
pub fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

/// Gives an order up.
pub fn cancel(server: &Server, user: u64, order: &Value) -> Value {
    server.shopper(user, post(&format!("/v1/orders/{}/cancel", id(order)))).ok(200)
}

/// An order's id.
pub fn id(order: &Value) -> &str {
    order["order_id"].as_str().expect("an order has an id")
}

/// The one SKU's units, as the operator sees them: stock, available, held.
pub fn units(server: &Server) -> (u64, u64, u64) {
    let stats = server.stats();
    let number = |name: &str| stats["skus"][0][name].as_u64().expect("a number");
    (number("stock"), number("available"), number("held"))
}

/// A line of the stats.
pub fn line(sku: &str, stock: u64, available: u64, held: u64) -> Value {
    json!({ "sku_id": sku, "stock": stock, "available": available, "held": held, "sold": 0 })
}
