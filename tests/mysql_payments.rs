//! Payments in MySQL, case by case: units that go from hand to hand within one batch, an older database, what is read back,
//! and what the tables and the shipper refuse. That any history gives the right rows is `mysql_audit.rs`'s.

mod domain;
mod mysql;
mod server;

use domain::{SHARD, START, Shop, WINDOW, cancel, ms, place, request, sku, with};
use doorbuster::domain::command::{CloseRefund, PayOrder, RefundOrder, Suspend};
use doorbuster::domain::payment::Why;
use doorbuster::domain::{Command, Entry, OrderState, PaymentState, Suspense};
use doorbuster::ids::{Cents, OrderId, Seq, ShardId, UnixMillis, UserId};
use doorbuster::persist::mysql::read_back::{Found, Wanted};
use doorbuster::persist::mysql::{Error, Expected, ReadBack, Session, Snapshot, Target};
use doorbuster::persist::{RecordHash, Tail};
use mysql::Maria;
use tokio::runtime::{Builder, Runtime};

const LATE: u64 = START + WINDOW;
const JOURNAL: RecordHash = RecordHash([7; 32]);

/// A sale, and a MariaDB that gets its events in batches.
struct Stage {
    maria: Maria,
    runtime: Runtime,
    /// None once something went wrong: a session is of no use then, and holds the lock on the cursor.
    session: Option<Session>,
    shop: Shop,
    suspense: Suspense,
    shipped: usize,
}

impl Stage {
    /// Two SKUs, `a` of two units and `b` of nine; five units a user. Nothing is shipped yet.
    fn set() -> Option<Self> {
        let maria = Maria::start()?;
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let session = Some(open(&runtime, &maria).expect("MySQL is there"));
        let definition = with(|d| (d.skus, d.per_user_limit.0) = (vec![sku("a", 2), sku("b", 9)], 5));
        let (shop, suspense) = (Shop::open(definition, false), Suspense::default());
        Some(Self { maria, runtime, session, shop, suspense, shipped: 0 })
    }

    fn open(&mut self, expected: &str) {
        self.session = Some(open(&self.runtime, &self.maria).expect(expected));
    }

    /// Ships what is new in one batch.
    fn ship(&mut self) -> Result<(), Error> {
        let numbered = (1..).map(Seq).zip(self.shop.entries.iter().cloned());
        let new: Vec<_> = numbered.skip(self.shipped).collect();
        self.shipped = self.shop.entries.len();
        let seq = Seq(self.shipped as u64);
        let to = Tail { seq, hash: RecordHash([u8::try_from(seq.0 % 251).expect("it is small"); 32]) };
        let mut session = self.session.take().expect("a session is open");
        self.runtime.block_on(session.ship(JOURNAL, &new, to, UnixMillis(1)))?;
        self.session = Some(session);
        Ok(())
    }

    /// Ships what is new in one batch; every row is as the journal gives it.
    #[track_caller]
    fn shipped(&mut self) {
        self.ship().expect("it can be shipped");
        let mut expected = Expected::default();
        for (seq, entry) in (1..).map(Seq).zip(&self.shop.entries) {
            expected.take(seq, entry).expect("it follows");
        }
        let compared = self.runtime.block_on(async {
            let snapshot = Snapshot::take(&target(&self.maria)).await.expect("MySQL is there");
            snapshot.expect("there is a database").compare(&expected).await.expect("MySQL is there")
        });
        let first: Vec<_> = compared.into_iter().filter_map(|table| table.first).collect();
        assert!(first.is_empty(), "{first:#?}");
    }

    fn pay(&mut self, at: u64, payment_id: &str, order: u32, amount: u64) {
        let (payment_id, amount_cents, currency) = (payment_id.into(), Cents(amount), "CNY".into());
        let pay = PayOrder { payment_id, order, amount_cents, currency, may_wait: false };
        self.shop.run(at, Command::PayOrder(Box::new(pay))).expect("a payment is recorded");
    }

