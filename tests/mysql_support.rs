//! That the MariaDB of the tests and the network in front of it do what the tests of shipping take them to do.

mod mysql;
mod server;

use std::future::Future;
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mysql::{Maria, Proxy, When, ask};
use server::until;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

const COUNT: &str = "SELECT COUNT(*) FROM shop.orders";

fn run<T>(asked: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(asked)
}

fn value(text: &str) -> Vec<Vec<Option<String>>> {
    vec![vec![Some(text.to_owned())]]
}

/// Places an order on a thread that a failed test leaves behind, so that it fails in words: it may wait for a network or
/// a server that then stays as it is, until the test's end drops them.
fn place_meanwhile(url: &str, id: i64) -> JoinHandle<sqlx::Result<()>> {
    let url = url.to_owned();
    thread::spawn(move || place(&url, id))
}

fn with_orders(maria: &Maria) {
    maria.execute("CREATE DATABASE shop; CREATE TABLE shop.orders (id BIGINT NOT NULL PRIMARY KEY)");
}

/// One order in a transaction, as sqlx sends it: the insert prepared, the commit as text.
fn place(url: &str, id: i64) -> sqlx::Result<()> {
    run(async {
        let mut connection = MySqlConnection::connect(url).await?;
        let mut transaction = connection.begin().await?;
        sqlx::query("INSERT INTO orders VALUES (?)").bind(id).execute(&mut *transaction).await?;
        transaction.commit().await
    })
}

/// The number of MySQL's that an error has.
fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}

#[test]
fn two_servers_are_strangers_to_each_other() {
    let (Some(one), Some(other)) = (Maria::start(), Maria::start()) else { return };
    one.execute("CREATE DATABASE of_one");
    let databases = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'of_one'";
    assert_eq!(one.query(databases), value("1"));
    assert_eq!(other.query(databases), value("0"));
    assert_eq!(one.query("SELECT @@innodb_flush_log_at_trx_commit"), value("1"));
}

#[test]
fn what_was_committed_survives_a_kill() {
    let Some(mut maria) = Maria::start() else { return };
    with_orders(&maria);
    let port = maria.port();
    for id in 0..20 {
        place(&maria.url("shop"), id).expect("it runs");
        maria.kill();
        assert!(place(&maria.url("shop"), id).is_err(), "it is dead");
        maria.start_again();
    }
    assert_eq!(maria.port(), port);
    assert_eq!(maria.query(COUNT), value("20"));
    maria.stop();
    maria.start_again();
    assert_eq!(maria.query("SELECT NULL, 1.50, 'x'"), [[None, Some("1.50".into()), Some("x".into())]]);
}

#[test]
fn a_frozen_server_answers_when_it_thaws() {
    let Some(maria) = Maria::start() else { return };
    with_orders(&maria);
    let url = maria.url("shop");
    maria.freeze();
    let placing = place_meanwhile(&url, 1);
    // The kernel takes the connection for it; nothing else can come of it.
    drop(TcpStream::connect(maria.address()).expect("it listens"));
    assert!(!placing.is_finished());
    maria.thaw();
    placing.join().expect("no panic").expect("it was only late");
}

#[test]
fn a_read_only_server_refuses_the_shop_and_not_root() {
    let Some(maria) = Maria::start() else { return };
    with_orders(&maria);
    let shop = maria.shop_url("shop");
    place(&shop, 1).expect("it has the rights");
    maria.set_read_only(true);
    assert_eq!(number(&place(&shop, 2).expect_err("read-only")), Some(1290));
    place(&maria.url("shop"), 3).expect("root may");
    maria.set_read_only(false);
    place(&shop, 2).expect("no more");
    assert_eq!(number(&ask(&shop, "CREATE DATABASE other").expect_err("not its database")), Some(1044));
}

#[test]
fn a_full_tablespace_refuses_rows_until_it_is_given_room() {
    let Some(mut maria) = Maria::start_small() else { return };
    maria
        .execute("CREATE DATABASE shop; CREATE TABLE shop.notes (id BIGINT AUTO_INCREMENT PRIMARY KEY, text LONGTEXT)");
    let url = maria.url("shop");
    let note = "INSERT INTO notes (text) VALUES (REPEAT('x', 100000))";
    let mut written = 0;
    let error = loop {
        match ask(&url, note) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1_000, "it is never full");
    };
    assert_eq!(number(&error), Some(1114), "{error}");
    let count = "SELECT COUNT(*) FROM shop.notes";
    assert_eq!(maria.query(count), value(&written.to_string()), "what was committed is there, and reads are served");
    maria.give_room();
    ask(&url, note).expect("there is room");
    assert_eq!(maria.query(count), value(&(written + 1).to_string()));
}

