//! Whether a Redis can do all that a node asks of it: more than to answer, since a user of its own may be forbidden any
//! command, key or channel. Everything is tried below the prefix of the installation, in a shard that no node owns, and
//! cleared away.

use std::sync::Arc;
use std::time::Duration;

use angarium_entity::{DeliveryId, EndpointId, NodeId, Timestamp};
use futures_util::StreamExt as _;
use redis::RedisError;
use uuid::Uuid;

use crate::link::{self, Link, RedisCheck, RedisUrl};
use crate::schedule::{Entry, Place, RedisSchedule, RetrySchedule as _, Unavailable, WINDOW};

/// Longest wait for what was published.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Why a Redis will not do.
#[derive(Debug, thiserror::Error)]
pub enum RedisCheckError {
    /// It does not let us in, or not answer.
    #[error(transparent)]
    Reach(RedisError),
    /// No retry could be held there.
    #[error("the scripts that hold retry schedules do not run on keys `{0}:*`")]
    Schedule(String, #[source] RedisError),
    /// Nodes could not hear each other.
    #[error("nodes cannot publish and subscribe to channels `{0}:*`")]
    Channels(String, #[source] RedisError),
    /// The same, and nobody says why.
    #[error("what is published to channels `{0}:*` is not heard")]
    Unheard(String),
}

/// Does all that a node of the `installation` does; of one that is not known yet, below a prefix of its own.
///
/// # Errors
/// What fails first.
pub async fn check_redis(url: &RedisUrl, installation: Option<Uuid>) -> Result<RedisCheck, RedisCheckError> {
    let found = link::check(url).await.map_err(RedisCheckError::Reach)?;
    let link = Arc::new(Link::new(url.clone(), installation.unwrap_or_else(Uuid::now_v7)));
    let prefix = || link.prefix().to_owned();
    try_schedule(&link).await.map_err(|Unavailable(error)| RedisCheckError::Schedule(prefix(), error))?;
    match try_channels(&link).await {
        Ok(true) => Ok(found),
        Ok(false) => Err(RedisCheckError::Unheard(prefix())),
        Err(error) => Err(RedisCheckError::Channels(prefix(), error)),
    }
}

/// Every command of the scripts once.
async fn try_schedule(link: &Arc<Link>) -> Result<(), Unavailable> {
    let schedule = RedisSchedule::new(link.clone());
    let place = Place { shard: -1 - i32::from(rand::random::<u16>()), epoch: 1, generation: "check".to_owned() };
    let now = Timestamp::from_millis(1);
    let endpoint = EndpointId(Uuid::nil());
    let entry = |number| Entry { endpoint, delivery: DeliveryId(Uuid::from_u128(number)), due: now };
    // One more than is held, and then fewer than are wanted.
    let entries: Vec<_> = (0..=WINDOW as u128).map(entry).collect();
    let gone: Vec<_> = entries.iter().skip(1).map(|entry| (entry.endpoint, entry.delivery)).collect();
    schedule.attach(place.shard, place.epoch).await?;
    schedule.begin(&place).await?;
    schedule.write(&place, &entries, &[]).await?;
    schedule.write(&place, &[], &gone).await?;
    schedule.complete(&place).await?;
    schedule.range(&place, now, now, 0, 1).await?;
    schedule.refill(&place, endpoint, &entries).await?;
    schedule.begin(&Place { generation: "end".to_owned(), ..place.clone() }).await?;
    schedule.forget(place.shard).await
}

/// Whether a message comes back.
async fn try_channels(link: &Link) -> Result<bool, RedisError> {
    let node = NodeId(Uuid::now_v7());
    let mut heard = link.subscribe(node).await?;
    link.publish(&[(link.channel_of(node), b"check".to_vec())]).await?;
    let message = tokio::time::timeout(HEARD_WITHIN, heard.on_message().next()).await;
    Ok(matches!(message, Ok(Some(_))))
}
