//! The front of a plan becomes deliveries: one transaction that also uses it up, so that a crash repeats and skips
//! nothing. No filter runs within it: it is told what they said, and asks for what it was not told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use angarium_entity::delivery::{self, Trigger};
use angarium_entity::{EndpointId, EventId, ReplayId, Timestamp, event, replay, replay_item};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{Condition, ConnectionTrait, QueryOrder as _, QuerySelect as _};

use super::super::ingest;
use super::super::match_table::{Match, MatchTable};
use super::super::sieve::{Question, Verdicts};
use super::super::sql;

/// Items of a batch; as many events are read at most.
const ITEMS_AT_ONCE: u64 = 64;
/// As many are read where few may be sent: some of them may go nowhere.
const ITEMS_MIN: u64 = 8;
/// Deliveries of a batch, one or two more where an item is not to be split.
const DELIVERIES_AT_ONCE: usize = 500;
/// Batches of a second, where a rate is given.
const BATCHES_PER_SECOND: usize = 4;

/// What filters said of the events at the front of a plan.
pub(super) type Said = HashMap<EventId, Verdicts>;

/// What became of a batch.
pub(super) enum Outcome {
    /// It is made.
    Made(Batch),
    /// Nothing was done: these filters must be asked first.
    Unasked(Vec<(EventId, Question)>),
}

/// The deliveries of a batch, in publish order, and the events that they carry.
pub(super) struct Batch {
    pub(super) deliveries: Vec<delivery::Model>,
    pub(super) events: HashMap<EventId, Arc<event::Model>>,
    /// Whether the plan is used up.
    pub(super) is_last: bool,
}

/// Most deliveries of a batch at this rate.
fn budget(rate: Option<i32>) -> usize {
    let of = |rate: i32| usize::try_from(rate).unwrap_or(1) / BATCHES_PER_SECOND;
    rate.map_or(DELIVERIES_AT_ONCE, |rate| of(rate).clamp(1, DELIVERIES_AT_ONCE))
}

/// When the next batch may come after one of `count` deliveries at `now`: none of any second has more than the rate.
pub(super) fn next_at(rate: Option<i32>, count: usize, now: Timestamp) -> Option<Timestamp> {
    let rate = u64::try_from(rate?).unwrap_or(1).max(1);
    let pause = (count as u64 * 1_000).div_ceil(rate);
    Some(now + std::time::Duration::from_millis(pause))
}

/// Uses up the front of the plan and inserts what comes of it.
pub(super) async fn batch(
    db: &impl ConnectionTrait,
    replay: &replay::Model,
    table: &MatchTable,
    said: &Said,
    now: Timestamp,
) -> Result<Outcome, DbErr> {
    use replay_item::Column;
    let budget = budget(replay.rate_per_second);
    // A slow replay asks no more filters than it has use for soon.
    let items_max = (budget as u64).clamp(ITEMS_MIN, ITEMS_AT_ONCE);
    let items = replay_item::Entity::find()
        .filter(Column::ReplayId.eq(replay.id))
        .order_by_asc(Column::EventId)
        .order_by_asc(Column::EndpointId)
        .order_by_asc(Column::SubscriptionId)
        .limit(items_max)
        .all(db)
        .await?;
    let ids: HashSet<EventId> = items.iter().map(|item| item.event_id).collect();
    // Who deletes one of them meanwhile waits, and then finds these deliveries.
    let events = event::Entity::of(replay.workspace_id)
        .filter(event::Column::Id.is_in(ids))
        .lock(LockType::KeyShare)
        .all(db)
        .await?;
    let events: HashMap<EventId, Arc<event::Model>> =
        events.into_iter().map(|event| (event.id, Arc::new(event))).collect();

    let nothing = Verdicts::default();
    let verdicts = |event: &event::Model| said.get(&event.id).unwrap_or(&nothing);
    let unasked: Vec<_> = events.values().filter_map(|event| question(table, event, verdicts(event))).collect();
    if !unasked.is_empty() {
        return Ok(Outcome::Unasked(unasked));
    }
    let matches = events.values().map(|event| (event.id, matches_of(table, event, verdicts(event), now))).collect();
    let is_all_read = (items.len() as u64) < items_max;
    let taken = take(&items, &matches, table, budget);
    let is_last = is_all_read && taken.used == items.len() && taken.split.is_none();
    use_up(db, &items[..taken.used], taken.split, replay.id).await?;

    let known = made_already(db, replay.id, &taken.pairs).await?;
    let mut deliveries: Vec<delivery::Model> = taken
        .pairs
        .iter()
        .filter(|(event, wanted)| !known.contains(&(*event, wanted.endpoint_id)))
        .filter_map(|(event, wanted)| {
            let row = ingest::pending(events.get(event)?, *wanted, now);
            Some(delivery::Model { trigger: Trigger::Replay, replay_id: Some(replay.id), ..row })
        })
        .collect();
    if !deliveries.is_empty() {
        sql::insert_deliveries(db, &mut deliveries).await?;
    }
    Ok(Outcome::Made(Batch { deliveries, events, is_last }))
}

