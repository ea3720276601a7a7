//! What is logged, and how.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use super::reader::Reader;

/// Default of `filter`.
const FILTER: &str = "info";
/// Below what is configured, unless it names the same: notices of PostgreSQL tell nobody anything.
const QUIET: &str = "sqlx=warn";

/// Settings of the log, which goes to standard error.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which lines are written.
    ///
    /// `ANGARIUM_LOG`, a filter of `tracing` such as `info` or `warn,angarium_dispatcher=debug`. Default `info`.
    pub filter: String,
    /// How they look.
    ///
    /// `ANGARIUM_LOG_FORMAT`, `text` or `json`. Default `text`.
    pub format: LogFormat,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let filter = reader.read("ANGARIUM_LOG", |text| match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("is `{text}`, but must be a filter such as `info`: {error}")),
        });
        let format = reader.read("ANGARIUM_LOG_FORMAT", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("is `{text}`, but must be `text` or `json`")),
        });
        Self { filter: filter.unwrap_or_else(|| FILTER.to_owned()), format: format.unwrap_or(LogFormat::Text) }
    }

    /// Writes the log of this process from now on. A second call changes nothing: tests start many servers.
    pub fn start(&self) {
        let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{}", self.filter));
        let lines =
            tracing_subscriber::fmt().with_env_filter(filter).with_ansi(stderr().is_terminal()).with_writer(stderr);
        let started = match self.format {
            LogFormat::Text => lines.try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
        if started.is_err() {
            tracing::debug!("this process logs already");
        }
    }
}