    fn refund(&mut self, at: u64, order: u32, restock: bool) {
        let refund = RefundOrder { order, restock, request: request(9, None) };
        self.shop.must(at, Command::RefundOrder(refund));
    }

    fn pay_back(&mut self, at: u64, payment_id: &str) {
        let close = CloseRefund { payment_id: payment_id.into(), request: request(10, None) };
        self.shop.must(at, Command::CloseRefund(close));
    }

    fn suspend(&mut self, at: u64, payment_id: &str, named: &str) {
        let (amount_cents, currency, why) = (Cents(5), "CNY".into(), Why::UnknownOrder);
        let suspend = Suspend { payment_id: payment_id.into(), named: named.into(), amount_cents, currency, why };
        for event in self.suspense.suspend(&suspend).expect("it is new").events {
            let entry = Entry { shard: Suspense::SHARD, at_ms: ms(at), event };
            self.suspense.apply(&entry);
            self.shop.entries.push(entry);
        }
    }

    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.maria.query(&format!("USE shop; {sql}"));
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect()
    }

    /// Each unit of SKU `a` that somebody has, and the number of his order.
    fn owners(&self) -> String {
        let rows = self
            .rows("SELECT slot, order_id & 0xFFFFFFFFF FROM order_slots WHERE live = 1 AND sku_id = 'a' ORDER BY slot");
        rows.iter().map(|row| row.join(":")).collect::<Vec<_>>().join(" ")
    }
}

fn target(maria: &Maria) -> Target {
    maria.url("shop").parse().expect("a URL")
}

fn open(runtime: &Runtime, maria: &Maria) -> Result<Session, Error> {
    let target = target(maria);
    runtime.block_on(async {
        target.migrate().await?;
        Session::open(&target, Some(JOURNAL)).await
    })
}

#[test]
fn units_go_from_hand_to_hand_within_one_batch() {
    let Some(mut stage) = Stage::set() else { return };
    assert_eq!([1, 2].map(|user| stage.shop.order(START, place(user, "a", 1))), [1, 2]);
    stage.shipped();
    assert_eq!(stage.owners(), "1:1 2:2");

    // Both run out; each comes back late and gets the other's unit.
    stage.shop.run(LATE, Command::ExpireHolds).expect("time passes");
    stage.pay(LATE + 1, "p2", 2, 100);
    stage.pay(LATE + 2, "p1", 1, 100);
    stage.shipped();
    assert_eq!(stage.owners(), "1:2 2:1");
    assert_eq!(stage.rows("SELECT count(*) FROM order_slots"), [["2"]], "those that they had are nobody's");
    assert_eq!(
        stage.rows("SELECT available, held, sold, seq FROM sku_stock WHERE sku_id = 'a'"),
        [["0", "0", "2", "6"]]
    );

    // One is taken back and put on sale, is held by a third, who runs out at once, and is bought by a fourth.
    stage.refund(LATE + 3, 2, true);
    let third = stage.shop.order(LATE + 4, place(3, "a", 1));
    stage.shop.must(LATE + 5, cancel(3, third));
    let fourth = stage.shop.order(LATE + 6, place(4, "a", 1));
    stage.pay(LATE + 7, "p4", fourth, 100);
    // The other is taken back, and nobody else may have it.
    stage.refund(LATE + 8, 1, false);
    stage.shipped();
    assert_eq!(stage.owners(), "1:4 2:1");
    assert_eq!(stage.rows("SELECT available, held, sold FROM sku_stock WHERE sku_id = 'a'"), [["0", "0", "2"]]);
}

