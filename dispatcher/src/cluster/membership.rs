//! Joins, renews, buries, takes and gives away: the one writer of [`Ownership`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::clock::SharedClock;
use angarium_entity::{Database, NodeId};
use sea_orm::{DbBackend, DbErr};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::leases::{self, Members, Peer};
use super::ownership::{Holding, Map, Ownership};
use super::placement::Placement;
use super::{BUSY_MOVES_MAX, MOVES_MAX, boot};
use crate::actor::Hubs;
use crate::peers::Peers;

/// A shard that is not quiet by then stays where it is, and is tried again later, with twice the patience each time.
const QUIET_WITHIN: Duration = Duration::from_secs(5);
/// Pause before that, and twice as long each time.
const STUBBORN_FOR: Duration = Duration::from_secs(30);
/// After so many times the patience is longer than any request, and grows no more.
const STUBBORN_MAX: u32 = 4;
/// Longest that a request may take: the largest timeout of an endpoint.
const REQUEST_TIME_MAX: Duration = Duration::from_mins(1);
/// Pause after the database failed.
const AGAIN: Duration = Duration::from_millis(500);
/// Pause between two looks at what has become quiet, while this node leaves.
const DRAIN_EVERY: Duration = Duration::from_millis(25);
/// After the lease of another node has run out by our count, to be on the safe side.
const BURY_AFTER: Duration = Duration::from_millis(50);

/// What every part of it needs.
#[derive(Clone)]
pub(crate) struct Membership {
    pub(crate) db: Database,
    pub(crate) clock: SharedClock,
    pub(crate) ownership: Ownership,
    pub(crate) hubs: Hubs,
    pub(crate) peers: Peers,
    /// How long a node that says nothing keeps its shards.
    pub(crate) ttl: Duration,
    /// Woken when this node has taken shards: something may wait in their rows.
    pub(crate) taken: Arc<Notify>,
}

/// A membership that runs.
#[derive(Debug)]
pub(crate) struct Running {
    orders: mpsc::UnboundedSender<Order>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
enum Order {
    /// Take nothing more, and give away whatever becomes quiet.
    Drain,
    /// Give everything away and be gone.
    Leave(oneshot::Sender<()>),
}

/// Why a turn failed.
enum Failed {
    /// Others have taken this node for dead.
    Buried,
    Database(DbErr),
}

impl From<DbErr> for Failed {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Running {
    /// Takes nothing more, and gives away what becomes quiet.
    pub(crate) fn drain(&self) {
        // Once it has ended there is nothing to give away.
        let _ = self.orders.send(Order::Drain);
    }

    /// Gives everything away, waiting at most `within` for the database.
    pub(crate) async fn leave(self, within: Duration) {
        let (done, is_done) = oneshot::channel();
        let _ = self.orders.send(Order::Leave(done));
        if tokio::time::timeout(within, is_done).await.is_err() {
            tracing::warn!("this node could not say that it leaves; others take over when its lease has run out");
        }
        self.task.abort();
    }
}

impl Membership {
    /// Joins, takes what is free, and goes on with it in the background.
    pub(crate) async fn start(self) -> Result<Running, DbErr> {
        let (orders, given) = mpsc::unbounded_channel();
        if self.db.backend() != DbBackend::Postgres {
            self.take_all().await?;
            return Ok(Running { orders, task: tokio::spawn(embedded(given)) });
        }
        let mut turn = Turn {
            membership: self,
            moves: JoinSet::new(),
            leaving: Vec::new(),
            doubtful: Vec::new(),
            stubborn: HashMap::new(),
            placement: Placement::default(),
            version: None,
            draining: false,
            renew_at: Instant::now(),
        };
        turn.join().await?;
        match turn.take().await {
            Ok(_) => {}
            Err(Failed::Database(error)) => return Err(error),
            Err(Failed::Buried) => turn.join().await?,
        }
        Ok(Running { orders, task: tokio::spawn(turn.run(given)) })
    }

