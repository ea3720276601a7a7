//! One binary with all tests of the whole service, mirroring the crates they are about.

mod authorization;
mod chaos;
mod cluster;
mod delivery;
mod graphql;
mod http;
mod migration;
mod operating;
mod reference;
mod schema;
