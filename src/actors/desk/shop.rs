//! Shops' own packets: made in great numbers, each an activity that nobody but its shop has named. They share no SKU with
//! anything, so many may be on their way to the disk at once.

use std::collections::HashMap;

use tokio::sync::watch;

use super::{By, Desk, to_the_end};
use crate::actors::ask::{Answer, SaleView};
use crate::catalog::ShopPacket;
use crate::clock;
use crate::domain::definition::Shop;
use crate::domain::event::ActivityDefined;
use crate::domain::split::Seed;
use crate::domain::{Refusal, Sales};
use crate::ids::{ActivityId, KeyDigest, ShardId, UserId};

/// From here on the server gives activities their ids, by the number of their home; operators give smaller ones.
const FIRST_ID: u64 = 1 << 52;

/// What a shop has made.
#[derive(Debug)]
pub struct Made {
    /// The activity that it is.
    pub activity_id: ActivityId,
    /// As it stands now.
    pub sale: Box<SaleView>,
    /// Whether an earlier request with the same key made it.
    pub replayed: bool,
}

/// What shops have made by which key, those included that have left memory.
#[derive(Default)]
pub(super) struct Shops {
    by_key: HashMap<(UserId, KeyDigest), (KeyDigest, ActivityId)>,
    /// Those that nobody can ask yet.
    on_their_way: HashMap<ActivityId, watch::Receiver<()>>,
}

impl Shops {
    pub fn of(recovered: &Sales) -> Self {
        let mut shops = Self::default();
        let standing = recovered.iter().map(|sale| (sale.activity_id(), sale.definition()));
        let left = recovered.retired().iter().map(|(activity_id, left)| (*activity_id, &*left.definition));
        for (activity_id, definition) in standing.chain(left) {
            definition.shop().into_iter().for_each(|shop| shops.note(activity_id, shop));
        }
        shops
    }

    /// Whether an activity will be there in a moment.
    pub fn is_on_its_way(&self, activity_id: ActivityId) -> bool {
        self.on_their_way.contains_key(&activity_id)
    }

    fn note(&mut self, activity_id: ActivityId, shop: &Shop) {
        if let Some(key) = shop.key {
            self.by_key.insert((shop.merchant, key.key), (key.body, activity_id));
        }
    }
}

impl Desk {
    /// Makes packets for a shop, or finds those that the same request made before.
    ///
    /// # Errors
    /// The refusal.
    pub async fn make_packet(&self, packet: ShopPacket, merchant: UserId, by: By) -> Result<Made, Answer> {
        let desk = self.clone();
        to_the_end(async move { desk.make(packet, merchant, by).await }).await
    }

    async fn make(&self, packet: ShopPacket, merchant: UserId, by: By) -> Result<Made, Answer> {
        let mut ledger = self.0.ledger.lock().await;
        if let Some(key) = by.key
            && let Some((body, activity_id)) = ledger.shops.by_key.get(&(merchant, key.key)).copied()
        {
            let on_its_way = ledger.shops.on_their_way.get(&activity_id).cloned();
            drop(ledger);
            if body != key.body {
                return Err(self.refuse(Refusal::KeyReused));
            }
            if let Some(mut on_its_way) = on_its_way {
                // Nothing is ever sent: the wait ends when whoever makes them is done.
                let _done = on_its_way.changed().await;
            }
            return self.made(activity_id, true).await;
        }
        if let Some(refusal) = ledger.lacks_shards(1) {
            return Err(self.refuse(refusal));
        }
        let (activity_id, at_ms) = (self.fresh_id(ledger.last_shard), self.0.router.now_ms());
        let shop = Shop { merchant, funding_ref: packet.funding_ref.clone(), key: by.key };
        ledger.shops.note(activity_id, &shop);
        let definition = packet.definition(shop, at_ms).planned(None, &[Seed(clock::random())], |_| 0);
        // Few enough to be split here: a millisecond at most.
        definition.plan(0).into_iter().for_each(|plan| _ = plan.amounts());
        let change = self.request(by).change();
        let first = ActivityDefined { activity_id, definition, from_catalog: false, change, part: None };
        let founding = ledger.found(first, at_ms, Answer::Settled(None));
        let (done, on_its_way) = watch::channel(());
        ledger.shops.on_their_way.insert(activity_id, on_its_way);
        drop(ledger);
        founding.durable.answer().await;
        let mut ledger = self.0.ledger.lock().await;
        self.open_doors(&mut ledger, activity_id, founding.sales, founding.first).await;
        ledger.shops.on_their_way.remove(&activity_id);
        drop((ledger, done));
        self.made(activity_id, false).await
    }

    async fn made(&self, activity_id: ActivityId, replayed: bool) -> Result<Made, Answer> {
        match self.0.router.sale(activity_id).await {
            Answer::Sale(sale) => Ok(Made { activity_id, sale, replayed }),
            refused => Err(refused),
        }
    }

    /// An id that no activity has: by its home, of which no two have the same; or, where an operator took that, a larger
    /// one.
    fn fresh_id(&self, last_shard: ShardId) -> ActivityId {
        let by_home = FIRST_ID + u64::from(last_shard.0) + 1;
        let mut ids = (0..).map(|round| ActivityId(by_home + round * (u64::from(ShardId::MAX.0) + 1)));
        ids.find(|id| self.0.router.door(*id).is_none()).expect("an operator cannot have taken all of them")
    }
}