    async fn take_all(&self) -> Result<(), DbErr> {
        let node = NodeId::new(self.clock.now());
        let taken = leases::take_all(&self.db, node).await?;
        self.ownership.renew(i64::MAX);
        self.ownership.update(|map| {
            map.node = Some(node);
            map.alone_at = Some(0);
            hold(map, node, &taken, None);
        });
        Ok(())
    }
}

/// The only process there can be has nothing to renew, and nobody to give anything to.
async fn embedded(mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        if let Order::Leave(done) = order {
            let _ = done.send(());
        }
    }
}

/// The task.
struct Turn {
    membership: Membership,
    /// Waits for shards to become quiet; answers whether they did.
    moves: JoinSet<bool>,
    /// The shards that are being given away.
    leaving: Vec<i32>,
    /// Those of which it is not known whether they were given away. Nothing is sent for them.
    doubtful: Vec<i32>,
    /// Those that were not quiet in time: how often, and until when they are left alone.
    stubborn: HashMap<i32, (u32, Instant)>,
    placement: Placement,
    /// The version of the membership that was seen last.
    version: Option<i64>,
    draining: bool,
    /// When the lease is to be renewed.
    renew_at: Instant,
}

impl Turn {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.membership.peers.told_of_members() => {}
                Some(quiet) = self.moves.join_next() => {
                    if self.finish_move(quiet.unwrap_or(false)).await && Instant::now() < self.renew_at {
                        self.begin_moves().await;
                        continue;
                    }
                }
                order = orders.recv() => match order {
                    Some(Order::Drain) => self.begin_drain().await,
                    Some(Order::Leave(done)) => {
                        self.leave().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
            }
            if self.draining {
                self.give_quiet().await;
                pause = DRAIN_EVERY;
                if Instant::now() < self.renew_at {
                    continue;
                }
            }
            pause = match self.take().await {
                Ok(next) => next,
                Err(Failed::Buried) => self.rejoin().await,
                Err(Failed::Database(error)) => {
                    tracing::warn!(%error, "could not renew the lease of this node; trying again");
                    AGAIN
                }
            };
        }
    }

    /// Becomes a node.
    async fn join(&mut self) -> Result<(), DbErr> {
        let Membership { db, clock, ownership, peers, ttl, .. } = &self.membership;
        let node = NodeId::new(clock.now());
        let asked = boot::now_ms();
        leases::bury(db).await?;
        leases::join(db, node, *ttl).await?;
        ownership.update(|map| map.node = Some(node));
        ownership.renew(trusted_until(asked, *ttl));
        peers.is_node(node);
        peers.tell_of_members();
        tracing::info!(%node, "this node has joined");
        Ok(())
    }

