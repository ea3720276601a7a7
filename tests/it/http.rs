//! The protocols around GraphQL, and what is served beside it.

mod browser;
mod clients;
mod depth;
mod dev;
mod serving;
mod stalled;
mod verifiers;
mod verifying;
mod websocket;
