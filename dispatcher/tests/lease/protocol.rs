//! What can happen, in any order: each action is one statement, one script, or one thing that a process does at once.
//!
//! Not here: the freezing of a process between its look at the lease and the first byte of a request. No fence reaches
//! what lies in a kernel; it is why delivery is at least once.

use stateright::{Model, Property};

use super::world::{Held, LIVES, NodeId, PROCESSES, Process, Report, TIMEOUT, TRUST, World};

/// Where the model ends. Time does not: after every bound it goes on until nothing is left.
const EPOCHS: u8 = 3;
const VERSIONS: u8 = 2;
const FAULTS: u8 = 1;

/// What keeps nodes out of each other's way. Each can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// `Ownership::may_send`, before every request.
    LeaseCheck,
    /// `completion::fence`: results are written while their node has a row, `FOR KEY SHARE`.
    Fence,
    /// `completion::apply`: `WHERE d.attempt_count = r.expected`.
    CompareAndSet,
    /// `leases::claim`: only what is nobody's, a buried node's, or the node's own.
    ClaimOfTheFree,
    /// `leases::Taken::from_dead`: what is the node's own without its knowing may have been a dead node's before.
    ClaimedTwice,
    /// `guard.lua` and `attach.lua`: no script runs under an epoch that is over.
    Epoch,
    /// `EndpointActor::rules_after_takeover`: STRICT waits for what the dead had sent.
    Wait,
    /// `Turn::is_waiting`: who waits does not give the shard to one who would not know.
    KeepWhileWaiting,
    /// `leases::release`: `WHERE shard.epoch = given.epoch`.
    ReleaseNamesEpoch,
    /// `Holding::Leaving`: what may have been given away sends nothing until the rows have told.
    LeavingIsQuiet,
}

/// Something that happens; the number is that of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    /// `Turn::join`.
    Join(usize),
    /// `leases::renew`, and when the row is gone `Turn::rejoin`. That a lease is trusted from when it was asked for, and not
    /// from when it was given, needs no step of its own: who trusts it less does less.
    Renew(usize),
    /// `leases::bury`, in any turn.
    Bury(usize),
    /// `leases::claim`; its answer may be lost. Also of what was given away without an answer, if it is still the node's own.
    Claim {
        process: usize,
        lost: bool,
    },
    /// `attach.lua`, and the rebuilding of what differs from the rows: `schedule::keeper`.
    Attach(usize),
    /// `EndpointActor::step` sends the head of the line.
    Start(usize),
    /// `EndpointActor::finished`: the answer has come, or nobody waits for it any more.
    Answer(usize),
    /// `completion::Committer::commit`; its answer may be lost, and then it is done again.
    Commit {
        process: usize,
        lost: bool,
    },
    /// `write.lua`, with what was noted after a commit.
    Write(usize),
    /// `Turn::finish_move` and `Turn::give_quiet`. When nobody answers, the statement may still be on its way.
    Release {
        process: usize,
        lost: bool,
    },
    /// The statement of such a release comes to the database, whenever that is. It need not come at all.
    LateRelease,
    /// `Turn::leave`.
    Leave(usize),
    /// The process dies and is started again.
    Crash(usize),
}

/// The protocol, without some of its guards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protocol {
    pub(crate) without: Option<Guard>,
    /// Whether there is Redis too. It multiplies what can happen, so only one process lives more than once then.
    pub(crate) scheduled: bool,
}

impl Protocol {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    fn lives_of(&self, process: usize) -> usize {
        if self.scheduled { LIVES - process } else { LIVES }
    }

    fn may_start(&self, world: &World, process: usize) -> bool {
        let process = &world.processes[process];
        let Some(held) = &process.held else { return false };
        process.in_flight.is_none()
            && process.reports.is_empty()
            && held.version < VERSIONS
            && (!self.has(Guard::LeavingIsQuiet) || !held.leaving)
            && (!self.has(Guard::LeaseCheck) || process.trusted > 0)
            && (!self.has(Guard::Wait) || held.wait == 0)
    }

