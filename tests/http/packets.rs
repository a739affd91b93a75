//! Red packets as tests use them: a rain of two rounds, who grabs from it, and what became of it.

use std::time::{Duration, Instant};

use doorbuster::domain::split::{Seed, Split, Terms};
use serde_json::{Value, json};

use super::{Client, NOW_MS, Reply, Request, Server, Settings, get, post, put};

/// The red packets of most tests.
pub const RAIN: &str = "/admin/v1/activities/1002";
/// Where a shopper grabs from them.
pub const GRABS: &str = "/v1/red-packets/1002/grabs";
/// When the first round of [`rain`] ends; it began ten seconds before the test.
pub const FIRST_ENDS_MS: u64 = NOW_MS + 30_000;
/// When the second one starts.
pub const SECOND_STARTS_MS: u64 = NOW_MS + 60_000;
/// When it ends.
pub const SECOND_ENDS_MS: u64 = NOW_MS + 90_000;

/// How long a round's end, or a crowded server, may take.
const WITHIN: Duration = Duration::from_secs(20);

/// A rain of two rounds: one that runs, and one to come.
pub fn rain(packets: u32, total_cents: u64) -> Value {
    json!({
        "kind": "red_packet",
        "title": "Double 11 rain",
        "split": "random",
        "min_cents": 1,
        "max_cents": 20_000,
        "per_user_limit": 1,
        "rounds": [
            { "starts_at": "2026-11-10T23:59:50Z", "ends_at": "2026-11-11T00:00:30Z",
                "total_cents": total_cents, "packets": packets },
            { "starts_at": "2026-11-11T00:01:00Z", "ends_at": "2026-11-11T00:01:30Z",
                "total_cents": 700, "packets": 7 },
        ],
    })
}

/// The same with some fields otherwise.
pub fn rain_with(packets: u32, total_cents: u64, fields: Value) -> Value {
    let mut rain = rain(packets, total_cents);
    for (name, value) in fields.as_object().expect("an object") {
        rain[name] = value.clone();
    }
    rain
}

/// A server on which it rains, as activity 1002.
pub fn raining(packets: u32, total_cents: u64, fields: Value) -> Server {
    let server = Server::start(Settings::default());
    server.operator(put(RAIN, &rain_with(packets, total_cents, fields))).ok(201);
    server
}

pub fn grab(server: &Server, user: u64) -> Reply {
    server.shopper(user, post(GRABS))
}

pub fn detail(server: &Server) -> Value {
    server.shopper(1, get("/v1/activities/1002")).ok(200)
}

pub fn stats(server: &Server) -> Value {
    server.operator(get(&format!("{RAIN}/stats"))).ok(200)
}

/// A round's numbers: packets and cents that are granted, remain, are refunded.
pub fn round(server: &Server, round: usize) -> [(u64, u64); 3] {
    let stats = &stats(server)["rounds"][round];
    let number = |name: &str| stats[name].as_u64().expect("a number");
    let of = |name: &str| (number(name), number(&format!("{name}_cents")));
    let all = [of("granted"), of("remaining"), of("refunded")];
    let sum = all.iter().fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    assert_eq!(sum, (number("packets"), number("total_cents")), "M1: {stats}");
    all
}

/// Waits until what nobody grabbed of a round is refunded, and gives its numbers.
pub fn ended(server: &Server, number: usize) -> [(u64, u64); 3] {
    let begun = Instant::now();
    loop {
        let numbers = round(server, number);
        if numbers[1].0 == 0 {
            return numbers;
        }
        assert!(begun.elapsed() < WITHIN, "the round is never ended: {numbers:?}");
    }
}

/// Lets users ask once each over `lanes` connections at once; who is told that the server is too busy asks again.
pub fn grab_at_once(server: &Server, users: &[u64], lanes: usize) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let lane = |users: Vec<u64>| {
            let mut client = server.shopper_client();
            users
                .into_iter()
                .map(|user| patiently(&mut client, &post(GRABS).token(&server.token(user, None))))
                .collect()
        };
        let share = |n| users.iter().skip(n).step_by(lanes).copied().collect();
        let lanes: Vec<_> = (0..lanes).map(|n| scope.spawn(move || -> Vec<Reply> { lane(share(n)) })).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect()
    })
}

fn patiently(client: &mut Client, request: &Request) -> Reply {
    let begun = Instant::now();
    loop {
        let reply = client.ask(request);
        if reply.status != 503 {
            return reply;
        }
        reply.problem(503, "overloaded");
        assert!(begun.elapsed() < WITHIN, "nobody is served");
    }
}

/// What packets were grabbed, each with its amount.
pub fn grabbed(replies: &[Reply]) -> Vec<(u64, u64)> {
    let granted = replies.iter().filter(|reply| reply.status == 201).map(Reply::json);
    let number = |grab: &Value, name: &str| grab[name].as_u64().expect("a number");
    let mut packets: Vec<_> = granted.map(|grab| (number(&grab, "packet"), number(&grab, "amount_cents"))).collect();
    packets.sort_unstable();
    packets
}

/// Every amount of a round, worked out from what is public once it is over; its commitment must fit.
pub fn amounts(detail: &Value, rain: &Value, round: usize) -> Vec<u64> {
    let line = &detail["rounds"][round];
    let number = |value: &Value| value.as_u64().expect("a number");
    let hex = line["seed"].as_str().expect("the seed is public once the round is over");
    let byte = |place: usize| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).expect("hexadecimal");
    let seed = Seed(std::array::from_fn(byte));
    let terms = Terms {
        split: if rain["split"] == "equal" { Split::Equal } else { Split::Random },
        packets: u32::try_from(number(&line["packets"])).expect("few"),
        total_cents: number(&line["total_cents"]),
        min_cents: number(&rain["min_cents"]),
        max_cents: number(&rain["max_cents"]),
    };
    assert_eq!(line["commitment"], terms.commitment(seed), "what was promised before it started");
    terms.split(seed).expect("it was split").into_iter().map(u64::from).collect()
}
