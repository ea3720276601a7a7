//! What happens in a workspace, live and without gaps.
//!
//! Source  the change log, read on from a [`Place`], which is exact whatever commits when (see
//!         [`change_log::place`]). The broadcast of committed rows only wakes: a stream that is told of nothing, or
//!         lags, reads the same. Every [`LOOK_AFTER`] it looks by itself, for what was committed without a word here.
//! Gapless the listener is registered before the place is taken, and what is read is what the place does not cover.
//!         So nothing falls between a snapshot, the replay of what was missed, and what comes live, and nothing is
//!         told twice.
//! Cursor  the place after the message, and while a snapshot lasts, how far it has come. A cursor of a snapshot goes
//!         on with it, since what it had not reached may never change.
//! Bounds  a page of the log is held, and what it names is loaded in steps of [`STEP`]; a client that does not read
//!         makes nobody hold more.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use angarium_entity::api_key::Scope;
use angarium_entity::change_log::{self, Change, Place};
use angarium_entity::{Timestamp, WorkspaceId};
use futures_util::Stream;
use futures_util::stream::unfold;
use sea_orm::DbErr;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;

use crate::app::AppError;
use crate::{AppState, Caller};

mod attempts;
mod cursor;
mod deliveries;
mod events;

pub use attempts::Attempts;
pub use cursor::Progress;
pub use deliveries::{Deliveries, DeliveryUpdate, Present};
pub use events::Events;

use cursor::Cursor;

/// How often a stream looks into the log although nothing woke it.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Rows that are read from the log at once; each may hold thousands of entries.
const LOG_PAGE: u64 = 16;
/// Entries of the log, or deliveries of a snapshot, that are loaded at once.
const STEP: usize = 100;

/// One message of a stream.
#[derive(Clone, Debug)]
pub struct Message<T> {
    /// Where to resume.
    pub cursor: String,
    /// Why it was sent.
    pub kind: Kind,
    /// When what it tells of happened.
    pub at: Timestamp,
    /// What changed; none when it only says that the stream has caught up.
    pub item: Option<T>,
}

/// Why a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Part of the initial state.
    Snapshot,
    /// Something changed.
    Change,
    /// The snapshot, or the replay of what was missed, is complete.
    CaughtUp,
}

/// Where a stream begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// After the message with this cursor; now, when absent.
    pub after: Option<String>,
    /// With the present state. A cursor makes it needless.
    pub snapshot: bool,
}

/// What a stream tells of.
pub trait Subject: Send + Sync + 'static {
    /// What a message carries.
    type Item: Debug + Send + 'static;

    /// What a caller needs.
    const SCOPE: Scope;
    /// Tells the cursors of the streams apart; never changed.
    const CODE: u8;

    /// Refuses what would silently never match.
    ///
    /// # Errors
    /// [`AppError::BadInput`].
    fn check(&self) -> Result<(), AppError>;

    /// The entries that are meant, by their place in `entries` and in that order, with what they are about. Several
    /// about the same may be told as one, at the place of the last.
    fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> impl Future<Output = Result<Vec<(usize, Self::Item)>, DbErr>> + Send;

    /// At most `limit` of what exists after `progress`, each with the progress made by it and its time. Fewer when
    /// there is no more.
    fn existing(
        &self,
        _state: &AppState,
        _workspace: WorkspaceId,
        _progress: &Progress,
        _limit: usize,
    ) -> impl Future<Output = Result<Vec<(Progress, Timestamp, Self::Item)>, AppError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
}

/// An entry of a row of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it says.
    pub change: Change,
    at: Timestamp,
    xid: i64,
    seq: i64,
    /// Entries of the row told once this one is; none for all of them.
    told: Option<usize>,
}

