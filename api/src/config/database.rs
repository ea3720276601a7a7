//! Where the rows are.

use std::fmt;

use super::reader::{Reader, number};

/// Name of the variable that every command needs.
pub(super) const URL: &str = "ANGARIUM_DATABASE_URL";
/// Default of `connections`.
const CONNECTIONS: u32 = 10;
/// Most connections that one process may hold.
const CONNECTIONS_MAX: u32 = 1_000;

/// Settings of the database. Prints without the URL, which may hold a password.
#[derive(Clone)]
pub struct Database {
    /// SQLite or PostgreSQL.
    ///
    /// `ANGARIUM_DATABASE_URL`, such as `sqlite://angarium.db` or `postgres://user:password@host/database`.
    /// `dev` makes `angarium.db` where it is started; everything else must be told.
    pub url: String,
    /// Most connections to PostgreSQL.
    ///
    /// `ANGARIUM_DATABASE_CONNECTIONS`, default 10, from 1 to 1,000.
    pub connections: u32,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// What was set.
pub(super) struct Given {
    url: Option<String>,
    connections: Option<u32>,
}

impl Given {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let url = reader.read(URL, |text| match text.split(':').next() {
            Some("sqlite" | "postgres" | "postgresql") => Ok(text.to_owned()),
            _ => Err("must start with `sqlite://` or `postgres://`".to_owned()),
        });
        Self { url, connections: reader.read("ANGARIUM_DATABASE_CONNECTIONS", number(1..=CONNECTIONS_MAX)) }
    }

    pub(super) fn require(self, reader: &mut Reader) -> Option<Database> {
        let remedy = "name a database such as `sqlite://angarium.db` or `postgres://user:password@host/database`";
        let url = reader.require(URL, self.url, remedy)?;
        Some(Database { url, connections: self.connections.unwrap_or(CONNECTIONS) })
    }
}
