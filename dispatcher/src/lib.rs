//! From an accepted event to a recorded attempt.
mod classify;
pub mod config;
pub mod handle;
mod job;
mod machine;
pub mod publish;
pub mod render;
mod signature;
mod transport;

pub use config::Config;
pub use handle::{DispatcherHandle, RetryError};
pub use publish::{NewEvent, PublishError, Published};
pub use transport::address_guard::{AddressGuard, ForbiddenAddress};
