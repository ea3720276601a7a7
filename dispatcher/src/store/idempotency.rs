//! Keys that make a publish safe to repeat.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use angarium_entity::{EventId, Timestamp, WorkspaceId, event, idempotency_key};
use sea_orm::{ConnectionTrait, DbErr};
use sha2::{Digest, Sha256};

use super::sql;
use crate::publish::NewEvent;

/// What an event's key says of it.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// It has none, or the key is new or forgotten: publish.
    Fresh,
    /// This event was published with it, and the content is the same.
    Repeats(Arc<event::Model>),
    /// The event at this place of the group has the same key and content.
    RepeatsInGroup(usize),
    /// It was used with other content.
    Clashes,
    /// An event was published with it and the same content, and was deleted since.
    Gone,
}

type Key<'a> = (WorkspaceId, &'a str);

/// Claims the keys of a group for the events that are about to be inserted under `ids`: those that were checked by the
/// present version of the catalogue. The others are not published, and take no key.
///
/// A concurrent claim of the same key on another node waits here until that transaction ends.
pub(crate) async fn claim(
    db: &impl ConnectionTrait,
    news: &[&NewEvent],
    ids: &[EventId],
    catalogue_version: Option<i64>,
    now: Timestamp,
) -> Result<Vec<Claim>, DbErr> {
    let mut claims = vec![Claim::Fresh; news.len()];
    let mut first_of: HashMap<Key, (usize, [u8; 32])> = HashMap::new();
    for (place, new) in news.iter().enumerate() {
        let is_current = catalogue_version == Some(new.catalogue_version);
        let Some(key) = new.idempotency_key.as_deref().filter(|_| is_current) else { continue };
        let fingerprint = fingerprint(new);
        match first_of.entry((new.workspace_id, key)) {
            Entry::Vacant(vacant) => {
                vacant.insert((place, fingerprint));
            }
            Entry::Occupied(first) if first.get().1 == fingerprint => {
                claims[place] = Claim::RepeatsInGroup(first.get().0);
            }
            Entry::Occupied(_) => claims[place] = Claim::Clashes,
        }
    }
    if first_of.is_empty() {
        return Ok(claims);
    }
    let mut wanted: Vec<_> =
        first_of.into_iter().map(|(key, (place, fingerprint))| (key, place, fingerprint)).collect();
    // Every node claims in the same order, so two of them never wait for each other.
    wanted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let taken = take(db, &wanted, ids, now).await?;
    let refused: Vec<_> = wanted.into_iter().filter(|(key, ..)| !taken.contains(&(key.0, key.1.to_owned()))).collect();
    if refused.is_empty() {
        return Ok(claims);
    }
    let earlier = find(db, &refused).await?;
    for ((workspace, key), place, fingerprint) in refused {
        let known = earlier.get(&(workspace, key.to_owned()));
        claims[place] = match known {
            Some((event, known)) if known[..] == fingerprint[..] => event.clone().map_or(Claim::Gone, Claim::Repeats),
            _ => Claim::Clashes,
        };
    }
    Ok(claims)
}

/// What must be the same for a repeat: type, channels and payload.
fn fingerprint(new: &NewEvent) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [&new.event_type, &new.payload].into_iter().chain(&new.channels) {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Takes the keys that are free: new, or older than they are kept. One of an event that was deleted is not: a producer
/// that repeats itself must not bring back what somebody else has removed.
async fn take(
    db: &impl ConnectionTrait,
    wanted: &[(Key<'_>, usize, [u8; 32])],
    ids: &[EventId],
    now: Timestamp,
) -> Result<Vec<(WorkspaceId, String)>, DbErr> {
    let mut query = sql::Query::on(db);
    let (now, forgotten) = (query.value(now.millis()), query.value((now - idempotency_key::KEPT).millis()));
    let source = query.rows([
        sql::uuid("workspace_id", wanted.iter().map(|((workspace, _), ..)| workspace.0)),
        sql::text("key", wanted.iter().map(|((_, key), ..)| *key)),
        sql::uuid("event_id", wanted.iter().map(|(_, place, _)| ids[*place].0)),
        sql::bytes("fingerprint", wanted.iter().map(|(.., fingerprint)| fingerprint.as_slice())),
    ]);
    let text = format!(
        "INSERT INTO idempotency_key (workspace_id, \"key\", event_id, fingerprint, created_at) \
         SELECT workspace_id, \"key\", event_id, fingerprint, {now} FROM {source} AS new WHERE true \
         ON CONFLICT (workspace_id, \"key\") DO UPDATE SET event_id = excluded.event_id, \
         fingerprint = excluded.fingerprint, created_at = excluded.created_at \
         WHERE idempotency_key.created_at <= {forgotten} \
         RETURNING workspace_id, \"key\""
    );
    let taken = db.query_all_raw(query.text(&text)).await?;
    taken.iter().map(|row| Ok((row.try_get("", "workspace_id")?, row.try_get("", "key")?))).collect()
}

/// The events that the other keys were used for, where they still exist, with their fingerprints.
async fn find(
    db: &impl ConnectionTrait,
    wanted: &[(Key<'_>, usize, [u8; 32])],
) -> Result<HashMap<(WorkspaceId, String), (Option<Arc<event::Model>>, Vec<u8>)>, DbErr> {
    let mut query = sql::Query::on(db);
    let source = query.rows([
        sql::uuid("workspace_id", wanted.iter().map(|((workspace, _), ..)| workspace.0)),
        sql::text("key", wanted.iter().map(|((_, key), ..)| *key)),
    ]);
    let text = format!(
        "SELECT {} FROM idempotency_key AS known \
         WHERE (workspace_id, \"key\") IN (SELECT workspace_id, \"key\" FROM {source} AS wanted)",
        sql::columns::<idempotency_key::Entity>("known")
    );
    let keys = db.query_all_raw(query.text(&text)).await?;
    let keys: Vec<idempotency_key::Model> =
        keys.iter().map(|row| sea_orm::FromQueryResult::from_query_result(row, "")).collect::<Result<_, _>>()?;
    let events =
        sql::find_by_uuids::<event::Entity>(db, event::Column::Id, keys.iter().map(|key| key.event_id.0)).await?;
    let events: HashMap<EventId, Arc<event::Model>> =
        events.into_iter().map(|event| (event.id, Arc::new(event))).collect();
    let found = keys.into_iter().map(|key| {
        let event = events.get(&key.event_id).cloned();
        ((key.workspace_id, key.key), (event, key.fingerprint))
    });
    Ok(found.collect())
}
