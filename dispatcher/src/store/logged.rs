//! Wakes the live streams when something was logged, on this node and on the others.

use angarium_entity::WorkspaceId;
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

    /// Tells of workspaces whose logs have new rows, which are committed.
    pub(crate) fn tell(&self, workspaces: impl IntoIterator<Item = WorkspaceId>) {
        for workspace in workspaces {
            // Nobody watching is not an error.
            let _ = self.here.send(workspace);
            if self.ownership.has_peers() {
                self.peers.news(News::Logged(workspace));
            }
        }
    }

    /// Whoever watches on this node.
    pub(crate) fn here(&self) -> &broadcast::Sender<WorkspaceId> {
        &self.here
    }
}
