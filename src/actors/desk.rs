//! The operators' desk: every definition of an activity, one at a time over the whole process, so that rules which span
//! activities (one SKU in one sale at a time) are checked against what stands and not against what is on its way. A
//! pause or a restock spans nothing and does not wait for a long reload.
//!
//! A change of a live sale is decided by its shard like any command; the desk only brings it there. A new activity's
//! first event is written by the desk, and its actor starts when that event is durable.

mod ledger;
mod shop;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use self::ledger::Ledger;
pub use self::shop::Made;
use self::shop::Shops;
use super::ask::{Answer, Changed, Operation, Reason, Refused, Unavailable};
use super::catalog_source::{CatalogSource, Unread};
use super::door::Door;
use super::house::Nursery;
use super::router::Router;
use crate::catalog;
use crate::clock;
use crate::domain::command::{AddStock, CloseRefund, Redefine, RefundOrder, Request, RequestKey, Source, SwitchSale};
use crate::domain::event::{ActivityDefined, Author, Switch};
use crate::domain::split::Seed;
use crate::domain::{Definition, Phase, Refusal, Sales};
use crate::faults::Fault;
use crate::ids::{ActivityId, OrderId, Seq, ShardId, SkuId};

/// Activities that are asked to leave memory in one go.
const RETIRED_AT_ONCE: usize = 64;

/// Where operators' changes are made. Cheap to clone; all clones are the same desk.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    router: Router,
    /// Beside the ledger: a pause takes a number without waiting for a definition.
    last_change_id: AtomicU64,
    catalog: CatalogSource,
    ledger: Mutex<Ledger>,
    /// Held from the reading of the catalogue to the end of applying it: of two reloads, the later reading is applied
    /// later.
    reload: Mutex<()>,
}

/// Who asks for a change, and by what key.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// Who.
    pub author: Author,
    /// The request's idempotency key.
    pub key: Option<RequestKey>,
}

/// Which version the caller insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// Whatever stands, but something must.
    Any,
    /// This one.
    Version(u64),
    /// None that could stand: the header named no version of ours.
    Never,
}

/// A definition that somebody wants to stand.
#[derive(Clone, Debug)]
pub struct Put {
    /// Of which activity.
    pub activity_id: ActivityId,
    /// What it should be.
    pub definition: Definition,
    /// How to read the definition.
    pub from: Source,
    /// Which version the caller insists on.
    pub if_match: Option<IfMatch>,
    /// Whether to say what would happen and leave it at that.
    pub dry_run: bool,
}

/// What a reload of one activity came to.
#[derive(Debug)]
pub enum Reloaded {
    /// It was read; this is what the shard made of it.
    Read(Answer),
    /// It could not be read: nothing changed.
    Faulty(Vec<Fault>),
    /// The catalogue has no such entry: nothing changed.
    Absent,
    /// The catalogue is out of reach: nothing changed.
    Unread(Unread),
}

/// What a reload of all came to: each activity that the catalogue has, and what is wrong beside them.
pub type ReloadedAll = (Vec<(ActivityId, Reloaded)>, Vec<Fault>);

impl Reloaded {
    /// What is wrong with the catalogue's entry, in words; `None` where it stands as it says.
    fn fault(&self) -> Option<String> {
        match self {
            Self::Faulty(faults) => {
                let faults: Vec<String> = faults.iter().map(Fault::in_one_line).collect();
                Some(faults.join("; "))
            }
            // Nothing will ever change in a closed activity: its file may say what it likes.
            Self::Read(Answer::Refused(Refused { reason: Reason::Rule(Refusal::ActivityClosed), .. })) => None,
            Self::Read(Answer::Refused(Refused { reason: Reason::Rule(refusal), .. })) => {
                Some(format!("{}: {refusal}", refusal.code()))
            }
            // Not the entry's fault, but the server's at that moment.
            Self::Read(_) | Self::Absent | Self::Unread(_) => None,
        }
    }
}

