//! How an endpoint was, version by version. Only ever added to, so that the request of an old attempt can be shown
//! byte for byte without being stored twice.

use sea_orm::entity::prelude::*;

use crate::endpoint::{BodyFormat, RequestHeaders, SignatureScheme};
use crate::{EndpointId, Timestamp};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint_revision")]
pub struct Model {
    /// The endpoint.
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_id: EndpointId,
    /// Its version from `created_at` on.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i32,
    /// Destination.
    pub url: String,
    /// Extra request headers, secret values sealed.
    pub headers: RequestHeaders,
    /// What a request body looks like.
    pub body_format: BodyFormat,
    /// How requests are signed.
    pub signature_scheme: SignatureScheme,
    /// Since when.
    pub created_at: Timestamp,
}

/// No relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&crate::endpoint::Model> for Model {
    fn from(endpoint: &crate::endpoint::Model) -> Self {
        Self {
            endpoint_id: endpoint.id,
            version: endpoint.version,
            url: endpoint.url.clone(),
            headers: endpoint.headers.clone(),
            body_format: endpoint.body_format,
            signature_scheme: endpoint.signature_scheme,
            created_at: endpoint.updated_at,
        }
    }
}
