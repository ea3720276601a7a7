//! What the clients of all arbiters are made from.

use std::net::SocketAddr;
use std::sync::Arc;

use angarium_entity::clock::SharedClock;
use hickory_resolver::net::NetError;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::runtime::Handle;

use super::address_guard::AddressGuard;
use super::proxy::Proxy;
use super::resolver::GuardedResolver;

/// Made once. Reading the root certificates takes milliseconds, and sessions of TLS are resumed across clients.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) resolver: GuardedResolver,
    pub(super) proxy: Option<Arc<Proxy>>,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// Hosts that each client keeps unused connections for.
    pub(super) idle_hosts_max: usize,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The library of HTTP.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// That of names.
    #[error(transparent)]
    Names(#[from] NetError),
    /// That of TLS, for example without any root certificates.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Plan {
    /// `name_servers` are asked instead of the system's, if there are any; `clock` says how long an answer is believed, and
    /// `runtime` does the asking.
    pub(crate) fn new(
        guard: AddressGuard,
        name_servers: &[SocketAddr],
        proxy: Option<Proxy>,
        idle_hosts_max: usize,
        clock: SharedClock,
        runtime: Handle,
    ) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut tls = config.with_platform_verifier()?.with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let resolver = GuardedResolver::new(Arc::new(guard), name_servers, clock, runtime)?;
        Ok(Self { resolver, proxy: proxy.map(Arc::new), tls: Arc::new(tls), idle_hosts_max })
    }
}
