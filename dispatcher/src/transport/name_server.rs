//! Whether a name server answers.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use angarium_entity::SystemClock;
use tokio::runtime::Handle;

use super::address_guard::AddressGuard;
use super::resolver::{GuardedResolver, ResolveError};

/// Asked for. What is answered does not matter: it may not exist where the Internet is out of reach.
const NAME: &str = "example.com";

/// It does not.
#[derive(Debug, thiserror::Error)]
#[error("the name server {0} does not answer what {NAME} is")]
pub struct NameServerError(SocketAddr, #[source] Box<dyn Error + Send + Sync>);

/// Asks it as a delivery does.
///
/// # Errors
/// When no answer comes in time, or it refuses.
pub async fn check_name_server(server: SocketAddr) -> Result<(), NameServerError> {
    let failed = |error| NameServerError(server, error);
    let guard = Arc::new(AddressGuard::new(Vec::new()));
    let resolver = GuardedResolver::new(guard, &[server], Arc::new(SystemClock), Handle::current());
    let resolver = resolver.map_err(|error| failed(error.into()))?;
    match resolver.look_up(NAME.to_owned()).await {
        Ok(_) | Err(ResolveError::Unknown(_) | ResolveError::Empty(_) | ResolveError::Forbidden(_)) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}
