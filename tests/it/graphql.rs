//! The API.

mod administration;
mod endpoint;
mod input;
mod live;
mod tenancy;