    fn may_give(&self, world: &World, process: usize) -> bool {
        let process = &world.processes[process];
        let Some(held) = &process.held else { return false };
        let is_quiet = process.in_flight.is_none() && process.reports.is_empty();
        is_quiet && (!self.has(Guard::KeepWhileWaiting) || held.wait == 0)
    }

    /// The keeper of schedules is one task: what it noted before is written by then.
    fn may_attach(&self, world: &World, process: usize) -> bool {
        let Process { held, note, .. } = &world.processes[process];
        self.scheduled && note.is_none() && held.as_ref().is_some_and(|held| !held.attached)
    }

    fn claim(&self, world: &mut World, process: usize, id: NodeId, lost: bool) {
        let database = &mut world.database;
        let held = &mut world.processes[process].held;
        if held.take_if(|held| held.leaving && (database.owner, database.epoch) != (Some(id), held.epoch)).is_some() {
            return;
        }
        let is_free = database.owner.is_none_or(|owner| owner == id || !database.is_alive(owner));
        if self.has(Guard::ClaimOfTheFree) && !is_free {
            return;
        }
        let is_other = |owner: NodeId| owner != id || self.has(Guard::ClaimedTwice);
        let from_dead = database.owner.is_some_and(is_other);
        database.owner = Some(id);
        database.epoch += 1;
        if !lost {
            world.processes[process].held = Some(Held {
                epoch: database.epoch,
                wait: if from_dead { TIMEOUT } else { 0 },
                attached: false,
                leaving: false,
                version: database.version,
            });
        }
    }

    fn commit(&self, world: &mut World, process: usize, lost: bool) {
        let World { database, processes, seen, .. } = world;
        let process = &mut processes[process];
        let mut report = process.reports.remove(0);
        if self.has(Guard::Fence) && !database.is_alive(report.node) {
            return;
        }
        if !self.has(Guard::CompareAndSet) || database.version == report.expected {
            database.version += 1;
            seen.counted += u8::from(!report.counted);
            seen.zombie_wrote |= database.owner != Some(report.node);
            seen.two_wrote |= seen.writer.is_some_and(|(epoch, node)| epoch == report.epoch && node != report.node);
            seen.writer = Some((report.epoch, report.node));
            report.counted = true;
        }
        if lost {
            process.reports.insert(0, report);
            return;
        }
        if let Some(held) = process.held.as_mut().filter(|held| held.epoch == report.epoch) {
            held.version = database.version;
            if held.attached {
                process.note = Some((held.epoch, held.version));
            }
        }
    }

    fn attach(&self, world: &mut World, process: usize) {
        let World { database, schedule, processes, .. } = world;
        let Some(held) = &mut processes[process].held else { return };
        if self.has(Guard::Epoch) && schedule.epoch > held.epoch {
            return;
        }
        held.attached = true;
        schedule.epoch = schedule.epoch.max(held.epoch);
        schedule.says = database.version;
    }