    /// Others have taken this node for dead, and perhaps its shards: what it knows is worth nothing any more.
    async fn rejoin(&mut self) -> Duration {
        tracing::error!("this node was taken for dead, because it did not renew its lease in time; it joins again");
        self.moves.abort_all();
        self.leaving.clear();
        self.doubtful.clear();
        self.stubborn.clear();
        self.version = None;
        let membership = &self.membership;
        membership.ownership.renew(i64::MIN);
        membership.ownership.update(|map| {
            map.node = None;
            map.alone_at = None;
            map.shards.iter_mut().for_each(|shard| *shard = super::ownership::Shard::default());
        });
        membership.hubs.revoke().await;
        match self.join().await {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                tracing::error!(%error, "this node could not join again; trying again");
                AGAIN
            }
        }
    }

    /// One turn: renew, see who is there, bury the dead, take what belongs here, begin to give away what does not.
    /// Answers when the next is due.
    async fn take(&mut self) -> Result<Duration, Failed> {
        let Membership { db, ownership, hubs, ttl, .. } = &self.membership;
        let (db, ttl) = (db.clone(), *ttl);
        let Some(node) = ownership.node() else { return Err(Failed::Buried) };
        let asked = boot::now_ms();
        if !leases::renew(&db, node, ttl).await? {
            return Err(Failed::Buried);
        }
        if !ownership.renew(trusted_until(asked, ttl)) {
            hubs.may_send_again();
        }
        self.renew_at = Instant::now() + ttl * 3 / 10;
        let mut members = leases::members(&db).await?;
        if members.peers.iter().any(|peer| peer.left.is_none() && peer.id != node) {
            let buried = leases::bury(&db).await?;
            if buried > 0 {
                tracing::warn!(buried, "nodes that did not renew their leases are taken for dead");
                self.membership.peers.tell_of_members();
            }
            members = leases::members(&db).await?;
        }
        let is_settled = self.settle(node, &members).await?;
        let others = members.peers.iter().filter(|peer| peer.id != node);
        let first_to_die = others.filter_map(|peer| peer.left).min().map(|left| left + BURY_AFTER);
        let regular = if self.draining {
            DRAIN_EVERY
        } else if is_settled {
            ttl * 3 / 10
        } else {
            ttl / 10
        };
        Ok(regular.min(first_to_die.unwrap_or(regular)))
    }

    /// Brings the shards to where they belong, as far as this node can. Answers whether every shard is there.
    async fn settle(&mut self, node: NodeId, members: &Members) -> Result<bool, DbErr> {
        let Membership { db, ownership, peers, hubs, clock, taken: has_taken, .. } = &self.membership.clone();
        let settled: Vec<NodeId> = members.peers.iter().filter(|peer| !peer.draining).map(|peer| peer.id).collect();
        let is_alone = matches!(members.peers[..], [Peer { id, .. }] if id == node);
        let map = ownership.map();
        self.placement.follow(settled, map.shards.len());
        if self.version == Some(members.version) && self.is_settled(&map) {
            return Ok(true);
        }
        let rows = leases::shards(db).await?;
        ownership.update(|map| see(map, node, &rows));
        self.doubtful.retain(|number| ownership.epoch(*number).is_some());
        if !self.doubtful.is_empty() {
            // The statement that gives them away may still come: it finds another epoch then.
            let taken = leases::claim(db, node, &self.doubtful).await?;
            ownership.update(|map| hold(map, node, &taken, Some(clock.now())));
            hubs.keep(std::mem::take(&mut self.doubtful));
        }
        let is_free = |number: i32, owner: Option<NodeId>| match owner {
            None => true,
            // The answer to a claim was lost.
            Some(owner) if owner == node => ownership.epoch(number).is_none(),
            Some(owner) => !members.peers.iter().any(|peer| peer.id == owner),
        };
        let wanted: Vec<i32> = rows
            .iter()
            .filter(|(number, owner, _)| self.placement.of(*number) == Some(node) && is_free(*number, *owner))
            .map(|(number, ..)| *number)
            .collect();
        if !wanted.is_empty() {
            let taken = leases::claim(db, node, &wanted).await?;
            let now = clock.now();
            let from_dead = taken.iter().filter(|shard| shard.from_dead).count();
            tracing::info!(shards = taken.len(), from_dead, "this node has taken shards");
            ownership.update(|map| hold(map, node, &taken, Some(now)));
            has_taken.notify_one();
            if !is_alone {
                peers.tell_of_members();
            }
        }
        let holds_all = ownership.map().held().count() == rows.len();
        ownership.update(|map| map.alone_at = (is_alone && holds_all).then_some(members.version));
        self.version = Some(members.version);
        self.begin_moves().await;
        Ok(self.is_settled(&ownership.map()))
    }

    /// Whether every shard is where it belongs, as far as this node knows.
    fn is_settled(&self, map: &Map) -> bool {
        map.shards.iter().zip(0..).all(|(shard, number)| shard.owner == self.placement.of(number))
    }

    /// Begins to give away what belongs to others: those first that are quiet, a few at a time. Whatever is not quiet
    /// starts nothing more meanwhile, so of such there are fewer at a time, and one that was not quiet in time goes alone.
    async fn begin_moves(&mut self) {
        if !self.leaving.is_empty() || self.draining {
            return;
        }
        let Membership { ownership, hubs, .. } = &self.membership;
        let Some(node) = ownership.node() else { return };
        let foreign = |number: &i32| self.placement.of(*number).is_some_and(|owner| owner != node);
        let (map, now) = (ownership.map(), Instant::now());
        let is_left_alone = |number: &i32| self.stubborn.get(number).is_some_and(|(_, until)| now < *until);
        let mut leaving: Vec<i32> = map
            .held()
            .filter(foreign)
            .filter(|number| !self.is_waiting(&map, *number) && !is_left_alone(number))
            .collect();
        if leaving.is_empty() {
            return;
        }
        let busy = hubs.busy_shards().await;
        let times = |number: i32| {
            let is_busy = busy.contains(&number);
            (is_busy, if is_busy { self.stubborn.get(&number).map_or(0, |(times, _)| *times) } else { 0 })
        };
        leaving.sort_by_key(|number| times(*number));
        let first = times(leaving[0]);
        let most = match first {
            (false, _) => MOVES_MAX,
            (true, 0) => BUSY_MOVES_MAX,
            (true, _) => 1,
        };
        leaving = leaving.into_iter().take_while(|number| times(*number) == first).take(most).collect();
        ownership.update(|map| map.hold(&leaving, Holding::Leaving));
        let quiet = hubs.release(leaving.clone());
        let patience = QUIET_WITHIN * 2_u32.pow(first.1.min(STUBBORN_MAX));
        self.moves.spawn(async move { tokio::time::timeout(patience, quiet).await.is_ok() });
        self.leaving = leaving;
    }

    /// Whether what a dead node had sent for a shard may still be under way. It is not given away then: whoever got it
    /// would not know, and would not wait. Who takes it from one that is gone does.
    fn is_waiting(&self, map: &Map, number: i32) -> bool {
        let shard = usize::try_from(number).ok().and_then(|number| map.shards.get(number));
        match shard.map(|shard| shard.holding) {
            Some(Holding::Held { taken_at: Some(at) }) => self.membership.clock.now() < at + REQUEST_TIME_MAX,
            _ => false,
        }
    }

    /// The shards that were leaving are quiet, or some of them were not in time: those stay. Answers whether the others are
    /// given away.
    async fn finish_move(&mut self, quiet: bool) -> bool {
        let leaving = std::mem::take(&mut self.leaving);
        let Membership { db, ownership, hubs, peers, .. } = &self.membership;
        let Some(node) = ownership.node() else { return false };
        let busy = if quiet { HashSet::new() } else { hubs.busy_shards().await };
        let (kept, leaving): (Vec<i32>, Vec<i32>) = leaving.into_iter().partition(|number| busy.contains(number));
        // None of them was taken from a dead node a moment ago: those do not leave.
        ownership.update(|map| map.hold(&kept, Holding::Held { taken_at: None }));
        hubs.keep(kept.clone());
        for number in kept {
            let times = self.stubborn.get(&number).map_or(0, |(times, _)| *times).min(STUBBORN_MAX) + 1;
            self.stubborn.insert(number, (times, Instant::now() + STUBBORN_FOR * 2_u32.pow(times - 1)));
        }
        if leaving.is_empty() {
            return false;
        }
        let map = ownership.map();
        match leases::release(db, node, &map.with_epochs(&leaving)).await {
            Ok(()) => {
                self.stubborn.retain(|number, _| !leaving.contains(number));
                ownership.update(|map| give(map, &leaving));
                hubs.forget(leaving);
                peers.tell_of_members();
                true
            }
            Err(error) => {
                tracing::warn!(%error, "it is not known whether shards were given away; the rows will tell");
                self.doubtful = leaving;
                self.version = None;
                false
            }
        }
    }

    async fn begin_drain(&mut self) {
        self.draining = true;
        let Membership { db, ownership, peers, .. } = &self.membership;
        let Some(node) = ownership.node() else { return };
        if let Err(error) = leases::drain(db, node).await {
            tracing::warn!(%error, "could not tell the other nodes that this one leaves");
        }
        peers.tell_of_members();
        self.give_quiet().await;
    }

    /// Gives away what is quiet already. Nothing new starts any more.
    async fn give_quiet(&self) {
        let Membership { db, ownership, hubs, peers, .. } = &self.membership;
        if !ownership.has_peers() {
            return;
        }
        let Some(node) = ownership.node() else { return };
        let busy = hubs.busy_shards().await;
        let quiet: Vec<i32> =
            ownership.epochs().into_iter().map(|(number, _)| number).filter(|number| !busy.contains(number)).collect();
        let map = ownership.map();
        let quiet: Vec<i32> = quiet.into_iter().filter(|number| !self.is_waiting(&map, *number)).collect();
        if !quiet.is_empty() && leases::release(db, node, &map.with_epochs(&quiet)).await.is_ok() {
            ownership.update(|map| give(map, &quiet));
            peers.tell_of_members();
        }
    }

    async fn leave(&mut self) {
        let Membership { db, ownership, peers, .. } = &self.membership;
        let Some(node) = ownership.node() else { return };
        ownership.renew(i64::MIN);
        let map = ownership.map();
        let waiting: Vec<i32> = map.held().filter(|number| self.is_waiting(&map, *number)).collect();
        match leases::leave(db, node, &waiting).await {
            Ok(()) => tracing::info!(%node, "this node has left"),
            Err(error) => tracing::warn!(%error, "this node could not say that it leaves"),
        }
        peers.tell_of_members();
        peers.flush().await;
    }
}

