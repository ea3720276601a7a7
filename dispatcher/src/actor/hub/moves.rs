//! Shards come and go.

use std::collections::HashMap;
use std::sync::Arc;

use actix::prelude::*;
use angarium_entity::WorkspaceId;
use tokio::sync::oneshot;

use super::super::endpoint::Abort;
use super::Hub;
use crate::machine::endpoint::Input;

/// Start nothing more for these shards; answered when nothing of them runs and every result is durable. Dropped when they
/// are kept after all.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Release {
    pub(crate) shards: Arc<[i32]>,
    pub(crate) done: oneshot::Sender<()>,
}

impl Handler<Release> for Hub {
    type Result = ();

    fn handle(&mut self, Release { shards, done }: Release, _: &mut Self::Context) {
        for (endpoint, stub) in &mut self.endpoints {
            if shards.contains(&self.shared.shard_of(*endpoint)) {
                stub.send(super::Hear(Input::Drain));
            }
        }
        self.releasing.push((shards, done));
        self.tell_released();
    }
}

/// These shards stay after all.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Keep(pub(crate) Arc<[i32]>);

impl Handler<Keep> for Hub {
    type Result = ();

    fn handle(&mut self, Keep(shards): Keep, _: &mut Self::Context) {
        self.releasing.retain(|(releasing, _)| !releasing.iter().any(|shard| shards.contains(shard)));
        if self.shared.draining.get() {
            return;
        }
        for (endpoint, stub) in &mut self.endpoints {
            if shards.contains(&self.shared.shard_of(*endpoint)) {
                stub.send(super::Hear(Input::GoOn));
            }
        }
    }
}

/// These shards are another's now. Nothing of them runs.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Forget(pub(crate) Arc<[i32]>);

impl Handler<Forget> for Hub {
    type Result = ();

    fn handle(&mut self, Forget(shards): Forget, _: &mut Self::Context) {
        let shared = self.shared.clone();
        self.endpoints.retain(|endpoint, _| !shards.contains(&shared.shard_of(*endpoint)));
        self.wheel.retain(|endpoint| !shards.contains(&shared.shard_of(endpoint)));
        self.wakes.retain(|endpoint| !shards.contains(&shared.shard_of(endpoint)));
    }
}

/// Nothing that runs can become durable any more: break it off, and forget everything.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Revoke;

#[expect(clippy::disallowed_methods, reason = "the last message to each")]
impl Handler<Revoke> for Hub {
    type Result = ();

    fn handle(&mut self, Revoke: Revoke, _: &mut Self::Context) {
        for (_, stub) in self.endpoints.drain() {
            stub.addr.do_send(Abort);
        }
        self.wheel.retain(|_| false);
        self.wakes.retain(|_| false);
        self.releasing.clear();
    }
}

/// The lease holds again: those go on who wanted to send meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct MaySendAgain;

impl Handler<MaySendAgain> for Hub {
    type Result = ();

    fn handle(&mut self, MaySendAgain: MaySendAgain, _: &mut Self::Context) {
        for (endpoint, workspace) in self.shared.take_parked() {
            // Its successor asks for what it needs.
            if self.shared.is_dead(endpoint) {
                continue;
            }
            if self.shared.ask_for_grant(workspace, endpoint) && !self.tell_awake(endpoint, Input::Granted) {
                self.shared.release_grant(endpoint);
            }
        }
    }
}

/// Which shards have a request running, or a result that is not durable yet?
#[derive(Message)]
#[rtype(result = "Vec<i32>")]
pub(crate) struct BusyShards;

impl Handler<BusyShards> for Hub {
    type Result = Vec<i32>;

    fn handle(&mut self, BusyShards: BusyShards, _: &mut Self::Context) -> Self::Result {
        self.shared.busy_shards()
    }
}

/// Of which workspaces are endpoints awake?
#[derive(Message)]
#[rtype(result = "Vec<WorkspaceId>")]
pub(crate) struct AwakeWorkspaces;

impl Handler<AwakeWorkspaces> for Hub {
    type Result = Vec<WorkspaceId>;

    fn handle(&mut self, AwakeWorkspaces: AwakeWorkspaces, _: &mut Self::Context) -> Self::Result {
        self.shared.awake_workspaces()
    }
}

/// The present versions of the configurations of workspaces.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct CheckVersions(pub(crate) Arc<HashMap<WorkspaceId, i64>>);

impl Handler<CheckVersions> for Hub {
    type Result = ();

    fn handle(&mut self, CheckVersions(versions): CheckVersions, _: &mut Self::Context) {
        for endpoint in self.shared.outdated(&versions) {
            if let Some(stub) = self.endpoints.get_mut(&endpoint) {
                stub.reload();
            }
        }
    }
}

impl Hub {
    /// Answers for shards that have become quiet.
    pub(super) fn tell_released(&mut self) {
        if self.releasing.is_empty() {
            return;
        }
        let busy = self.shared.busy_shards();
        let (quiet, waiting): (Vec<_>, Vec<_>) =
            self.releasing.drain(..).partition(|(shards, _)| !shards.iter().any(|shard| busy.contains(shard)));
        self.releasing = waiting;
        for (_, done) in quiet {
            // Nobody waits for what took too long.
            let _ = done.send(());
        }
    }
}
