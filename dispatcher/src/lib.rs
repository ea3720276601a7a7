//! From an accepted event to a recorded attempt.
//!
//! # Cast
//! * [`DispatcherHandle`]: all that the API sees.
//! * `store::ingest`: the committer that writes many publishes together, with their deliveries; where it can, as one
//!   statement.
//! * `store::sieve`: where the filters of subscriptions run, away from that committer, one workspace after the other.
//! * `actor::hub`: one for each arbiter (a thread with its own HTTP client). It wakes endpoints and lets them sleep, and
//!   reminds each of the earliest of its retries.
//! * `actor::endpoint`: one actor for each endpoint with something to do. A shell: `machine::endpoint` decides.
//! * `deliver`: one attempt, rendered, signed, sent and judged.
//! * `store::completion`: the committer that writes many results together, most of them as one statement.
//! * `store::{pager, sweep}`: what the actors read from the rows, and what finds what memory has lost.
//! * `store::notice`: Angarium's own events, in the transactions of what they tell of; `store::expiry`: subscriptions
//!   that end.
//! * `store::confirmation`: the messages that ask endpoints to confirm subscriptions.
//! * `store::replay`: the job that sends past events again; `store::erase`: what deletes events with their deliveries.
//! * `store::{held, retention, purge, forget}`: the sweeps that end what waited too long and delete what is old, what a
//!   deleted workspace leaves, and keys that have had their time. Each works in bounded steps.
//! * `machine::{breaker, rate, governor}`: when an endpoint is left alone, how fast it is asked, and who gets a slot.
//! * [`metrics`]: what it shows of itself; `store::backlog`: what waits, for operators. [`trace`]: spans for OpenTelemetry.
//! * `store::{retry, cancel, test_event}`: what people ask for.
//! * `cluster`: which node delivers for which endpoint, by leases in the database. `peers`: what nodes tell each other.
//! * `schedule`: when retries are due, held in Redis (`link`) and rebuilt from the rows whenever it is lost.
//!
//! # Arrows
//! ```text
//! publish (→ sieve) → ingest ══ rows ══╗
//!                       └─ hint → hub → endpoint → attempt → completion ══ rows
//!                                  ↑        ↑ page                 │
//!                      sweep ──────┘        └─ pager ══ rows       └→ hub: recorded, retry due soon
//! ```
//!
//! # When it dies half-way
//! Between a commit and its hint, with a full mailbox, in the middle of a request, after an answer and before its
//! result is durable: the row says that the delivery is open, and the first sweep of the next start (or the next sweep,
//! every 15 s) finds it. What was being sent is sent again, with the same `webhook-id`.
//!
//! An attempt that panics fails alone, as our own fault. An actor that panics is made anew from the rows after five seconds,
//! or longer each time up to ten minutes, and not before what it had reported is durable; a hub that panics ends the process.
//!
//! # What memory costs
//! Endpoints that work, and not all there are: who has been idle for a minute is forgotten, and when more than
//! [`config::AWAKE_MAX`] of a thread are awake, who has been idle for twelve seconds (`actor::hub::rest`).
//!
//! # Deliberately absent
//! A claim in the rows: an endpoint is served by one actor of one node, which has the lease of its shard, so nothing needs
//! to be marked as taken, and nothing has to be freed after a crash. "In flight" is seen live and never stored.
//!
//! A second signature in the forms of GitHub and Shopify. During a rotation's overlap every valid secret signs, except there:
//! their header has room for one, so the old secret signs until the end of the overlap, and then the new one ([`signature`]).

mod actor;
#[cfg(feature = "benching")]
pub mod benching;
mod classify;
mod cluster;
pub mod config;
mod deliver;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod handle;
mod job;
mod link;
mod machine;
pub mod metrics;
mod peers;
pub mod publish;
pub mod render;
pub mod replay;
mod report;
pub mod runtime;
mod schedule;
mod settings;
pub mod signature;
mod store;
pub mod trace;
mod transport;
mod trial;

pub use actor::hub::HubReport;
pub use config::Config;
pub use handle::{DispatcherHandle, NodeReport, RetryError};
pub use link::{RedisCheck, RedisUrl, RedisUrlError};
pub use metrics::Metrics;
pub use publish::{NewEvent, NewTest, PublishError, Published};
pub use replay::{
    Candidates, ITEMS_MAX as REPLAY_ITEMS_MAX, NewReplay, RATE_MAX as REPLAY_RATE_MAX,
    RUNNING_MAX as REPLAYS_RUNNING_MAX, ReplayError,
};
pub use runtime::{Dispatcher, StartError};
pub use store::cancel::Cancel;
pub use store::confirmation::Asked;
pub use store::database::is_connection_lost;
pub use store::notice::Raised;
pub use trace::{Span, Tracer};
pub use transport::ClientError;
pub use transport::address_guard::{AddressGuard, ForbiddenAddress};
pub use transport::name_server::{NameServerError, check_name_server};
pub use transport::proxy::{NOWHERE, Proxy, ProxyError, ProxyUrlError};
pub use trial::{RedisCheckError, check_redis};
