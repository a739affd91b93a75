//! A sale, its model and its auditor side by side, through commands, time jumps and restarts.

use std::collections::BTreeSet;

use crate::domain::*;
use doorbuster::domain::audit::{Auditor, Keep};
use doorbuster::domain::command::{CancelOrder, CloseRefund, Command, PlaceOrder, Redefine, RefundOrder, Source};
use doorbuster::domain::definition::{OnLatePayment, SkuDefinition};
use doorbuster::domain::{Definition, Event, OrderState, PaymentState, Refusal};
use doorbuster::ids::{Cents, Qty, Seq, UserId};

use crate::model::*;
use crate::ops::*;
use crate::payments::ModelPayment;

pub struct World {
    pub shop: Shop,
    pub model: Model,
    pub auditor: Auditor,
    pub observed: u64,
    /// The catalogue's file: edited whether or not its last reload was accepted.
    pub file: Definition,
    pub now: u64,
    pub change_id: u64,
}

impl World {
    pub fn new(from_catalog: bool) -> Self {
        let first = with(|definition| definition.payment_window_ms = 100);
        let shop = Shop::open(first.clone(), from_catalog);
        let model = Model::new(first.clone(), from_catalog);
        let mut world = Self {
            shop,
            model,
            auditor: Auditor::new(Keep::Standing),
            observed: 0,
            file: first,
            now: 990,
            change_id: 1,
        };
        world.check();
        world
    }

    pub fn step(&mut self, step: &Step) {
        self.jump(step.jump);
        if let Op::Restart = step.op {
            self.restart();
        } else {
            let command = self.command(&step.op);
            self.run(&command);
        }
        self.check();
    }

    pub fn jump(&mut self, jump: Jump) {
        let definition = &self.model.definition;
        let next_deadline = self.shop.sale.next_deadline().map_or(self.now, |at| at.0);
        let to = match jump {
            Jump::Stay => self.now,
            Jump::By(ms) => self.now + ms,
            Jump::Deadline(by) => next_deadline.saturating_add_signed(by),
            Jump::Start(by) => definition.starts_at_ms.0.saturating_add_signed(by),
            Jump::End(by) => definition.ends_at_ms.0.saturating_add_signed(by),
        };
        self.now = self.now.max(to);
    }

    pub fn command(&mut self, op: &Op) -> Command {
        self.change_id += 1;
        match op.clone() {
            Op::Place { user, sku, quantity, key: name, reference } => Command::PlaceOrder(PlaceOrder {
                key: name.map(key),
                reference: reference.map(|n| n.to_string().into()),
                ..place(user, SKUS[sku], quantity)
            }),
            Op::Cancel { user, order, key: name } => {
                Command::CancelOrder(CancelOrder { key: name.map(key), ..cancel(user, order) })
            }
            Op::CancelNewest { key: name } => {
                let (number, user) = self.model.numbered().last().map_or((1, 0), |(n, order)| (n, order.user.0));
                Command::CancelOrder(CancelOrder { key: name.map(key), ..cancel(user, number) })
            }
            Op::Expire => Command::ExpireHolds,
            Op::Pay { payment, order, amount, foreign, may_wait } => {
                let order = order.unwrap_or(u32::try_from(self.model.orders.len()).expect("few orders"));
                let known = order.checked_sub(1).and_then(|place| self.model.orders.get(place as usize));
                let cents = known.map_or(0, |order| order.amount).saturating_add_signed(amount);
                let mut pay = pay(&format!("pay-{payment}"), order, cents);
                pay.may_wait = may_wait;
                if foreign {
                    pay.currency = "EUR".into();
                }
                Command::PayOrder(Box::new(pay))
            }
            Op::Refund { nth, any, restock, keys } => {
                let wanted = |order: &ModelOrder| any || order.state == OrderState::Paid;
                let paid: Vec<u32> =
                    self.model.numbered().filter(|(_, order)| wanted(order)).map(|(number, _)| number).collect();
                let order = if paid.is_empty() { 77 } else { paid[nth % paid.len()] };
                Command::RefundOrder(RefundOrder { order, restock, request: request(self.change_id, keys) })
            }
            Op::PayBack { nth, any, keys } => {
                let due = self.model.payments.iter().filter(|payment| any || payment.state == PaymentState::RefundDue);
                let due: Vec<&ModelPayment> = due.collect();
                let payment_id = if due.is_empty() { "no such".into() } else { due[nth % due.len()].id.clone() };
                Command::CloseRefund(CloseRefund { payment_id, request: request(self.change_id, keys) })
            }
            Op::Redefine { edits, from, version, keys } => {
                let mut definition = match from {
                    Source::Put => self.model.definition.clone(),
                    Source::Catalog => self.file.clone(),
                };
                edits.iter().for_each(|edit| apply_edit(&mut definition, edit, self.now));
                if from == Source::Catalog {
                    self.file = definition.clone();
                    // The naive model lists every slot: a stock just below the bound is none for it.
                    self.file.skus.iter_mut().filter(|sku| sku.stock.0 > 1_000).for_each(|sku| sku.stock = Qty(5));
                }
                let if_version = version.map(|by| self.model.version.saturating_add_signed(by));
                Command::Redefine(Redefine {
                    definition,
                    from,
                    seeds: Vec::new(),
                    if_version,
                    request: request(self.change_id, keys),
                })
            }
            Op::AddStock { sku, add, keys } => {
                let mut add = restock(SKUS[sku], add);
                add.request = request(self.change_id, keys);
                Command::AddStock(add)
            }
            Op::Switch { to, keys } => {
                let mut switch = switch(to);
                switch.request = request(self.change_id, keys);
                Command::SwitchSale(switch)
            }
            Op::Restart => unreachable!("a restart is no command"),
        }
    }

