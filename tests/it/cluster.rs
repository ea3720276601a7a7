//! Several nodes on one database.

mod membership;
mod order;
mod redis;
mod settings;
mod streams;
