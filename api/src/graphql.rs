//! The API: a thin dress over [`crate::app`].
//!
//! Cast    [`mod@schema`] builds the schema with its limits, [`context`] makes a request ready for it.
//!         `query`, `mutation` and `subscription` are the roots, `object` what they answer with, `page` the
//!         connections, `loader` what is loaded together, `scalar` and `node` how values and IDs are written.
//! Rules   a resolver parses, calls one use case, and dresses the answer. An object is a newtype over its row with
//!         each field written out, so that no column is published by accident. Doc comments are the public manual.
//! Absent  HTTP and WebSockets, which are `crate::http`'s.
#![expect(
    clippy::doc_markdown,
    reason = "doc comments are the manual of the API, which names scopes and codes as they are"
)]

pub mod context;
pub mod error;
pub mod schema;

mod cost;
#[cfg(feature = "testing")]
mod coverage;
mod input;
mod loader;
mod mutation;
mod node;
mod object;
mod page;
mod query;
pub mod scalar;
mod subscription;

pub use context::prepare;
pub use error::RequestId;
#[cfg(any(fuzzing, test))]
pub(crate) use page::{Ordering, decode};
pub use scalar::json::variables;
pub use schema::{Schema, schema, sdl};

#[cfg(test)]
mod tests;
