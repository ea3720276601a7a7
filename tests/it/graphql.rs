//! The API.

mod administration;
mod endpoint;
mod input;
mod live;
mod subscription;
mod tenancy;
