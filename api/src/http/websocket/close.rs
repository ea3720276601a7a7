//! Why a socket is closed: a code that clients act upon, and a reason for people.
//!
//! The npm client gives up after 4400, 4401, 4406, 4409 and 4429, and connects again after 4403, 4408 and 1001.

use std::borrow::Cow;

use axum::extract::ws::{CloseFrame, Utf8Bytes};

/// Most bytes of a reason: a control frame holds 125, and the code takes two (RFC 6455, section 5.5).
const REASON_BYTES_MAX: usize = 123;

/// A code and a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    code: u16,
    reason: Cow<'static, str>,
}

impl Close {
    pub(super) const GOING_AWAY: Self = Self::new(1001, "the server is stopping");
    pub(super) const TOO_BIG: Self = Self::new(1009, "a message is larger than 256 KiB, or not readable");
    pub(super) const SUBSCRIBED_TOO_EARLY: Self = Self::new(4401, "Unauthorized: send connection_init first");
    pub(super) const INIT_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");
    pub(super) const SECOND_INIT: Self = Self::new(4429, "Too many initialisation requests");
    pub(super) const INTERNAL: Self = Self::new(4500, "Internal server error");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// A message that the protocol does not know.
    pub(super) fn bad_message(what: impl std::fmt::Display) -> Self {
        Self { code: 4400, reason: format!("Bad message: {what}").into() }
    }

    /// The credential was refused.
    pub(super) fn forbidden(why: impl std::fmt::Display) -> Self {
        Self { code: 4403, reason: format!("Forbidden: {why}").into() }
    }

    /// An operation of this ID runs already.
    pub(super) fn duplicate(id: &str) -> Self {
        Self { code: 4409, reason: format!("Subscriber for {id} already exists").into() }
    }

    pub(super) fn into_frame(self) -> CloseFrame {
        let end = self.reason.floor_char_boundary(REASON_BYTES_MAX);
        CloseFrame { code: self.code, reason: Utf8Bytes::from(&self.reason[..end]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        let frame = Close::duplicate(&format!("x{}", "ü".repeat(200))).into_frame();
        assert_eq!((frame.code, frame.reason.len()), (4409, 122));
        assert_eq!(Close::GOING_AWAY.into_frame().reason.as_str(), "the server is stopping");
    }
}
