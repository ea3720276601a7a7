//! Where something stands in a distributed trace, as it is handed from one program to the next.
//!
//! Stored  with an event: an attempt may be made hours later and by another node, and still belongs to the trace of its
//!         publish. With an attempt: what the receiver was told.
//! Source  W3C Trace Context: <https://www.w3.org/TR/trace-context/>

use std::fmt::{self, Write as _};

/// Most characters of a `tracestate`; the standard asks for at least as many to be passed on.
pub const STATE_LEN_MAX: usize = 512;

/// `00-<32 digits>-<16 digits>-<2 digits>`.
const PARENT_LEN: usize = 55;
/// Flags that have a meaning: the trace is recorded, and its ID is random.
const FLAGS: u8 = 0b11;

/// Both headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Which trace, and what in it is the parent of whatever comes next.
    pub parent: TraceParent,
    /// What vendors of tracing tell each other: `tracestate`, passed on as it came.
    pub state: Option<String>,
}

/// The header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never all zero.
    pub trace_id: [u8; 16],
    /// The span within it; never all zero.
    pub span_id: [u8; 8],
    /// The lowest bit says that the trace is recorded.
    pub flags: u8,
}

impl TraceContext {
    /// Reads both headers. None when `parent` is malformed; a `state` that is malformed is left out, and of one that is
    /// longer than [`STATE_LEN_MAX`] the members at its end.
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        Some(Self { parent: TraceParent::parse(parent)?, state: state.and_then(bounded) })
    }

    /// The values of both headers.
    pub fn into_headers(self) -> (String, Option<String>) {
        (self.parent.to_string(), self.state)
    }
}

/// The front of a `tracestate` that is not too long; none when nothing is left, or a character cannot be in a header.
fn bounded(state: &str) -> Option<String> {
    let mut state = state.trim();
    if !state.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return None;
    }
    while state.len() > STATE_LEN_MAX {
        state = state.rsplit_once(',').map_or("", |(front, _)| front.trim_end());
    }
    (!state.is_empty()).then(|| state.to_owned())
}

impl TraceParent {
    /// Reads a `traceparent`; none when it is malformed. Of a version that we do not know what version 00 has is read.
    pub fn parse(text: &str) -> Option<Self> {
        let (known, rest) = text.split_at_checked(PARENT_LEN)?;
        let mut parts = known.split('-');
        let [version] = bytes(parts.next()?)?;
        let parent = Self {
            trace_id: bytes(parts.next()?)?,
            span_id: bytes(parts.next()?)?,
            flags: bytes::<1>(parts.next()?)?[0] & FLAGS,
        };
        let is_whole = parts.next().is_none() && (rest.is_empty() || version > 0 && rest.starts_with('-'));
        let is_valid = version != 0xff && parent.trace_id != [0; 16] && parent.span_id != [0; 8];
        (is_whole && is_valid).then_some(parent)
    }

    /// The trace, as its 32 digits.
    pub fn trace_id(&self) -> String {
        let mut text = String::with_capacity(32);
        hex(&mut text, &self.trace_id).expect("a String takes every write");
        text
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        hex(f, &self.trace_id)?;
        f.write_char('-')?;
        hex(f, &self.span_id)?;
        write!(f, "-{:02x}", self.flags)
    }
}

fn hex(to: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
}

/// Exactly `N` bytes from lower-case hex digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |letter: u8| match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_the_same() {
        let parent = TraceParent::parse(PARENT).expect("the example of the standard");
        assert_eq!((parent.to_string().as_str(), parent.flags), (PARENT, 1));
        assert_eq!(parent.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn what_is_malformed_is_not_read() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-36-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_later_version_is_passed_on_as_the_one_that_is_known() {
        for later in ["cc", "cc-what.will.be"] {
            let (version, rest) = later.split_at(2);
            let text = format!("{version}{}{rest}", &PARENT[2..]).replace("-01", "-ff");
            let parent = TraceParent::parse(&text).expect("what is known of it can be read");
            assert_eq!(parent.to_string(), PARENT.replace("-01", "-03"));
        }
    }

    #[test]
    fn a_state_is_kept_by_whole_members_and_left_out_when_it_is_no_header() {
        let read = |state: &str| TraceContext::read(PARENT, Some(state)).expect("the parent is right").state;
        assert_eq!(read(" rojo=1,congo=2 ").as_deref(), Some("rojo=1,congo=2"));
        let long = ["a=1", &format!("b={}", "x".repeat(STATE_LEN_MAX)), "c=3"].join(", ");
        assert_eq!(read(&long).as_deref(), Some("a=1"));
        assert_eq!(read(&"x".repeat(STATE_LEN_MAX + 1)), None);
        for wrong in ["", " ", "a=1\r\nx: y", "a=é"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
