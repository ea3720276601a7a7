//! Reads the log on for one stream, and loads what its entries are about.
//!
//! Bounds  [`ENTRIES_MAX`] entries of the log are held, and what they name is loaded in steps of [`STEP`]; a client that
//!         does not read makes nobody hold more. A thousand of them are to cost less than 64 MiB.

use std::collections::VecDeque;
use std::time::Duration;

use angarium_entity::change_log::{self, Place};
use angarium_entity::{Timestamp, WorkspaceId};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::timeout;
use uuid::Uuid;

use super::cursor::Cursor;
use super::{Entry, Kind, Message, Progress, Subject};
use crate::AppState;
use crate::app::AppError;

/// How often a stream looks into the log although nothing woke it.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// Rows that are read from the log at once, and where the last were more than can be held.
const LOG_PAGE: u64 = 16;
const LOG_PAGE_OF_LONG_ROWS: u64 = 2;
/// Entries that are held; one row may have thousands, which are then read again from where it was left.
const ENTRIES_MAX: usize = 32;
/// Entries of the log, or objects of a snapshot, that are loaded at once.
const STEP: usize = 8;

/// What a stream does now.
pub(super) enum Phase {
    /// Sends what exists.
    Snapshot(Progress),
    /// Sends what was missed.
    Replay,
    /// Sends what changes; when it is behind, it need not wait to be woken.
    Live { is_behind: bool },
}

/// Where a stream begins.
pub(super) struct Begin {
    pub(super) phase: Phase,
    pub(super) place: Place,
    /// When `place` was the present.
    pub(super) at: Timestamp,
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

/// A stream that is being read.
pub(super) struct Watch<S: Subject> {
    state: AppState,
    workspace: WorkspaceId,
    subject: S,
    wakes: Receiver<WorkspaceId>,
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
    /// Begins at `begin`, woken by `wakes`. `is_over` says that nothing will come behind what there is.
    pub(super) fn new(
        state: AppState,
        workspace: WorkspaceId,
        subject: S,
        wakes: Receiver<WorkspaceId>,
        begin: Begin,
        is_over: bool,
    ) -> Self {
        let Begin { phase, place, at } = begin;
        let (page, rows_max, ready) = (None, LOG_PAGE, VecDeque::new());
        Self { state, workspace, subject, wakes, phase, place, at, page, rows_max, ready, is_over }
    }

    /// Whether the stream ends behind this message.
    pub(super) fn is_last(&self, message: &Message<S::Item>) -> bool {
        message.item.as_ref().is_some_and(|item| self.subject.is_last(item))
    }

    /// The next message; none when the dispatcher has stopped.
    pub(super) async fn next(&mut self) -> Result<Option<Message<S::Item>>, AppError> {
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
                    Ok(other) if other != workspace => {}
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
