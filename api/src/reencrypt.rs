//! Rotation of the encryption key: what is sealed under a previous key is sealed anew under the current one.
//!
//! Works in pages, each a transaction, beside a server that runs with both keys: a secret that is saved meanwhile goes under
//! the current key anyway. Whatever is done stays done, so a run that was broken off is simply repeated.

use std::collections::BTreeSet;

use angarium_entity::sealer::{SealError, Sealer};
use angarium_entity::{
    Database, EndpointId, EventId, confirmation, creation_key, delivery, endpoint, endpoint_revision, event,
    signing_secret, subscription,
};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, UpdateMany,
};
use uuid::Uuid;

/// Rows of a page.
const PAGE: u64 = 500;

/// What the stored secrets are sealed under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Values under a previous key, or those that were sealed anew.
    pub previous: u64,
    /// Values that open under no configured key.
    pub unknown: u64,
}

/// The configured key is not that of the database.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The newest secret opens under none of the keys.
    #[error(
        "the secrets of this database were sealed under another key than ANGARIUM_ENCRYPTION_KEY; set that key, or add it to \
         ANGARIUM_PREVIOUS_ENCRYPTION_KEYS"
    )]
    OtherKey,
    /// The database failed.
    #[error("failed to read a secret of the database")]
    Database(#[from] DbErr),
}

/// Whether the newest signing secret opens: a server with a wrong key would accept events and deliver none.
///
/// # Errors
/// [`KeyError`].
pub async fn check_key(db: &Database, sealer: &Sealer) -> Result<(), KeyError> {
    use signing_secret::{Column, Entity};
    let newest = Entity::find().order_by_desc(Column::Id).one(db.read()).await?;
    match newest.map(|row| row.open(sealer)) {
        Some(Err(SealError::OtherKey)) => Err(KeyError::OtherKey),
        _ => Ok(()),
    }
}

/// Counts what is not sealed under the current key.
///
/// # Errors
/// Those of the database.
pub async fn count(db: &Database, sealer: &Sealer) -> Result<Report, DbErr> {
    Walk { db, sealer, writes: false, report: Report::default() }.all().await
}

/// Seals anew what is sealed under a previous key.
///
/// # Errors
/// Those of the database.
pub async fn reencrypt(db: &Database, sealer: &Sealer) -> Result<Report, DbErr> {
    Walk { db, sealer, writes: true, report: Report::default() }.all().await
}

struct Walk<'a> {
    db: &'a Database,
    sealer: &'a Sealer,
    writes: bool,
    report: Report,
}