/// The stream of what `subject` means in the caller's workspace.
///
/// # Errors
/// [`AppError`]; a stream that fails later says so and ends.
pub async fn stream<S: Subject>(
    state: &AppState,
    caller: &Caller,
    subject: S,
    start: Start,
) -> Result<impl Stream<Item = Result<Message<S::Item>, AppError>> + use<S>, AppError> {
    caller.require(S::SCOPE)?;
    let workspace = caller.workspace_id()?;
    subject.check()?;
    let now = state.now();
    let cursor = start.after.map(|text| Cursor::parse(&text, workspace, S::CODE)).transpose()?;
    if cursor.as_ref().is_some_and(|cursor| cursor.at + change_log::KEPT < now) {
        return Err(AppError::CursorExpired);
    }
    let wakes = state.dispatcher.changes();
    let present = change_log::now(state.db.read()).await?;
    // A cursor from after the present is from another life of the database, before a backup was put back.
    if cursor.as_ref().is_some_and(|cursor| cursor.place.end > present.end) {
        return Err(AppError::CursorExpired);
    }
    let (phase, place, at) = match cursor {
        Some(Cursor { snapshot: Some(progress), place, at }) => (Phase::Snapshot(progress), place, at),
        Some(Cursor { snapshot: None, place, at }) => (Phase::Replay, place, at),
        None if start.snapshot => (Phase::Snapshot(Progress::default()), present, now),
        None => (Phase::Live { is_behind: false }, present, now),
    };
    let state = state.clone();
    let watch = Watch { state, workspace, subject, wakes, phase, place, at, page: None, ready: VecDeque::new() };
    Ok(unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(watch))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

enum Phase {
    /// Sends what exists.
    Snapshot(Progress),
    /// Sends what was missed.
    Replay,
    /// Sends what changes; when it is behind, it need not wait to be woken.
    Live { is_behind: bool },
}

/// A page of the log that is being told.
struct Page {
    /// What was seen when it was read.
    seen: Place,
    at: Timestamp,
    /// Whether the log held no more.
    is_last: bool,
    /// The place after all of it.
    end: Place,
    entries: VecDeque<Entry>,
}

struct Watch<S: Subject> {
    state: AppState,
    workspace: WorkspaceId,
    subject: S,
    wakes: Receiver<Arc<change_log::Model>>,
    phase: Phase,
    /// Where the page that is being told begins, and when that was the present.
    place: Place,
    at: Timestamp,
    page: Option<Page>,
    ready: VecDeque<Message<S::Item>>,
}

impl<S: Subject> Watch<S> {
    /// The next message; none when the dispatcher has stopped.
    async fn next(&mut self) -> Result<Option<Message<S::Item>>, AppError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            if self.page.is_some() {
                self.tell().await?;
                continue;
            }
            match &self.phase {
                Phase::Snapshot(progress) => {
                    let progress = progress.clone();
                    self.show(progress).await?;
                }
                Phase::Live { is_behind: false } => {
                    if !self.woken().await {
                        return Ok(None);
                    }
                    self.read().await?;
                }
                Phase::Replay | Phase::Live { is_behind: true } => self.read().await?,
            }
        }
    }

    /// Waits until there may be something new; false when there never will.
    async fn woken(&mut self) -> bool {
        let workspace = self.workspace;
        let wakes = &mut self.wakes;
        let woken = async {
            loop {
                match wakes.recv().await {
                    Ok(row) if row.workspace_id != workspace => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                }
            }
        };
        let goes_on = timeout(LOOK_AFTER, woken).await.unwrap_or(true);
        // One look answers all that have come by now.
        while !matches!(self.wakes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
        goes_on
    }

    /// Sends a part of what exists.
    async fn show(&mut self, progress: Progress) -> Result<(), AppError> {
        let existing = self.subject.existing(&self.state, self.workspace, &progress, STEP).await?;
        let is_last = existing.len() < STEP;
        for (progress, at, item) in existing {
            let cursor = self.cursor(&self.place, Some(progress.clone()));
            self.ready.push_back(Message { cursor, kind: Kind::Snapshot, at, item: Some(item) });
            self.phase = Phase::Snapshot(progress);
        }
        if is_last {
            self.ready.push_back(self.caught_up());
            self.phase = Phase::Live { is_behind: true };
        }
        Ok(())
    }

    /// Reads a page of what the place does not cover.
    async fn read(&mut self) -> Result<(), AppError> {
        let at = self.state.now();
        let untold = change_log::untold(self.state.db.read(), self.workspace, &self.place, LOG_PAGE).await?;
        let mut entries = VecDeque::new();
        for row in &untold.rows {
            let count = row.changes.0.len();
            let told = self.place.told_of(row.xid, row.seq);
            entries.extend(row.changes.0.iter().enumerate().skip(told).map(|(index, change)| Entry {
                change: change.clone(),
                at: row.at,
                xid: row.xid,
                seq: row.seq,
                told: Some(index + 1).filter(|told| *told < count),
            }));
        }
        let end = match untold.rows.last() {
            Some(last) if !untold.is_all => self.place.after(&untold.seen, last.xid, last.seq, None),
            _ => untold.seen.clone(),
        };
        self.page = Some(Page { seen: untold.seen, at, is_last: untold.is_all, end, entries });
        Ok(())
    }

    /// Loads what the next entries of the page are about, and ends the page when there are none.
    async fn tell(&mut self) -> Result<(), AppError> {
        let Some(page) = &mut self.page else { return Ok(()) };
        let step: Vec<Entry> = page.entries.drain(..STEP.min(page.entries.len())).collect();
        let is_end = page.entries.is_empty();
        let (seen, end) = (page.seen.clone(), page.end.clone());
        for (index, item) in self.subject.load(&self.state, self.workspace, &step).await? {
            let Some(entry) = step.get(index) else { continue };
            let place = if is_end && index + 1 == step.len() {
                end.clone()
            } else {
                self.place.after(&seen, entry.xid, entry.seq, entry.told)
            };
            let cursor = self.cursor(&place, None);
            self.ready.push_back(Message { cursor, kind: Kind::Change, at: entry.at, item: Some(item) });
        }
        if is_end {
            self.turn();
        }
        Ok(())
    }

    /// Goes to the end of a page that was told.
    fn turn(&mut self) {
        let Some(page) = self.page.take() else { return };
        self.place = page.end;
        if page.is_last {
            self.at = page.at;
        }
        match self.phase {
            Phase::Replay if page.is_last => {
                self.ready.push_back(self.caught_up());
                self.phase = Phase::Live { is_behind: false };
            }
            Phase::Live { .. } => self.phase = Phase::Live { is_behind: !page.is_last },
            Phase::Replay | Phase::Snapshot(_) => {}
        }
    }

    fn caught_up(&self) -> Message<S::Item> {
        Message { cursor: self.cursor(&self.place, None), kind: Kind::CaughtUp, at: self.state.now(), item: None }
    }

    fn cursor(&self, place: &Place, snapshot: Option<Progress>) -> String {
        Cursor { at: self.at, place: place.clone(), snapshot }.print(self.workspace, S::CODE)
    }
}
