//! The ends of subscriptions: told a day before, told when they have come, and what waits then is canceled. And the ends
//! of the messages that ask to confirm them.
//!
//! Matching needs none of this: a publish compares the end with its own time. Here is what has to be done once. Each
//! step is a compare-and-set on the row, in one transaction with the event that tells of it, so it happens once whoever
//! dies; `expiry_due_at` is cleared last, so a sweep finds what was begun and not ended. A renewal in between starts
//! anew, and what was published after it is not canceled by the end before.

use std::time::Duration;

use angarium_entity::change_log::{self, SubscriptionChange};
use angarium_entity::clock::SharedClock;
use angarium_entity::event_type::reserved::Notice;
use angarium_entity::subscription::{self, Column, Entity, Model};
use angarium_entity::{Database, SubscriptionId, Timestamp, confirmation};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _, UpdateMany};

use super::cancel::{Cancel, Canceler};
use super::notice::{Notices, Raised};

/// Longest pause between two looks.
const EVERY: Duration = Duration::from_secs(15);
/// Pause when one failed.
const AGAIN: Duration = Duration::from_secs(1);
/// Why a confirmation message is not sent any more.
const TOKEN_DEAD: &str = "The confirmation token has expired. Ask for another message.";
/// Rows that are read at once.
const STEP: u64 = 100;

/// The part that looks.
#[derive(Clone)]
pub(crate) struct Sweeper {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) canceler: Canceler,
    pub(crate) notices: Notices,
}

impl Sweeper {
    /// Looks for ever, at once to begin with, and whenever the next end has come.
    pub(crate) async fn run(self) {
        loop {
            let looked = async {
                self.sweep().await?;
                self.dead_tokens().await?;
                self.forget().await?;
                self.next_due().await
            };
            let now = self.clock.now();
            let at = match looked.await {
                Ok(next) => next.map_or(now + EVERY, |due| due.min(now + EVERY)),
                Err(error) => {
                    tracing::error!(%error, "could not look for subscriptions that end; trying again");
                    now + AGAIN
                }
            };
            self.clock.sleep_until(at).await;
        }
    }

