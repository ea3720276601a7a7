//! Several nodes on one database.

mod crowd;
mod membership;
mod order;
mod redis;
mod settings;
mod streams;
