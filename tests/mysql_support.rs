//! That the MariaDB of the tests and the network in front of it do what the tests of shipping take them to do.

mod mysql;
mod server;

use mysql::Maria;

#[test]
fn two_servers_are_each_other_s_strangers() {
    let (Some(one), Some(other)) = (Maria::start(), Maria::start()) else { return };
    one.execute("CREATE DATABASE of_one");
    let databases = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'of_one'";
    assert_eq!(one.query(databases), [[Some("1".to_owned())]]);
    assert_eq!(other.query(databases), [[Some("0".to_owned())]]);
}

#[test]
fn what_was_committed_survives_a_kill() {
    let Some(mut maria) = Maria::start() else { return };
    maria.execute(
        "CREATE DATABASE shop; CREATE TABLE shop.orders (id BIGINT); INSERT INTO shop.orders VALUES (7), (NULL)",
    );
    let port = maria.port();
    maria.kill();
    maria.start_again();
    assert_eq!(maria.port(), port);
    assert_eq!(maria.query("SELECT id FROM shop.orders ORDER BY id"), [[None], [Some("7".to_owned())]]);
    maria.stop();
}