    pub fn run(&mut self, command: &Command) {
        let expected = self.model.expect(self.now, command);
        let before = self.shop.entries.len();
        let got = self.shop.run(self.now, command.clone());
        let explain = || format!("at {} {command:?}: expected {expected:?}, got {got:?}", self.now);
        match (&expected, &got) {
            (Expected::Refused(any), Err(refusal)) => {
                assert!(any.contains(refusal), "{}", explain());
                // A file that can never be applied again would keep every later reload from being tried.
                if matches!(refusal, Refusal::TooLarge { .. } | Refusal::ImmutableField { .. }) {
                    self.file = self.model.base.clone().unwrap_or_else(|| self.model.definition.clone());
                }
            }
            (Expected::Nothing { order, replayed }, Ok(decision)) => {
                assert!(decision.events.is_empty(), "{}", explain());
                assert_eq!((decision.order, decision.replayed), (*order, *replayed), "{}", explain());
            }
            (Expected::Known { payment, replayed }, Ok(decision)) => {
                assert!(decision.events.is_empty(), "{}", explain());
                assert_eq!((decision.payment, decision.replayed), (Some(*payment), *replayed), "{}", explain());
            }
            (Expected::Payment(paid), Ok(decision)) => {
                assert_eq!(decision.events.len(), 1 + usize::from(paid.lapsed), "{}", explain());
                let number = u32::try_from(self.model.payments.len()).expect("few payments") + 1;
                assert_eq!((decision.payment, decision.replayed), (Some(number), false), "{}", explain());
                let events: Vec<Event> = self.shop.entries[before..].iter().map(|entry| entry.event.clone()).collect();
                events.iter().for_each(|event| self.model.follow(self.now, command, event));
                assert_eq!(self.model.payments[number as usize - 1].does(), *paid, "{}", explain());
            }
            (Expected::Event, Ok(decision)) => {
                assert_eq!((decision.events.len(), decision.replayed), (1, false), "{}", explain());
                let event = self.shop.entries[before].event.clone();
                self.model.follow(self.now, command, &event);
                let number = matches!(command, Command::PlaceOrder(_)).then_some(self.shop.sale.orders_placed());
                if number.is_some() {
                    assert_eq!(decision.order, number);
                }
            }
            _ => panic!("{}", explain()),
        }
    }

    pub fn restart(&mut self) {
        let again = self.shop.restart();
        assert!(again.sale == self.shop.sale, "the journal gives the same state");
        self.shop = again;
        self.auditor = Auditor::new(Keep::Standing);
        self.observed = 0;
    }

