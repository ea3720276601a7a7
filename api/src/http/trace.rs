//! Which trace a request belongs to, as its caller says.

use angarium_entity::TraceContext;
use axum::http::header::{HeaderMap, HeaderName, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Where the caller is in a trace; none when it says nothing that can be understood.
pub(super) fn of_caller(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all(PARENT).iter();
    let (parent, None) = (parents.next()?.to_str().ok()?, parents.next()) else { return None };
    // Several lines are one list.
    let states: Result<Vec<_>, _> = headers.get_all(STATE).iter().map(HeaderValue::to_str).collect();
    TraceContext::read(parent, states.ok().map(|states| states.join(",")).as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(lines: &[(HeaderName, &'static str)]) -> Option<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        of_caller(&headers).map(TraceContext::into_headers)
    }

    #[test]
    fn the_lines_of_a_state_are_one_list_and_two_parents_are_none() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[(STATE, "a=1")]), None);
        assert_eq!(read(&[(PARENT, TRACE)]), Some((TRACE.to_owned(), None)));
        let both = [(PARENT, TRACE), (STATE, "a=1"), (STATE, "b=2")];
        assert_eq!(read(&both), Some((TRACE.to_owned(), Some("a=1,b=2".to_owned()))));
        assert_eq!(read(&[(PARENT, TRACE), (PARENT, TRACE)]), None);
    }
}
