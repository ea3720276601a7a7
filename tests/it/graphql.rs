//! The API.

mod input;
mod live;
mod tenancy;
