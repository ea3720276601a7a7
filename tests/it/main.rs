//! One binary with all tests of the whole service, mirroring the crates they are about.

mod delivery;
mod graphql;
mod http;
mod migration;
mod schema;