#[test]
fn a_commit_is_lost_on_the_side_that_was_asked_for() {
    let Some(maria) = Maria::start() else { return };
    with_orders(&maria);
    let proxy = Proxy::to(maria.address());
    let url = proxy.url("shop");
    for (id, when, kept) in [(1, When::BeforeSent, "0"), (2, When::AfterSent, "1")] {
        proxy.cut_at_commit(1, when);
        place(&url, id).expect_err("the answer is lost");
        proxy.wait_until_cut();
        let of_it = format!("{COUNT} WHERE id = {id}");
        assert_eq!(maria.query(&of_it), value(kept), "{when:?}");
        TcpStream::connect(proxy.address()).expect_err("it is cut until it is mended");
        proxy.mend();
    }
    proxy.cut_at_commit(2, When::BeforeSent);
    place(&url, 3).expect("the first passes");
    place(&url, 4).expect_err("the second does not");
    assert_eq!((proxy.faults_hit(), proxy.statements("commit"), proxy.statements("insert into")), (3, 4, 4));
}

#[test]
fn any_statement_can_be_lost_also_a_prepared_one_after_a_long_answer() {
    let Some(maria) = Maria::start() else { return };
    with_orders(&maria);
    maria.execute("INSERT INTO shop.orders SELECT seq FROM shop.seq_1_to_700");
    let proxy = Proxy::to(maria.address());
    for (id, when) in [(1_001, When::BeforeSent), (1_002, When::AfterSent)] {
        proxy.cut_at_statement(2, when, |sql| sql.starts_with("INSERT"));
        let ended: sqlx::Result<()> = run(async {
            let mut connection = MySqlConnection::connect(&proxy.url("shop")).await?;
            // More packets than their number can count, and answers that end where it begins anew.
            for count in [700, 251, 252, 253, 254] {
                let select = format!("SELECT id FROM orders WHERE id <= {count}");
                assert_eq!(connection.fetch_all(AssertSqlSafe(select)).await?.len(), count);
            }
            for id in [id, id + 1_000] {
                sqlx::query("INSERT INTO orders VALUES (?)").bind(id).execute(&mut connection).await?;
            }
            Ok(())
        });
        ended.expect_err("the second is lost");
        proxy.wait_until_cut();
        proxy.mend();
    }
    let kept = maria.query("SELECT GROUP_CONCAT(id ORDER BY id) FROM shop.orders WHERE id > 700");
    assert_eq!(kept, value("1001,1002,2002"));
}

#[test]
fn the_network_is_cut_held_slowed_and_mended() {
    let Some(maria) = Maria::start() else { return };
    with_orders(&maria);
    let proxy = Proxy::to(maria.address());
    let url = proxy.through(&maria.shop_url("shop"));
    run(async {
        let mut connection = MySqlConnection::connect(&url).await.expect("it is open");
        proxy.refuse();
        MySqlConnection::connect(&url).await.expect_err("new ones are refused");
        connection.ping().await.expect("old ones stay");
        proxy.cut();
        connection.ping().await.expect_err("now they do not");
        proxy.mend();
        let mut connection = MySqlConnection::connect(&url).await.expect("it is mended");
        proxy.drop_connections();
        connection.ping().await.expect_err("it was dropped");
        MySqlConnection::connect(&url).await.expect("new ones are taken");
    });
    proxy.hold();
    let (up, down) = (proxy.bytes_up(), proxy.bytes_down());
    let accepted = proxy.accepted();
    let placing = place_meanwhile(&url, 1);
    until("a client has come", || proxy.accepted() > accepted);
    assert_eq!((proxy.bytes_up(), proxy.bytes_down(), placing.is_finished()), (up, down, false));
    proxy.mend();
    placing.join().expect("no panic").expect("it was only late");
    assert!(proxy.bytes_up() > up && proxy.bytes_down() > down);
    proxy.hold();
    let placing = place_meanwhile(&url, 2);
    until("a client has come", || proxy.accepted() > accepted + 1);
    proxy.cut();
    placing.join().expect("no panic").expect_err("it was cut while it was held");
    proxy.mend();
    proxy.slow(Duration::from_millis(20));
    let begun = Instant::now();
    place(&url, 3).expect("it is only slow");
    assert!(begun.elapsed() > Duration::from_millis(100), "many packets, each of them late");
    proxy.mend();
    assert_eq!(maria.query(COUNT), value("2"));
}