    /// Does what is due. One that fails does not stop the others; it is tried again with the next sweep.
    async fn sweep(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        let mut after: Option<(Timestamp, SubscriptionId)> = None;
        loop {
            let is_later = |(due, id)| {
                Condition::any()
                    .add(Column::ExpiryDueAt.gt(due))
                    .add(Condition::all().add(Column::ExpiryDueAt.eq(due)).add(Column::Id.gt(id)))
            };
            let due = with_an_end()
                .filter(Column::ExpiryDueAt.lte(now))
                .filter(Condition::all().add_option(after.map(is_later)))
                .order_by_asc(Column::ExpiryDueAt)
                .order_by_asc(Column::Id)
                .limit(STEP)
                .all(self.db.read())
                .await?;
            for row in &due {
                let done =
                    if row.is_expired(now) { self.expired(row, now).await } else { self.expiring(row, now).await };
                if let Err(error) = done {
                    tracing::error!(%error, subscription = %row.id, "the end of a subscription was not handled; trying again");
                }
            }
            match due.last().and_then(|last| Some((last.expiry_due_at?, last.id))) {
                Some(last) if due.len() as u64 == STEP => after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, DbErr> {
        let now = self.clock.now();
        let next = with_an_end().filter(Column::ExpiryDueAt.gt(now)).order_by_asc(Column::ExpiryDueAt).limit(1);
        let next = next.one(self.db.read()).await?.and_then(|row| row.expiry_due_at);
        let token = open_tokens().one(self.db.read()).await?.and_then(|row| row.expires_at);
        Ok(next.into_iter().chain(token).min())
    }

    /// Ends the confirmation messages whose tokens are too old, and stops sending them.
    async fn dead_tokens(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        loop {
            let too_old = open_tokens().filter(confirmation::Column::ExpiresAt.lte(now)).limit(STEP);
            let dead = too_old.all(self.db.read()).await?;
            for row in &dead {
                self.canceler.cancel(row.workspace_id, Cancel::Event(row.event_id), TOKEN_DEAD, now).await?;
                let transaction = self.db.begin().await?;
                confirmation::end(&transaction, row.event_id, false, now).await?;
                let change = SubscriptionChange { subscription_id: row.subscription_id }.into();
                let logged = change_log::append(&transaction, now, row.workspace_id, [change]).await?;
                transaction.commit().await?;
                self.notices.tell(Raised::default().with(logged));
            }
            if (dead.len() as u64) < STEP {
                return Ok(());
            }
        }
    }

    /// Deletes what has ended so long ago that nobody asks any more.
    async fn forget(&self) -> Result<(), DbErr> {
        use confirmation::{Column, Entity};
        let before = self.clock.now() - confirmation::KEPT;
        loop {
            let old = Entity::find().filter(Column::EndedAt.lt(before)).limit(STEP).all(self.db.read()).await?;
            if !old.is_empty() {
                let ids = old.iter().map(|row| row.event_id);
                Entity::delete_many().filter(Column::EventId.is_in(ids)).exec(self.db.write()).await?;
            }
            if (old.len() as u64) < STEP {
                return Ok(());
            }
        }
    }

    async fn expiring(&self, row: &Model, now: Timestamp) -> Result<(), DbErr> {
        let step = unchanged(row).col_expr(Column::ExpiryDueAt, Expr::value(row.expires_at));
        self.step(row.id, step, Notice::subscription_expiring(row), now).await
    }

    async fn expired(&self, row: &Model, now: Timestamp) -> Result<(), DbErr> {
        let Some(end) = row.expires_at else { return Ok(()) };
        if row.expired_at.is_none() {
            let step = unchanged(row)
                .col_expr(Column::ExpiryDueAt, Expr::value(end))
                .col_expr(Column::ExpiredAt, Expr::value(now));
            self.step(row.id, step, Notice::subscription_expired(row), now).await?;
        }
        let what = Cancel::Expired { id: row.id, before: end };
        self.canceler.cancel(row.workspace_id, what, &format!("The subscription expired at {end}."), now).await?;
        Entity::update_many()
            .col_expr(Column::ExpiryDueAt, Expr::value(Option::<Timestamp>::None))
            .filter(Column::Id.eq(row.id))
            .filter(Column::ExpiresAt.eq(end))
            .filter(Column::ExpiredAt.is_not_null())
            .exec(self.db.write())
            .await
            .map(drop)
    }

    /// Takes a step and tells of it, unless somebody has changed the end meanwhile.
    async fn step(
        &self,
        id: SubscriptionId,
        step: UpdateMany<Entity>,
        notice: Notice,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        let transaction = self.db.begin().await?;
        if step.exec(&transaction).await?.rows_affected == 0 {
            return Ok(());
        }
        let workspace = notice.workspace_id;
        let raised = self.notices.raise(&transaction, vec![notice], now).await?;
        let change = SubscriptionChange { subscription_id: id }.into();
        let raised = raised.with(change_log::append(&transaction, now, workspace, [change]).await?);
        transaction.commit().await?;
        self.notices.tell(raised);
        Ok(())
    }
}

/// The soonest first. The condition is that of the partial index.
fn open_tokens() -> Select<confirmation::Entity> {
    use confirmation::{Column, Entity};
    let open = Entity::find().filter(Column::EndedAt.is_null()).filter(Column::ExpiresAt.is_not_null());
    open.order_by_asc(Column::ExpiresAt)
}

/// The condition is that of the partial index.
fn with_an_end() -> Select<Entity> {
    Entity::find().filter(Column::ExpiryDueAt.is_not_null()).filter(Column::DeletedAt.is_null())
}

/// Changes `row` only as it was read.
fn unchanged(row: &Model) -> UpdateMany<Entity> {
    subscription::Entity::update_many()
        .filter(Column::Id.eq(row.id))
        .filter(Column::ExpiresAt.eq(row.expires_at))
        .filter(Column::ExpiryDueAt.eq(row.expiry_due_at))
        .filter(Column::ExpiredAt.is_null())
        .filter(Column::DeletedAt.is_null())
}
