//! What there is: two processes, the rows of the database, the schedule in Redis, and requests on the wire.
//!
//! There is one shard, and in it one STRICT endpoint: `version` counts the attempts that the rows know of. Time goes on
//! in ticks, and whatever has an end says how many are left; a process that is frozen is one that does nothing meanwhile.

/// How long a node that says nothing keeps its shards.
pub(crate) const TTL: u8 = 2;
/// How long it trusts its own lease, from when it asked.
pub(crate) const TRUST: u8 = 1;
/// Longest that a request takes. Longer than a lease, or the wait after a takeover would not be needed.
pub(crate) const TIMEOUT: u8 = 3;
/// A process joins under an identity of its own each time, so often at most.
pub(crate) const LIVES: usize = 2;

pub(crate) const PROCESSES: usize = 2;
const IDS: usize = PROCESSES * LIVES;

/// A node: one life of a process.
pub(crate) type NodeId = usize;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Answers that were lost, and ends of processes.
    pub(crate) faults: u8,
    pub(crate) database: Database,
    pub(crate) schedule: Schedule,
    /// A statement that gives the shard away, of which nobody knows where it is: by whom, and under which epoch.
    pub(crate) late_release: Option<(NodeId, u8)>,
    pub(crate) processes: [Process; PROCESSES],
    /// Requests that the receiver may still be working on: by whom, and for how long at most.
    pub(crate) wire: Vec<(NodeId, u8)>,
    pub(crate) seen: Seen,
}

/// The rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    /// What is left until `node.lease_until`, where there is a row.
    pub(crate) leases: [Option<u8>; IDS],
    /// `shard.owner_id` and `shard.epoch`.
    pub(crate) owner: Option<NodeId>,
    pub(crate) epoch: u8,
    /// `delivery.attempt_count`, summed over the line.
    pub(crate) version: u8,
}

/// The keys of the shard in Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Schedule {
    pub(crate) epoch: u8,
    /// The version of the rows that it tells of.
    pub(crate) says: u8,
}

/// The memory of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) id: Option<NodeId>,
    pub(crate) lives: usize,
    /// What is left of its lease, as far as it trusts it.
    pub(crate) trusted: u8,
    pub(crate) held: Option<Held>,
    pub(crate) in_flight: Option<Report>,
    /// Results that are not durable, as far as it knows.
    pub(crate) reports: Vec<Report>,
    /// On its way to Redis: an epoch, and what the schedule is to say.
    pub(crate) note: Option<(u8, u8)>,
}

/// A shard that a node delivers for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) epoch: u8,
    /// If it was taken from a node that had died: how long what that one had sent may be under way.
    pub(crate) wait: u8,
    /// Whether its schedule was taken over as well.
    pub(crate) attached: bool,
    /// It was given away, as far as that is known.
    pub(crate) leaving: bool,
    /// The version of the rows when they were read last.
    pub(crate) version: u8,
}

/// A request, and then its result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Report {
    pub(crate) node: NodeId,
    pub(crate) epoch: u8,
    /// The version that it was made for.
    pub(crate) expected: u8,
    /// Whether the rows have it, which its node may not know.
    pub(crate) counted: bool,
}

/// What has happened so far, for the properties only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// Results that are in the rows.
    pub(crate) counted: u8,
    /// Who wrote the last of them, and in which epoch.
    pub(crate) writer: Option<(u8, NodeId)>,
    /// Two have written in one epoch.
    pub(crate) two_wrote: bool,
    /// A result was written by a node that was not the owner.
    pub(crate) zombie_wrote: bool,
    /// The schedule was put back to what it had said before.
    pub(crate) went_back: bool,
}

impl Database {
    /// `leases::join` and `leases::renew`.
    pub(crate) fn extend(&mut self, node: NodeId) {
        self.leases[node] = Some(TTL);
    }

    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        self.leases[node].is_some()
    }

    /// `leases::bury`: deletes the rows whose leases have run out.
    pub(crate) fn bury(&mut self) {
        for lease in &mut self.leases {
            *lease = lease.filter(|left| *left > 0);
        }
    }
}

impl World {
    /// `Turn::join`: a node that never was before.
    pub(crate) fn join(&mut self, number: usize) {
        let process = &mut self.processes[number];
        let id = process.lives * PROCESSES + number;
        (process.id, process.lives, process.trusted) = (Some(id), process.lives + 1, TRUST);
        self.database.bury();
        self.database.extend(id);
    }

    /// `leases::release`.
    pub(crate) fn give_away(&mut self, process: usize) {
        let id = self.processes[process].id;
        self.database.owner = self.database.owner.filter(|owner| Some(*owner) != id);
    }

    /// Time passes, and what nobody waits for any more is off the wire.
    pub(crate) fn tick(&mut self) {
        let pass = |left: &mut u8| *left = left.saturating_sub(1);
        self.database.leases.iter_mut().flatten().for_each(pass);
        self.wire.iter_mut().for_each(|(_, left)| pass(left));
        self.wire.retain(|(_, left)| *left > 0);
        for process in &mut self.processes {
            pass(&mut process.trusted);
            process.held.iter_mut().for_each(|held| pass(&mut held.wait));
        }
    }
}

impl Process {
    /// Forgets its shards and breaks off what it sends. What is queued for the database or Redis goes there all the same.
    pub(crate) fn revoke(&mut self) {
        (self.id, self.trusted, self.held, self.in_flight) = (None, 0, None, None);
    }
}
