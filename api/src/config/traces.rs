//! What is traced, and where traces are sent.

use angarium_dispatcher::trace::{Collector, Config};

use super::reader::Reader;
use super::setting;

/// Reads what tracing is told.
pub(super) fn read(reader: &mut Reader) -> Config {
    let collector = reader.read(&setting::OTLP_ENDPOINT, |text| {
        // It is not told what was given, which may hold a password.
        Collector::parse(text).map_err(|error| error.to_string())
    });
    let headers =
        reader.read(&setting::OTLP_HEADERS, |text| Collector::parse_headers(text).map_err(|error| error.to_string()));
    let collector = match (collector, headers) {
        (Some(collector), Some(headers)) => Some(collector.with_headers(headers)),
        (None, Some(_)) => {
            reader.require(&setting::OTLP_ENDPOINT, None, "the headers of ANGARIUM_OTLP_HEADERS go nowhere without it")
        }
        (collector, None) => collector,
    };
    let ratio = |text: &str| {
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| format!("is `{text}`, but must be a number from 0 to 1"))
    };
    Config {
        collector,
        sample_ratio: reader.read(&setting::TRACE_SAMPLE_RATIO, ratio).unwrap_or_default(),
        sends_traceparent: reader.boolean(&setting::SEND_TRACEPARENT),
    }
}