impl Desk {
    pub(super) fn open(router: Router, catalog: CatalogSource, recovered: &Sales) -> Self {
        let mut ledger = Ledger {
            nursery: None,
            last_shard: recovered.last_shard(),
            activities_of_sku: HashMap::new(),
            shops: Shops::of(recovered),
        };
        for sale in recovered.iter() {
            ledger.note_skus(sale.activity_id(), sale.definition());
        }
        let last_change_id = AtomicU64::new(recovered.last_change_id());
        Self(Arc::new(Inner { router, last_change_id, catalog, ledger: Mutex::new(ledger), reload: Mutex::default() }))
    }

    pub(super) fn with(mut self, nursery: Nursery) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("the desk was just made and not yet shared");
        inner.ledger.get_mut().nursery = Some(nursery);
        self
    }

    /// Defines or redefines an activity.
    pub async fn put(&self, put: Put, by: By) -> Answer {
        let desk = self.clone();
        to_the_end(async move {
            let mut ledger = desk.0.ledger.lock().await;
            desk.put_locked(&mut ledger, put, by).await
        })
        .await
    }

    /// Adds units to a SKU.
    pub async fn add_stock(&self, activity_id: ActivityId, sku: SkuId, add: i64, by: By) -> Answer {
        let request = self.request(by);
        let operation = Operation::AddStock(AddStock { sku, add, request });
        self.0.router.change(activity_id, operation).await
    }

    /// Pauses, resumes or closes a sale.
    pub async fn switch(&self, activity_id: ActivityId, to: Switch, by: By) -> Answer {
        let request = self.request(by);
        let operation = Operation::Switch(SwitchSale { to, request });
        self.0.router.change(activity_id, operation).await
    }

    /// Takes a paid order back; its payment is owed back.
    pub async fn refund(&self, order_id: OrderId, restock: bool, by: By) -> Answer {
        let request = self.request(by);
        self.0.router.refund(order_id, |order| RefundOrder { order, restock, request }).await
    }

    /// Notes that a payment was paid back.
    pub async fn close_refund(&self, payment_id: Box<str>, by: By) -> Answer {
        let request = self.request(by);
        self.0.router.close_refund(CloseRefund { payment_id, request }).await
    }

    /// Lets activities leave memory that ended so long ago at least and in which nothing can happen any more; their orders
    /// stay answerable, from the journal. A few at a time: the rest is for the next call. Gives how many left.
    pub async fn retire_ended(&self, retain_ms: u64) -> usize {
        let desk = self.clone();
        to_the_end(async move {
            let mut left = 0;
            for activity_id in desk.0.router.settled(retain_ms, RETIRED_AT_ONCE) {
                // No definition is on its way to it meanwhile.
                let mut ledger = desk.0.ledger.lock().await;
                let journal = ledger.nursery.as_ref().expect("the desk is opened with its nursery").journal().clone();
                if desk.0.router.retire(activity_id, retain_ms, || journal.durable_seq()).await {
                    ledger.forget_skus(activity_id);
                    left += 1;
                }
            }
            left
        })
        .await
    }

    /// Reads one activity afresh from the catalogue and applies what changed there.
    pub async fn reload(&self, activity_id: ActivityId, by: By, dry_run: bool) -> Reloaded {
        let desk = self.clone();
        to_the_end(async move { desk.reload_one(activity_id, by, dry_run).await }).await
    }

    /// Reads the whole catalogue afresh and applies what changed there. A faulty entry is skipped and told; an absent
    /// one is left alone. The faults that concern no single entry come second.
    ///
    /// # Errors
    /// [`Unread`]: nothing changed.
    pub async fn reload_all(&self, by: By, dry_run: bool) -> Result<ReloadedAll, Unread> {
        let desk = self.clone();
        to_the_end(async move { desk.reload_each(by, dry_run).await }).await
    }

    async fn reload_one(&self, activity_id: ActivityId, by: By, dry_run: bool) -> Reloaded {
        let _reload = self.0.reload.lock().await;
        match self.0.catalog.read_one(activity_id).await {
            Err(unread) => Reloaded::Unread(unread),
            Ok(None) => {
                if !dry_run {
                    self.0.router.readiness().set_catalog_fault(activity_id, None);
                }
                Reloaded::Absent
            }
            Ok(Some(definition)) => self.apply_entry(activity_id, definition, by, dry_run).await,
        }
    }

    async fn reload_each(&self, by: By, dry_run: bool) -> Result<ReloadedAll, Unread> {
        let _reload = self.0.reload.lock().await;
        let reading = self.0.catalog.read_all().await?;
        if !dry_run {
            let strays = reading.faults.iter().map(|fault| format!("catalog: {}", fault.in_one_line())).collect();
            let has = |id| reading.entries.binary_search_by_key(&id, |entry| entry.activity_id).is_ok();
            self.0.router.readiness().keep_catalog_faults(has);
            self.0.router.readiness().set_catalog_strays(strays);
        }
        let mut reloaded = Vec::with_capacity(reading.entries.len());
        for entry in reading.entries {
            reloaded
                .push((entry.activity_id, self.apply_entry(entry.activity_id, entry.definition, by, dry_run).await));
        }
        Ok((reloaded, reading.faults))
    }

    /// Applies one entry of the catalogue, and keeps `/readyz` true to what came of it.
    async fn apply_entry(
        &self,
        activity_id: ActivityId,
        definition: Result<Definition, Vec<Fault>>,
        by: By,
        dry_run: bool,
    ) -> Reloaded {
        let outcome = match definition {
            Err(faults) => Reloaded::Faulty(faults),
            Ok(definition) => {
                let put = Put { activity_id, definition, from: Source::Catalog, if_match: None, dry_run };
                let mut ledger = self.0.ledger.lock().await;
                Reloaded::Read(self.put_locked(&mut ledger, put, by).await)
            }
        };
        if !dry_run {
            self.0.router.readiness().set_catalog_fault(activity_id, outcome.fault());
        }
        outcome
    }

    async fn put_locked(&self, ledger: &mut Ledger, put: Put, by: By) -> Answer {
        match self.0.router.door(put.activity_id) {
            // A start must not read everything back that the catalogue still names.
            Some(door) if door.has_left() && put.from == Source::Catalog => self.entry_of_left(&door, &put),
            Some(_) => self.redefine(ledger, put, by).await,
            None if ledger.shops.is_on_its_way(put.activity_id) => {
                let (reason, at_ms) = (Reason::Unavailable(Unavailable::Overloaded), self.0.router.now_ms());
                Answer::Refused(Refused { reason, at_ms, shard: ShardId(0) })
            }
            None => self.define(ledger, put, by).await,
        }
    }

    /// What an entry of the catalogue is worth whose activity has left: nothing, if it says what stands.
    fn entry_of_left(&self, door: &Door, put: &Put) -> Answer {
        let card = door.card();
        if *card.definition != put.definition {
            return self.refuse(Refusal::ActivityClosed);
        }
        Answer::Changed(Box::new(Changed {
            before: Some(Arc::clone(&card.definition)),
            after: Arc::clone(&card.definition),
            version: card.version,
            phase: Phase::Ended,
            paused: false,
            replayed: false,
        }))
    }

    async fn redefine(&self, ledger: &mut Ledger, put: Put, by: By) -> Answer {
        let if_version = match put.if_match {
            None | Some(IfMatch::Any) => None,
            Some(IfMatch::Version(version)) => Some(version),
            Some(IfMatch::Never) => Some(0),
        };
        let seeds = seeds_for(&put.definition);
        let (definition, from) = (put.definition, put.from);
        let redefine = Redefine { definition, from, seeds, if_version, request: self.request(by) };
        let ask = |redefine: Redefine, dry_run| {
            let operation = Operation::Redefine { redefine: Box::new(redefine), dry_run };
            self.0.router.change(put.activity_id, operation)
        };
        // First to see what would stand: a reload's outcome is known only to the shard, and whether it may stand beside
        // the other activities only here.
        let preview = ask(redefine.clone(), true).await;
        let Answer::Changed(changed) = &preview else { return preview };
        if !changed.replayed
            && let Some(refusal) = self.sku_in_use(ledger, put.activity_id, &changed.after)
        {
            return self.refuse(refusal);
        }
        if put.dry_run {
            return preview;
        }
        let answer = ask(redefine, false).await;
        if let Answer::Changed(changed) = &answer {
            ledger.note_skus(put.activity_id, &changed.after);
            // The same plans as the shards have. Those that are new start later: no grab pays for the split.
            split_rounds(Definition::clone(&changed.after)).await;
        }
        answer
    }

    async fn define(&self, ledger: &mut Ledger, mut put: Put, by: By) -> Answer {
        let seeds = seeds_for(&put.definition);
        put.definition = put.definition.planned(None, &seeds, |_| 0);
        if !put.dry_run {
            put.definition = split_rounds(put.definition).await;
        }
        if put.if_match.is_some() {
            return self.refuse(Refusal::VersionConflict { version: 0 });
        }
        if let Some(refusal) = self.sku_in_use(ledger, put.activity_id, &put.definition) {
            return self.refuse(refusal);
        }
        if let Some(refusal) = ledger.lacks_shards(put.definition.shards) {
            return self.refuse(refusal);
        }
        let at_ms = self.0.router.now_ms();
        let phase = Phase::at(at_ms, &put.definition, false, false);
        let after = Arc::new(put.definition);
        let changed =
            Changed { before: None, after: Arc::clone(&after), version: 1, phase, paused: false, replayed: false };
        let answer = Answer::Changed(Box::new(changed));
        if put.dry_run {
            return answer;
        }
        let first = ActivityDefined {
            activity_id: put.activity_id,
            definition: Definition::clone(&after),
            from_catalog: put.from == Source::Catalog,
            change: self.request(by).change(),
            part: None,
        };
        let founding = ledger.found(first, at_ms, answer);
        let answer = founding.durable.answer().await;
        self.open_doors(ledger, put.activity_id, founding.sales, founding.first).await;
        ledger.note_skus(put.activity_id, &after);
        answer
    }

    /// Starts the actors of an activity whose first events are durable.
    async fn open_doors(&self, ledger: &mut Ledger, activity_id: ActivityId, sales: Sales, first: Seq) {
        let nursery = ledger.nursery.as_mut().expect("the desk is opened with its nursery");
        sales.into_activities().for_each(|parts| nursery.start(parts, first));
        self.0.router.settle(activity_id).await;
    }

    /// The first SKU of `definition` that is for sale elsewhere at the same time, unless both say that it is shared.
    fn sku_in_use(&self, ledger: &Ledger, activity_id: ActivityId, definition: &Definition) -> Option<Refusal> {
        let rivals: BTreeSet<ActivityId> = definition
            .skus
            .iter()
            .filter_map(|sku| ledger.activities_of_sku.get(&sku.sku_id))
            .flatten()
            .copied()
            .filter(|rival| *rival != activity_id)
            .collect();
        rivals.into_iter().find_map(|rival| {
            let door = self.0.router.door(rival)?;
            let card = door.card();
            let sku = if card.closed { None } else { catalog::conflict(definition, &card.definition) };
            sku.map(|sku| Refusal::SkuInUse { sku, activity_id: rival })
        })
    }

    fn request(&self, by: By) -> Request {
        let change_id = self.0.last_change_id.fetch_add(1, Ordering::Relaxed) + 1;
        Request { change_id, by: by.author, key: by.key }
    }

    fn refuse(&self, refusal: Refusal) -> Answer {
        let (reason, at_ms) = (Reason::Rule(refusal), self.0.router.now_ms());
        Answer::Refused(Refused { reason, at_ms, shard: ShardId(0) })
    }
}

/// Chance for each round of red packets.
fn seeds_for(definition: &Definition) -> Vec<Seed> {
    let rounds = definition.packets.as_deref().map_or(0, |packets| packets.rounds.len());
    (0..rounds).map(|_| Seed(clock::random())).collect()
}

/// Splits the rounds of red packets on a thread that may take its time.
async fn split_rounds(definition: Definition) -> Definition {
    if definition.packets.is_none() {
        return definition;
    }
    let split = move || {
        let plans = (0..definition.skus.len()).map_while(|round| definition.plan(round));
        plans.for_each(|plan| _ = plan.amounts());
        definition
    };
    tokio::task::spawn_blocking(split).await.expect("M1: a sound budget is split")
}

/// Runs a change, or the recording of a payment, to its end even where its client goes away and the server drops the
/// request: an activity whose first event is written must get its actor.
pub(super) async fn to_the_end<T: 'static>(change: impl Future<Output = T> + 'static) -> T {
    actix::spawn(change).await.expect("a change does not panic, and its runtime outlives the request")
}
