//! What is broken, and how it is mended.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::cluster::{Cluster, Setup, wait_for};
use super::evidence::{Hit, Injected};
use super::link::{Link, Wire};

/// What deliveries may take after a node was killed or frozen: the lease runs out, and another node reads the rows.
const AFTER_NODE: Duration = Duration::from_secs(15);
/// What they may take after the database was away.
const AFTER_DATABASE: Duration = Duration::from_secs(15);
/// What they may take after Redis has forgotten everything: the rows are looked through by then.
const AFTER_REDIS: Duration = Duration::from_secs(30);
/// What they may take after receivers were away: their circuits are open, for 30 s at first and twice as long then.
const AFTER_RECEIVERS: Duration = Duration::from_secs(95);
/// How long it may take nodes to notice that Redis is away.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);
/// How long is waited, while events are published, for a schedule to be made again: it is missed when the next retry is
/// written, and while Redis was away that is not at once.
const REBUILT_WITHIN: Duration = Duration::from_secs(8);
/// How long is waited for a session of the database to be at work, so that it can be ended in the middle.
const AT_WORK_WITHIN: Duration = Duration::from_secs(5);
/// How long a node may take to end in order: as long as its slowest request.
const ENDS_WITHIN: Duration = Duration::from_secs(75);
/// A database that is away for longer takes the leases of all nodes with it.
const LEASE: Duration = Duration::from_secs(9);

/// Something to break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but the endpoints' own manners.
    None,
    /// `kill -9` of a node, which is started again at once.
    Kill,
    /// SIGTERM of a node, which is started again when it has ended.
    Terminate,
    /// SIGSTOP of a node, and SIGCONT after a while.
    Freeze(Duration),
    /// PostgreSQL breaks everything off, and is started again.
    RestartPostgres,
    /// SIGSTOP of PostgreSQL, and SIGCONT after a while.
    FreezePostgres(Duration),
    /// `pg_terminate_backend` of every connection.
    TerminateBackends,
    /// The wire between a node and PostgreSQL, for a while.
    PostgresWire(Wire, Duration),
    /// `FLUSHALL`.
    FlushRedis,
    /// Redis ends without saving, and is started again after a while, empty.
    RestartRedis(Duration),
    /// The wire between a node and Redis, for a while.
    RedisWire(Wire, Duration),
    /// The wire between the nodes and all receivers, for a while.
    ReceivingWire(Wire, Duration),
    /// A node reaches nobody and nobody reaches it, for a while.
    PullOut(Duration),
}

impl Fault {
    /// Whether it can be done there.
    pub fn fits(self, setup: Setup) -> bool {
        match self {
            // Everything else has been done to the same nodes without namespaces.
            Self::PullOut(_) => setup == Setup::Apart,
            _ if setup == Setup::Apart => false,
            Self::RestartPostgres | Self::FreezePostgres(_) | Self::TerminateBackends | Self::PostgresWire(..) => {
                setup.has_postgres()
            }
            Self::FlushRedis | Self::RestartRedis(_) | Self::RedisWire(..) => setup.has_redis(),
            _ => true,
        }
    }

    /// Breaks it, at node `turn` where it is about nodes, and mends it.
    pub async fn inject(self, cluster: &Cluster, turn: usize) -> Injected {
        let turn = turn % cluster.nodes.len();
        let node = &cluster.nodes[turn];
        let from = cluster.clock.now();
        // When it was whole again, where it is waited for evidence after that.
        let mut mended = None;
        let (what, hit, excuses_repeats, allowance) = match self {
            Self::None => ("nothing".to_owned(), Hit::Nothing, false, Duration::ZERO),
            Self::Kill => {
                node.kill();
                (format!("kill -9 of {}", node.name), Hit::BrokenOff, true, AFTER_NODE)
            }
            Self::Terminate => {
                let starts = node.starts();
                node.terminate();
                wait_for(ENDS_WITHIN, async || node.starts() > starts).await;
                cluster.all_up().await;
                (format!("SIGTERM of {}", node.name), Hit::InFlight, false, AFTER_NODE)
            }
            Self::Freeze(time) => {
                node.freeze();
                tokio::time::sleep(time).await;
                node.thaw();
                (format!("SIGSTOP of {} for {time:?}", node.name), Hit::InFlight, true, AFTER_NODE)
            }
            Self::RestartPostgres => {
                let services = cluster.services.as_ref().expect("there is a PostgreSQL");
                tokio::task::block_in_place(|| {
                    services.command("stop postgres");
                    services.command("start postgres");
                });
                ("immediate restart of PostgreSQL".to_owned(), Hit::Publishes, false, AFTER_DATABASE)
            }
            Self::FreezePostgres(time) => {
                let services = cluster.services.as_ref().expect("there is a PostgreSQL");
                tokio::task::block_in_place(|| services.command("freeze postgres"));
                tokio::time::sleep(time).await;
                tokio::task::block_in_place(|| services.command("thaw postgres"));
                (format!("SIGSTOP of PostgreSQL for {time:?}"), Hit::Publishes, time >= LEASE, AFTER_DATABASE)
            }
            Self::TerminateBackends => {
                let count = terminate_backends(cluster.database()).await;
                (format!("{count} backends terminated at work"), Hit::Counted(count), false, AFTER_DATABASE)
            }
            Self::PostgresWire(wire, time) => {
                let count = disturb(&cluster.postgres[turn], wire, time).await;
                let what = format!("{wire:?} wire between {} and PostgreSQL for {time:?}", node.name);
                (what, Hit::Counted(count), time >= LEASE, AFTER_DATABASE)
            }
            Self::FlushRedis => {
                let before = Schedules::of(cluster).await;
                flush(cluster).await;
                ("FLUSHALL".to_owned(), before.rebuilt(cluster).await, false, AFTER_REDIS)
            }
            Self::RestartRedis(time) => {
                let services = cluster.services.as_ref().expect("there is a Redis");
                let (before, schedules) = (said(cluster, AWAY), Schedules::of(cluster).await);
                tokio::task::block_in_place(|| services.command("stop redis"));
                tokio::time::sleep(time).await;
                tokio::task::block_in_place(|| services.command("start redis"));
                // Whoever was away for a moment only is noticed by what it has forgotten; and for longer, nothing may have
                // been waiting any more that was to be rebuilt.
                mended = Some(cluster.clock.now());
                let hit = if time.is_zero() {
                    schedules.rebuilt(cluster).await
                } else {
                    wait_for(NOTICED_WITHIN, async || said(cluster, AWAY) > before).await;
                    Hit::Counted(said(cluster, AWAY) - before)
                };
                (format!("Redis down for {time:?}, and empty then"), hit, false, AFTER_REDIS)
            }
            Self::RedisWire(wire, time) => {
                let count = disturb(&cluster.redis[turn], wire, time).await;
                let what = format!("{wire:?} wire between {} and Redis for {time:?}", node.name);
                (what, Hit::Counted(count), false, AFTER_REDIS)
            }
            Self::PullOut(time) => {
                let network = cluster.network.as_ref().expect("the nodes have namespaces");
                let before = said(cluster, DEAD);
                network.pull_out(turn);
                tokio::time::sleep(time).await;
                network.plug_in(turn);
                // It lasts for longer than a lease.
                let taken_for_dead = said(cluster, DEAD) - before;
                (format!("{} pulled out for {time:?}", node.name), Hit::Counted(taken_for_dead), true, AFTER_NODE)
            }
            Self::ReceivingWire(wire, time) => {
                let count = disturb(&cluster.receiving, wire, time).await;
                let allowance = if matches!(wire, Wire::Slow(_)) { AFTER_NODE } else { AFTER_RECEIVERS };
                (format!("{wire:?} wire to the receivers for {time:?}"), Hit::Counted(count), true, allowance)
            }
        };
        let to = match self {
            // It takes effect at once, whatever follows.
            Self::Kill | Self::TerminateBackends | Self::FlushRedis => from + 1,
            _ => mended.unwrap_or_else(|| cluster.clock.now()),
        };
        // Where packets vanish, TCP waits twice as long before each time that it sends them again (RFC 6298, section 5.5).
        let comes_late = if let Self::PullOut(time) = self { time } else { Duration::ZERO };
        Injected { what, from, to, hit, excuses_repeats, comes_late, allowance }
    }
}

