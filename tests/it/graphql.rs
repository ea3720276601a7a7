//! The API.

mod administration;
mod input;
mod live;
mod tenancy;