/// Until when a node trusts the lease that it asked for at `asked`: a little less than it was given.
fn trusted_until(asked: i64, ttl: Duration) -> i64 {
    asked.saturating_add(i64::try_from((ttl * 9 / 10).as_millis()).unwrap_or(i64::MAX))
}

/// What the rows say of other nodes' shards, and of those that were this node's.
fn see(map: &mut Map, node: NodeId, rows: &[(i32, Option<NodeId>, i64)]) {
    for (number, owner, epoch) in rows {
        let Some(shard) = usize::try_from(*number).ok().and_then(|number| map.shards.get_mut(number)) else { continue };
        let is_ours = *owner == Some(node) && *epoch == shard.epoch && shard.holding != Holding::Foreign;
        if !is_ours {
            shard.holding = Holding::Foreign;
        }
        shard.owner = *owner;
        shard.epoch = *epoch;
    }
}

fn hold(map: &mut Map, node: NodeId, taken: &[leases::Taken], now: Option<angarium_entity::Timestamp>) {
    for taken in taken {
        let Some(shard) = usize::try_from(taken.shard).ok().and_then(|number| map.shards.get_mut(number)) else {
            continue;
        };
        let taken_at = now.filter(|_| taken.from_dead);
        *shard = super::ownership::Shard { owner: Some(node), epoch: taken.epoch, holding: Holding::Held { taken_at } };
    }
}

fn give(map: &mut Map, shards: &[i32]) {
    map.hold(shards, Holding::Foreign);
    for number in shards {
        if let Some(shard) = usize::try_from(*number).ok().and_then(|number| map.shards.get_mut(number)) {
            shard.owner = None;
        }
    }
}
