//! How long a start takes with many orders: the server itself, on a real disk, from its launch until `/readyz` says ready.
//! Without any checkpoint after a clean stop and after a kill, and with the checkpoint that it then makes by itself.
//!
//! `cargo bench --bench start -- [orders]`, ten million unless told. Each row is measured once.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use doorbuster::domain::definition::{Definition, OnLatePayment, SkuDefinition};
use doorbuster::domain::event::{ActivityDefined, Author, Change, Entry, Event, OrderPlaced};
use doorbuster::domain::slots::Slots;
use doorbuster::ids::{ActivityId, Cents, KeyDigest, Qty, ShardId, SkuIndex, UnixMillis, UserId};
use doorbuster::persist::{Generations, Journal, Pushed, RecordBuilder, open};

const SHARD: ShardId = ShardId(1);
const RECORD_EVENTS: u32 = 1_000;
const AT_MS: u64 = 1_780_000_000_000;
/// Held for longer than the bench lives: a start that has to release everything is another figure.
const HELD_MS: u64 = 100 * 365 * 24 * 3_600_000;

fn main() {
    let orders = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000_000);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let begun = Instant::now();
    let bytes = write_journal(&dir.path().join("data"), orders);
    println!("{orders} orders written, {} MB of records, in {:.1?}", bytes >> 20, begun.elapsed());

    let ports = [free_port(), free_port()];
    write_config(dir.path(), ports);
    let ready = |what: &str| {
        let (server, took) = start(dir.path(), ports[0]);
        println!("{what:<55} ready after {took:.2?}");
        server
    };
    let server = ready("after a clean stop, without any checkpoint");
    kill(server);
    let server = ready("after kill -9, without any checkpoint");
    let begun = Instant::now();
    while !has_checkpoint(dir.path()) {
        thread::sleep(Duration::from_millis(100));
    }
    println!("{:<55} {:.1?} later", "its checkpoint stands", begun.elapsed());
    kill(server);
    let server = ready("after kill -9, with a recent checkpoint");
    kill(server);
}

/// Writes a journal as the server would have; gives the bytes of its records.
fn write_journal(data_dir: &Path, orders: u32) -> usize {
    let mut journal = open(data_dir, &Generations::default()).expect("a new journal");
    let (mut record, mut bytes) = (RecordBuilder::default(), 0);
    let entries = std::iter::once(defined(orders)).chain((1..=orders).map(order));
    for (number, entry) in (1..).zip(entries) {
        assert_eq!(record.push(&[entry]).expect("it fits"), Pushed::Taken);
        if record.count() == RECORD_EVENTS || number > orders {
            let before = journal.tail();
            let sealed = record.seal(&before);
            bytes += sealed.bytes().len();
            journal.append(&before, &sealed).expect("a sound disk");
            record.clear();
        }
    }
    journal.close().expect("a clean stop");
    bytes
}

fn defined(stock: u32) -> Entry {
    let sku_id = "phone".parse().expect("a SKU id");
    let sku = SkuDefinition { sku_id, title: "Phone".to_owned(), price_cents: Cents(19_900), stock: Qty(stock) };
    let definition = Definition {
        title: "Doorbuster".to_owned(),
        currency: "CNY".to_owned(),
        starts_at_ms: UnixMillis(1),
        ends_at_ms: UnixMillis(AT_MS + HELD_MS),
        shards: 1,
        per_user_limit: Qty(2),
        payment_window_ms: HELD_MS,
        on_late_payment: OnLatePayment::Refund,
        shared_sku: true,
        skus: vec![sku],
        packets: None,
    };
    let change = Change { change_id: 1, by: Author::StartUp, key: None };
    let event = ActivityDefined { activity_id: ActivityId(1), definition, from_catalog: false, change, part: None };
    Entry { shard: SHARD, at_ms: UnixMillis(1), event: Event::ActivityDefined(Box::new(event)) }
}

fn order(n: u32) -> Entry {
    let at_ms = AT_MS + u64::from(n) / 100;
    // Users in no order, as tokens have them; an odd factor keeps them distinct.
    let user = UserId(u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let placed = OrderPlaced {
        order: n,
        user,
        sku: SkuIndex(0),
        slots: Slots::range(n, 1),
        amount_cents: Cents(19_900),
        expires_at_ms: UnixMillis(at_ms + HELD_MS),
        key: Some(KeyDigest((u128::from(n) << 64 | u128::from(user.0)).to_le_bytes())),
        reference: None,
    };
    Entry { shard: SHARD, at_ms: UnixMillis(at_ms), event: Event::OrderPlaced(placed) }
}

fn write_config(dir: &Path, ports: [u16; 2]) {
    std::fs::create_dir(dir.join("catalog")).expect("a fresh directory");
    let config = format!(
        "data_dir = 'data'\n[shopper]\nlisten = '127.0.0.1:{}'\n[operator]\nlisten = '127.0.0.1:{}'\n\
         [auth]\nsecret = 'a secret of the benches, 32 bytes or more'\n[log]\nlevel = 'warn'\n",
        ports[0], ports[1]
    );
    std::fs::write(dir.join("doorbuster.toml"), config).expect("a file can be written");
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn start(dir: &Path, port: u16) -> (Child, Duration) {
    let begun = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorbuster"));
    command.arg("serve").arg("--config").arg(dir.join("doorbuster.toml")).stderr(Stdio::inherit());
    let server = command.spawn().expect("the server starts");
    while !is_ready(port) {
        thread::sleep(Duration::from_millis(5));
    }
    (server, begun.elapsed())
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut reply = [0; 12];
        stream.read_exact(&mut reply)?;
        Ok(reply == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn kill(mut server: Child) {
    server.kill().expect("it runs");
    server.wait().expect("it ends");
}

fn has_checkpoint(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir.join("data/checkpoints")).into_iter().flatten().flatten();
    files.into_iter().any(|file| file.path().extension().is_some_and(|extension| extension == "manifest"))
}
