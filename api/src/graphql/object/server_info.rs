//! The server itself.

use angarium_entity::event::PAYLOAD_BYTES_MAX;
use async_graphql::Object;

use crate::config::Limits;
use crate::graphql::scalar::Duration;

/// Date of the last change of the schema that clients can see.
const API_VERSION: &str = "2026-11-21";

/// The limits that apply.
pub(crate) struct ServerInfo(pub(crate) std::sync::Arc<Limits>);

fn int(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

/// Version and limits of this server.
#[Object]
impl ServerInfo {
    /// Version of the GraphQL schema, by date.
    async fn api_version(&self) -> &str {
        API_VERSION
    }

    /// Most aliases in a document.
    async fn max_aliases(&self) -> i32 {
        int(self.0.aliases_max)
    }

    /// Most events in one batch.
    async fn max_batch(&self) -> i32 {
        int(self.0.batch_max)
    }

    /// Largest accepted request body, in bytes.
    async fn max_body_bytes(&self) -> i32 {
        int(self.0.body_bytes_max)
    }

    /// Largest accepted query complexity: scalars cost nothing, objects 1, connections their page size.
    async fn max_complexity(&self) -> i32 {
        int(self.0.complexity_max)
    }

    /// Deepest accepted query.
    async fn max_depth(&self) -> i32 {
        int(self.0.depth_max)
    }

    /// Most directives on a field.
    async fn max_directives(&self) -> i32 {
        int(self.0.directives_max)
    }

    /// Largest accepted event payload, in bytes.
    async fn max_payload_bytes(&self) -> i32 {
        int(PAYLOAD_BYTES_MAX)
    }

    /// Longest execution of a query or mutation.
    async fn timeout(&self) -> Duration {
        self.0.timeout.into()
    }

    /// Server version.
    async fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }
}
