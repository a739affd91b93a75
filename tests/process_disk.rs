//! The disk under a running server: too little room, no room at all, a file that may not grow, bytes that are not what
//! was written. Nothing that was acknowledged may be lost, and every refusal says what is wrong.

mod server;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use server::{Sale, Server, Stage, Stats, until};

const FAULT: i32 = 5;

/// Orders until the server dies or `most` are placed; how many it acknowledged.
fn order_until_it_dies(stage: &Stage, most: u64) -> u64 {
    let mut acknowledged = 0;
    for user in 1..=most {
        match stage.order(user, None) {
            Ok(reply) if reply.status == 201 => acknowledged += 1,
            Ok(reply) => panic!("{reply:?}"),
            Err(_) => return acknowledged,
        }
    }
    panic!("the server took {most} orders and never ran out of room");
}

fn assert_all_kept(stage: &Stage, acknowledged: u64) {
    let Stats { held, .. } = stage.stats();
    // The last one may be on disk without anybody having been told.
    assert!((acknowledged..=acknowledged + 1).contains(&held), "{acknowledged} were acknowledged, {held} are kept");
    let again = stage.order(1, None).expect("it answers");
    assert_eq!((again.status, again.code().as_str()), (409, "limit_reached"), "{again:?}");
    assert_eq!(stage.order(9_999_999, None).expect("it answers").status, 201, "and it sells on");
}

#[test]
fn below_the_least_free_space_new_orders_are_refused_and_the_rest_goes_on() {
    let stage = Stage::set(Sale::default());
    let server = Server::start(&stage);
    let held = stage.order(1, Some("mine")).expect("it answers");
    assert_eq!(held.status, 201, "{held:?}");
    server.stop();
    let mut command = stage.command(&["serve"]);
    let least = command.env("DOORBUSTER_JOURNAL__MIN_FREE_BYTES", "9007199254740991");
    let mut server = Server::spawn_as(&stage, least);
    server.wait_until_ready(&stage);
    let ready = stage.readyz().expect("it answers");
    assert_eq!(ready.json()["status"], "degraded", "{ready:?}");
    assert!(ready.text.contains("storage_low"), "{ready:?}");
    let refused = stage.order(2, None).expect("it answers");
    assert_eq!((refused.status, refused.code().as_str()), (503, "storage_low"), "{refused:?}");
    assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    let again = stage.order(1, Some("mine")).expect("it answers");
    assert_eq!(again.status, 200, "what is accepted is still shown: {again:?}");
    assert_eq!(stage.stats().available, 99, "and what was refused took nothing");
    server.stop();
}

#[test]
fn a_file_that_may_not_grow_stops_the_server_with_code_5_and_loses_nothing() {
    let stage = Stage::set(Sale { stock: 1_000_000, ..Sale::default() });
    let serve = stage.command(&["serve"]);
    // 512 or 1024 blocks of 1 KiB, as the shell counts.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""]).arg(serve.get_program());
    limited.args(serve.get_args());
    let mut server = Server::spawn_as(&stage, &mut limited);
    server.wait_until_ready(&stage);
    let acknowledged = order_until_it_dies(&stage, 20_000);
    assert!(acknowledged > 0, "there was room for some");
    let log = server.log();
    assert_eq!(server.wait().code(), Some(FAULT), "{log}");
    assert!(log.contains("the journal failed") && log.contains("every acknowledged order is kept"), "{log}");
    let server = Server::start(&stage);
    assert_all_kept(&stage, acknowledged);
    server.stop();
    stage.assert_audit_holds(false);
}

/// A file system of a few MiB in a mount namespace of its own: it goes with the process that holds it.
struct SmallDisk(Child);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).expect("a fresh directory");
        let script = "mount -t tmpfs -o size=96m none \"$0\" && echo mounted && exec cat >/dev/null";
        let mut command = Command::new("unshare");
        let command = command.args(["-m", "sh", "-c", script]).arg(at).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a pipe");
        // Its end closes the input of `cat`, and with that ends the namespace.
        if line == "mounted\n" { Some(Self(child)) } else { child.wait().ok().and(None) }
    }

    /// The same command, where the disk is seen.
    fn within(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.args(["-m", "-t", &self.0.id().to_string()]).arg(command.get_program()).args(command.get_args());
        entered.stdin(Stdio::null());
        entered
    }

    fn run(&self, command: &mut Command) {
        let ended = self.within(command).output().expect("it starts");
        assert!(ended.status.success(), "{ended:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ended = self.0.wait();
    }
}

