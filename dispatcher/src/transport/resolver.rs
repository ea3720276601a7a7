//! Host names to addresses, of which only the allowed ones are ever connected to.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::runtime::Handle;

use super::address_guard::{AddressGuard, ForbiddenAddress};

/// Most addresses of a name that are tried. The client divides its connect timeout among them.
const ADDRESSES_MAX: usize = 4;

/// A name that leads nowhere.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The look-up failed.
    #[error("the host name {name} could not be resolved")]
    Failed {
        /// The name.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It answered nothing.
    #[error("the host name {0} has no address")]
    Empty(String),
    /// It answered only with addresses that may not be connected to.
    #[error(transparent)]
    Forbidden(ForbiddenAddress),
}

/// The system's resolver behind the guard. What it answers is what is connected to, so a name cannot be rebound
/// between the check and the connection.
#[derive(Clone, Debug)]
pub(crate) struct GuardedResolver {
    guard: Arc<AddressGuard>,
    /// Look-ups block a thread; these are the threads of the runtime that serves the API.
    runtime: Handle,
}

impl GuardedResolver {
    pub(crate) fn new(guard: Arc<AddressGuard>, runtime: Handle) -> Self {
        Self { guard, runtime }
    }

    /// The addresses of a name that may be connected to.
    pub(super) async fn look_up(self, name: String) -> Result<Vec<SocketAddr>, ResolveError> {
        let host = name.clone();
        let found =
            self.runtime.spawn(async move { tokio::net::lookup_host((host, 0)).await.map(Vec::from_iter) }).await;
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(source)) => return Err(ResolveError::Failed { name, source }),
            Err(stopped) => return Err(ResolveError::Failed { name, source: std::io::Error::other(stopped) }),
        };
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.guard.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(forbidden) => refused = Some(forbidden),
            }
        }
        allowed.truncate(ADDRESSES_MAX);
        match (allowed.is_empty(), refused) {
            (false, _) => Ok(allowed),
            (true, Some(forbidden)) => Err(ResolveError::Forbidden(forbidden)),
            (true, None) => Err(ResolveError::Empty(name)),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let look_up = self.clone().look_up(name.as_str().to_owned());
        Box::pin(async move { look_up.await.map(|found| Box::new(found.into_iter()) as Addrs).map_err(Into::into) })
    }
}