/// What is to be asked about an event before it can be matched, if anything.
fn question(table: &MatchTable, event: &event::Model, said: &Verdicts) -> Option<(EventId, Question)> {
    let conditions = table.unasked(&event.event_type, &event.channels.0, said);
    if conditions.is_empty() {
        return None;
    }
    let question = Question {
        event_type: event.event_type.clone(),
        channels: event.channels.0.clone(),
        payload: event.payload.clone(),
        conditions,
    };
    Some((event.id, question))
}

/// Where an event goes now, by endpoint.
fn matches_of(table: &MatchTable, event: &event::Model, verdicts: &Verdicts, now: Timestamp) -> Vec<Match> {
    let mut matches = table.matches(&event.event_type, &event.channels.0, verdicts, now);
    matches.sort_unstable_by_key(|wanted| wanted.endpoint_id);
    matches
}

/// What is taken of a plan.
#[derive(Debug, Default, PartialEq, Eq)]
struct Taken {
    /// Which event goes where, each pair once.
    pairs: Vec<(EventId, Match)>,
    /// Items that are used up.
    used: usize,
    /// The item behind them, when it is served up to this endpoint.
    split: Option<(EventId, EndpointId)>,
}

fn take(
    items: &[replay_item::Model],
    matches: &HashMap<EventId, Vec<Match>>,
    table: &MatchTable,
    budget: usize,
) -> Taken {
    let (mut taken, mut known) = (Taken::default(), HashSet::new());
    for item in items {
        if taken.pairs.len() >= budget {
            return taken;
        }
        // An event that is gone is left out.
        let matches = matches.get(&item.event_id).map(Vec::as_slice).unwrap_or_default();
        let moved_to = table.endpoint_of(item.subscription_id);
        let is_wanted = |endpoint: EndpointId| {
            if item.is_for_all() {
                endpoint > item.endpoint_id
            } else {
                endpoint == item.endpoint_id || Some(endpoint) == moved_to
            }
        };
        for wanted in matches.iter().filter(|wanted| is_wanted(wanted.endpoint_id)) {
            if item.is_for_all() && taken.pairs.len() >= budget {
                taken.split = taken.pairs.last().map(|(event, wanted)| (*event, wanted.endpoint_id));
                return taken;
            }
            if known.insert((item.event_id, wanted.endpoint_id)) {
                taken.pairs.push((item.event_id, *wanted));
            }
        }
        taken.used += 1;
    }
    taken
}

