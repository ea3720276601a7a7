//! What every request needs.

use std::fmt;
use std::sync::Arc;

use angarium_dispatcher::{DispatcherHandle, Tracer};
use angarium_entity::clock::SharedClock;
use angarium_entity::sealer::Sealer;
use angarium_entity::{Database, Timestamp};

use crate::app::event_type::KnownEventTypes;
use crate::authenticate::KnownKeys;
use crate::config::Limits;

/// Shared by all requests. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub db: Database,
    /// Who delivers.
    pub dispatcher: DispatcherHandle,
    /// Seals and opens secrets.
    pub sealer: Sealer,
    /// Where time comes from.
    pub clock: SharedClock,
    /// How this server is reached from elsewhere, without a slash at its end.
    pub public_url: Arc<str>,
    /// What the API allows.
    pub limits: Arc<Limits>,
    /// Event types that were seen in the catalogue; starts empty.
    pub event_types: Arc<KnownEventTypes>,
    /// Keys that were looked up a moment ago; starts empty.
    pub known_keys: Arc<KnownKeys>,
    /// Makes spans of what is asked for, if any are wanted.
    pub tracer: Tracer,
    /// SHA-256 of the operator's own key (`ANGARIUM_ADMIN_KEY`), if there is one.
    pub admin_key_hash: Option<[u8; 32]>,
}

impl AppState {
    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("limits", &self.limits).finish_non_exhaustive()
    }
}
