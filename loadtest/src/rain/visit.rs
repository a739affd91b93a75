//! One user under the rain, from the first click to the last, and what must be true of every answer on the way.
//!
//! Where a reply was lost, or its request was sent twice without a key, the user looks at their own grabs: what they have
//! is there (A2).

use std::time::Duration;

use anyhow::Result;

use super::books::Books;
use super::{RULE_FOUND, RULE_KEY, RULE_LIMIT, judge};
use crate::acks::Ack;
use crate::desk::{Booth, Desk, Sent};
use crate::judge::busy;
use crate::ledger::Violation;
use crate::reply::{Answer, Grab, Route};
use crate::schedule::Schedule;
use crate::shopper::Shopper;
use crate::token::unix_ms;

/// A pause before asking again whether the round has started.
const EARLY_PAUSE: Duration = Duration::from_millis(2);

/// Somebody who comes back when the rush is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Return {
    index: u64,
    /// What they were granted for their key; `None`: they do not know what they have.
    grab: Option<Grab>,
}

struct Visit<'a> {
    desk: &'a Desk,
    books: &'a Books,
    schedule: &'a Schedule,
    shopper: Shopper,
    owned: Vec<Owned>,
    /// A reply was lost, so there may be a packet that nobody was told of.
    uncertain: bool,
    asked_before: bool,
}

struct Owned {
    grab: Grab,
    keyed: bool,
}

/// The whole visit of the `index`-th user. Whether they got a packet.
///
/// # Errors
/// Only the crowd's own: a token that cannot be signed, a log that cannot be written.
pub(crate) async fn grab(booth: &mut Booth, schedule: &Schedule, index: u64) -> Result<bool> {
    let desk = booth.desk.clone();
    let Some(mut visit) = Visit::of(&desk, schedule, index)? else { return Ok(false) };
    let shares = desk.sale.plan.shares;
    if visit.shopper.key.is_some() && visit.shopper.rolls(shares.double_click) {
        visit.click_twice(booth).await?;
    } else {
        visit.ask(booth).await?;
    }
    if visit.owned.is_empty() && visit.shopper.rolls(shares.repeat) {
        visit.ask(booth).await?;
    }
    if let Some(granted) = visit.keyed().filter(|_| visit.shopper.rolls(shares.repeat)) {
        visit.repeat(booth, granted).await?;
    }
    if !visit.owned.is_empty() && visit.shopper.rolls(shares.repeat_without_key) {
        let ended_before = desk.sale.ledger.has_ended();
        let request = visit.shopper.without_key(&desk.sale);
        let sent = desk.send(schedule, &mut booth.connection, Route::Grab, &request).await;
        visit.on_grab(sent, false, ended_before)?;
    }
    let looks = !visit.owned.is_empty() && visit.shopper.rolls(shares.poll);
    if visit.uncertain || looks {
        visit.look(booth).await?;
    }
    let granted = visit.keyed().filter(|_| visit.owned.len() == 1);
    if visit.uncertain || (granted.is_some() && visit.shopper.rolls(shares.revisit)) {
        desk.returns().push(Return { index, grab: granted.filter(|_| !visit.uncertain) });
    }
    Ok(!visit.owned.is_empty())
}

/// A winner still has the packet, by key and by sight; whoever does not know what they have finds out.
pub(crate) async fn come_back(booth: &mut Booth, schedule: &Schedule, back: Return) -> Result<()> {
    let desk = booth.desk.clone();
    let Some(mut visit) = Visit::of(&desk, schedule, back.index)? else { return Ok(()) };
    visit.asked_before = true;
    if let Some(granted) = back.grab {
        visit.owned.push(Owned { grab: granted, keyed: true });
        visit.repeat(booth, granted).await?;
    } else {
        visit.uncertain = true;
    }
    let seen = visit.look(booth).await?;
    if back.grab.is_some() {
        desk.tally().revisited += u64::from(seen);
    } else if !seen {
        visit.books.note_unknown();
    }
    Ok(())
}

impl<'a> Visit<'a> {
    fn of(desk: &'a Desk, schedule: &'a Schedule, index: u64) -> Result<Option<Self>> {
        let Some(books) = &desk.sale.rain else { return Ok(None) };
        let shopper = Shopper::new(&desk.sale, index)?;
        let returning = desk.sale.plan.returning;
        Ok(Some(Self {
            desk,
            books,
            schedule,
            shopper,
            owned: Vec::new(),
            uncertain: returning,
            asked_before: returning,
        }))
    }

