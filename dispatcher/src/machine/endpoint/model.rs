//! The machine against a list: random steps, after each of which the same requests must have been started, in the same
//! order.
//!
//! Questions for rows and grants are answered within a step, so that it is known what has to be under way after it; but
//! a page may show the rows as they were before. Lives in which answers take their time, and memory is too small for the
//! line, are those of [`super::simulation`].

use std::marker::PhantomData;

use angarium_entity::delivery::Status;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use self::book::{Book, Ended, Row};
use self::step::{Move, Step, Told, any_move};
use super::*;
use crate::machine::random_steps;

mod book;
mod step;

/// The reference, of an endpoint with the order `O`, which may change on the way if `O` is [`Changing`].
struct Model<O>(PhantomData<O>);

trait Order: 'static {
    const FIRST: Ordering;
    const CHANGES: bool = false;
}

struct Fifo;
struct Strict;
struct Unordered;
struct Changing;

impl Order for Fifo {
    const FIRST: Ordering = Ordering::Fifo;
}

impl Order for Strict {
    const FIRST: Ordering = Ordering::Strict;
}

impl Order for Unordered {
    const FIRST: Ordering = Ordering::None;
}

impl Order for Changing {
    const FIRST: Ordering = Ordering::None;
    const CHANGES: bool = true;
}

impl<O: Order> ReferenceStateMachine for Model<O> {
    type State = Book;
    type Transition = Move;

    fn init_state() -> BoxedStrategy<Book> {
        let rate_limit = proptest::option::weighted(0.2, 1..4_usize);
        (2..4_usize, rate_limit).prop_map(|(max, rate)| Book::new(O::FIRST, max, rate)).boxed()
    }

    fn transitions(_: &Book) -> BoxedStrategy<Move> {
        any_move()
    }

    fn preconditions(_: &Book, Move { step, .. }: &Move) -> bool {
        O::CHANGES || !matches!(step, Step::Order(_))
    }

    fn apply(mut book: Book, Move { step, .. }: &Move) -> Book {
        book.take(*step);
        book
    }
}

/// The machine and those it talks with.
struct World {
    machine: EndpointMachine,
    /// As it was after the last step.
    book: Book,
    /// Questions without an answer.
    asks: usize,
    reads: usize,
    wake_at: Vec<Timestamp>,
    started: Vec<DeliveryId>,
}

impl World {
    fn give(&mut self, now: Timestamp, input: Input) {
        for output in self.machine.step(now, WINDOW, input) {
            match output {
                Output::Ask => self.asks += 1,
                Output::Release => {}
                Output::Start(job) => self.started.push(job.delivery_id),
                Output::Read { .. } => self.reads += 1,
                Output::WakeAt(at) => self.wake_at.push(at),
            }
        }
    }

    /// What a step means to the machine.
    fn tell(&mut self, after: &Book, step: Step) {
        let (now, before) = (after.now, self.book.clone());
        match step {
            Step::Publish { count, told, .. } => {
                let new = after.rows[after.rows.len() - count..].iter();
                let jobs = || new.clone().filter(|row| !row.job.timed).map(|row| row.job.clone()).collect();
                match told {
                    Told::Once => self.give(now, Input::Arrived(jobs())),
                    Told::Twice => (0..2).for_each(|_| self.give(now, Input::Arrived(jobs()))),
                    Told::ToLook => self.give(now, Input::Kicked),
                }
            }
            Step::Test => {
                let job = after.rows.last().map(|row| row.job.clone());
                self.give(now, Input::Express(job.expect("it was just added")));
            }
            Step::Hint(at) => {
                if let Some(row) = before.pick_row(at).filter(|row| before.may_be_hinted(*row)) {
                    self.give(now, Input::Arrived(vec![before.rows[row].published.clone()]));
                }
            }
            Step::Sweep => self.give(now, Input::Kicked),
            Step::Finish(at, end) => {
                if let Some(row) = before.pick_running(at) {
                    let delivery = before.rows[row].job.delivery_id;
                    self.give(now, Input::Finished { delivery, hold: end.hold(now) });
                }
            }
            Step::Record(at) => {
                if let Some(Ended { row, end, .. }) = before.pick_ended(at) {
                    let (delivery, is_final) = (before.rows[row].job.delivery_id, !after.rows[row].open);
                    self.give(now, Input::Recorded { delivery, is_final });
                    // Who writes a hold has the rules read again.
                    if end.hold(now).is_some() {
                        self.give(now, Input::Unconfigured);
                        self.give(now, Input::Configured(after.rules));
                    }
                }
            }
            Step::Wait(_) => {
                let due = self.wake_at.iter().filter(|at| **at <= now).count();
                self.wake_at.retain(|at| *at > now);
                (0..due).for_each(|_| self.give(now, Input::Tick));
            }
            Step::Order(_) | Step::Pause | Step::Resume => self.give(now, Input::Configured(after.rules)),
            Step::Cancel(at) => {
                if let Some(row) = before.pick_row(at).map(|row| &before.rows[row]).filter(|row| row.test) {
                    self.give(now, Input::Changed(row.job.delivery_id));
                }
                self.give(now, Input::Configured(after.rules));
            }
            Step::Retry(at) => {
                if let Some(row) = before.pick_row(at).filter(|row| !before.refuses_retry(*row)) {
                    self.give(now, Input::Changed(before.rows[row].job.delivery_id));
                }
            }
            Step::Busy(_) => {}
            Step::Drain => self.give(now, Input::Drain),
            Step::GoOn => self.give(now, Input::GoOn),
            Step::Abort => {
                (self.machine, self.asks, self.reads) = (EndpointMachine::new(), 0, 0);
                self.give(now, Input::Configured(after.rules));
                for row in 0..before.rows.len() {
                    if before.rows[row].test && before.rows[row].open {
                        self.give(now, Input::Express(before.rows[row].job.clone()));
                    }
                }
            }
        }
    }