#[test]
fn a_hold_that_is_found_to_have_lapsed_by_its_payment_keeps_its_units() {
    let Some(mut stage) = Stage::set() else { return };
    let order = stage.shop.order(START, place(1, "b", 3));
    stage.shipped();
    stage.pay(LATE + 1, "late", order, 300);
    assert_eq!(stage.shop.entries.len(), 4, "it expires and is paid for in one command");
    stage.shipped();
    assert_eq!(stage.rows("SELECT count(*), sum(live) FROM order_slots"), [["3", "3"]]);
    assert_eq!(
        stage.rows("SELECT state, ended_at_ms, seq FROM orders"),
        [["paid".to_owned(), (LATE + 1).to_string(), "4".to_owned()]]
    );
    // Expired, paid late, refunded and paid back, all in one batch.
    let order = stage.shop.order(LATE + 2, place(2, "b", 2));
    stage.shipped();
    let at = LATE + 2 + WINDOW;
    stage.pay(at, "late-2", order, 200);
    stage.refund(at + 1, order, true);
    stage.pay_back(at + 2, "late-2");
    stage.shipped();
    assert_eq!(stage.rows("SELECT available, held, sold FROM sku_stock WHERE sku_id = 'b'"), [["6", "0", "3"]]);
    let told =
        format!("{{\"order_id\":\"{}\",\"payment_id\":\"late-2\",\"restock\":true}}", OrderId::new(SHARD, order));
    assert_eq!(
        stage.rows("SELECT action, definition FROM operator_actions WHERE action LIKE 'refund%' ORDER BY seq"),
        [["refund".to_owned(), told], ["refund_done".to_owned(), "{\"payment_id\":\"late-2\"}".to_owned()]]
    );
}

/// The tables as an earlier version left them, with rows: what is missing is made, what is there stays.
#[test]
fn an_older_database_is_brought_up_to_date() {
    let Some(mut stage) = Stage::set() else { return };
    let order = stage.shop.order(START, place(1, "b", 1));
    stage.shop.order(START, place(2, "b", 2));
    stage.shipped();
    let before = stage.rows("SELECT * FROM orders ORDER BY order_id");
    stage.maria.execute("USE shop; DROP TABLE payments, red_packet_rounds, red_packet_grabs; DELETE FROM _sqlx_migrations WHERE version > 1");
    stage.open("it can be brought up to date");
    assert_eq!(stage.rows("SELECT * FROM orders ORDER BY order_id"), before);
    let noted = "SELECT version, description, success FROM _sqlx_migrations ORDER BY version";
    assert_eq!(stage.rows(noted), [["1", "orders", "1"], ["2", "payments", "1"], ["3", "red packets", "1"]]);
    stage.pay(START + 1, "p1", order, 100);
    stage.shipped();

    // A crash in the middle of the second leaves it noted as not done.
    stage.maria.execute("USE shop; UPDATE _sqlx_migrations SET success = FALSE WHERE version > 1");
    stage.open("it may run twice");
    assert_eq!(stage.rows(noted), [["1", "orders", "1"], ["2", "payments", "1"], ["3", "red packets", "1"]]);
    assert_eq!(stage.rows("SELECT payment_id FROM payments"), [["p1"]]);
    stage.refund(START + 2, order, true);
    stage.shipped();
    // One of a later version, cut in the middle, is not ours to run.
    stage.maria.execute(
        "USE shop; INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (999, 'later', FALSE, '', 0)",
    );
    let refused = open(&stage.runtime, &stage.maria).map(drop).expect_err("it is of a later version");
    assert!(matches!(refused, Error::Newer), "{refused}");
    assert_eq!(stage.rows("SELECT version FROM _sqlx_migrations WHERE success = FALSE"), [["999"]]);
}

