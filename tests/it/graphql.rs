//! The API.

mod administration;
mod deletion;
mod endpoint;
mod header;
mod input;
mod live;
mod sending;
mod settings;
mod subscription;
mod tenancy;