impl Walk<'_> {
    async fn all(mut self) -> Result<Report, DbErr> {
        self.signing_secrets().await?;
        self.endpoints().await?;
        self.revisions().await?;
        self.creation_keys().await?;
        self.confirmations().await?;
        Ok(self.report)
    }

    /// Counts one value, and answers what is to be written.
    fn judge<T>(&mut self, resealed: Result<Option<T>, SealError>) -> Option<T> {
        match resealed {
            Ok(None) => None,
            Ok(Some(anew)) => {
                self.report.previous += 1;
                Some(anew).filter(|_| self.writes)
            }
            Err(_) => {
                self.report.unknown += 1;
                None
            }
        }
    }

    /// Writes a page in one transaction.
    async fn write<E: EntityTrait>(&self, updates: Vec<UpdateMany<E>>) -> Result<(), DbErr> {
        if updates.is_empty() {
            return Ok(());
        }
        let transaction = self.db.begin().await?;
        for update in updates {
            update.exec(&transaction).await?;
        }
        transaction.commit().await
    }

    async fn signing_secrets(&mut self) -> Result<(), DbErr> {
        use signing_secret::{Column, Entity};
        let mut after = Uuid::nil();
        loop {
            let page = Entity::find().filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(PAGE);
            let rows = page.all(self.db.read()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            let anew = rows.iter().filter_map(|row| Some((row, self.judge(row.reseal(self.sealer))?)));
            let anew = anew.map(|(row, sealed)| {
                let same =
                    Entity::update_many().filter(Column::Id.eq(row.id)).filter(Column::Sealed.eq(row.sealed.clone()));
                same.col_expr(Column::Sealed, Expr::value(sealed))
            });
            let anew = anew.collect();
            self.write(anew).await?;
        }
    }

    async fn endpoints(&mut self) -> Result<(), DbErr> {
        use endpoint::{Column, Entity};
        let mut after = EndpointId(Uuid::nil());
        loop {
            let page = Entity::find().filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(PAGE);
            let rows = page.all(self.db.read()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            let anew = rows.iter().filter_map(|row| Some((row, self.judge(row.headers.reseal(row.id, self.sealer))?)));
            let anew = anew.map(|(row, headers)| {
                // Headers that were changed meanwhile are sealed under the current key.
                let same = Entity::update_many().filter(Column::Id.eq(row.id)).filter(Column::Version.eq(row.version));
                same.col_expr(Column::Headers, Expr::value(headers))
            });
            let anew = anew.collect();
            self.write(anew).await?;
        }
    }

    async fn revisions(&mut self) -> Result<(), DbErr> {
        use endpoint_revision::{Column, Entity};
        let mut after = (EndpointId(Uuid::nil()), 0);
        loop {
            let same_endpoint = Condition::all().add(Column::EndpointId.eq(after.0)).add(Column::Version.gt(after.1));
            let later = Condition::any().add(Column::EndpointId.gt(after.0)).add(same_endpoint);
            let page = Entity::find().filter(later).order_by_asc(Column::EndpointId).order_by_asc(Column::Version);
            let rows = page.limit(PAGE).all(self.db.read()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = (last.endpoint_id, last.version);
            let sealer = self.sealer;
            let reseal = |row: &endpoint_revision::Model| row.headers.reseal(row.endpoint_id, sealer);
            let anew = rows.iter().filter_map(|row| Some((row, self.judge(reseal(row))?)));
            let anew = anew.map(|(row, headers)| {
                let same = Entity::update_many().filter(Column::EndpointId.eq(row.endpoint_id));
                let same = same.filter(Column::Version.eq(row.version));
                same.col_expr(Column::Headers, Expr::value(headers))
            });
            let anew = anew.collect();
            self.write(anew).await?;
        }
    }

    /// Few, since they are kept for a day.
    async fn creation_keys(&mut self) -> Result<(), DbErr> {
        use creation_key::{Column, Entity};
        let rows = Entity::find().filter(Column::Secret.is_not_null()).all(self.db.read()).await?;
        let anew = rows.iter().filter_map(|row| Some((row, self.judge(row.reseal(self.sealer))?)));
        let anew = anew.map(|(row, sealed)| {
            let same = Entity::update_many()
                .filter(Column::WorkspaceId.eq(row.workspace_id))
                .filter(Column::Object.eq(row.object))
                .filter(Column::Key.eq(row.key.clone()))
                .filter(Column::Secret.eq(row.secret.clone()));
            same.col_expr(Column::Secret, Expr::value(sealed))
        });
        let anew = anew.collect();
        self.write(anew).await
    }

    async fn confirmations(&mut self) -> Result<(), DbErr> {
        use confirmation::{Column, Entity};
        let mut after = EventId(Uuid::nil());
        loop {
            let page = Entity::find().filter(Column::EventId.gt(after)).order_by_asc(Column::EventId).limit(PAGE);
            let rows = page.all(self.db.read()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.event_id;
            for row in &rows {
                let Some(event) = event::Entity::find_by_id(row.event_id).one(self.db.read()).await? else { continue };
                if event.sealed.as_ref().is_none_or(|sealed| self.sealer.is_current(sealed)) {
                    continue;
                }
                let urls = urls_of(self.db.read(), row).await?;
                let urls = urls.iter().map(String::as_str);
                let resealed = confirmation::reseal(self.sealer, &event, row.subscription_id, urls);
                let Some(sealed) = self.judge(resealed) else { continue };
                let same = event::Entity::update_many().filter(event::Column::Id.eq(event.id));
                same.col_expr(event::Column::Sealed, Expr::value(sealed)).exec(self.db.write()).await?;
            }
        }
    }
}

/// Every URL that a message may have been made for: those that the endpoints of its subscription and deliveries ever had.
async fn urls_of(db: &impl ConnectionTrait, row: &confirmation::Model) -> Result<BTreeSet<String>, DbErr> {
    let of_deliveries = delivery::Entity::find().filter(delivery::Column::EventId.eq(row.event_id)).all(db).await?;
    let subscription = subscription::Entity::find_by_id(row.subscription_id).one(db).await?;
    let endpoints: BTreeSet<Uuid> = of_deliveries
        .iter()
        .map(|delivery| delivery.endpoint_id.0)
        .chain(subscription.iter().map(|subscription| subscription.endpoint_id.0))
        .collect();
    let endpoints: Vec<EndpointId> = endpoints.into_iter().map(EndpointId).collect();
    let revisions = endpoint_revision::Entity::find()
        .filter(endpoint_revision::Column::EndpointId.is_in(endpoints))
        .all(db)
        .await?;
    Ok(revisions.into_iter().map(|revision| revision.url).collect())
}