#[test]
fn orders_are_read_back_with_their_payments() {
    let Some(mut stage) = Stage::set() else { return };
    let orders: Vec<u32> = (1..=5).map(|_| stage.shop.order(START, place(1, "b", 1))).collect();
    let [_, paid, kept, restocked, late] = orders[..] else { panic!("five") };
    for (order, payment_id) in [(paid, "z"), (kept, "k"), (restocked, "r")] {
        stage.pay(START + 1, payment_id, order, 100);
    }
    stage.pay(START + 2, "a-second", paid, 100);
    stage.refund(START + 3, kept, false);
    stage.refund(START + 4, restocked, true);
    stage.pay_back(START + 5, "r");
    stage.shop.must(START + 6, cancel(1, late));
    stage.pay(START + 7, "wrong", late, 99);
    // It came when the order was not in memory any more: it is not the shard's.
    stage.suspend(START + 8, "later", &OrderId::new(SHARD, paid).to_string());
    stage.shipped();

    let mut read_back = ReadBack::new(target(&stage.maria));
    let wanted = Wanted {
        shard: SHARD,
        user: Some(UserId(1)),
        state: None,
        key: None,
        beyond: None,
        newest_first: false,
        limit: 9,
    };
    let all = stage.runtime.block_on(read_back.orders(wanted)).expect("MySQL is there");
    assert_eq!(all.len(), orders.len());
    for (number, found) in orders.iter().zip(&all) {
        let view = stage.shop.sale.order(*number).expect("it was placed");
        let slots: Vec<u32> = view.slots.iter().collect();
        assert_eq!((found.row.order_id, found.row.state, &found.row.slots), (view.order_id, view.state, &slots));
        let told = |(row, view): (_, &_)| assert_same(row, view);
        assert_eq!(found.payments.len(), view.payments.len(), "{found:?}");
        found.payments.iter().zip(&view.payments).for_each(told);
        let one = stage.runtime.block_on(read_back.order(found.row.order_id)).expect("MySQL is there");
        assert_eq!(one.map(|one| (one.row, one.payments)), Some((found.row.clone(), found.payments.clone())));
    }
    let ids: Vec<&str> = all[1].payments.iter().map(|payment| &*payment.payment_id).collect();
    assert_eq!(ids, ["z", "a-second"], "oldest first");
    let live = |found: &[Found]| found.iter().map(|found| found.row.live).collect::<Vec<_>>();
    assert_eq!(live(&all), [true, true, true, false, false]);

    let wanted = Wanted { state: Some(OrderState::Paid), newest_first: true, ..wanted };
    let all = stage.runtime.block_on(read_back.orders(wanted)).expect("MySQL is there");
    let found: Vec<_> = all.iter().map(|found| (found.row.order_id.sequence(), found.row.state)).collect();
    assert_eq!(found, [(Some(paid), OrderState::Paid)]);
    // What an activity was is its definition still, and no refund's.
    let left = stage.runtime.block_on(read_back.activity(domain::ACTIVITY)).expect("MySQL is there");
    assert_eq!(&left.expect("it is there").definition, stage.shop.sale.definition());
}

#[track_caller]
fn assert_same(row: &doorbuster::persist::mysql::rows::PaymentRow, view: &doorbuster::domain::PaymentView) {
    assert_eq!((&row.payment_id, row.number, row.order_id), (&view.payment_id, view.number, view.order_id));
    assert_eq!((&row.named, row.amount_cents, &row.currency), (&view.named, view.amount_cents, &view.currency));
    assert_eq!((row.state, row.why, row.reacquired), (view.state, view.why, view.reacquired));
    let times = (view.received_at_ms, view.due_at_ms, view.done_at_ms);
    assert_eq!((row.received_at_ms, row.due_at_ms, row.done_at_ms), times);
}