    /// Reminds of what has become due since, as the wheel does.
    fn remind(&mut self, after: &Book) {
        let waits = |book: &Book, row: usize| {
            let is_due = book.rows[row].job.timed && book.rows[row].job.ready_at <= book.now;
            is_due && !book.rows[row].test && book.is_idle(row)
        };
        let mut starting = after.clone();
        starting.running.retain(|running| self.book.running.contains(running));
        let is_known = |row: usize| row < self.book.rows.len() && waits(&self.book, row);
        if (0..after.rows.len()).any(|row| waits(&starting, row) && !is_known(row)) {
            self.give(after.now, Input::Kicked);
        }
    }

    fn grant(&mut self, after: &Book) {
        while self.asks > 0 && !after.busy {
            self.asks -= 1;
            self.give(after.now, Input::Granted);
        }
    }

    /// Answers all that is asked.
    fn answer(&mut self, after: &Book) {
        while self.reads > 0 || (self.asks > 0 && !after.busy) {
            if self.reads > 0 {
                self.reads -= 1;
                self.give(after.now, page(after));
            } else {
                self.grant(after);
            }
        }
    }
}

/// What the rows say.
fn page(book: &Book) -> Input {
    let is_strict = book.rules.ordering == Ordering::Strict;
    let is_shown = |row: &&Row| {
        let stands_in_line = !row.job.timed || (is_strict && row.job.status == Status::Retrying);
        row.open && (stands_in_line || row.job.ready_at <= book.now)
    };
    let jobs = book.rows.iter().filter(is_shown).map(|row| row.job.clone()).collect();
    Input::Page { jobs, full: false }
}

impl<O: Order> StateMachineTest for Model<O> {
    type SystemUnderTest = World;
    type Reference = Self;

    fn init_test(book: &Book) -> World {
        let mut world = World {
            machine: EndpointMachine::new(),
            book: book.clone(),
            asks: 0,
            reads: 0,
            wake_at: Vec::new(),
            started: Vec::new(),
        };
        world.give(book.now, Input::Configured(book.rules));
        world.answer(book);
        world
    }

    fn apply(mut world: World, after: &Book, Move { step, late_page }: Move) -> World {
        let races = late_page && !matches!(step, Step::Wait(_) | Step::Abort);
        if races {
            world.give(world.book.now, Input::Kicked);
        }
        let late = races && std::mem::take(&mut world.reads) > 0;
        world.tell(after, step);
        if late {
            world.grant(after);
            world.give(after.now, page(&world.book));
        }
        world.remind(after);
        world.answer(after);
        world.book = after.clone();
        world
    }

    fn check_invariants(world: &World, book: &Book) {
        let id = |row: usize| book.rows[row].job.delivery_id;
        let expected: Vec<_> = book.started.iter().map(|(_, row)| id(*row)).collect();
        assert_eq!(world.started, expected, "the requests that were started");
        assert_eq!(world.machine.unsettled(), book.running.len() + book.ended.len(), "the grants in use");
        if !book.running.is_empty() || !book.ended.is_empty() {
            assert!(!world.machine.is_idle(book.now), "it would forget what is under way");
        }
        // What is promised, said without the book's rule.
        let mut running: Vec<_> = book.running.iter().map(|(row, _)| *row).collect();
        running.sort_unstable();
        running.dedup();
        assert_eq!(running.len(), book.running.len(), "two requests of one delivery");
    }
}

prop_state_machine! {
    #![proptest_config(random_steps(150))]

    #[test]
    fn a_fifo_endpoint_starts_what_the_list_says_whatever_happens(sequential 1..60 => Model<Fifo>);

    #[test]
    fn a_strict_endpoint_starts_what_the_list_says_whatever_happens(sequential 1..60 => Model<Strict>);

    #[test]
    fn an_endpoint_without_order_starts_what_the_list_says_whatever_happens(sequential 1..60 => Model<Unordered>);
}

prop_state_machine! {
    // What is begun when an endpoint becomes STRICT takes more steps to go wrong.
    #![proptest_config(random_steps(300))]

    #[test]
    fn an_endpoint_whose_order_changes_starts_what_the_list_says_whatever_happens(sequential 1..60 => Model<Changing>);
}
