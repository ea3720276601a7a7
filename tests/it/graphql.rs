//! The API.

mod access_token;
mod administration;
mod connections;
mod creation;
mod deletion;
mod endpoint;
mod event_type;
mod filter;
mod header;
mod input;
mod introspection;
mod limits;
mod lists;
mod live;
mod plans;
mod preview;
mod removal;
mod replay;
mod rules;
mod sending;
mod settings;
mod small_things;
mod statements;
mod subscription;
mod tenancy;
mod throttle;
