//! Red packets: the rows of `red_packet_grabs` and `red_packet_rounds`. They have no rows among the orders and SKUs.

use super::{Batch, Known};
use crate::domain::definition::{Definition, Packets};
use crate::domain::event::{Entry, PacketGrabbed, RoundEnded};
use crate::domain::split::Terms;
use crate::ids::{ActivityId, OrderId, Seq, ShardId, SkuIndex};
use crate::persist::mysql::error::Error;
use crate::persist::mysql::rows::{GrabRow, RoundRow};

impl Known {
    pub(super) fn grabbed(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &PacketGrabbed,
    ) -> Result<(), Error> {
        let shard =
            self.shards.get_mut(&entry.shard).ok_or_else(|| Error::unfit(seq, "its shard was never defined"))?;
        shard.orders_placed = event.grab;
        batch.shards.insert(entry.shard);
        let activity_id = shard.activity_id;
        let round = self.round(batch, seq, entry.shard, event.round)?;
        let packet = event.slot.checked_sub(round.first_slot).filter(|packet| *packet < round.terms.packets);
        let packet = packet.ok_or_else(|| Error::unfit(seq, "its round has no such packet"))?;
        round.granted += 1;
        round.granted_cents += event.amount_cents.0;
        let activity = self.activities.get(&activity_id).ok_or_else(|| Error::unfit(seq, "its home is unknown"))?;
        batch.grabs.push(GrabRow {
            grab_id: OrderId::new(entry.shard, event.grab),
            activity_id,
            round: event.round,
            packet,
            user: event.user,
            amount_cents: event.amount_cents,
            currency: activity.currency.clone(),
            key: event.key,
            granted_at_ms: entry.at_ms,
            seq,
        });
        Ok(())
    }

    pub(super) fn round_ended(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        entry: &Entry,
        event: &RoundEnded,
    ) -> Result<(), Error> {
        let round = self.round(batch, seq, entry.shard, event.round)?;
        (round.refunded, round.refunded_cents) = (event.slots.count(), event.refunded_cents.0);
        (round.ended_at_ms, round.seed) = (Some(entry.at_ms), Some(event.seed));
        Ok(())
    }

    /// Takes over what a definition says of its rounds. One that splits otherwise than before hands out other packets.
    pub(super) fn lists_rounds(
        &mut self,
        batch: &mut Batch,
        seq: Seq,
        activity_id: ActivityId,
        definition: &Definition,
        packets: &Packets,
    ) -> Result<(), Error> {
        let rows = self.rounds.entry(activity_id).or_default();
        for (number, said) in packets.rounds.iter().enumerate() {
            let plan = definition.plan(number).ok_or_else(|| Error::unfit(seq, "a round of it is not planned"))?;
            let round = SkuIndex(u16::try_from(number).map_err(|_| Error::unfit(seq, "a round too many"))?);
            let fresh = RoundRow {
                activity_id,
                round,
                starts_at_ms: said.starts_at_ms,
                ends_at_ms: said.ends_at_ms,
                terms: plan.terms,
                listed: true,
                first_slot: plan.first_slot,
                granted: 0,
                granted_cents: 0,
                refunded: 0,
                refunded_cents: 0,
                ended_at_ms: None,
                commitment: plan.terms.commitment(plan.seed),
                seed: None,
                merchant: packets.shop.as_ref().map(|shop| shop.merchant),
                funding_ref: packets.shop.as_ref().and_then(|shop| shop.funding_ref.as_deref()).map(str::to_owned),
                seq,
            };
            let Some(row) = rows.get_mut(number) else {
                rows.push(fresh);
                batch.rounds.insert((activity_id, round));
                continue;
            };
            let hands_out = |row: &RoundRow| (row.listed, row.terms, row.first_slot);
            if hands_out(row) != hands_out(&fresh) || row.commitment != fresh.commitment {
                if row.granted > 0 || row.ended_at_ms.is_some() {
                    return Err(Error::unfit(seq, "a round that handed out packets is split otherwise"));
                }
                *row = fresh;
            } else if (row.starts_at_ms, row.ends_at_ms) != (fresh.starts_at_ms, fresh.ends_at_ms) {
                (row.starts_at_ms, row.ends_at_ms, row.seq) = (fresh.starts_at_ms, fresh.ends_at_ms, seq);
            } else {
                continue;
            }
            batch.rounds.insert((activity_id, round));
        }
        for row in rows.iter_mut().skip(packets.rounds.len()).filter(|row| row.listed) {
            row.terms = Terms { packets: 0, total_cents: 0, ..row.terms };
            (row.listed, row.seq) = (false, seq);
            batch.rounds.insert((activity_id, row.round));
        }
        Ok(())
    }

    /// The row of a round, whose numbers are about to change.
    fn round(&mut self, batch: &mut Batch, seq: Seq, shard: ShardId, number: SkuIndex) -> Result<&mut RoundRow, Error> {
        let shard = self.shards.get(&shard).ok_or_else(|| Error::unfit(seq, "its shard was never defined"))?;
        let rows = self.rounds.get_mut(&shard.activity_id);
        let row = rows.and_then(|rows| rows.get_mut(usize::from(number.0)));
        let row = row.ok_or_else(|| Error::unfit(seq, "its round is unknown"))?;
        if row.ended_at_ms.is_some() {
            return Err(Error::unfit(seq, "its round is over"));
        }
        batch.rounds.insert((shard.activity_id, number));
        row.seq = seq;
        Ok(row)
    }
}