/// What somebody changed by hand is noticed where the next event wants it, and nothing of the batch is written.
#[test]
fn a_payment_that_is_not_there_or_stands_otherwise_stops_shipping() {
    let Some(mut stage) = Stage::set() else { return };
    let order = stage.shop.order(START, place(1, "b", 1));
    stage.pay(START + 1, "p1", order, 100);
    stage.shipped();
    stage.refund(START + 2, order, true);
    let refused = |stage: &mut Stage, spoil: &str, mend: &str, words: &str| {
        let shipped = stage.shipped;
        stage.maria.execute(&format!("USE shop; {spoil}"));
        let error = stage.ship().expect_err("the rows are not what the event wants");
        assert!(error.to_string().contains(words), "{spoil}: {error}");
        stage.maria.execute(&format!("USE shop; {mend}"));
        stage.open("MySQL is there");
        assert_eq!(stage.session.as_ref().map(Session::cursor).map(|tail| tail.seq), Some(Seq(shipped as u64)));
        stage.shipped = shipped;
    };
    refused(
        &mut stage,
        "CREATE TABLE kept AS SELECT * FROM payments; DELETE FROM payments",
        "INSERT INTO payments SELECT * FROM kept",
        "0 of 1 rows of `payments` are there",
    );
    refused(
        &mut stage,
        "UPDATE payments SET payment_state = 'refund_due', reason = 'late', due_at_ms = 1",
        "UPDATE payments SET payment_state = 'applied', reason = NULL, due_at_ms = NULL",
        "a payment changes as it cannot",
    );
    refused(
        &mut stage,
        "UPDATE orders SET state = 'held'",
        "UPDATE orders SET state = 'paid'",
        "0 of 1 rows of `orders` are there",
    );
    refused(
        &mut stage,
        "UPDATE order_slots SET live = NULL",
        "UPDATE order_slots SET live = 1",
        "0 of 1 rows of `order_slots` are there",
    );
    stage.shipped();
    assert_eq!(stage.suspense.payments_from(1).count(), 0);
    let state = stage.shop.sale.payment(1).map(|payment| payment.state);
    assert_eq!(state, Some(PaymentState::RefundDue));
}

/// The last line of defence: `(what, the statement's values, by which the server refuses it)`.
#[test]
fn the_table_itself_refuses_what_cannot_be() {
    let Some(mut stage) = Stage::set() else { return };
    stage.suspend(START, "there", "nothing");
    stage.shipped();
    let sound = [
        ("payment_id", "'new'"),
        ("owner_shard", "7"),
        ("number", "1"),
        ("order_id", "1"),
        ("order_named", "'1'"),
        ("activity_id", "17"),
        ("amount_cents", "1"),
        ("currency", "'CNY'"),
        ("payment_state", "'refunded'"),
        ("reason", "'late'"),
        ("reacquired", "0"),
        ("received_at_ms", "1"),
        ("due_at_ms", "1"),
        ("done_at_ms", "1"),
        ("received_seq", "5"),
        ("seq", "5"),
    ];
    let insert = |changed: &[(&str, &str)]| {
        let value = |(column, value): &(&str, &'static str)| {
            let other = changed.iter().find(|(name, _)| name == column);
            other.map_or((*value).to_owned(), |(_, other)| (*other).to_owned())
        };
        let names: Vec<&str> = sound.iter().map(|(column, _)| *column).collect();
        let values: Vec<String> = sound.iter().map(value).collect();
        let sql = format!("INSERT INTO payments ({}) VALUES ({})", names.join(", "), values.join(", "));
        mysql::ask(&stage.maria.url("shop"), &sql).map(drop)
    };
    for changed in [
        &[("payment_id", "'there'")][..],
        &[("owner_shard", "0"), ("activity_id", "NULL")],
        &[("payment_state", "'paid'")],
        &[("payment_state", "'applied'")],
        &[("payment_state", "'refund_due'")],
        &[("due_at_ms", "NULL")],
        &[("reason", "NULL")],
        &[("done_at_ms", "NULL")],
        &[("reacquired", "2")],
        &[("activity_id", "NULL")],
        &[("owner_shard", "0"), ("number", "9")],
        &[("number", "0")],
        &[("seq", "4")],
    ] {
        let refused = insert(changed).expect_err("it cannot be");
        let sqlx::Error::Database(said) = &refused else { panic!("{changed:?}: {refused}") };
        assert!(["23000", "1062"].contains(&said.code().unwrap_or_default().as_ref()), "{changed:?}: {said}");
    }
    insert(&[]).expect("and what can be is taken");
    // An id is told from another by its case.
    insert(&[("payment_id", "'THERE'"), ("number", "2")]).expect("it is another");
    assert_eq!(stage.rows("SELECT count(*) FROM payments"), [["3"]]);
    assert_eq!(ShardId(0), Suspense::SHARD);
}
