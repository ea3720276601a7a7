//! The schedule in Redis, which may be emptied at any moment: two processes that take a shard from each other, and one
//! delivery in it whose first attempt fails. Who sends when, and whose results count, is the business of [`super::protocol`].
//!
//! Its second attempt is far away, so nobody has it in mind: its owner must be told, by the schedule or by a sweep.

use stateright::{Model, Property};

const PROCESSES: usize = 2;
/// Attempts, of which the last succeeds.
const ATTEMPTS: u8 = 2;
/// How often each thing goes wrong.
const TAKEOVERS: u8 = 2;
const CRASHES: u8 = 1;
const FLUSHES: u8 = 1;

/// What keeps the schedule right. Each can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Every script: not under an epoch that is over.
    Epoch,
    /// Every script but `attach.lua` and `begin.lua`: only what is still what was attached to.
    Generation,
    /// `schedule::keeper` is one task: nothing is written while it makes a schedule of the rows that it has read.
    OneTask,
    /// `store::sweep`: what a crash has kept from the schedule is in the rows.
    Sweep,
}

/// Something that happens; the number is that of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `leases::claim` of what is nobody's.
    Claim(usize),
    /// The same of what belongs to one who is frozen, and was taken for dead.
    TakeOver(usize),
    /// It sees that the shard is not its own any more. What it has begun to write goes on.
    Notice(usize),
    Crash(usize),
    /// An attempt, and its result in the rows.
    Send(usize),
    /// `attach.lua`, and when there is nothing the reading of the rows.
    Attach(usize),
    /// `begin.lua`, `write.lua` and `complete.lua`.
    Rebuild(usize),
    /// `write.lua`, with what was noted after a result.
    Write(usize),
    /// `range.lua`.
    Range(usize),
    /// `store::sweep`.
    Sweep(usize),
    /// `FLUSHALL`.
    Flush,
}

impl Action {
    /// Whether it goes wrong. Without more of such everything has to come to its end.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::TakeOver(_) | Self::Crash(_) | Self::Flush)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    takeovers: u8,
    crashes: u8,
    flushes: u8,
    /// The rows: who has the shard under which epoch, and how often the delivery was attempted.
    owner: Option<usize>,
    epoch: u8,
    attempts: u8,
    redis: Redis,
    /// Names that were given to generations.
    generations: u8,
    processes: [Process; PROCESSES],
    /// A schedule was read that said less than its owner relied on.
    missed: bool,
    /// Something was written below a newer owner.
    overwrote: bool,
}

/// The keys of the shard. Without a generation there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Redis {
    epoch: u8,
    generation: Option<u8>,
    /// After so many attempts it says when the next is due.
    says: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Process {
    held: Option<Held>,
    note: Option<Note>,
    /// Rows that were read under an epoch, to make a schedule of them.
    read: Option<(u8, u8)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Held {
    epoch: u8,
    /// What it has attached to.
    generation: Option<u8>,
    /// What it relies on its schedule to say.
    relies_on: u8,
    /// What it was told.
    told: u8,
}

/// On its way to Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Note {
    epoch: u8,
    generation: Option<u8>,
    says: u8,
}

/// The schedule, without one of its guards.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) without: Option<Guard>,
}

impl Schedule {
    fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    fn is_fenced(self, redis: &Redis, epoch: u8) -> bool {
        self.has(Guard::Epoch) && redis.epoch > epoch
    }

    fn is_lost(self, redis: &Redis, generation: Option<u8>) -> bool {
        self.has(Guard::Generation) && redis.generation != generation
    }

    fn write(self, world: &mut World, number: usize) -> Option<()> {
        let World { redis, processes, attempts, overwrote, .. } = world;
        let Process { held, note, read } = &mut processes[number];
        let note = note.take()?;
        let mut held = held.as_mut().filter(|held| held.epoch == note.epoch);
        let generation = held.as_ref().map_or(note.generation, |held| held.generation);
        if generation.is_none() {
            // What is not kept now is made of rows that say it.
            held?.relies_on = note.says;
        } else if self.is_fenced(redis, note.epoch) {
        } else if self.is_lost(redis, generation) {
            *read = Some(lose(held?, *attempts));
        } else {
            *overwrote |= redis.epoch > note.epoch;
            redis.says = note.says;
            if let Some(held) = &mut held {
                held.relies_on = note.says;
            }
        }
        Some(())
    }

    fn attach(self, world: &mut World, number: usize) -> Option<()> {
        let World { redis, processes, attempts, overwrote, .. } = world;
        let Process { held, read, .. } = &mut processes[number];
        let held = held.as_mut()?;
        if self.is_fenced(redis, held.epoch) {
        } else if redis.generation.is_some() {
            *overwrote |= redis.epoch > held.epoch;
            redis.epoch = held.epoch;
            (held.generation, held.relies_on) = (redis.generation, redis.says);
        } else {
            *read = Some(lose(held, *attempts));
        }
        Some(())
    }

