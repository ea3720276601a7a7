//! Places of a stream that leave the process.
//!
//! Shape   base64url of: a version, the code of the stream, then numbers of seven bits a byte, least significant
//!         first: the instant, the end of the place, the count of its open transactions and how far each lies before
//!         the end, 1 and the transaction, row and entries it is midway in or 0, 1 and the step, instant and ID that
//!         a snapshot has come to or 0; at last four bytes of the SHA-256 of the workspace and all of that.
//! Sum     says that the cursor is whole and belongs here. It is no secret: who forges one hurts himself.

use std::iter::from_fn;

use angarium_entity::change_log::Place;
use angarium_entity::change_log::place::{Midway, OPEN_MAX};
use angarium_entity::{Timestamp, WorkspaceId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::app::AppError;

const VERSION: u8 = 2;
const SUM_LEN: usize = 4;
/// Longest text that is looked at: far more than the longest cursor.
const TEXT_LEN_MAX: usize = 4096;

/// Where a stream can be resumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// An instant at which nothing behind the place had been committed for long.
    pub(super) at: Timestamp,
    /// What was told of the log.
    pub(super) place: Place,
    /// What was told of the snapshot, if it is not complete.
    pub(super) snapshot: Option<Progress>,
}

/// How far a snapshot has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The part of it.
    pub step: u8,
    /// The last one sent of this part; none at its beginning.
    pub last: Option<(Timestamp, Uuid)>,
}

impl Cursor {
    /// As text, for a stream of a workspace.
    pub(super) fn print(&self, workspace: WorkspaceId, code: u8) -> String {
        let place = self.place.shortened();
        let mut bytes = vec![VERSION, code];
        let mut put = |number: i64| put(&mut bytes, number);
        put(self.at.millis());
        put(place.end);
        put(i64::try_from(place.open.len()).unwrap_or(0));
        place.open.iter().for_each(|open| put(place.end - open));
        put(i64::from(place.midway.is_some()));
        if let Some(midway) = place.midway {
            put(midway.xid);
            put(midway.seq);
            put(i64::try_from(midway.entries).unwrap_or(0));
        }
        let last = self.snapshot.as_ref().and_then(|progress| Some((progress.step, progress.last?)));
        put(i64::from(last.is_some()));
        if let Some((step, (at, id))) = last {
            put(step.into());
            put(at.millis());
            bytes.extend(id.as_bytes());
        }
        bytes.extend(sum(workspace, &bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads one that a stream of this workspace has given out.
    ///
    /// # Errors
    /// [`AppError::BadInput`].
    pub(super) fn parse(text: &str, workspace: WorkspaceId, code: u8) -> Result<Self, AppError> {
        Self::read(text, workspace, code)
            .ok_or_else(|| AppError::BadInput("`after` is not a cursor of this stream in this workspace".to_owned()))
    }

    fn read(text: &str, workspace: WorkspaceId, code: u8) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(Some(text).filter(|text| text.len() <= TEXT_LEN_MAX)?).ok()?;
        let (bytes, given) = bytes.split_at_checked(bytes.len().checked_sub(SUM_LEN)?)?;
        if sum(workspace, bytes) != given {
            return None;
        }
        let mut rest = bytes.strip_prefix(&[VERSION, code])?;
        let mut take = || take(&mut rest);
        let (at, end) = (Timestamp::from_millis(take()?), take()?);
        let count = usize::try_from(take()?).ok().filter(|count| *count <= OPEN_MAX)?;
        let open: Vec<i64> = from_fn(|| end.checked_sub(take()?)).take(count).collect();
        let midway = match take()? {
            0 => None,
            _ => Some(Midway { xid: take()?, seq: take()?, entries: usize::try_from(take()?).ok()? }),
        };
        let snapshot = if take()? == 0 {
            None
        } else {
            let (step, at) = (u8::try_from(take()?).ok()?, Timestamp::from_millis(take()?));
            let (id, behind) = rest.split_first_chunk::<16>()?;
            rest = behind;
            Some(Progress { step, last: Some((at, Uuid::from_bytes(*id))) })
        };
        let is_whole = rest.is_empty() && open.len() == count;
        is_whole.then(|| Self { at, place: Place::new(end, open, midway), snapshot })
    }
}

/// Reads a cursor that says `content`, with the right sum.
#[cfg(any(fuzzing, test))]
pub(crate) fn fuzz(content: &[u8]) {
    let workspace = WorkspaceId(Uuid::nil());
    let [code, ..] = content else { return };
    let mut bytes = [&[VERSION, *code], &content[1..]].concat();
    bytes.extend(sum(workspace, &bytes));
    let Some(cursor) = Cursor::read(&URL_SAFE_NO_PAD.encode(bytes), workspace, *code) else { return };
    let again = Cursor::read(&cursor.print(workspace, *code), workspace, *code).expect("it was just printed");
    assert_eq!((again.at, again.snapshot), (cursor.at, cursor.snapshot));
    assert_eq!(again.place.end, cursor.place.end);
}

fn sum(workspace: WorkspaceId, bytes: &[u8]) -> [u8; SUM_LEN] {
    let hash = Sha256::new().chain_update(workspace.uuid().as_bytes()).chain_update(bytes).finalize();
    std::array::from_fn(|place| hash[place])
}

/// Numbers are never negative here.
fn put(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = u64::try_from(number).unwrap_or(0);
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap_or(0));
}

fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return i64::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors() -> Vec<Cursor> {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let midway = Some(Midway { xid: 7, seq: i64::MAX, entries: 500 });
        let snapshot = Some(Progress { step: 1, last: Some((at, Uuid::from_u128(u128::MAX))) });
        vec![
            Cursor { at, place: Place::default(), snapshot: None },
            Cursor { at, place: Place::new(i64::MAX, vec![5, 1_000, i64::MAX - 1], None), snapshot: snapshot.clone() },
            Cursor { at, place: Place::new(9, (0..9).collect(), midway), snapshot },
        ]
    }

