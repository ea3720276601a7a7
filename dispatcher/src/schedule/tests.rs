//! What a schedule must do, on the model and on a real Redis.

use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::{DeliveryId, EndpointId, Timestamp};
use uuid::Uuid;

use super::memory::MemorySchedule;
use super::*;
use crate::link::{Link, RedisUrl};

const NEVER: Timestamp = Timestamp::from_millis(0);

mod process {
    use std::process::{Child, Command, Stdio};

    pub(super) fn start(port: u16) -> Child {
        Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
            .stdout(Stdio::null())
            .spawn()
            .expect("Debian's package `redis-server` is installed")
    }
}

/// A Redis of the tests' own: the one that is given, or one that ends with this.
struct Server {
    url: String,
    process: Option<Child>,
}

impl Server {
    #[expect(clippy::zombie_processes, reason = "a test that cannot start it ends, and with it the process")]
    async fn start() -> Self {
        if let Ok(url) = std::env::var("TEST_REDIS_URL") {
            return Self { url, process: None };
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port();
        drop(free);
        let process = process::start(port);
        let url = format!("redis://127.0.0.1:{port}/");
        let parsed = RedisUrl::parse(&url).expect("it is a URL");
        for _ in 0..500 {
            if crate::link::check(&parsed).await.is_ok() {
                return Self { url, process: Some(process) };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server did not start");
    }

    /// A schedule in keys of its own.
    fn schedule(&self) -> (RedisSchedule, Arc<Link>) {
        let link = Arc::new(Link::new(RedisUrl::parse(&self.url).expect("it is a URL"), Uuid::now_v7()));
        (RedisSchedule::new(link.clone()), link)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Deletes every key of a schedule, as `FLUSHALL` would.
async fn empty(link: &Link) {
    let mut connection = link.get().await.expect("Redis answers");
    let mut keys = redis_keys(&mut connection, &format!("{}:*", link.prefix())).await;
    if !keys.is_empty() {
        let mut delete = ::redis::cmd("DEL");
        for key in keys.drain(..) {
            delete.arg(key);
        }
        delete.query_async::<i64>(&mut connection).await.expect("they are deleted");
    }
}

async fn redis_keys(connection: &mut crate::link::Connection, pattern: &str) -> Vec<Vec<u8>> {
    ::redis::cmd("KEYS").arg(pattern).query_async(connection).await.expect("Redis answers")
}

fn place(epoch: i64, generation: &str) -> Place {
    Place { shard: 17, epoch, generation: generation.to_owned() }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn entry(endpoint: EndpointId, due: i64) -> Entry {
    Entry { endpoint, delivery: DeliveryId::new(at(1)), due: at(due) }
}

fn done<T: std::fmt::Debug>(answer: Result<Answer<T>, Unavailable>) -> T {
    match answer.expect("the schedule answers") {
        Answer::Done(value) => value,
        other => panic!("it was not done: {other:?}"),
    }
}

async fn fresh(schedule: &impl RetrySchedule, place: &Place) {
    done(schedule.begin(place).await);
    done(schedule.complete(place).await);
}

async fn due(schedule: &impl RetrySchedule, place: &Place, until: i64) -> Vec<(EndpointId, Timestamp)> {
    done(schedule.range(place, at(until), NEVER, 0, 1_000).await)
}

async fn what_is_due_is_told_by_endpoint_with_its_earliest_time(schedule: impl RetrySchedule) {
    let place = place(1, "1.1");
    fresh(&schedule, &place).await;
    let [a, b] = [EndpointId::new(at(1)), EndpointId::new(at(1))];
    let (first, second, other) = (entry(a, 100), entry(a, 200), entry(b, 150));
    let written = done(schedule.write(&place, &[first, second, other], &[]).await);
    assert_eq!((written.version, written.count, written.low), (1, 3, vec![]));
    assert_eq!(due(&schedule, &place, 99).await, []);
    assert_eq!(due(&schedule, &place, 160).await, [(a, at(100)), (b, at(150))]);
    // A retry that failed again replaces its entry.
    let written = done(schedule.write(&place, &[Entry { due: at(300), ..first }], &[(b, other.delivery)]).await);
    assert_eq!((written.version, written.count), (2, 2));
    assert_eq!(due(&schedule, &place, 1_000).await, [(a, at(200))]);
    let written =
        done(schedule.write(&place, &[], &[(a, second.delivery), (a, first.delivery), (a, other.delivery)]).await);
    assert_eq!((written.version, written.count), (3, 0));
    assert_eq!(due(&schedule, &place, 1_000).await, []);
}

async fn an_owner_that_was_replaced_is_refused_and_changes_nothing(schedule: impl RetrySchedule) {
    let (old, endpoint) = (place(1, "1.1"), EndpointId::new(at(1)));
    fresh(&schedule, &old).await;
    done(schedule.write(&old, &[entry(endpoint, 100)], &[]).await);
    let attached = done(schedule.attach(17, 2).await);
    assert_eq!((attached.generation.as_str(), attached.written.version, attached.written.count), ("1.1", 1, 1));
    assert_eq!(schedule.write(&old, &[entry(endpoint, 50)], &[]).await.expect("it answers"), Answer::Fenced);
    assert_eq!(schedule.range(&old, at(1_000), NEVER, 0, 10).await.expect("it answers"), Answer::Fenced);
    assert_eq!(schedule.begin(&place(1, "1.2")).await.expect("it answers"), Answer::Fenced);
    assert_eq!(schedule.attach(17, 1).await.expect("it answers"), Answer::Fenced);
    assert_eq!(due(&schedule, &place(2, "1.1"), 1_000).await, [(endpoint, at(100))]);
}

async fn another_generation_is_lost(schedule: impl RetrySchedule) {
    let (first, second) = (place(1, "1.1"), place(1, "1.2"));
    assert_eq!(schedule.attach(17, 1).await.expect("it answers"), Answer::Lost, "there is none yet");
    fresh(&schedule, &first).await;
    let endpoint = EndpointId::new(at(1));
    done(schedule.write(&first, &[entry(endpoint, 100)], &[]).await);
    done(schedule.begin(&second).await);
    assert_eq!(schedule.attach(17, 1).await.expect("it answers"), Answer::Lost, "it is half built");
    assert_eq!(schedule.write(&first, &[entry(endpoint, 50)], &[]).await.expect("it answers"), Answer::Lost);
    assert_eq!(due(&schedule, &second, 1_000).await, [], "nothing of the old one is read");
    let written = done(schedule.write(&second, &[entry(endpoint, 70)], &[]).await);
    assert_eq!((written.version, written.count), (1, 1));
    done(schedule.complete(&second).await);
    assert_eq!(done(schedule.attach(17, 1).await).written, Written { version: 1, count: 1, low: vec![] });
}

async fn of_each_endpoint_the_earliest_are_held_and_the_next_are_asked_for(schedule: impl RetrySchedule) {
    let (place, endpoint) = (place(1, "1.1"), EndpointId::new(at(1)));
    fresh(&schedule, &place).await;
    let entries: Vec<Entry> =
        (0..i64::try_from(WINDOW).expect("small") + 40).map(|n| entry(endpoint, 1_000 - n)).collect();
    let written = done(schedule.write(&place, &entries, &[]).await);
    assert_eq!((written.count, written.low), (128, vec![]));
    assert_eq!(due(&schedule, &place, 1_000).await, [(endpoint, entries[167].due)]);
    let ended: Vec<_> = entries.iter().rev().map(|entry| (endpoint, entry.delivery)).take(WINDOW - LOW_WATER).collect();
    assert_eq!(done(schedule.write(&place, &[], &ended).await).low, []);
    let one_more = [(endpoint, entries[167 - ended.len()].delivery)];
    assert_eq!(done(schedule.write(&place, &[], &one_more).await).low, [endpoint]);
    // The rows say that there is nothing more.
    assert_eq!(done(schedule.refill(&place, endpoint, &[entry(endpoint, 5)]).await).low, []);
    assert_eq!(done(schedule.write(&place, &[entry(endpoint, 6)], &[]).await).low, []);
}

async fn no_retry_is_held_while_an_earlier_one_of_its_endpoint_is_only_in_the_rows(schedule: impl RetrySchedule) {
    let (place, endpoint) = (place(1, "1.1"), EndpointId::new(at(1)));
    fresh(&schedule, &place).await;
    let window = i64::try_from(WINDOW).expect("small");
    let entries: Vec<Entry> = (0..window + 72).map(|n| entry(endpoint, 100 + n)).collect();
    done(schedule.write(&place, &entries, &[]).await);
    // All that are held fail again, and are due long after those that are not held.
    let later: Vec<Entry> = entries[..WINDOW].iter().map(|entry| Entry { due: at(10_000), ..*entry }).collect();
    let written = done(schedule.write(&place, &later, &[]).await);
    assert_eq!((written.count, written.low), (0, vec![endpoint]));
    // The rows: the 72, and of the others as many as make one more than the window.
    let front: Vec<Entry> = entries[WINDOW..].iter().chain(&later).take(WINDOW + 1).copied().collect();
    let written = done(schedule.refill(&place, endpoint, &front).await);
    assert_eq!((written.count, written.low), (window, vec![]));
    assert_eq!(due(&schedule, &place, 20_000).await, [(endpoint, at(100 + window))]);
    let between = entry(endpoint, 5_000);
    assert_eq!(done(schedule.write(&place, &[between], &[]).await).count, window, "it takes the place of a later one");
}

async fn a_reading_goes_on_where_the_last_ended_and_forgets_what_is_stale(schedule: impl RetrySchedule) {
    let place = place(1, "1.1");
    fresh(&schedule, &place).await;
    let endpoints: Vec<EndpointId> = (0..10).map(|_| EndpointId::new(at(1))).collect();
    let entries: Vec<Entry> = endpoints.iter().zip(100..).map(|(endpoint, due)| entry(*endpoint, due)).collect();
    done(schedule.write(&place, &entries, &[]).await);
    let mut found = Vec::new();
    for offset in [0, 4, 8] {
        found.extend(done(schedule.range(&place, at(1_000), NEVER, offset, 4).await));
    }
    assert_eq!(found, entries.iter().map(|entry| (entry.endpoint, entry.due)).collect::<Vec<_>>());
    let fresh = done(schedule.range(&place, at(1_000), at(105), 0, 100).await);
    assert_eq!(fresh, found[5..]);
    assert_eq!(done(schedule.attach(17, 1).await).written.count, 5);
}

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod on_memory {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                super::$name(MemorySchedule::default()).await;
            })*
        }
        mod on_redis {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                let server = Server::start().await;
                let (schedule, link) = server.schedule();
                super::$name(schedule).await;
                empty(&link).await;
            })*
        }
    };
}

