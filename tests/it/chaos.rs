//! The short runs of `chaos`: each fault once, on a cluster of its own. `tests/chaos` makes the long ones.

use std::time::Duration;

use angarium_tests::chaos::cluster::Setup;
use angarium_tests::chaos::faults::Fault;
use angarium_tests::chaos::judge::Limits;
use angarium_tests::chaos::link::Wire;
use angarium_tests::chaos::network::Network;
use angarium_tests::chaos::scenario::{Run, Scenario};

/// How long events are published in the first run.
const TIME: Duration = Duration::from_secs(4);
/// How long is published before the fault, and after.
const CALM: Duration = Duration::from_secs(1);
/// Events a second. Each goes to eight endpoints or so.
const RATE: u32 = 60;
/// What is too much on a machine that builds and tests other things meanwhile: what is caught up only by a sweep, not what is
/// slow. How long things take is a figure of the long runs.
const LIMITS: Limits = Limits {
    late: Duration::from_secs(15),
    acknowledged: Duration::from_secs(15),
    patience: Duration::from_secs(15),
    resident_bytes: 500 << 20,
    files: 1_000,
};

/// Runs until a fault has hit something.
const RUNS_MAX: u32 = 4;

const S: fn(u64) -> Duration = Duration::from_secs;

async fn survives(setup: Setup, name: &'static str, fault: Fault) {
    let scenario = Scenario { name, fault, every: S(2) };
    let seed = std::env::var("CHAOS_SEED").ok().map(|seed| seed.parse().expect("CHAOS_SEED is a number"));
    let seed = seed.unwrap_or_else(rand::random::<u32>).into();
    let run = |time| Run { setup, scenario, time, rate: RATE, calm: CALM, seed, limits: LIMITS };
    let mut outcome = run(TIME).play().await;
    // A run in which no fault hit proves nothing; a longer one may.
    for longer in 2..=RUNS_MAX {
        if !outcome.judgement.findings.iter().all(|finding| finding.broken == "hit") || outcome.report.is_empty() {
            break;
        }
        outcome = run(TIME * longer).play().await;
    }
    assert!(outcome.report.is_empty(), "{}\n{:?}", outcome.report, outcome.judgement);
    println!("{:?}", outcome.judgement);
}

/// Where no namespaces may be made, the wire to PostgreSQL falls silent instead: that is never left out.
async fn apart(name: &'static str, fault: Fault) {
    match Network::is_allowed() {
        Ok(()) => survives(Setup::Apart, name, fault).await,
        Err(why) => {
            eprintln!("no network namespaces here, so by a proxy: {why}");
            survives(Setup::Three, name, Fault::PostgresWire(Wire::Silent, S(12))).await;
        }
    }
}

macro_rules! survives {
    ($($name:ident: $fault:expr => $($setup:ident)+;)+) => {$(
        mod $name {
            use super::*;

            survives!(@ $name, $fault, $($setup)+);
        }
    )+};
    (@ $name:ident, $fault:expr, sqlite $($rest:ident)*) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn on_sqlite() {
            survives(Setup::Sqlite, stringify!($name), $fault).await;
        }
        survives!(@ $name, $fault, $($rest)*);
    };
    (@ $name:ident, $fault:expr, postgres $($rest:ident)*) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn on_postgres() {
            survives(Setup::Postgres, stringify!($name), $fault).await;
        }
        survives!(@ $name, $fault, $($rest)*);
    };
    (@ $name:ident, $fault:expr, redis $($rest:ident)*) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn on_postgres_and_redis() {
            survives(Setup::Redis, stringify!($name), $fault).await;
        }
        survives!(@ $name, $fault, $($rest)*);
    };
    (@ $name:ident, $fault:expr, three $($rest:ident)*) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn on_three_nodes() {
            survives(Setup::Three, stringify!($name), $fault).await;
        }
        survives!(@ $name, $fault, $($rest)*);
    };
    (@ $name:ident, $fault:expr, apart $($rest:ident)*) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn on_three_nodes_in_namespaces() {
            apart(stringify!($name), $fault).await;
        }
        survives!(@ $name, $fault, $($rest)*);
    };
    (@ $name:ident, $fault:expr,) => {};
}

survives! {
    bad_manners_of_receivers: Fault::None => sqlite postgres;
    nodes_that_are_killed: Fault::Kill => sqlite postgres three;
    nodes_that_are_told_to_end: Fault::Terminate => sqlite postgres three;
    nodes_that_are_frozen: Fault::Freeze(S(3)) => sqlite postgres;
    an_immediate_restart_of_postgres: Fault::RestartPostgres => postgres three;
    a_frozen_postgres: Fault::FreezePostgres(S(2)) => postgres;
    killed_backends: Fault::TerminateBackends => postgres three;
    a_cut_wire_to_postgres: Fault::PostgresWire(Wire::Cut, S(2)) => postgres;
    a_silent_wire_to_postgres: Fault::PostgresWire(Wire::Silent, S(2)) => postgres;
    nodes_that_are_frozen_beyond_their_lease: Fault::Freeze(S(12)) => three;
    a_silent_wire_to_postgres_beyond_the_lease: Fault::PostgresWire(Wire::Silent, S(12)) => three;
    a_mute_wire_to_postgres: Fault::PostgresWire(Wire::Mute, S(2)) => postgres;
    a_slow_wire_to_postgres: Fault::PostgresWire(Wire::Slow(Duration::from_millis(50)), S(2)) => postgres;
    an_emptied_redis: Fault::FlushRedis => redis three;
    an_immediate_restart_of_redis: Fault::RestartRedis(Duration::ZERO) => redis;
    redis_being_down: Fault::RestartRedis(S(3)) => three;
    a_cut_wire_to_redis: Fault::RedisWire(Wire::Cut, S(2)) => three;
    a_silent_wire_to_redis: Fault::RedisWire(Wire::Silent, S(3)) => three;
    a_cut_wire_to_the_receivers: Fault::ReceivingWire(Wire::Cut, S(2)) => sqlite;
    a_node_that_reaches_nobody: Fault::PullOut(S(12)) => apart;
    a_silent_wire_to_the_receivers: Fault::ReceivingWire(Wire::Silent, S(2)) => sqlite postgres;
}