    #[test]
    fn a_cursor_goes_there_and_back() {
        let workspace = WorkspaceId(Uuid::from_u128(1));
        for cursor in cursors() {
            let text = cursor.print(workspace, 1);
            assert_eq!(Cursor::read(&text, workspace, 1), Some(cursor), "{text}");
        }
    }

    #[test]
    fn the_longest_cursor_is_read() {
        let workspace = WorkspaceId(Uuid::from_u128(1));
        let place = Place::new(i64::MAX, (0..300).collect(), Some(Midway { xid: 200, seq: i64::MAX, entries: 9 }));
        let cursor = Cursor { at: Timestamp::from_millis(i64::MAX), place, snapshot: None };
        let read = Cursor::read(&cursor.print(workspace, 1), workspace, 1);
        assert_eq!(read.map(|read| read.place), Some(cursor.place.shortened()));
    }

    #[test]
    fn what_was_changed_or_belongs_elsewhere_is_refused() {
        let (workspace, other) = (WorkspaceId(Uuid::from_u128(1)), WorkspaceId(Uuid::from_u128(2)));
        for cursor in cursors() {
            let text = cursor.print(workspace, 1);
            assert!(Cursor::parse(&text, other, 1).is_err() && Cursor::parse(&text, workspace, 2).is_err());
            assert!(Cursor::parse(&text[1..], workspace, 1).is_err());
            for place in 0..text.len() {
                let mut letters = text.clone().into_bytes();
                letters[place] = if letters[place] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(letters).expect("letters");
                assert!(Cursor::read(&changed, workspace, 1).is_none(), "{changed}");
            }
        }
        for text in ["", "A", "====", &"A".repeat(10_000)] {
            assert!(Cursor::parse(text, workspace, 1).is_err(), "{text}");
        }
    }
}
