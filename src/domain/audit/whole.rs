//! What the parts of one activity have in common: where they stand, what their home became and when, and the sum of
//! what all of them show. Of an activity of one part there is nothing to sum and nobody who follows.

use std::sync::Arc;

use super::books::Books;
use super::packets::{self, RoundBook, plan_alike};
use super::report::{Id, Report};
use crate::domain::definition::Definition;
use crate::domain::event::{ActivityDefined, Change, Control};
use crate::domain::part::{Part, SHARDS_MAX, Spread};
use crate::domain::sale::Sale;
use crate::ids::{Seq, ShardId, SkuId};

pub(super) struct Whole {
    home: ShardId,
    parts: u16,
    spread: Spread,
    /// Of red packets.
    pub rounds: Vec<RoundBook>,
    /// Where there are several parts.
    common: Option<Box<Common>>,
    /// Whether an event of a part could not be true, so that what follows in the others cannot be judged either.
    pub faulty: bool,
    /// Whether it has left.
    pub retired: bool,
}

struct Common {
    /// What the home was, from its definition on; as many as operators made changes.
    turns: Vec<Turn>,
    /// The home's SKUs by their index.
    names: Vec<SkuId>,
    skus: Vec<Sum>,
}

/// What the home was from one change to the next.
struct Turn {
    change_id: u64,
    version: u64,
    definition: Arc<Definition>,
    paused: bool,
    closed: bool,
    /// How many SKUs it had known by then.
    names: usize,
}

/// One SKU over all parts.
#[derive(Clone, Default)]
struct Sum {
    /// What it has by the home's books.
    total: u64,
    /// What the parts' sales show, free and held.
    shown: u64,
}

impl Whole {
    /// The activity of this part.
    ///
    /// # Errors
    /// What is wrong, where no activity has such a part.
    pub fn of(shard: ShardId, part: Part, event: &ActivityDefined) -> Result<Self, String> {
        let parts = event.definition.shards;
        let bounded = (1..=SHARDS_MAX).contains(&parts) && (event.part.is_some() || parts == 1);
        let last = u64::from(part.home.0) + u64::from(parts.saturating_sub(1));
        let fits = bounded && part.home.0 > 0 && last <= u64::from(ShardId::MAX.0) && part.number < parts;
        if !fits || part.shard(part.number) != shard {
            return Err(format!("shard {shard} is part {} of {parts} from shard {} on", part.number, part.home));
        }
        let common = (parts > 1).then(|| Box::new(Common::first(event)));
        let rounds = packets::rounds_of(&event.definition);
        Ok(Self { home: part.home, parts, spread: part.spread, rounds, common, faulty: false, retired: false })
    }

    /// Whether `other`, of which another part told, is the same: no part has moved on before all are defined alike.
    pub fn is_same(&self, other: &Self) -> bool {
        let first = |whole: &Self| {
            let turn = whole.common.as_ref().map(|common| &common.turns[0]);
            turn.map(|turn| (turn.change_id, Arc::clone(&turn.definition)))
        };
        let planned = match (first(self), first(other)) {
            (Some((_, one)), Some((_, other))) => plan_alike(&one, &other),
            _ => true,
        };
        (self.home, self.parts, self.spread) == (other.home, other.parts, other.spread)
            && first(self) == first(other)
            && planned
    }

    pub fn home(&self) -> ShardId {
        self.home
    }

    pub fn last(&self) -> ShardId {
        ShardId(self.home.0 + u32::from(self.parts) - 1)
    }

    /// Lets go of what only those that stand need.
    pub fn leave(&mut self) {
        (self.retired, self.common, self.rounds) = (true, None, Vec::new());
    }