    /// Asks for a packet; again, where the round is only just about to start.
    async fn ask(&mut self, booth: &mut Booth) -> Result<()> {
        let keyed = self.shopper.key.is_some();
        loop {
            let ended_before = self.desk.sale.ledger.has_ended();
            let request = &self.shopper.request;
            let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Grab, request).await;
            let early = matches!(sent.answer, Some(Answer::Refused(code)) if code.is("not_started"));
            self.on_grab(sent, keyed, ended_before)?;
            if !early || !self.books.is_about_to_start() {
                return Ok(());
            }
            tokio::time::sleep(EARLY_PAUSE).await;
        }
    }

    async fn click_twice(&mut self, booth: &mut Booth) -> Result<()> {
        let ended_before = self.desk.sale.ledger.has_ended();
        let (desk, schedule, request) = (self.desk, self.schedule, &self.shopper.request);
        let (one, two) = tokio::join!(
            desk.send(schedule, &mut booth.connection, Route::Grab, request),
            desk.send(schedule, &mut booth.twin, Route::Grab, request)
        );
        // In the order in which the server must have decided: the grant first.
        let granted = |sent: &Sent| matches!(sent.answer, Some(Answer::Granted(_)));
        let (first, second) = if granted(&two) { (two, one) } else { (one, two) };
        if granted(&first) && granted(&second) {
            self.found(Violation::new(RULE_KEY, "two requests at once with one key were both answered 201"));
        }
        // A click that was sent again may find what its own first try was granted.
        self.asked_before |= first.retried || second.retried;
        self.uncertain |= self.asked_before;
        self.on_grab(first, true, ended_before)?;
        self.on_grab(second, true, ended_before)
    }

    /// The same key after a grant: the same packet, in whatever state the activity is.
    async fn repeat(&mut self, booth: &mut Booth, granted: Grab) -> Result<()> {
        let request = &self.shopper.request;
        let sent = self.desk.send(self.schedule, &mut booth.connection, Route::Grab, request).await;
        let wrong = |got: &str| {
            let example = format!("repeat of grab {} was answered by {got}", granted.grab_id);
            Violation::new(RULE_KEY, example)
        };
        match sent.answer {
            Some(Answer::GrantedBefore(grab)) => {
                if grab != granted {
                    self.found(wrong(&format!("{grab:?}")));
                }
                self.own(grab, true, true)?;
            }
            Some(Answer::Granted(grab)) => {
                self.found(wrong(&format!("a new grab {}", grab.grab_id)));
                self.own(grab, true, false)?;
            }
            Some(Answer::AtLimit(..)) => self.found(wrong("limit_reached")),
            Some(Answer::Refused(code)) => self.desk.report(busy("the repeat of an accepted key", code)),
            _ => {}
        }
        Ok(())
    }

    /// A reply to a request that may be granted a packet.
    fn on_grab(&mut self, sent: Sent, keyed: bool, ended_before: bool) -> Result<()> {
        let (from_ms, to_ms) = (sent.from_ms, unix_ms());
        let newcomer = !self.asked_before && !sent.retried && self.owned.is_empty();
        match sent.answer {
            Some(Answer::Granted(grab)) => {
                self.desk.report(judge::fresh(self.books, &grab, ended_before, from_ms, to_ms));
                if let Some(known) = self.keyed().filter(|known| keyed && known.grab_id != grab.grab_id) {
                    let example = format!("a key's grab {} became {}", known.grab_id, grab.grab_id);
                    self.found(Violation::new(RULE_KEY, example));
                }
                self.uncertain |= sent.retried && !keyed;
                self.own(grab, keyed, false)?;
            }
            Some(Answer::GrantedBefore(grab)) => {
                let known = self.keyed();
                let fits = known.map_or(sent.retried || self.uncertain, |known| known == grab);
                if !keyed || !fits {
                    let example = format!(
                        "user {} was granted {known:?} and got {grab:?} as a repeat (were these users here before, by the same \
                         --seed or --first-user? then say --returning)",
                        self.shopper.user_id
                    );
                    self.found(Violation::new(RULE_KEY, example));
                }
                self.own(grab, keyed, true)?;
            }
            Some(Answer::AtLimit(_, ids)) => {
                self.on_limit(&ids, newcomer, sent.retried, (from_ms, to_ms));
                self.uncertain |= sent.retried;
            }
            Some(Answer::Refused(code)) => {
                if code.is("ended") {
                    self.desk.sale.ledger.note_end();
                }
                if code.is("sold_out") {
                    self.books.note_sold_out(from_ms, to_ms);
                }
                self.desk.report(judge::refusal(code));
                self.uncertain |= sent.retried;
            }
            Some(_) => {}
            None => self.uncertain = true,
        }
        self.asked_before |= sent.retried;
        Ok(())
    }

    /// `limit_reached` names the grabs of the round that reached it.
    fn on_limit(&self, named: &[u64], newcomer: bool, retried: bool, (from_ms, to_ms): (u64, u64)) {
        if newcomer {
            let example = format!("user {}, who has nothing, was refused for grabs {named:?}", self.shopper.user_id);
            return self.found(Violation::new("U1: the limit counts only what a user holds", example));
        }
        let Some(round) = self.books.round_in(from_ms, to_ms) else { return };
        let of_round = self.owned.iter().filter(|owned| owned.grab.round == round);
        let mine: Vec<u64> = of_round.map(|owned| owned.grab.grab_id).collect();
        let certain = !self.uncertain && !retried;
        if mine.iter().any(|id| !named.contains(id)) || (certain && named.len() != mine.len()) {
            let example = format!("user {} has grabs {mine:?}, named are {named:?}", self.shopper.user_id);
            self.found(Violation::new("contract: `limit_reached` names the grabs that reached it", example));
        }
    }

    /// Looks at the user's own grabs; whether it was answered.
    async fn look(&mut self, booth: &mut Booth) -> Result<bool> {
        let request = self.shopper.own_grabs(&self.desk.sale);
        let sent = self.desk.send(self.schedule, &mut booth.connection, Route::OwnGrabs, &request).await;
        let seen = match sent.answer {
            Some(Answer::Grabs(seen)) => seen,
            Some(Answer::Refused(code)) => {
                self.desk.report(busy("a look at one's own grabs", code));
                return Ok(false);
            }
            _ => return Ok(false),
        };
        let user_id = self.shopper.user_id;
        for Owned { grab, .. } in &self.owned {
            if !seen.contains(grab) {
                self.found(Violation::new(
                    RULE_FOUND,
                    format!("user {user_id} was granted {grab:?}, shown is {seen:?}"),
                ));
            }
        }
        for grab in seen {
            if self.owned.iter().any(|owned| owned.grab.grab_id == grab.grab_id) {
                continue;
            }
            if !self.uncertain {
                let example = format!("user {user_id} is shown {grab:?}, which they were never granted");
                self.found(Violation::new(RULE_FOUND, example));
            }
            self.own(grab, false, true)?;
        }
        self.uncertain = self.desk.sale.plan.returning;
        Ok(true)
    }

    /// Books and logs a packet that this user was told is theirs.
    fn own(&mut self, grab: Grab, keyed: bool, replayed: bool) -> Result<()> {
        let sale = &self.desk.sale;
        self.desk.report(judge::packet(&sale.plan, self.books, &grab));
        self.desk.report(self.books.book(self.shopper.user_id, &grab));
        if let Some(acks) = &self.desk.acks {
            acks.send(&Ack::Grab {
                user_id: self.shopper.user_id.to_string(),
                activity_id: grab.activity_id.to_string(),
                grab_id: grab.grab_id.to_string(),
                round: grab.round,
                packet: grab.packet,
                amount_cents: grab.amount_cents,
                state: "granted",
                key: self.shopper.key.as_deref().filter(|_| keyed),
                replayed,
                at_ms: unix_ms(),
            })?;
        }
        if self.owned.iter().all(|owned| owned.grab.grab_id != grab.grab_id) {
            self.owned.push(Owned { grab, keyed });
            let grabs = self.owned.iter().filter(|owned| owned.grab.round == grab.round).count();
            let limit = sale.plan.per_user_limit;
            if u32::try_from(grabs).is_ok_and(|grabs| grabs > limit) {
                let example =
                    format!("user {} has {grabs} grabs of a round, the limit is {limit}", self.shopper.user_id);
                self.found(Violation::new(RULE_LIMIT, example));
            }
        }
        Ok(())
    }

    fn keyed(&self) -> Option<Grab> {
        self.owned.iter().find(|owned| owned.keyed).map(|owned| owned.grab)
    }

    fn found(&self, violation: Violation) {
        self.desk.report([violation]);
    }
}
