//! The public face of Angarium: GraphQL over HTTP and WebSocket, and the command line.
pub mod app;
pub mod authenticate;
pub mod caller;
pub mod cli;
pub mod config;
pub mod dev;
pub mod graphql;
mod http;
pub mod provision;
pub mod server;
pub mod state;

pub use caller::Caller;
pub use state::AppState;
