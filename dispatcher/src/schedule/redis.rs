//! Schedules in Redis.
//!
//! Keys     the hash tag makes a shard a slot of a Cluster, so that every script has one:
//!          ```text
//!          <prefix>:{<shard>}:h                      HASH  epoch, generation, version, count, building
//!          <prefix>:{<shard>}:<generation>:d         ZSET  endpoint → its earliest time
//!          <prefix>:{<shard>}:<generation>:e:<id>    ZSET  delivery → time, the earliest of one endpoint
//!          <prefix>:{<shard>}:<generation>:c         ZSET  endpoint with more in the rows → the first time that is cut off
//!          ```
//!          Endpoints and deliveries are the 16 bytes of their UUIDs, times are Unix milliseconds.
//! Trap     a script computes the keys of endpoints from the one it is given. Redis and Valkey take that, in a Cluster
//!          too, since all are in one slot; a server that wants every key declared would not.
//! Source   <https://redis.io/docs/latest/develop/programmability/eval-intro/>

use std::sync::{Arc, LazyLock};

use angarium_entity::{DeliveryId, EndpointId, Timestamp};
use redis::{RedisError, Script, ScriptInvocation, Value};
use uuid::Uuid;

use super::{Answer, Attached, Entry, LOW_WATER, Place, RetrySchedule, Unavailable, WINDOW, Written};
use crate::link::Link;

macro_rules! guarded {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("guard.lua"), include_str!($file))))
    };
}

static ATTACH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("attach.lua")));
static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("begin.lua")));
static COMPLETE: LazyLock<Script> = guarded!("complete.lua");
static WRITE: LazyLock<Script> = guarded!("write.lua");
static RANGE: LazyLock<Script> = guarded!("range.lua");

static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new("redis.call('UNLINK', KEYS[1]) return {0}"));

/// Fenced off by a newer epoch.
const FENCED: i64 = -1;
/// Gone, or another generation.
const LOST: i64 = -2;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RedisSchedule(Arc<Link>);

impl RedisSchedule {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self(link)
    }

    fn head(&self, shard: i32) -> String {
        format!("{}:{{{shard:x}}}:h", self.0.prefix())
    }

    /// Takes the head of a shard away that nobody owns.
    pub(crate) async fn forget(&self, shard: i32) -> Result<(), Unavailable> {
        self.call(&FORGET.key(self.head(shard))).await.map(drop)
    }

    async fn call(&self, script: &ScriptInvocation<'_>) -> Result<Answer<Vec<Value>>, Unavailable> {
        let mut connection = self.0.get().await.map_err(Unavailable)?;
        let called: Result<Vec<Value>, RedisError> = script.invoke_async(&mut connection).await;
        match called {
            Ok(values) => match values.first() {
                Some(Value::Int(FENCED)) => Ok(Answer::Fenced),
                Some(Value::Int(LOST)) => Ok(Answer::Lost),
                _ => Ok(Answer::Done(values.into_iter().skip(1).collect())),
            },
            Err(error) => {
                self.0.note(&error).await;
                Err(Unavailable(error))
            }
        }
    }

    async fn put(
        &self,
        place: &Place,
        put: &[Entry],
        remove: &[(EndpointId, DeliveryId)],
        is_front: bool,
    ) -> Result<Answer<Written>, Unavailable> {
        let mut script = invoke(&WRITE, &self.head(place.shard), place);
        script.arg(WINDOW).arg(LOW_WATER).arg(i32::from(is_front)).arg(put.len());
        for entry in put {
            script.arg(bytes(entry.endpoint.0)).arg(bytes(entry.delivery.0)).arg(entry.due.millis());
        }
        for (endpoint, delivery) in remove {
            script.arg(bytes(endpoint.0)).arg(bytes(delivery.0));
        }
        Ok(self.call(&script).await?.map(|values| Written {
            version: number(values.first()),
            count: number(values.get(1)),
            low: values.iter().skip(2).filter_map(endpoint).collect(),
        }))
    }
}

impl RetrySchedule for RedisSchedule {
    async fn attach(&self, shard: i32, epoch: i64) -> Result<Answer<Attached>, Unavailable> {
        let mut script = ATTACH.key(self.head(shard));
        script.arg(epoch);
        let answer = self.call(&script).await?;
        Ok(answer.map(|values| {
            let generation = values.first().and_then(text).unwrap_or_default();
            let written = Written { version: number(values.get(1)), count: number(values.get(2)), low: Vec::new() };
            Attached { generation, written }
        }))
    }

    async fn begin(&self, place: &Place) -> Result<Answer<()>, Unavailable> {
        Ok(self.call(&invoke(&BEGIN, &self.head(place.shard), place)).await?.map(drop))
    }

    async fn complete(&self, place: &Place) -> Result<Answer<()>, Unavailable> {
        Ok(self.call(&invoke(&COMPLETE, &self.head(place.shard), place)).await?.map(drop))
    }

    async fn write(
        &self,
        place: &Place,
        put: &[Entry],
        remove: &[(EndpointId, DeliveryId)],
    ) -> Result<Answer<Written>, Unavailable> {
        self.put(place, put, remove, false).await
    }

    async fn refill(
        &self,
        place: &Place,
        endpoint: EndpointId,
        front: &[Entry],
    ) -> Result<Answer<Written>, Unavailable> {
        // What nobody has is taken out, so that the script comes by the endpoint even if nothing waits there.
        self.put(place, front, &[(endpoint, DeliveryId(Uuid::nil()))], true).await
    }

    async fn range(
        &self,
        place: &Place,
        until: Timestamp,
        stale: Timestamp,
        offset: usize,
        limit: usize,
    ) -> Result<Answer<Vec<(EndpointId, Timestamp)>>, Unavailable> {
        let mut script = invoke(&RANGE, &self.head(place.shard), place);
        script.arg(until.millis()).arg(stale.millis()).arg(offset).arg(limit);
        Ok(self.call(&script).await?.map(|values| {
            let pairs = values.chunks_exact(2);
            pairs.filter_map(|pair| Some((endpoint(&pair[0])?, Timestamp::from_millis(number(pair.get(1)))))).collect()
        }))
    }
}

impl<T> Answer<T> {
    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Done(value) => Answer::Done(map(value)),
            Self::Fenced => Answer::Fenced,
            Self::Lost => Answer::Lost,
        }
    }
}

fn invoke<'a>(script: &'a Script, head: &str, place: &Place) -> ScriptInvocation<'a> {
    let mut invocation = script.key(head);
    invocation.arg(place.epoch).arg(&place.generation);
    invocation
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

fn endpoint(value: &Value) -> Option<EndpointId> {
    let Value::BulkString(bytes) = value else { return None };
    Uuid::from_slice(bytes).ok().map(EndpointId)
}

fn text(value: &Value) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    String::from_utf8(bytes.clone()).ok()
}

/// Scores come as text.
fn number(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Int(number)) => *number,
        Some(value) => text(value).and_then(|text| text.parse::<f64>().ok()).map_or(0, whole),
        None => 0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of our own: far below 2^53")]
fn whole(number: f64) -> i64 {
    number as i64
}
