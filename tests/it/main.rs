//! One binary with all tests of the whole service, mirroring the crates they are about.

mod authorization;
mod delivery;
mod graphql;
mod http;
mod migration;
mod reference;
mod schema;