    fn write(&self, world: &mut World, process: usize) {
        let World { schedule, processes, seen, .. } = world;
        let Some((epoch, says)) = processes[process].note.take() else { return };
        if self.has(Guard::Epoch) && schedule.epoch > epoch {
            return;
        }
        seen.went_back |= says < schedule.says;
        schedule.says = says;
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::default();
        (0..PROCESSES).for_each(|number| world.join(number));
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let may_fail = world.faults < FAULTS;
        let mut may = |condition: bool, action: Action| actions.extend(condition.then_some(action));
        may(true, Action::Tick);
        may(world.late_release.is_some(), Action::LateRelease);
        for (number, process) in world.processes.iter().enumerate() {
            let has_joined = process.id.is_some();
            let is_quiet = process.in_flight.is_none() && process.reports.is_empty();
            // The processes are alike, so it does not matter which is the first.
            let is_first = world.database.epoch > 0 || number == 0;
            let is_leaving = process.held.as_ref().is_some_and(|held| held.leaving);
            let has_none = process.held.is_none() || is_leaving;
            let may_claim = has_joined && has_none && world.database.epoch < EPOCHS && is_first;
            let may_release = self.may_give(world, number) && !is_leaving;
            may(!has_joined && process.lives < self.lives_of(number), Action::Join(number));
            may(has_joined, Action::Renew(number));
            may(has_joined && world.database.leases.contains(&Some(0)), Action::Bury(number));
            may(may_claim, Action::Claim { process: number, lost: false });
            may(may_claim && may_fail, Action::Claim { process: number, lost: true });
            may(self.may_attach(world, number), Action::Attach(number));
            may(self.may_start(world, number), Action::Start(number));
            may(process.in_flight.is_some(), Action::Answer(number));
            may(!process.reports.is_empty(), Action::Commit { process: number, lost: false });
            may(!process.reports.is_empty() && may_fail, Action::Commit { process: number, lost: true });
            may(process.note.is_some(), Action::Write(number));
            may(may_release, Action::Release { process: number, lost: false });
            may(may_release && may_fail, Action::Release { process: number, lost: true });
            may(has_joined && is_quiet && may_fail, Action::Leave(number));
            may(has_joined && may_fail, Action::Crash(number));
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        world.faults += u8::from(matches!(
            action,
            Action::Claim { lost: true, .. }
                | Action::Commit { lost: true, .. }
                | Action::Release { lost: true, .. }
                | Action::Leave(_)
                | Action::Crash(_)
        ));
        match action {
            Action::Tick => world.tick(),
            Action::Join(process) => world.join(process),
            Action::Renew(process) => {
                let process = &mut world.processes[process];
                match process.id.filter(|id| world.database.is_alive(*id)) {
                    Some(id) => {
                        world.database.extend(id);
                        process.trusted = TRUST;
                    }
                    None => process.revoke(),
                }
            }
            Action::Bury(_) => world.database.bury(),
            Action::Claim { process, lost } => {
                let id = world.processes[process].id?;
                self.claim(&mut world, process, id, lost);
            }
            Action::Attach(process) => self.attach(&mut world, process),
            Action::Start(process) => {
                let process = &mut world.processes[process];
                let (node, held) = (process.id?, process.held.as_ref()?);
                process.in_flight = Some(Report { node, epoch: held.epoch, expected: held.version, counted: false });
                world.wire.push((node, TIMEOUT));
            }
            Action::Answer(process) => {
                let process = &mut world.processes[process];
                let report = process.in_flight.take()?;
                world.wire.retain(|(node, _)| *node != report.node);
                process.reports.push(report);
            }
            Action::Commit { process, lost } => self.commit(&mut world, process, lost),
            Action::Write(process) => self.write(&mut world, process),
            Action::Release { process, lost: false } => {
                world.processes[process].held = None;
                world.give_away(process);
            }
            Action::Release { process, lost: true } => {
                let process = &mut world.processes[process];
                let (node, held) = (process.id?, process.held.as_mut()?);
                held.leaving = true;
                world.late_release = Some((node, held.epoch));
            }
            Action::LateRelease => {
                let (node, epoch) = world.late_release.take()?;
                let database = &mut world.database;
                if database.owner == Some(node) && (!self.has(Guard::ReleaseNamesEpoch) || database.epoch == epoch) {
                    database.owner = None;
                }
            }
            Action::Leave(process) => {
                if self.may_give(&world, process) {
                    world.give_away(process);
                }
                let process = &mut world.processes[process];
                world.database.leases[process.id?] = None;
                process.revoke();
            }
            Action::Crash(process) => {
                let process = &mut world.processes[process];
                process.revoke();
                process.reports.clear();
                process.note = None;
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no two requests are on the wire at once", |_, world: &World| world.wire.len() < 2),
            Property::always("nobody writes results but the owner", |_, world: &World| !world.seen.zombie_wrote),
            Property::always("results of one epoch are written by one node", |_, world: &World| !world.seen.two_wrote),
            Property::always("every result counts once", |_, world: &World| {
                world.database.version == world.seen.counted
            }),
            Property::always("the schedule never goes back", |_, world: &World| !world.seen.went_back),
            Property::sometimes("the next owner delivers too", |_, world: &World| {
                world.seen.writer.is_some_and(|(epoch, _)| epoch > 1)
            }),
            Property::sometimes("a zombie has something to write", |_, world: &World| {
                let mut reports = world.processes.iter().flat_map(|process| &process.reports);
                reports.any(|report| !world.database.is_alive(report.node) && world.database.owner != Some(report.node))
            }),
        ]
    }
}
