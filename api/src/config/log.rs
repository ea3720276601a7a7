//! What is logged, and how.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use super::reader::Reader;
use super::setting;

/// Below what is configured, unless it names the same: notices of PostgreSQL tell nobody anything.
const QUIET: &str = "sqlx=warn";

/// Settings of the log, which goes to standard error.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which lines are written, as a filter of `tracing`: [`setting::LOG`].
    pub filter: String,
    /// How they look: [`setting::LOG_FORMAT`].
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
        let filter = reader.read(&setting::LOG, |text| match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(error) => Err(format!("is `{text}`, but must be a filter such as `info`: {error}")),
        });
        let format = match reader.word(&setting::LOG_FORMAT) {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        };
        Self { filter: filter.unwrap_or_default(), format }
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
