//! What this node knows of who delivers for which shard. Read by every actor, written by [`super::Membership`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use angarium_entity::{EndpointId, NodeId, Timestamp, shard};
use tokio::sync::watch;

use super::boot;

/// The shard whose owner does what is to be done once for all nodes.
const LEADING_SHARD: usize = 0;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ownership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By the clock of [`boot`].
    lease_until: AtomicI64,
    map: RwLock<Arc<Map>>,
    changed: watch::Sender<()>,
}

/// Who delivers for which shard, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// This node; none while it has not joined.
    pub(super) node: Option<NodeId>,
    /// The version of the membership at which it is the only node; none when there are others.
    pub(super) alone_at: Option<i64>,
    /// By number.
    pub(super) shards: Vec<Shard>,
}

/// One shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) owner: Option<NodeId>,
    pub(super) epoch: i64,
    pub(super) holding: Holding,
}

/// What this node does with a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Holding {
    /// Nothing: it is another's, or nobody's.
    #[default]
    Foreign,
    /// It delivers. Since `taken_at`, if it was taken from a node that had died.
    Held { taken_at: Option<Timestamp> },
    /// It starts nothing more, to give it away.
    Leaving,
}

/// Where a message for an endpoint goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To an actor of this node.
    Here,
    /// To another node.
    Node(NodeId),
    /// To nobody: whoever takes the shard next reads the rows.
    Nowhere,
}

impl Ownership {
    /// Of a node that has not joined yet.
    pub(crate) fn new(shard_count: i32) -> Self {
        let shards = vec![Shard::default(); usize::try_from(shard_count.max(1)).unwrap_or(1)];
        let map = RwLock::new(Arc::new(Map { node: None, alone_at: None, shards }));
        Self(Arc::new(Inner { lease_until: AtomicI64::new(i64::MIN), map, changed: watch::Sender::new(()) }))
    }

    /// Of a node that has every shard, and a lease that does not end.
    #[cfg(test)]
    pub(crate) fn of_all(shard_count: i32) -> Self {
        let ownership = Self::new(shard_count);
        let shards: Vec<i32> = (0..shard_count).collect();
        ownership.update(|map| map.hold(&shards, Holding::Held { taken_at: None }));
        ownership.lets_send(true);
        ownership
    }

    /// Lets the lease hold, or not.
    #[cfg(test)]
    pub(crate) fn lets_send(&self, may_send: bool) {
        self.renew(if may_send { i64::MAX } else { i64::MIN });
    }

    /// Where messages for an endpoint go.
    pub(crate) fn route(&self, endpoint: EndpointId) -> Route {
        let map = self.map();
        match map.of(endpoint) {
            Shard { holding: Holding::Held { .. }, .. } => Route::Here,
            Shard { owner: Some(owner), .. } if Some(owner) != map.node => Route::Node(owner),
            _ => Route::Nowhere,
        }
    }

    /// Whether actors of this node may begin to work for an endpoint.
    pub(crate) fn holds(&self, endpoint: EndpointId) -> bool {
        self.route(endpoint) == Route::Here
    }

    /// The shards whose retries this node keeps, with their epochs.
    pub(crate) fn epochs(&self) -> Vec<(i32, i64)> {
        let map = self.map();
        let held = map.shards.iter().zip(0..).filter(|(shard, _)| shard.holding != Holding::Foreign);
        held.map(|(shard, number)| (number, shard.epoch)).collect()
    }

    /// The epoch of a shard that this node has.
    pub(crate) fn epoch(&self, shard: i32) -> Option<i64> {
        let map = self.map();
        let found = usize::try_from(shard).ok().and_then(|shard| map.shards.get(shard))?;
        (found.holding != Holding::Foreign).then_some(found.epoch)
    }

    /// How many shards this node has.
    pub(crate) fn count(&self) -> usize {
        self.map().shards.iter().filter(|shard| shard.holding != Holding::Foreign).count()
    }

    /// How many shards nobody has, as far as this node knows.
    pub(crate) fn unowned(&self) -> usize {
        self.map().shards.iter().filter(|shard| shard.owner.is_none()).count()
    }

    /// When the shard of an endpoint was taken from a node that had died; none otherwise.
    pub(crate) fn taken_at(&self, endpoint: EndpointId) -> Option<Timestamp> {
        match self.map().of(endpoint).holding {
            Holding::Held { taken_at } => taken_at,
            _ => None,
        }
    }

    /// This node; none while it has not joined.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.map().node
    }

    /// Whether this node may send now. Ask before every request.
    pub(crate) fn may_send(&self) -> bool {
        boot::now_ms() < self.0.lease_until.load(Ordering::Acquire)
    }

    /// Whether this node is the only one, to somebody who has read `membership_version` in the transaction in question.
    pub(crate) fn is_alone_at(&self, membership_version: Option<i64>) -> bool {
        membership_version.is_some() && self.map().alone_at == membership_version
    }

    /// Whether there are other nodes, as far as is known.
    pub(crate) fn has_peers(&self) -> bool {
        self.map().alone_at.is_none()
    }

    /// Whether this node does what is to be done once for all nodes.
    pub(crate) fn leads(&self) -> bool {
        matches!(self.map().shards[LEADING_SHARD].holding, Holding::Held { .. })
    }

    /// Ready once [`Self::leads`] is `wanted`.
    pub(crate) async fn until_leads(&self, wanted: bool) {
        let mut changed = self.0.changed.subscribe();
        while self.leads() != wanted {
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Told of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    pub(super) fn map(&self) -> Arc<Map> {
        self.0.map.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is known.
    pub(super) fn update(&self, change: impl FnOnce(&mut Map)) {
        {
            let mut map = self.0.map.write().unwrap_or_else(PoisonError::into_inner);
            let before = map.clone();
            change(Arc::make_mut(&mut map));
            if before.node == map.node && before.alone_at == map.alone_at && before.shards == map.shards {
                return;
            }
        }
        self.0.changed.send_replace(());
    }

    /// Sending is allowed until then, by the clock of [`boot`]. Answers whether it was before.
    pub(super) fn renew(&self, until: i64) -> bool {
        boot::now_ms() < self.0.lease_until.swap(until, Ordering::AcqRel)
    }
}

impl Map {
    fn of(&self, endpoint: EndpointId) -> Shard {
        let count = i32::try_from(self.shards.len()).unwrap_or(1);
        usize::try_from(shard::of(endpoint, count))
            .ok()
            .and_then(|shard| self.shards.get(shard))
            .copied()
            .unwrap_or_default()
    }

    /// Numbers of the shards that this node holds and does not give away.
    pub(super) fn held(&self) -> impl Iterator<Item = i32> + '_ {
        let held = self.shards.iter().zip(0..).filter(|(shard, _)| matches!(shard.holding, Holding::Held { .. }));
        held.map(|(_, number)| number)
    }

    /// These shards, each with its epoch.
    pub(super) fn with_epochs(&self, shards: &[i32]) -> Vec<(i32, i64)> {
        let epoch = |number: &i32| Some((*number, self.shards.get(usize::try_from(*number).ok()?)?.epoch));
        shards.iter().filter_map(epoch).collect()
    }

    pub(super) fn hold(&mut self, shards: &[i32], holding: Holding) {
        for number in shards {
            if let Some(shard) = usize::try_from(*number).ok().and_then(|number| self.shards.get_mut(number)) {
                shard.holding = holding;
            }
        }
    }
}
