//! Where the rows are.

use std::fmt;

use super::reader::Reader;
use super::setting;

/// Settings of the database. Prints without the URL, which may hold a password.
#[derive(Clone)]
pub struct Database {
    /// SQLite or PostgreSQL: [`setting::DATABASE_URL`].
    pub url: String,
    /// Most connections to PostgreSQL: [`setting::DATABASE_CONNECTIONS`].
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
        let url = reader.read(&setting::DATABASE_URL, |text| match text.split(':').next() {
            Some("sqlite" | "postgres" | "postgresql") => Ok(text.to_owned()),
            _ => Err("must start with `sqlite://` or `postgres://`".to_owned()),
        });
        Self { url, connections: reader.number(&setting::DATABASE_CONNECTIONS) }
    }

    pub(super) fn require(self, reader: &mut Reader) -> Option<Database> {
        let remedy = "name a database such as `sqlite://angarium.db` or `postgres://user:password@host/database`";
        let url = reader.require(&setting::DATABASE_URL, self.url, remedy)?;
        Some(Database { url, connections: self.connections? })
    }
}
