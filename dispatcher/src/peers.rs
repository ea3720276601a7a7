//! Hints between nodes, by Redis. Each may be lost, late or doubled: it wakes and warms, and what it tells of is in the
//! rows, where sweeps, the vigil over settings and the look of each live stream find it as well.
//!
//! Way     publish/subscribe: a channel for each node, and one for all. What nobody hears is gone, so a node that is dead
//!         or slow makes nobody else keep anything.
//! Groups  what comes while a message is on its way goes with the next, each thing once.
//! Bounds  what waits here is bounded by [`QUEUE_MAX`]; beyond it hints are dropped.

use std::sync::Arc;
use std::time::Duration;

use angarium_entity::{DeliveryId, EndpointId, NodeId, Timestamp, WorkspaceId};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use crate::actor::Hubs;
use crate::link::Link;

mod frame;
mod listen;
mod questions;
mod speak;

/// Hints that wait to be sent.
const QUEUE_MAX: usize = 10_000;
/// How long a node that leaves waits for its last hints.
const FLUSH_WITHIN: Duration = Duration::from_millis(250);

/// What one node tells another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Something may wait in the rows of this endpoint.
    Look(EndpointId),
    /// Something will be due.
    Remind(Timestamp, EndpointId),
    /// Settings have changed.
    Reload(EndpointId),
    /// Somebody has moved a delivery.
    Changed(EndpointId, DeliveryId),
    /// This delivery skips the line.
    Express(DeliveryId),
}

/// What a node tells all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Somebody joined, left, took or gave shards.
    Members,
    /// Something was logged in this workspace.
    Logged(WorkspaceId),
    /// There is work for the node that leads.
    Chores,
}

enum Order {
    Tell(NodeId, Hint),
    News(News),
    Frame(NodeId, frame::Frame),
    Flush(oneshot::Sender<()>),
}

/// The way to the other nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    /// None without Redis.
    orders: Option<mpsc::Sender<Order>>,
    node: watch::Sender<Option<NodeId>>,
    members: Arc<Notify>,
    questions: questions::Questions,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("node", &*self.node.borrow()).finish_non_exhaustive()
    }
}

/// What is to run: the halves that speak and listen.
pub(crate) struct Halves {
    link: Arc<Link>,
    orders: mpsc::Receiver<Order>,
    peers: Peers,
}

/// Who is told of what other nodes say.
#[derive(Clone)]
pub(crate) struct Audience {
    pub(crate) hubs: Hubs,
    /// Live streams.
    pub(crate) logged: broadcast::Sender<WorkspaceId>,
    /// Those who work for all nodes.
    pub(crate) chores: Vec<Arc<Notify>>,
    /// Reads the deliveries that skip the line.
    pub(crate) express: mpsc::UnboundedSender<DeliveryId>,
}

impl Peers {
    /// Through Redis, if there is one.
    pub(crate) fn new(link: Option<Arc<Link>>) -> (Self, Option<Halves>) {
        let (node, members) = (watch::Sender::new(None), Arc::new(Notify::new()));
        let questions = questions::Questions::default();
        let Some(link) = link else { return (Self { orders: None, node, members, questions }, None) };
        let (sender, orders) = mpsc::channel(QUEUE_MAX);
        let peers = Self { orders: Some(sender), node, members, questions };
        (peers.clone(), Some(Halves { link, orders, peers }))
    }

    /// Tells a node.
    pub(crate) fn tell(&self, node: NodeId, hint: Hint) {
        self.order(Order::Tell(node, hint));
    }

    /// Tells all nodes.
    pub(crate) fn news(&self, news: News) {
        self.order(Order::News(news));
    }

    /// Has all nodes look who is there, this one too.
    pub(crate) fn tell_of_members(&self) {
        self.members.notify_one();
        self.news(News::Members);
    }

    /// Ready when somebody has told of members.
    pub(crate) async fn told_of_members(&self) {
        self.members.notified().await;
    }

    /// This process is that node now.
    pub(crate) fn is_node(&self, node: NodeId) {
        self.node.send_replace(Some(node));
    }

    /// Waits a little until what was told is on its way.
    pub(crate) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        self.order(Order::Flush(done));
        let _ = tokio::time::timeout(FLUSH_WITHIN, is_done).await;
    }

    fn order(&self, order: Order) {
        // A queue that is full loses hints, as it may.
        if let Some(orders) = &self.orders {
            let _ = orders.try_send(order);
        }
    }
}

impl Halves {
    /// Speaks and listens until nobody is left who could say anything.
    pub(crate) async fn run(self, audience: Audience) {
        let Self { link, orders, peers } = self;
        let listening = listen::run(link.clone(), peers.clone(), audience);
        tokio::select! {
            () = speak::run(link, peers.node.subscribe(), orders) => {}
            () = listening => {}
        }
    }
}
