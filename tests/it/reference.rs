//! The five reference APIs, each walked through as its own users would, under its own limits.
//!
//! `api/docs/reference-apis.md` maps every operation, parameter, field, limit and status of theirs to ours.

mod assets;
mod channels;
mod editions;
mod management;
mod notifications;
