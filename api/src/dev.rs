//! `angarium dev`: the whole product for one person on one machine.
//!
//! It is the server of `serve` with what a newcomer would have to set up first: keys in a file beside the database, a
//! workspace with a key, an example catalogue, loopback and `http://` allowed, and an inbox that shows what arrived.

mod build;
mod catalogue;
mod example;
mod inbox;
mod keys;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use angarium_entity::{Database, Timestamp, api_key};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, QueryFilter as _};
use serde_json::json;

pub use build::build_playground;
pub use example::Example;
pub use inbox::Inbox;
pub(crate) use inbox::{Received, Signed, Wish, cap_body, routes, show_as_json, show_as_page};
pub use keys::{Keys, KeysError};

use crate::config::Config;
use crate::provision::{self, ProvisionError};

/// The operator's own identifier of the workspace.
const WORKSPACE: &str = "dev";

/// Allows what production does not: `http://`, and receivers on this machine.
pub fn relax(config: &mut Config) {
    config.dispatcher.allow_http = true;
    config.limits.allow_http = true;
    config.dispatcher.allowed.extend([
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    ]);
}

/// Makes what is missing of the workspace, its key and the catalogue.
///
/// # Errors
/// Those of the database.
pub async fn furnish(db: &Database, keys: &Keys, now: Timestamp) -> Result<(), ProvisionError> {
    catalogue::fill(db, now).await?;
    let workspace = match provision::find_workspace(db, WORKSPACE).await {
        Err(ProvisionError::UnknownWorkspace(_)) => {
            provision::create_workspace(db, now, "Development", Some(WORKSPACE)).await?
        }
        found => found?,
    };
    if !is_stored(db, keys).await? {
        let scopes = provision::workspace_scopes();
        provision::create_key(db, now, Some(workspace.id), "angarium dev", scopes, &keys.api_key).await?;
    }
    Ok(())
}

async fn is_stored(db: &Database, keys: &Keys) -> Result<bool, DbErr> {
    let hash = keys.api_key.hash();
    let found = api_key::Entity::find().filter(api_key::Column::Hash.eq(&hash[..])).one(db.read()).await?;
    Ok(found.is_some())
}

/// What `dev` adds to the server that listens at an address.
pub(crate) struct Extras {
    pub(crate) inbox: Inbox,
    /// What the playground is told.
    pub(crate) page: serde_json::Value,
}

impl Extras {
    pub(crate) fn new(address: SocketAddr, keys: &Keys) -> Self {
        let example = Example::at(address);
        let page = json!({
            "apiKey": keys.api_key.reveal(),
            "inboxUrl": example.inbox_url(),
            "dev": true,
            "exampleDocument": example.document(),
        });
        Self { inbox: Inbox::new(), page }
    }
}