    /// Everything that can be seen of the sale is as the model has it, and the auditor finds nothing.
    pub fn check(&mut self) {
        let (sale, model) = (&self.shop.sale, &self.model);
        assert_eq!(sale.phase(ms(self.now)), model.phase(self.now));
        assert_eq!((sale.is_paused(), sale.is_closed()), (model.paused, model.closed));
        assert_eq!((sale.version(), sale.definition()), (model.version, &model.definition));

        let counts = sale.counts();
        assert_eq!(counts.len(), model.definition.skus.len());
        for (count, sku) in counts.iter().zip(&model.definition.skus) {
            let held = u32::try_from(model.held_slots(&sku.sku_id).len()).expect("the model's stocks are small");
            assert_eq!((&count.sku_id, count.stock, count.held.0), (&sku.sku_id, sku.stock, held));
            let sold = u32::try_from(model.sold_slots(&sku.sku_id).len()).expect("the model's stocks are small");
            assert_eq!((count.available.0, count.sold.0), (model.free(&sku.sku_id), sold));
        }

        assert_eq!(sale.orders_placed() as usize, model.orders.len());
        for (view, (number, order)) in sale.orders_from(1).zip(model.numbered()) {
            assert_eq!((view.order_id, view.user), (sale.order_id(number), order.user));
            assert_eq!((&view.sku_id, view.state), (&order.sku, order.state), "order {number}");
            assert_eq!(view.slots.iter().collect::<BTreeSet<_>>(), order.slots);
            assert_eq!((view.quantity.0 as usize, view.amount_cents.0), (order.slots.len(), order.amount));
            assert_eq!((view.held_at_ms.0, view.expires_at_ms.0), (order.held_at, order.expires_at));
            assert_eq!(view.reference, order.reference);
            model.assert_shows(number, &view.payments);
        }
        assert!(sale.payments_from(1).map(|shown| shown.payment_id).eq(model.payments.iter().map(|p| p.id.clone())));
        assert_eq!(sale.owes(), model.payments.iter().any(|payment| payment.state == PaymentState::RefundDue));
        for user in (0..5).map(UserId) {
            let own = model.numbered().filter(|(_, order)| order.user == user);
            let mut own: Vec<_> = own.map(|(number, _)| sale.order_id(number)).collect();
            own.reverse();
            assert_eq!(sale.orders_of(user).map(|view| view.order_id).collect::<Vec<_>>(), own, "newest first");
        }
        let held = model.orders.iter().filter(|order| order.state == OrderState::Held);
        assert_eq!(sale.next_deadline().map(|at| at.0), held.map(|order| order.expires_at).min());

        for entry in &self.shop.entries[usize::try_from(self.observed).expect("few events")..] {
            self.observed += 1;
            self.auditor.observe(Seq(self.observed), entry);
        }
        assert!(self.auditor.report().holds(), "{:?}", self.auditor.report());
    }
}

pub fn apply_edit(definition: &mut Definition, edit: &Edit, now: u64) {
    let mut sku = |place: usize, change: &dyn Fn(&mut SkuDefinition)| {
        definition.skus.iter_mut().filter(|sku| sku.sku_id.as_str() == SKUS[place]).for_each(change);
    };
    match *edit {
        Edit::Price(place, price) => sku(place, &|sku| sku.price_cents = Cents(price)),
        Edit::SkuTitle(place, title) => sku(place, &|sku| sku.title = title.to_string()),
        Edit::Stock(place, stock) => sku(place, &|sku| sku.stock = Qty(stock)),
        Edit::StockBy(place, by) => sku(place, &|sku| {
            let stock = (i64::from(sku.stock.0) + by).max(0);
            sku.stock = Qty(u32::try_from(stock).expect("the model's stocks are small"));
        }),
        Edit::StockHuge(place) => sku(place, &|sku| sku.stock = Qty(200_000_000)),
        Edit::Title(n) => definition.title = n.to_string(),
        Edit::Currency => definition.currency = "EUR".to_owned(),
        Edit::Shards => definition.shards += 1,
        Edit::Start(by) => definition.starts_at_ms = ms(now.saturating_add_signed(by)),
        Edit::End(by) => definition.ends_at_ms = ms(now.saturating_add_signed(by)),
        Edit::Limit(n) => definition.per_user_limit = Qty(n),
        Edit::Window(n) => definition.payment_window_ms = n,
        Edit::Late(refund) => {
            definition.on_late_payment = if refund { OnLatePayment::Refund } else { OnLatePayment::ReacquireOrRefund };
        }
        Edit::Shared(shared) => definition.shared_sku = shared,
        Edit::AddSku(place, stock) => {
            if definition.sku(&sku_id(SKUS[place])).is_none() {
                definition.skus.push(crate::domain::sku(SKUS[place], stock));
            }
        }
        Edit::DropSku(place) => definition.skus.retain(|sku| sku.sku_id.as_str() != SKUS[place]),
        Edit::Swap => definition.skus.reverse(),
    }
}
