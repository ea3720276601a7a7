//! The API.

mod administration;
mod endpoint;
mod input;
mod live;
mod sending;
mod subscription;
mod tenancy;
