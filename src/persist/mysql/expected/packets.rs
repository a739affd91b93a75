//! Red packets in the audit's fold: what was granted of a round is counted over the grabs at the end. Whether a round adds
//! up is not judged here (M1): the journal may be wrong, and the rows are what it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Activity, Expected};
use crate::domain::event::{Entry, PacketGrabbed, RoundEnded};
use crate::domain::round::Plan;
use crate::ids::{ActivityId, OrderId, Seq, ShardId, UnixMillis, UserId};
use crate::persist::mysql::tables::Cell;

#[derive(Debug)]
pub(super) struct Grab {
    user: UserId,
    amount_cents: u64,
    at_ms: UnixMillis,
    seq: Seq,
    key: Option<[u8; 16]>,
    packet: u32,
    round: u16,
}

const _: () = assert!(size_of::<Grab>() <= 64, "there may be many millions of them");

#[derive(Debug)]
pub(super) struct Round {
    window: (UnixMillis, UnixMillis),
    plan: Arc<Plan>,
    /// Whether the definition names it.
    is_named: bool,
    over: Option<Over>,
    seq: Seq,
}

#[derive(Debug)]
struct Over {
    packets: u32,
    cents: u64,
    at_ms: UnixMillis,
}

impl Expected {
    pub(super) fn grab(&mut self, seq: Seq, entry: &Entry, event: &PacketGrabbed) -> Result<(), &'static str> {
        let shard = self.shards.get(&entry.shard).ok_or("its shard is not defined")?;
        if shard.grabs.len() + 1 != event.grab as usize {
            return Err("a grab's number does not follow on the one before");
        }
        let round = self.round_of(entry.shard, event.round.0)?;
        round.seq = seq;
        let packets = round.plan.terms.packets;
        let packet = event.slot.checked_sub(round.plan.first_slot).filter(|packet| *packet < packets);
        let packet = packet.ok_or("a packet that its round does not have is grabbed")?;
        let grab = Grab {
            user: event.user,
            amount_cents: event.amount_cents.0,
            at_ms: entry.at_ms,
            seq,
            key: event.key.map(|key| key.0),
            packet,
            round: event.round.0,
        };
        self.shards.get_mut(&entry.shard).ok_or("its shard is not defined")?.grabs.push(grab);
        Ok(())
    }

    pub(super) fn end_round(&mut self, seq: Seq, entry: &Entry, event: &RoundEnded) -> Result<(), &'static str> {
        let round = self.round_of(entry.shard, event.round.0)?;
        let (packets, cents) = (event.slots.count(), event.refunded_cents.0);
        (round.over, round.seq) = (Some(Over { packets, cents, at_ms: entry.at_ms }), seq);
        Ok(())
    }

    /// A round to which something happens.
    fn round_of(&mut self, shard: ShardId, number: u16) -> Result<&mut Round, &'static str> {
        let activity = self.activity_of(shard)?;
        let round = activity.rounds.get_mut(usize::from(number)).ok_or("its round is unknown")?;
        if round.is_named && round.over.is_none() { Ok(round) } else { Err("its round is over, or was taken off") }
    }

    pub(in crate::persist::mysql) fn red_packet_rounds(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        let mut granted: BTreeMap<(ActivityId, u16), (u32, u64)> = BTreeMap::new();
        for shard in self.shards.values() {
            for grab in &shard.grabs {
                let (packets, cents) = granted.entry((shard.activity_id, grab.round)).or_default();
                *packets += 1;
                *cents += grab.amount_cents;
            }
        }
        let rounds = self.activities.iter().flat_map(|(activity_id, activity)| {
            let shop = activity.definition.shop();
            (0u16..).zip(&activity.rounds).map(move |(number, round)| (*activity_id, shop, number, round))
        });
        rounds.map(move |(activity_id, shop, number, round)| {
            let terms = &round.plan.terms;
            let (packets, cents) = granted.get(&(activity_id, number)).copied().unwrap_or_default();
            let over = round.over.as_ref();
            vec![
                Cell::number(activity_id.0),
                Cell::number(number),
                Cell::number(round.window.0.0),
                Cell::number(round.window.1.0),
                Cell::text(terms.split.as_str()),
                Cell::number(terms.min_cents),
                Cell::number(terms.max_cents),
                Cell::number(u8::from(round.is_named)),
                Cell::number(if round.is_named { terms.total_cents } else { 0 }),
                Cell::number(if round.is_named { terms.packets } else { 0 }),
                Cell::number(round.plan.first_slot),
                Cell::number(packets),
                Cell::number(cents),
                Cell::number(over.map_or(0, |over| over.packets)),
                Cell::number(over.map_or(0, |over| over.cents)),
                Cell::number(u8::from(over.is_some())),
                Cell::number_or_null(over.map(|over| over.at_ms.0)),
                Cell::text(terms.commitment(round.plan.seed)),
                over.map_or(Cell::Null, |_| Cell::text(round.plan.seed.to_hex())),
                shop.map_or(Cell::Null, |shop| Cell::text(shop.merchant.to_string())),
                shop.and_then(|shop| shop.funding_ref.as_deref()).map_or(Cell::Null, Cell::text),
                Cell::number(round.seq.0),
            ]
        })
    }

    pub(in crate::persist::mysql) fn red_packet_grabs(&self) -> impl Iterator<Item = Vec<Cell<'_>>> {
        let grabs = self.shards.iter().flat_map(|(shard_id, shard)| {
            (1..).zip(&shard.grabs).map(move |(number, grab)| (OrderId::new(*shard_id, number), shard, grab))
        });
        grabs.map(|(grab_id, shard, grab)| {
            let currency = &self.activities[&shard.activity_id].definition.currency;
            vec![
                Cell::number(grab_id.0),
                Cell::number(shard.activity_id.0),
                Cell::number(grab.round),
                Cell::number(grab.packet),
                Cell::text(grab.user.to_string()),
                Cell::number(grab.amount_cents),
                Cell::text(currency),
                grab.key.as_ref().map_or(Cell::Null, |key| Cell::Bytes(key)),
                Cell::number(grab.at_ms.0),
                Cell::number(grab.seq.0),
            ]
        })
    }
}

impl Activity {
    /// Takes over what the definition says of the rounds.
    pub(super) fn list_rounds(&mut self, seq: Seq) -> Result<(), &'static str> {
        let said = self.definition.packets.as_deref().map_or(&[][..], |packets| &packets.rounds);
        for gone in self.rounds.iter_mut().skip(said.len()).filter(|round| round.is_named) {
            (gone.is_named, gone.seq) = (false, seq);
        }
        for (number, said) in said.iter().enumerate() {
            let plan = said.plan.clone().ok_or("a round of it is not planned")?;
            let window = (said.starts_at_ms, said.ends_at_ms);
            match self.rounds.get_mut(number) {
                Some(round) if round.is_named && round.plan == plan => {
                    if round.window != window {
                        (round.window, round.seq) = (window, seq);
                    }
                }
                Some(round) if round.over.is_some() => return Err("a round that is over is split otherwise"),
                Some(round) => *round = Round { window, plan, is_named: true, over: None, seq },
                None => self.rounds.push(Round { window, plan, is_named: true, over: None, seq }),
            }
        }
        Ok(())
    }
}
