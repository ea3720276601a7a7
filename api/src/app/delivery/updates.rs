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
//! Bounds  [`ENTRIES_MAX`] entries of the log are held, and what they name is loaded in steps of [`STEP`]; a client that
//!         does not read makes nobody hold more. A thousand of them are to cost less than 64 MiB.

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
use uuid::Uuid;

use crate::app::AppError;
use crate::{AppState, Caller};

mod attempts;
mod cursor;
mod deliveries;
mod endpoints;
mod events;
mod replays;
mod standing;
mod subscriptions;

pub use attempts::Attempts;
pub use cursor::Progress;
pub use deliveries::{Deliveries, DeliveryUpdate, Present};
pub use endpoints::Endpoints;
pub use events::Events;
pub use replays::Replays;
pub use subscriptions::Subscriptions;

use cursor::Cursor;

/// How often a stream looks into the log although nothing woke it.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Rows that are read from the log at once, and where the last were more than can be held.
const LOG_PAGE: u64 = 16;
const LOG_PAGE_OF_LONG_ROWS: u64 = 2;
/// Entries that are held; one row may have thousands, which are then read again from where it was left.
const ENTRIES_MAX: usize = 32;
/// Entries of the log, or objects of a snapshot, that are loaded at once.
const STEP: usize = 8;

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

    /// Whether all was told already that there will ever be. Asked when the stream begins, behind the listener; where a
    /// stream is about one object this is where it looks for it.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such object.
    fn is_over(
        &self,
        _state: &AppState,
        _workspace: WorkspaceId,
    ) -> impl Future<Output = Result<bool, AppError>> + Send {
        std::future::ready(Ok(false))
    }

    /// Whether the stream ends behind this.
    fn is_last(&self, _item: &Self::Item) -> bool {
        false
    }

    /// The entries that are meant, by their place in `entries` and in that order, with what they are about. Several
    /// about the same may be told as one, at the place of the last.
    fn load(
        &self,
        state: &AppState,
        workspace: WorkspaceId,
        entries: &[Entry],
    ) -> impl Future<Output = Result<Vec<(usize, Self::Item)>, DbErr>> + Send;

    /// Whether an entry is about more than one. It is told alone, page by page, by [`Subject::spread`]; whoever breaks
    /// off before the end of it is told of all of them again.
    fn is_wide(&self, _entry: &Entry) -> bool {
        false
    }

    /// At most `limit` of what a wide entry is about, behind the one with the ID `after`. Fewer when there is no more.
    fn spread(
        &self,
        _state: &AppState,
        _workspace: WorkspaceId,
        _entry: &Entry,
        _after: Option<Uuid>,
        _limit: u64,
    ) -> impl Future<Output = Result<Vec<(Uuid, Self::Item)>, DbErr>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

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
    let is_over = subject.is_over(state, workspace).await?;
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
    let watch = Watch {
        state,
        workspace,
        subject,
        wakes,
        phase,
        place,
        at,
        page: None,
        rows_max: LOG_PAGE,
        ready: VecDeque::new(),
        is_over,
    };
    Ok(unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(message)) => {
                let is_last = message.item.as_ref().is_some_and(|item| watch.subject.is_last(item));
                Some((Ok(message), (!is_last).then_some(watch)))
            }
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
    /// The place after what was told of it.
    told: Place,
    entries: VecDeque<Entry>,
    /// How far the first of the entries was told, if it is a wide one.
    within: Option<Uuid>,
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
    /// Rows that the next page is read from.
    rows_max: u64,
    ready: VecDeque<Message<S::Item>>,
    /// Whether nothing comes behind what there is.
    is_over: bool,
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
                Phase::Live { is_behind: false } if self.is_over => return Ok(None),
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
        let untold = change_log::untold(self.state.db.read(), self.workspace, &self.place, self.rows_max).await?;
        let seen = untold.seen;
        let mut end = match untold.rows.last() {
            Some(last) if !untold.is_all => self.place.after(&seen, last.xid, last.seq, None),
            _ => seen.clone(),
        };
        let mut entries = untold.rows.into_iter().flat_map(|row| {
            let (count, told) = (row.changes.0.len(), self.place.told_of(row.xid, row.seq));
            row.changes.0.into_iter().enumerate().skip(told).map(move |(index, change)| Entry {
                change,
                at: row.at,
                xid: row.xid,
                seq: row.seq,
                told: Some(index + 1).filter(|told| *told < count),
            })
        });
        let held: VecDeque<Entry> = entries.by_ref().take(ENTRIES_MAX).collect();
        let is_cut = entries.next().is_some();
        drop(entries);
        if let Some(last) = held.back().filter(|_| is_cut) {
            end = self.place.after(&seen, last.xid, last.seq, last.told);
        }
        self.rows_max = if is_cut { LOG_PAGE_OF_LONG_ROWS } else { LOG_PAGE };
        let (told, is_last) = (self.place.clone(), untold.is_all && !is_cut);
        self.page = Some(Page { seen, at, is_last, end, told, entries: held, within: None });
        Ok(())
    }

    /// Loads what the next entries of the page are about, and ends the page when there are none.
    async fn tell(&mut self) -> Result<(), AppError> {
        let Some(page) = &mut self.page else { return Ok(()) };
        if let Some(wide) = page.entries.front().filter(|entry| self.subject.is_wide(entry)).cloned() {
            return self.tell_all_of(&wide).await;
        }
        let count = page.entries.iter().take(STEP).take_while(|entry| !self.subject.is_wide(entry)).count();
        let step: Vec<Entry> = page.entries.drain(..count).collect();
        let is_end = page.entries.is_empty();
        let (seen, end) = (page.seen.clone(), page.end.clone());
        if let Some(last) = step.last() {
            page.told = self.place.after(&seen, last.xid, last.seq, last.told);
        }
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

    /// Loads the next of what a wide entry is about. Only the last of them has a place behind the entry.
    async fn tell_all_of(&mut self, entry: &Entry) -> Result<(), AppError> {
        let Some(page) = &mut self.page else { return Ok(()) };
        let limit = STEP as u64;
        let items = self.subject.spread(&self.state, self.workspace, entry, page.within, limit).await?;
        let is_all = items.len() < STEP;
        page.within = items.last().map(|(id, _)| *id);
        let before = page.told.clone();
        if is_all {
            page.told = self.place.after(&page.seen, entry.xid, entry.seq, entry.told);
            page.within = None;
            page.entries.pop_front();
        }
        let (told, is_end) = (page.told.clone(), page.entries.is_empty());
        let count = items.len();
        for (index, (_, item)) in items.into_iter().enumerate() {
            let place = if is_all && index + 1 == count { &told } else { &before };
            let cursor = self.cursor(place, None);
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