conformance!(
    what_is_due_is_told_by_endpoint_with_its_earliest_time,
    an_owner_that_was_replaced_is_refused_and_changes_nothing,
    another_generation_is_lost,
    of_each_endpoint_the_earliest_are_held_and_the_next_are_asked_for,
    no_retry_is_held_while_an_earlier_one_of_its_endpoint_is_only_in_the_rows,
    a_reading_goes_on_where_the_last_ended_and_forgets_what_is_stale,
);

#[tokio::test]
async fn what_is_emptied_is_lost_at_the_next_call() {
    let server = Server::start().await;
    let (schedule, link) = server.schedule();
    let (place, endpoint) = (place(1, "1.1"), EndpointId::new(at(1)));
    fresh(&schedule, &place).await;
    empty(&link).await;
    assert_eq!(schedule.write(&place, &[entry(endpoint, 1)], &[]).await.expect("it answers"), Answer::Lost);
    assert_eq!(schedule.range(&place, at(10), NEVER, 0, 10).await.expect("it answers"), Answer::Lost);
    let memory = MemorySchedule::default();
    fresh(&memory, &place).await;
    memory.clear();
    assert_eq!(memory.write(&place, &[entry(endpoint, 1)], &[]).await.expect("it answers"), Answer::Lost);
}

#[tokio::test]
async fn a_rebuild_leaves_no_key_of_the_generation_before() {
    let server = Server::start().await;
    let (schedule, link) = server.schedule();
    let old = place(1, "1.1");
    fresh(&schedule, &old).await;
    let entries: Vec<Entry> = (0..300).map(|n| entry(EndpointId::new(at(1)), n)).collect();
    done(schedule.write(&old, &entries, &[]).await);
    fresh(&schedule, &place(1, "1.2")).await;
    let mut connection = link.get().await.expect("Redis answers");
    let left = redis_keys(&mut connection, &format!("{}:*", link.prefix())).await;
    assert_eq!(left.len(), 1, "the head: {left:?}");
    empty(&link).await;
}