/// Disturbs a wire for a while; how much it did not carry as it should.
async fn disturb(link: &Link, wire: Wire, time: Duration) -> usize {
    let before = link.hits();
    link.set(wire);
    tokio::time::sleep(time).await;
    link.set(Wire::Whole);
    link.hits() - before
}

/// Ends all sessions of the nodes as soon as one is at work, or else those that there are; how many were at work.
async fn terminate_backends(url: &str) -> usize {
    let db = sea_orm::Database::connect(url).await.expect("PostgreSQL is there");
    // Within one statement, what a session does is read once.
    let terminate = |when: &str| {
        let text = format!(
            "WITH session AS MATERIALIZED (SELECT pid, state <> 'idle' AS at_work FROM pg_stat_activity \
             WHERE application_name LIKE 'angarium%' AND datname = current_database()) \
             SELECT at_work, pg_terminate_backend(pid) FROM session WHERE {when}"
        );
        db.query_all_raw(Statement::from_string(DbBackend::Postgres, text))
    };
    let (deadline, mut ended) = (Instant::now() + AT_WORK_WITHIN, Vec::new());
    while ended.is_empty() && Instant::now() < deadline {
        ended = terminate("EXISTS (SELECT 1 FROM session WHERE at_work)").await.expect("it may end them");
    }
    if ended.is_empty() {
        terminate("true").await.expect("it may end them");
    }
    db.close().await.expect("it closes");
    ended.iter().filter(|row| row.try_get("", "at_work").unwrap_or(false)).count()
}

/// How often nodes have missed schedules, and made them.
struct Schedules {
    missed: usize,
    made: usize,
}

impl Schedules {
    async fn of(cluster: &Cluster) -> Self {
        let mut made = 0;
        for node in &cluster.nodes {
            made += node.metric("angarium_schedule_rebuilds_total").await.unwrap_or(0);
        }
        Self { missed: said(cluster, LOST), made }
    }

    /// What was missed and made since, once there is something.
    async fn rebuilt(self, cluster: &Cluster) -> Hit {
        let since = async || {
            let now = Self::of(cluster).await;
            (now.missed - self.missed, now.made.saturating_sub(self.made))
        };
        wait_for(REBUILT_WITHIN, async || matches!(since().await, (1.., 1..))).await;
        let (missed, made) = since().await;
        Hit::Rebuilt { missed, made }
    }
}

async fn flush(cluster: &Cluster) {
    let services = cluster.services.as_ref().expect("there is a Redis");
    let address = super::cluster::address_of(&services.redis_url);
    let mut stream = TcpStream::connect(address).await.expect("Redis is there");
    stream.write_all(b"FLUSHALL\r\n").await.expect("it listens");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(&answer, b"+OK\r\n");
}

/// What a node says when Redis is away.
const AWAY: &str = "Redis does not answer";
/// What it says when Redis has not got what was written there.
const LOST: &str = "Redis has lost";
/// What it says when it has deleted others.
const DEAD: &str = "are taken for dead";

/// How often nodes have said this.
fn said(cluster: &Cluster, what: &str) -> usize {
    cluster.nodes.iter().map(|node| node.logged().matches(what).count()).sum()
}
