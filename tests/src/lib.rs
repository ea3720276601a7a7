//! The harness of the tests: a whole Angarium in the process, real databases, scripted receivers.
//!
//! A test drives the service through GraphQL and never waits for time to pass: [`TestApp::clock`] is moved by hand, and
//! what takes a moment (a request on loopback, a commit) is awaited as a condition with a generous bound. The exception
//! is [`chaos`], which breaks real processes in real time.

pub mod app;
pub mod builder;
pub mod chaos;
pub mod client;
pub mod collector;
pub mod deadly_clock;
pub mod dns;
pub mod installation;
pub mod nodes;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod redis_server;
pub mod services;
pub mod signed;

pub use app::{Backend, TestApp};
pub use client::GraphQl;
pub use collector::Collector;
pub use installation::Installation;
pub use nodes::Node;
pub use raw::{RawReceiver, RawRequest};
pub use receiver::{Answer, Received, Receiver};
pub use redis_server::{RedisCluster, RedisServer, RedisSetup, Sentinels};

/// Longest wait for something that takes a moment. Only a failing test waits so long.
pub const MOMENT: std::time::Duration = std::time::Duration::from_secs(60);

/// Makes a test of `async fn name(mut app: TestApp)` for SQLite and one for PostgreSQL.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($($app:tt)+) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn run($($app)+: $crate::TestApp) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                run($crate::TestApp::start($crate::Backend::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                run($crate::TestApp::start($crate::Backend::Postgres).await).await;
            }
        }
    )+};
}