/// Takes the front off a plan.
async fn use_up(
    db: &impl ConnectionTrait,
    used: &[replay_item::Model],
    split: Option<(EventId, EndpointId)>,
    replay: ReplayId,
) -> Result<(), DbErr> {
    use replay_item::Column;
    if let Some(last) = used.last() {
        let same_endpoint = Condition::all()
            .add(Column::EndpointId.eq(last.endpoint_id))
            .add(Column::SubscriptionId.lte(last.subscription_id));
        let same_event = Condition::all()
            .add(Column::EventId.eq(last.event_id))
            .add(Condition::any().add(Column::EndpointId.lt(last.endpoint_id)).add(same_endpoint));
        replay_item::Entity::delete_many()
            .filter(Column::ReplayId.eq(replay))
            .filter(Column::EventId.lte(last.event_id))
            .filter(Condition::any().add(Column::EventId.lt(last.event_id)).add(same_event))
            .exec(db)
            .await?;
    }
    if let Some((event, endpoint)) = split {
        replay_item::Entity::update_many()
            .col_expr(Column::EndpointId, Expr::value(endpoint))
            .filter(Column::ReplayId.eq(replay))
            .filter(Column::EventId.eq(event))
            .filter(Column::SubscriptionId.eq(replay_item::NONE))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// The pairs that this replay has made before: deliveries that were chosen may lead to the same endpoint twice.
async fn made_already(
    db: &impl ConnectionTrait,
    replay: ReplayId,
    pairs: &[(EventId, Match)],
) -> Result<HashSet<(EventId, EndpointId)>, DbErr> {
    if pairs.is_empty() {
        return Ok(HashSet::new());
    }
    let mut query = sql::Query::on(db);
    let replay = query.value(replay);
    let source = query.rows([
        sql::uuid("event_id", pairs.iter().map(|(event, _)| event.0)),
        sql::uuid("endpoint_id", pairs.iter().map(|(_, wanted)| wanted.endpoint_id.0)),
    ]);
    let text = format!(
        "SELECT d.event_id, d.endpoint_id FROM {source} AS wanted JOIN delivery AS d \
         ON d.replay_id = {replay} AND d.event_id = wanted.event_id AND d.endpoint_id = wanted.endpoint_id"
    );
    let found = db.query_all_raw(query.text(&text)).await?;
    found.iter().map(|row| Ok((row.try_get("", "event_id")?, row.try_get("", "endpoint_id")?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use angarium_entity::SubscriptionId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn item(event: u128, endpoint: u128, subscription: u128) -> replay_item::Model {
        replay_item::Model {
            replay_id: ReplayId(id(1)),
            event_id: EventId(id(event)),
            endpoint_id: EndpointId(id(endpoint)),
            subscription_id: SubscriptionId(id(subscription)),
        }
    }

    fn wanted(endpoint: u128) -> Match {
        Match { subscription_id: SubscriptionId(id(9)), endpoint_id: EndpointId(id(endpoint)), shard: 0 }
    }

    fn pairs(taken: &Taken) -> Vec<(u128, u128)> {
        taken.pairs.iter().map(|(event, wanted)| (event.0.as_u128(), wanted.endpoint_id.0.as_u128())).collect()
    }

    #[test]
    fn an_event_with_more_endpoints_than_a_batch_takes_is_gone_on_with_behind_the_last() {
        let matches: HashMap<_, _> = [1, 2].map(|event| (EventId(id(event)), (1..=3).map(wanted).collect())).into();
        let (mut items, mut all) = (vec![item(1, 0, 0), item(2, 0, 0)], Vec::new());
        while !items.is_empty() {
            let taken = take(&items, &matches, &MatchTable::default(), 2);
            all.extend(pairs(&taken));
            items.drain(..taken.used);
            if let (Some(first), Some((event, endpoint))) = (items.first_mut(), taken.split) {
                assert_eq!(first.event_id, event);
                first.endpoint_id = endpoint;
            }
        }
        assert_eq!(all, [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]);
    }

    #[test]
    fn a_chosen_delivery_goes_only_where_it_went_and_an_event_that_is_gone_nowhere() {
        let matches = HashMap::from([(EventId(id(1)), (1..=3).map(wanted).collect::<Vec<_>>())]);
        let items = [item(1, 2, 7), item(1, 2, 8), item(1, 5, 7), item(3, 1, 7)];
        let taken = take(&items, &matches, &MatchTable::default(), 10);
        assert_eq!((pairs(&taken), taken.used, taken.split), (vec![(1, 2)], 4, None));
    }

    #[test]
    fn no_second_has_more_deliveries_than_its_rate() {
        for rate in [1, 2, 3, 7, 100, 10_000] {
            let (mut now, mut made) = (NOW, Vec::new());
            for _ in 0..100 {
                let count = budget(Some(rate));
                made.push((now, count));
                now = next_at(Some(rate), count, now).expect("there is a rate");
            }
            for (start, _) in &made {
                let end = *start + Duration::from_secs(1);
                let sum: usize = made.iter().filter(|(at, _)| at >= start && *at < end).map(|(_, count)| count).sum();
                assert!(sum <= usize::try_from(rate).expect("positive"), "{sum} at {rate}");
            }
        }
        assert_eq!((budget(None), next_at(None, 500, NOW)), (DELIVERIES_AT_ONCE, None));
    }
}
