//! Wakes the live streams when something was logged, on this node and on the others.

use angarium_entity::{WorkspaceId, change_log};
use tokio::sync::broadcast;

use crate::cluster::Ownership;
use crate::peers::{News, Peers};

/// Wakes that a slow stream may lag behind before it is woken once for all of them.
const KEPT: usize = 4096;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    here: broadcast::Sender<WorkspaceId>,
    ownership: Ownership,
    peers: Peers,
}

impl Logged {
    pub(crate) fn new(ownership: Ownership, peers: Peers) -> Self {
        Self { here: broadcast::Sender::new(KEPT), ownership, peers }
    }

    /// Tells of rows that are committed.
    pub(crate) fn tell(&self, rows: impl IntoIterator<Item = change_log::Model>) {
        for row in rows {
            // Nobody watching is not an error.
            let _ = self.here.send(row.workspace_id);
            if self.ownership.has_peers() {
                self.peers.news(News::Logged(row.workspace_id));
            }
        }
    }

    /// Whoever watches on this node.
    pub(crate) fn here(&self) -> &broadcast::Sender<WorkspaceId> {
        &self.here
    }
}
