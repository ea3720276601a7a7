//! What tells one event from another, and when it was published. It travels in the payload.
//!
//! Shape   `{"mark":"<publisher>.<number>.<time>","fill":"…"}`: numbers of one publisher count from 0; the time is in
//!         microseconds since the Unix epoch, taken just before the request was sent.

use std::time::{SystemTime, UNIX_EPOCH};

const KEY: &[u8] = b"\"mark\":\"";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) publisher: u32,
    pub(crate) number: u32,
    pub(crate) at_micros: u64,
}

impl Mark {
    pub(crate) fn now(publisher: u32, number: u32) -> Self {
        Self { publisher, number, at_micros: now_micros() }
    }

    /// A payload of `bytes`, or a little more where the mark alone is longer.
    pub(crate) fn payload(self, bytes: usize) -> String {
        let mut payload = format!("{{\"mark\":\"{}.{}.{}\",\"fill\":\"", self.publisher, self.number, self.at_micros);
        while payload.len() + 2 < bytes {
            payload.push('x');
        }
        payload + "\"}"
    }

    /// Finds it in a body.
    pub(crate) fn find(body: &[u8]) -> Option<Self> {
        let start = body.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
        let end = start + body[start..].iter().position(|byte| *byte == b'"')?;
        let mut parts = std::str::from_utf8(&body[start..end]).ok()?.split('.');
        Some(Self {
            publisher: parts.next()?.parse().ok()?,
            number: parts.next()?.parse().ok()?,
            at_micros: parts.next()?.parse().ok()?,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "two processes of one machine are compared")]
pub(crate) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_micros()).expect("for half a million years")
}

#[test]
fn a_mark_is_found_in_its_payload() {
    let mark = Mark::now(3, 77);
    let payload = mark.payload(256);
    assert_eq!((payload.len(), Mark::find(payload.as_bytes())), (256, Some(mark)));
}