#[test]
fn a_full_disk_stops_the_server_with_code_5_and_everything_is_there_once_there_is_room() {
    let stage = Stage::set(Sale { stock: 1_000_000, ..Sale::default() });
    let data = stage.path("data");
    let Some(disk) = SmallDisk::mount(&data) else {
        println!(
            "NOT RUN: a full disk, as this user may not mount one (run as root); a file that may not grow stands in"
        );
        return;
    };
    let mut server = Server::spawn_as(&stage, &mut disk.within(&stage.command(&["serve"])));
    server.wait_until_ready(&stage);
    assert_eq!(stage.order(900_001, None).expect("there is room").status, 201);
    // All but some 128 KiB.
    let fill = "head -c 99m /dev/zero > \"$0/filler\"; head -c 131072 /dev/zero > \"$0/room\" && exit 1; \
                truncate -s -131072 \"$0/filler\"; rm -f \"$0/room\"";
    disk.run(Command::new("sh").args(["-c", fill]).arg(&data));
    let acknowledged = order_until_it_dies(&stage, 20_000);
    let log = server.log();
    assert_eq!(server.wait().code(), Some(FAULT), "{log}");
    assert!(log.contains("the journal failed"), "{log}");

    // With no room for the copy aside, and with some for that but none for what sled writes as it opens.
    for room in ["0", "4m"] {
        disk.run(Command::new("truncate").args(["-s", &format!("-{room}")]).arg(data.join("filler")));
        let full = stage.finish(&mut disk.within(&stage.command(&["serve"])), "serve");
        assert_eq!(full.code, Some(2), "without room it does not start, and says so: {full:?}");
        assert!(full.err.contains("No space left") && !full.err.contains("does not add up"), "{full:?}");
    }
    disk.run(Command::new("rm").arg(data.join("filler")));
    let mut server = Server::spawn_as(&stage, &mut disk.within(&stage.command(&["serve"])));
    server.wait_until_ready(&stage);
    assert_all_kept(&stage, acknowledged + 1);
    server.stop();
    let audit = stage.finish(&mut disk.within(&stage.command(&["audit"])), "audit");
    assert_eq!(audit.code, Some(0), "{audit:?}");
}

#[test]
fn a_byte_that_changed_in_the_journal_is_named_by_its_record_and_refused() {
    let stage = Stage::set(Sale::default());
    let server = Server::start(&stage);
    let orders: Vec<_> = (1..=9).map(|user| stage.order(user, None).expect("it answers")).collect();
    assert!(orders.iter().all(|reply| reply.status == 201), "{orders:?}");
    server.stop();
    let file = stage.journal().join("gen-00000001/db");
    let sound = fs::read(&file).expect("it can be read");
    // The fifth order expires at an instant of its own, which the journal holds as eight bytes.
    let expires = orders[4].json()["expires_at_ms"].as_u64().expect("a hold expires").to_be_bytes();
    let found = sound.windows(8).position(|eight| eight == expires);
    let place = found.expect("the journal holds the instant") + 7;
    let mut damaged = sound.clone();
    damaged[place] ^= 1;
    write_over(&file, &damaged);

    let audit = stage.run(&["audit"]);
    assert_eq!(audit.code, Some(1), "an invariant is broken: {audit:?}");
    assert!(audit.out.contains("J2") && audit.out.contains("record at event"), "{audit:?}");
    let journal = stage.run(&["journal"]);
    assert_eq!(journal.code, Some(2), "{journal:?}");
    assert!(journal.err.contains("record at event"), "{journal:?}");
    for _ in 0..2 {
        let refused = stage.run(&["serve"]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(refused.err.contains("record at event"), "{refused:?}");
    }
    let aside = stage.journal().join("aside-gen-00000001/db");
    assert_eq!(fs::read(&aside).expect("the copy is kept"), damaged, "as it was found");

    // Repaired from the copy, as the message says.
    write_over(&aside, &sound);
    let server = Server::start(&stage);
    assert_eq!(stage.stats().held, 9, "all is there");
    assert!(!aside.exists(), "the copy goes once all adds up");
    server.stop();
    stage.assert_audit_holds(false);
}

/// The configured size holds, what cannot be sealed is told, and after a kill all is found again and sealed.
#[test]
fn a_server_goes_on_in_fresh_generations_and_finds_them_again_after_a_kill() {
    const CHANGES: u32 = 60;
    let stage = Stage::set(Sale::default());
    let start = || {
        let mut command = stage.command(&["serve"]);
        let mut server = Server::spawn_as(&stage, command.env("DOORBUSTER_JOURNAL__GENERATION_MAX_BYTES", "1048576"));
        server.wait_until_ready(&stage);
        server
    };
    let server = start();
    assert_eq!(stage.order(1, None).expect("it answers").status, 201);
    // Nothing can be renamed to where a directory stands.
    fs::create_dir(stage.journal().join("gen-00000001.log")).expect("it can be made");
    let mut definition: serde_json::Value = serde_json::from_str(&stage.definition(100)).expect("JSON");
    let skus = (3_000..3_150).map(
        |id| serde_json::json!({ "sku_id": id.to_string(), "title": "x".repeat(200), "price_cents": 100, "stock": 1 }),
    );
    definition["skus"].as_array_mut().expect("a list").extend(skus);
    for n in 0..CHANGES {
        definition["title"] = format!("Tested {n}").into();
        let reply = stage.operate("PUT", "", None, &definition.to_string()).expect("it answers");
        assert_eq!(reply.status / 100, 2, "{reply:?}");
    }
    until("the log tells of it", || server.log().contains("cannot be sealed"));
    server.kill();
    fs::remove_dir(stage.journal().join("gen-00000001.log")).expect("nothing took its place");
    assert!(stage.journal().join("gen-00000002").exists(), "it went on in a fresh one");
    stage.assert_audit_holds(false);
    let server = start();
    assert_eq!(stage.order(2, None).expect("it answers").status, 201);
    until("it is sealed", || !stage.journal().join("gen-00000001").exists());
    server.stop();
    assert!(stage.journal().join("gen-00000001.log").exists());
    assert_eq!(stage.events().len(), 3 + CHANGES as usize, "the definition, two orders, and the changes");
    stage.assert_audit_holds(false);
}

fn write_over(path: &Path, bytes: &[u8]) {
    let mut file: File = OpenOptions::new().write(true).open(path).expect("it is there");
    file.write_all(bytes).expect("it can be written");
}
