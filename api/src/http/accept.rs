//! What a caller wants to be answered with.
//!
//! Source  `Accept`: RFC 9110, section 12.5.1; the media types: GraphQL over HTTP, "Media Types".

use axum::http::header::{ACCEPT, HeaderMap, HeaderValue};

/// A media type that an answer in JSON may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/graphql-response+json`: the status tells whether the request was understood.
    GraphqlResponse,
    /// `application/json`: what proxies and old clients know; a GraphQL error comes with status 200.
    #[default]
    Json,
}

impl Media {
    pub(super) const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// Media ranges in the order of preference; of equal ones in the order they were sent.
#[derive(Debug)]
pub(super) struct Accept(Vec<String>);

impl Accept {
    /// What the headers accept. Without the header, anything.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut ranges: Vec<(u16, String)> = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(range)
            .collect();
        if ranges.is_empty() && !headers.contains_key(ACCEPT) {
            ranges.push((MOST, "*/*".to_owned()));
        }
        ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        Self(ranges.into_iter().map(|(_, range)| range).collect())
    }

    /// The preferred type for an answer in JSON; none if that is not acceptable.
    pub(super) fn json(&self) -> Option<Media> {
        self.0.iter().find_map(|range| match range.as_str() {
            "application/graphql-response+json" => Some(Media::GraphqlResponse),
            "application/json" | "application/*" | "*/*" => Some(Media::Json),
            _ => None,
        })
    }

    /// Whether `text/event-stream` is what the caller wants most. Some clients put it last on every query.
    pub(super) fn prefers_events(&self) -> bool {
        self.0.first().is_some_and(|range| range == "text/event-stream")
    }

    /// Whether a person is looking: browsers ask for HTML before anything else.
    pub(super) fn prefers_html(&self) -> bool {
        self.0.first().is_some_and(|range| range == "text/html")
    }
}

/// Weight of a range without `q`, in thousandths.
const MOST: u16 = 1_000;

/// The weight in thousandths and the range, in lower case without parameters; nothing if it is not acceptable.
fn range(text: &str) -> Option<(u16, String)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next()?.to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    let weight = weight.unwrap_or(MOST);
    (weight > 0 && range.contains('/')).then_some((weight, range))
}

/// `0.8` as 800; what is not a weight counts as none.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    match (whole, digits.get(..3).and_then(|digits| digits.parse::<u16>().ok())) {
        ("0", Some(digits)) => digits,
        _ => MOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> Accept {
        Accept::of(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))]))
    }

    #[test]
    fn the_heaviest_type_wins_and_of_equals_the_first() {
        for (header, media) in [
            ("application/json", Some(Media::Json)),
            ("application/graphql-response+json", Some(Media::GraphqlResponse)),
            ("application/graphql-response+json,application/json;q=0.9", Some(Media::GraphqlResponse)),
            ("application/json;q=0.9, application/graphql-response+json", Some(Media::GraphqlResponse)),
            ("application/json, application/graphql-response+json", Some(Media::Json)),
            ("Application/JSON; charset=utf-8; Q=0.5", Some(Media::Json)),
            ("text/html, */*;q=0.1", Some(Media::Json)),
            ("application/json;q=0", None),
            ("text/html", None),
            ("", None),
        ] {
            assert_eq!(accept(header).json(), media, "{header}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()).json(), Some(Media::Json));
    }

    #[test]
    fn events_and_pages_only_where_they_come_first() {
        assert!(accept("text/event-stream").prefers_events());
        assert!(accept("application/json;q=0.5, text/event-stream").prefers_events());
        assert!(!accept("application/graphql-response+json, text/event-stream, multipart/mixed").prefers_events());
        assert!(accept("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8").prefers_html());
        assert!(!accept("*/*").prefers_html() && !Accept::of(&HeaderMap::new()).prefers_html());
    }

    #[test]
    fn weights_have_three_digits() {
        for (text, weight) in [("1", 1_000), ("0", 0), ("0.8", 800), ("0.123", 123), ("1.000", 1_000), ("high", 1_000)]
        {
            assert_eq!(thousandths(text), weight, "{text}");
        }
    }
}
