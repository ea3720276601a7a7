//! What happens in a workspace, live and without gaps.
//!
//! Source  the change log, read on from a [`change_log::Place`], which is exact whatever commits when. The word of what was
//!         committed, on any node, only wakes: a stream that is told of nothing, or lags, reads the same. Every second it looks
//!         by itself, for what was committed without a word here.
//! Gapless the listener is registered before the place is taken, and what is read is what the place does not cover.
//!         So nothing falls between a snapshot, the replay of what was missed, and what comes live, and nothing is
//!         told twice.
//! Cursor  the place after the message, and while a snapshot lasts, how far it has come. A cursor of a snapshot goes
//!         on with it, since what it had not reached may never change.
//! Bounds  what is held and loaded at once is bounded (`updates/watch.rs`).

use angarium_entity::{Timestamp, change_log};
use futures_util::Stream;
use futures_util::stream::unfold;

use crate::app::AppError;
use crate::{AppState, Caller};

mod attempts;
mod cursor;
mod deliveries;
mod endpoints;
mod events;
mod replays;
mod standing;
mod subject;
mod subscriptions;
mod watch;

pub use attempts::Attempts;
pub use cursor::Progress;
#[cfg(any(fuzzing, test))]
pub(crate) use cursor::fuzz as fuzz_cursor;
pub use deliveries::{Deliveries, DeliveryUpdate, Present};
pub use endpoints::Endpoints;
pub use events::Events;
pub use replays::Replays;
pub use subject::{Entry, Subject};
pub use subscriptions::Subscriptions;

use cursor::Cursor;
use watch::{Begin, Phase, Watch};

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
    let watch = Watch::new(state.clone(), workspace, subject, wakes, Begin { phase, place, at }, is_over);
    Ok(unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(message)) => {
                let is_last = watch.is_last(&message);
                Some((Ok(message), (!is_last).then_some(watch)))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}
