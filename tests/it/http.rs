//! The protocols around GraphQL, and what is served beside it.

mod bounds;
mod browser;
mod clients;
mod cors;
mod depth;
mod dev;
mod event_stream;
mod serving;
mod stalled;
mod verifiers;
mod verifying;
mod websocket;