    /// The shards of its parts, whether they are defined yet or not.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (self.home.0..=self.last().0).map(ShardId)
    }

    pub fn has(&self, shard: ShardId) -> bool {
        (self.home..=self.last()).contains(&shard)
    }

    /// Enters what the home has become by a change.
    pub fn turn(&mut self, home: &Books, change: &Change) {
        let Some(common) = &mut self.common else { return };
        common.names.extend_from_slice(&home.names()[common.names.len()..]);
        common.turns.push(Turn {
            change_id: common.turns.last().map_or(0, |turn| turn.change_id).max(change.change_id),
            version: home.version(),
            definition: home.definition(),
            paused: home.is_paused(),
            closed: home.is_closed(),
            names: common.names.len(),
        });
    }

    /// Which turn of the home `part` takes over by `control`; `None` where the home never was so, or was so before what
    /// the part took over last.
    pub fn turn_of(&self, part: &Books, control: &Control) -> Option<usize> {
        let common = self.common.as_ref()?;
        let state = |turn: &Turn| (turn.change_id, turn.version, turn.paused, turn.closed);
        let said = (control.change_id, control.version, control.paused, control.closed);
        // The earliest: change ids may cross on their way to the home, and then several turns look alike.
        let mut later = common.turns.iter().enumerate().skip(part.turn() + 1);
        let (number, turn) = later.find(|(_, turn)| state(turn) == said)?;
        let definition = (turn.version != part.version()).then_some(&*turn.definition);
        let skus = common.names[..turn.names].get(part.names().len()..)?;
        let planned = control.definition.as_ref().zip(definition).is_none_or(|(one, other)| plan_alike(one, other));
        (control.definition.as_ref() == definition && planned && control.skus == skus).then_some(number)
    }

    /// Takes in what a part's sale shows of these SKUs.
    pub fn weigh(&mut self, books: &mut Books, sale: &Sale, skus: &[usize]) {
        let Some(common) = &mut self.common else { return };
        for place in skus.iter().copied() {
            if common.skus.len() <= place {
                common.skus.resize(place + 1, Sum::default());
            }
            let (before, now) = books.show(sale, place);
            let sum = &mut common.skus[place];
            sum.shown = (sum.shown + now).saturating_sub(before);
            if books.part().is_home() {
                sum.total = books.share(place).standing();
            }
        }
    }

    /// Whether the parts together show of these SKUs what the activity has.
    pub fn balance(&self, skus: &[usize], seq: Seq, report: &mut Report) {
        let Some(common) = &self.common else { return };
        for (place, sum) in skus.iter().filter_map(|place| Some((place, common.skus.get(*place)?))) {
            report.check(Id::S1, sum.total == sum.shown, || {
                let (home, Sum { total, shown }) = (self.home, sum);
                format!("event {seq}: SKU number {place} of home {home} has {total} units, its parts show {shown}")
            });
        }
    }

    /// Whether each slot is in one part, and all parts have together what the activity has (S5).
    pub fn close<'a>(&self, parts: impl Iterator<Item = &'a Books> + Clone, report: &mut Report) {
        let home = parts.clone().find(|books| books.part().is_home());
        let Some(home) = home else { return };
        for (place, name) in home.names().iter().enumerate() {
            let shares = || parts.clone().filter_map(|books| books.find_share(place));
            let mut ranges: Vec<(u32, u32)> = shares().flat_map(|share| share.slots.iter()).collect();
            ranges.sort_unstable();
            let (total, last_given) = (home.share(place).standing(), home.share(place).last_given);
            let units: u64 = ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
            let apart = ranges.windows(2).all(|two| two[0].1 < two[1].0);
            let given = ranges.last().is_none_or(|(_, last)| *last <= last_given);
            let stock: u64 = shares().map(|share| share.stock()).sum();
            report.check(Id::S5, apart && given && (units, stock) == (total, total), || {
                format!("home {}: SKU {name} has {total} units, its parts' shares are {units}", self.home)
            });
        }
    }
}

impl Common {
    fn first(event: &ActivityDefined) -> Self {
        let names: Vec<SkuId> = event.definition.skus.iter().map(|sku| sku.sku_id.clone()).collect();
        let turn = Turn {
            change_id: event.change.change_id,
            version: 1,
            definition: Arc::new(event.definition.clone()),
            paused: false,
            closed: false,
            names: names.len(),
        };
        Self { turns: vec![turn], names, skus: Vec::new() }
    }
}