    fn rebuild(self, world: &mut World, number: usize) -> Option<()> {
        let World { redis, processes, generations, overwrote, .. } = world;
        let Process { held, read, .. } = &mut processes[number];
        let (epoch, says) = read.take()?;
        if !self.is_fenced(redis, epoch) {
            *overwrote |= redis.epoch > epoch;
            *generations += 1;
            *redis = Redis { epoch, generation: Some(*generations), says };
            held.as_mut().filter(|held| held.epoch == epoch)?.generation = redis.generation;
        }
        Some(())
    }

    fn range(self, world: &mut World, number: usize) -> Option<()> {
        let World { redis, processes, attempts, missed, .. } = world;
        let Process { held, read, .. } = &mut processes[number];
        let held = held.as_mut()?;
        if self.is_fenced(redis, held.epoch) {
        } else if self.is_lost(redis, held.generation) {
            *read = Some(lose(held, *attempts));
        } else {
            *missed |= redis.says < held.relies_on;
            held.told = held.told.max(redis.says);
        }
        Some(())
    }
}

/// A schedule is not there: the rows are read, to make it again.
fn lose(held: &mut Held, attempts: u8) -> (u8, u8) {
    (held.generation, held.relies_on) = (None, attempts);
    (held.epoch, attempts)
}

impl World {
    pub(crate) fn is_delivered(&self) -> bool {
        self.attempts == ATTEMPTS
    }

    fn may_send(&self, number: usize) -> bool {
        let process = &self.processes[number];
        let Some(held) = process.held.as_ref().filter(|held| held.epoch == self.epoch) else { return false };
        process.note.is_none() && !self.is_delivered() && held.told >= self.attempts
    }

    fn take(&mut self, number: usize) {
        self.epoch += 1;
        self.owner = Some(number);
        self.processes[number].held = Some(Held { epoch: self.epoch, ..Held::default() });
    }
}

impl Model for Schedule {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::default()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let mut may = |condition: bool, action: Action| actions.extend(condition.then_some(action));
        for (number, Process { held, note, read }) in world.processes.iter().enumerate() {
            let is_kept = held.as_ref().map(|held| held.generation.is_some());
            let is_other = world.owner.is_some_and(|owner| owner != number);
            may(world.owner.is_none(), Action::Claim(number));
            may(is_other && world.takeovers < TAKEOVERS, Action::TakeOver(number));
            may(is_other && held.is_some(), Action::Notice(number));
            may(world.owner == Some(number) && world.crashes < CRASHES, Action::Crash(number));
            may(world.may_send(number), Action::Send(number));
            may(is_kept == Some(false) && note.is_none() && read.is_none(), Action::Attach(number));
            may(read.is_some(), Action::Rebuild(number));
            may(note.is_some() && (read.is_none() || !self.has(Guard::OneTask)), Action::Write(number));
            may(is_kept == Some(true) && note.is_none() && read.is_none(), Action::Range(number));
            may(held.is_some() && self.has(Guard::Sweep), Action::Sweep(number));
        }
        may(world.flushes < FLUSHES, Action::Flush);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Claim(number) => world.take(number),
            Action::TakeOver(number) => {
                world.takeovers += 1;
                world.take(number);
            }
            Action::Notice(number) => world.processes[number].held = None,
            Action::Crash(number) => {
                world.crashes += 1;
                world.owner = None;
                world.processes[number] = Process::default();
            }
            Action::Send(number) => {
                world.attempts += 1;
                let process = &mut world.processes[number];
                let Held { epoch, generation, .. } = *process.held.as_ref()?;
                process.note = Some(Note { epoch, generation, says: world.attempts });
            }
            Action::Attach(number) => self.attach(&mut world, number).unwrap_or_default(),
            Action::Rebuild(number) => self.rebuild(&mut world, number).unwrap_or_default(),
            Action::Write(number) => self.write(&mut world, number).unwrap_or_default(),
            Action::Range(number) => self.range(&mut world, number).unwrap_or_default(),
            Action::Sweep(number) => world.processes[number].held.as_mut()?.told = world.attempts,
            Action::Flush => {
                world.flushes += 1;
                world.redis = Redis::default();
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a schedule that is read says all that its owner relies on", |_, world: &World| {
                !world.missed
            }),
            Property::always("nothing is written below a newer owner", |_, world: &World| !world.overwrote),
            Property::sometimes("a schedule is lost after it was attached to", |_, world: &World| {
                let held = world.processes.iter().filter_map(|process| process.held.as_ref());
                world.flushes > 0
                    && held.into_iter().any(|held| held.generation.is_some() && held.told < held.relies_on)
            }),
        ]
    }
}
