//! The use cases: what a caller can ask for, in our own types. GraphQL parses, calls one of these, and dresses the
//! answer; nothing here knows of it but the derive that gives error codes their names.
//!
//! Permission  a use case starts with the scope that it needs.
//! Tenancy     a query starts at `Entity::of(workspace)`, so what belongs to somebody else looks as if it did not exist.
//! Refusals    what a person can put right is a [`Problem`], and all of them are told at once; anything else is an
//!             [`AppError`].

pub mod access_token;
pub mod api_key;
pub mod change;
pub mod creation;
pub mod delivery;
pub mod duration;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod event_type;
pub mod filter;
pub mod list;
mod logged;
pub mod problem;
pub mod reach;
pub mod replay;
pub mod retry_policy;
pub mod subscription;
pub mod workspace;

pub use change::Change;
pub use error::{AppError, Refusal};
pub use problem::{Path, Problem, Problems};
