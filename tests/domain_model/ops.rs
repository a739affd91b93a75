//! What can happen. Small numbers, resolved against the state, so that collisions are frequent and shrinking works.

use doorbuster::domain::command::Source;
use doorbuster::domain::event::Switch;
use proptest::prelude::*;

pub const SKUS: [&str; 5] = ["a", "b", "c", "d", "none"];

#[derive(Clone, Debug)]
pub struct Step {
    pub jump: Jump,
    pub op: Op,
}

#[derive(Clone, Copy, Debug)]
pub enum Jump {
    Stay,
    By(u64),
    /// To just before, at or just after the next deadline.
    Deadline(i64),
    Start(i64),
    End(i64),
}

#[derive(Clone, Debug)]
pub enum Op {
    Place {
        user: u64,
        sku: usize,
        quantity: i64,
        key: Option<u8>,
        reference: Option<u8>,
    },
    Cancel {
        user: u64,
        order: u32,
        key: Option<u8>,
    },
    /// The newest order of all, by its owner: what a random number seldom hits.
    CancelNewest {
        key: Option<u8>,
    },
    /// For an order of that number, or for the newest of all, which a random number seldom hits.
    Pay {
        payment: u8,
        order: Option<u32>,
        amount: i64,
        foreign: bool,
        may_wait: bool,
    },
    /// Takes a paid order back: the `nth` of those that are paid, or any order.
    Refund {
        nth: usize,
        any: bool,
        restock: bool,
        keys: Option<(u8, u8)>,
    },
    /// Pays back what is owed: the `nth` of those, or any payment.
    PayBack {
        nth: usize,
        any: bool,
        keys: Option<(u8, u8)>,
    },
    Expire,
    Redefine {
        edits: Vec<Edit>,
        from: Source,
        version: Option<i64>,
        keys: Option<(u8, u8)>,
    },
    AddStock {
        sku: usize,
        add: i64,
        keys: Option<(u8, u8)>,
    },
    Switch {
        to: Switch,
        keys: Option<(u8, u8)>,
    },
    Restart,
}

#[derive(Clone, Debug)]
pub enum Edit {
    Title(u8),
    Currency,
    Shards,
    Start(i64),
    End(i64),
    Limit(u32),
    Window(u64),
    Late(bool),
    Shared(bool),
    Price(usize, u64),
    SkuTitle(usize, u8),
    Stock(usize, u32),
    StockBy(usize, i64),
    StockHuge(usize),
    AddSku(usize, u32),
    DropSku(usize),
    Swap,
}

pub fn edit() -> impl Strategy<Value = Edit> {
    let sku = || 0..4usize;
    prop_oneof![
        2 => (0..3u8).prop_map(Edit::Title),
        1 => Just(Edit::Currency),
        1 => Just(Edit::Shards),
        2 => (-300..300i64).prop_map(Edit::Start),
        2 => (-300..3000i64).prop_map(Edit::End),
        3 => (1..6u32).prop_map(Edit::Limit),
        4 => prop::sample::select(vec![1, 20, 100, 500]).prop_map(Edit::Window),
        1 => any::<bool>().prop_map(Edit::Late),
        1 => any::<bool>().prop_map(Edit::Shared),
        3 => (sku(), 1..4u64).prop_map(|(sku, price)| Edit::Price(sku, price)),
        1 => (sku(), 0..3u8).prop_map(|(sku, title)| Edit::SkuTitle(sku, title)),
        4 => (sku(), 0..8u32).prop_map(|(sku, stock)| Edit::Stock(sku, stock)),
        6 => (sku(), -4..5i64).prop_map(|(sku, by)| Edit::StockBy(sku, by)),
        1 => sku().prop_map(Edit::StockHuge),
        5 => (sku(), 0..6u32).prop_map(|(sku, stock)| Edit::AddSku(sku, stock)),
        3 => sku().prop_map(Edit::DropSku),
        1 => Just(Edit::Swap),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    let key = || prop::option::weighted(0.4, 0..6u8);
    let keys = || prop::option::weighted(0.2, (0..4u8, 0..2u8));
    let quantity = prop::sample::select(vec![1, 1, 1, 1, 2, 2, 3, 0, -1, 1_001, i64::MAX, i64::MIN, 1 << 32]);
    let reference = prop::option::weighted(0.2, 0..2u8);
    let source = prop_oneof![2 => Just(Source::Put), 3 => Just(Source::Catalog)];
    let to = prop_oneof![10 => Just(Switch::Paused), 20 => Just(Switch::Resumed), 1 => Just(Switch::Closed)];
    prop_oneof![
        40 => (0..5u64, 0..SKUS.len(), quantity, key(), reference)
            .prop_map(|(user, sku, quantity, key, reference)| Op::Place { user, sku, quantity, key, reference }),
        8 => (0..5u64, 0..40u32, key()).prop_map(|(user, order, key)| Op::Cancel { user, order, key }),
        8 => key().prop_map(|key| Op::CancelNewest { key }),
        24 => (0..90u8, prop::option::weighted(0.7, 1..40u32), prop::sample::select(vec![0, 0, 0, 0, 0, 0, 1, -1]),
            prop::bool::weighted(0.05), any::<bool>())
            .prop_map(|(payment, order, amount, foreign, may_wait)| Op::Pay { payment, order, amount, foreign, may_wait }),
        3 => (0..40usize, prop::bool::weighted(0.3), any::<bool>(), keys())
            .prop_map(|(nth, any, restock, keys)| Op::Refund { nth, any, restock, keys }),
        6 => (0..40usize, prop::bool::weighted(0.3), keys()).prop_map(|(nth, any, keys)| Op::PayBack { nth, any, keys }),
        8 => Just(Op::Expire),
        16 => (prop::collection::vec(edit(), 0..4), source, prop::option::weighted(0.2, -1..=1i64), keys())
            .prop_map(|(edits, from, version, keys)| Op::Redefine { edits, from, version, keys }),
        4 => (0..SKUS.len(), prop::sample::select(vec![1, 2, 3, 0, -1, i64::MAX, 100_000_001]), keys())
            .prop_map(|(sku, add, keys)| Op::AddStock { sku, add, keys }),
        4 => (to, keys()).prop_map(|(to, keys)| Op::Switch { to, keys }),
        2 => Just(Op::Restart),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    let jump = prop_oneof![
        120 => Just(Jump::Stay),
        60 => (1..40u64).prop_map(Jump::By),
        12 => (-1..=1i64).prop_map(Jump::Deadline),
        4 => (-1..=1i64).prop_map(Jump::Start),
        1 => (-1..=1i64).prop_map(Jump::End),
    ];
    (jump, op()).prop_map(|(jump, op)| Step { jump, op })
}
