//! The API.

mod administration;
mod deletion;
mod endpoint;
mod filter;
mod header;
mod input;
mod live;
mod preview;
mod sending;
mod settings;
mod subscription;
mod tenancy;
