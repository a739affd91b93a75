//! Pages of an activity's orders, or grabs, over all its parts.

use super::Router;
use crate::actors::ask::{Answer, Kind, Page, Question, Reason, Refused};
use crate::ids::{ActivityId, OrderId};

/// Entries of a page, and the one after which the next page starts.
type Listed<T> = (Vec<T>, Option<OrderId>);

impl Router {
    /// A page of an activity's orders, part after part; of one user's, from the part that serves them.
    pub async fn orders(&self, activity_id: ActivityId, page: Page) -> Answer {
        let read = |answer| match answer {
            Answer::Page(orders, next) => Ok((orders, next)),
            Answer::Refused(refused) => Err(refused),
            other => unreachable!("who is asked for orders lists them or refuses, and does not say {other:?}"),
        };
        let listed = self.pages(Kind::FlashSale, activity_id, page, Question::Orders, read).await;
        listed.map_or_else(Answer::Refused, |(orders, next)| Answer::Page(orders, next))
    }

    /// The same of an activity's grabs.
    pub async fn grabs(&self, activity_id: ActivityId, page: Page) -> Answer {
        let read = |answer| match answer {
            Answer::GrabPage(grabs, next) => Ok((grabs, next)),
            Answer::Refused(refused) => Err(refused),
            other => unreachable!("who is asked for grabs lists them or refuses, and does not say {other:?}"),
        };
        let listed = self.pages(Kind::RedPacket, activity_id, page, Question::Grabs, read).await;
        listed.map_or_else(Answer::Refused, |(grabs, next)| Answer::GrabPage(grabs, next))
    }

    /// Asks part after part until the page is full. `read` takes an answer apart.
    async fn pages<T>(
        &self,
        kind: Kind,
        activity_id: ActivityId,
        page: Page,
        question: impl Fn(Page) -> Question,
        read: impl Fn(Answer) -> Result<Listed<T>, Refused>,
    ) -> Result<Listed<T>, Refused> {
        if let Some(answer) = self.not_yet() {
            return read(answer.answer().await);
        }
        // Grabs are no orders.
        let Some(entrance) = self.entrance(activity_id).filter(|entrance| entrance.is_of(kind)) else {
            return read(self.refuse(Reason::ActivityNotFound).answer().await);
        };
        let parts = entrance.parts;
        let after = page.after.and_then(OrderId::shard).map_or(0, |shard| shard.0.saturating_sub(entrance.home.home.0));
        let from = u16::try_from(after).unwrap_or(parts);
        let (from, until) =
            page.user.map_or((from, parts), |user| (entrance.part_of(user), entrance.part_of(user) + 1));
        let mut found = Vec::new();
        for part in from..until {
            let rest = Page { limit: page.limit - found.len(), ..page.clone() };
            let (entries, next) = read(self.send(&entrance, part, question(rest)).answer().await)?;
            found.extend(entries);
            let full = found.len() == page.limit;
            // Where this part is through, the next page begins before the first entry of the next part.
            let next = next.or((full && part + 1 < until).then(|| OrderId::new(entrance.home.shard(part + 1), 0)));
            if full || next.is_some() {
                return Ok((found, next));
            }
        }
        Ok((found, None))
    }
}
