//! The public face of Angarium: GraphQL over HTTP and WebSocket, and the command line.
//!
//! # Cast
//! * [`app`]: the use cases, in our own types. They decide what is allowed and right; `entity` holds the rows and
//!   `dispatcher` everything behind a publish.
//! * [`graphql`]: a thin coat over them. A resolver parses, calls one use case, and dresses the answer.
//! * `http`: connections, strict GraphQL over HTTP and sockets, event streams, the playground, health.
//! * [`authenticate`] and [`caller`]: from a credential to who is calling and what they may do.
//! * [`metrics`]: what a node shows of itself.
//! * [`server`]: starts and stops all of it; [`cli`], [`config`], [`provision`] and [`reencrypt`] are what an
//!   operator touches.
//! * [`dev`]: what `angarium dev` adds for one person on one machine.
//!
//! # Arrows
//! ```text
//! http → authenticate → graphql → app → entity, dispatcher
//! ```
//!
//! # When it dies half-way
//! A use case writes in one transaction and hints the dispatcher after the commit; a hint that is lost is found by the
//! dispatcher's sweep. What was not answered was perhaps done: a publish is made safe to repeat by its idempotency key.
//!
//! # Deliberately absent
//! Sending, signing and retrying, which are the dispatcher's; sessions and cookies, so that no page can act for a person.

pub mod app;
pub mod authenticate;
pub mod caller;
pub mod cli;
pub mod config;
pub mod dev;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod graphql;
mod http;
pub mod metrics;
pub mod provision;
pub mod reencrypt;
pub mod server;
pub mod state;

pub use caller::Caller;
pub use state::AppState;
