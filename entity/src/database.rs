//! Opening the database: SQLite or PostgreSQL, by URL.
//!
//! SQLite      write-ahead log with `synchronous = FULL`: what is committed survives a power cut. One connection
//!             writes and a few read, so a reader never waits for a writer and a writer never meets `SQLITE_BUSY`.
//!             A lock on a file beside the database keeps a second process out: it would deliver everything twice.
//! PostgreSQL  one pool for reading and writing, beside that of [`Database::planned`]. Connections are not tested before
//!             each use (a round trip each time).
//! Plans       some statements run for every event and delivery. PostgreSQL would plan each of them anew, since it guesses
//!             that a plan for the values at hand is better; it is not, and takes longer than the statement. They have
//!             connections of their own ([`Database::planned`]), where it does not guess.
//! Indexes     PostgreSQL keeps the plan of a prepared statement until it next analyzes the table. One that was made while
//!             a table was small reads all of it, by a scan or a join that needs the whole, and goes on to when it has
//!             grown by a million rows. Everything here is made to be read through an index, so the other ways are
//!             switched off ([`PLANS`]): 20 µs instead of 685 for each row of a group of 50 in a table of 10,000.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    AccessMode, ConnectOptions, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

/// Connections that read a SQLite file beside the one that writes.
const SQLITE_READERS: u32 = 4;
/// Longest wait for a connection of the pool, and for the lock of a SQLite file.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a pool to close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest that PostgreSQL works on one statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);

/// Most connections for statements that are planned once.
const PLANNED_MAX: u32 = 4;
/// Settings of a session: every plan is a walk from index to index, and none is worth compiling.
const PLANS: [(&str, &str); 4] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off"), ("jit", "off")];

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither `sqlite:` nor `postgres:`.
    #[error("a database URL starts with `sqlite://` or `postgres://`")]
    Scheme,
    /// Another process works on the file.
    #[error("another process has the database {} open; stop it, choose another file, or ask the server that runs through its API", .0.display())]
    InUse(PathBuf),
    /// The lock file cannot be made.
    #[error("cannot write beside the database {}", path.display())]
    Lock {
        /// The database.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server does not answer, or refuses.
    #[error("cannot connect to the database")]
    Connect(#[source] DbErr),
}

/// An open database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    write: DatabaseConnection,
    read: DatabaseConnection,
    planned: DatabaseConnection,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// The lock that keeps other processes out, until it is closed or nobody has it any more.
    Sqlite {
        lock: Arc<File>,
    },
    Postgres,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite { .. } => "Sqlite",
            Self::Postgres => "Postgres",
        })
    }
}

impl Database {
    /// Opens the database that `url` names with at most `connections` connections, and at least two (PostgreSQL only).
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(url: &str, connections: u32) -> Result<Self, OpenError> {
        if let Some(path) = sqlite_path(url) {
            return Self::open_sqlite(url, path).await;
        }
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(OpenError::Scheme);
        }
        let planned = PLANNED_MAX.min(connections / 2).max(1);
        let mut pool = postgres(url, connections.saturating_sub(planned).max(1));
        pool.min_connections(1);
        let pool = sea_orm::Database::connect(pool).await.map_err(OpenError::Connect)?;
        // Connected when there is something to do: many tools have nothing to do here.
        let mut planned = postgres(url, planned);
        planned.connect_lazy(true);
        planned.map_sqlx_postgres_opts(|options| {
            options.application_name("angarium").options(PLANS).options([("plan_cache_mode", "force_generic_plan")])
        });
        let planned = sea_orm::Database::connect(planned).await.map_err(OpenError::Connect)?;
        Ok(Self { write: pool.clone(), read: pool, planned, kind: Kind::Postgres })
    }

    async fn open_sqlite(url: &str, path: PathBuf) -> Result<Self, OpenError> {
        let lock = lock(&path)?;
        create_private(&path)?;
        let connect = |connections| {
            let mut options = options(url);
            options.max_connections(connections).min_connections(1);
            options.map_sqlx_sqlite_opts(|options| {
                options
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(ACQUIRE_TIMEOUT)
            });
            sea_orm::Database::connect(options)
        };
        let write = connect(1).await.map_err(OpenError::Connect)?;
        let read = connect(SQLITE_READERS).await.map_err(OpenError::Connect)?;
        Ok(Self { planned: read.clone(), write, read, kind: Kind::Sqlite { lock: Arc::new(lock) } })
    }

    /// Where rows are read outside of a transaction.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Where statements run whose best plan does not depend on their values, outside of a transaction. They write only on
    /// PostgreSQL.
    pub fn planned(&self) -> &DatabaseConnection {
        &self.planned
    }

    /// Where single statements write.
    pub fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// A transaction that is going to write.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.write.begin_with_options(options).await
    }

    /// A transaction that reads, and sees all of it as it is at one moment.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin_reading(&self) -> Result<DatabaseTransaction, DbErr> {
        let is_postgres = self.backend() == DbBackend::Postgres;
        let options = TransactionOptions {
            isolation_level: is_postgres.then_some(IsolationLevel::RepeatableRead),
            access_mode: is_postgres.then_some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        self.read.begin_with_options(options).await
    }

    /// The same, which tells of each statement once it was run.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn observed(mut self, tell: impl Fn(&sea_orm::Statement) + Clone + Send + Sync + 'static) -> Self {
        for connection in [&mut self.write, &mut self.read, &mut self.planned] {
            let tell = tell.clone();
            connection.set_metric_callback(move |info| tell(info.statement));
        }
        self
    }

    /// Which of the two it is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// Closes every connection. What is not committed is not stored. A pool waits for each connection that somebody has;
    /// one that does not come back within [`CLOSE_TIME_MAX`] is left to the end of the process.
    pub async fn close(self) {
        for (name, connection) in [("planned", self.planned), ("read", self.read), ("write", self.write)] {
            match tokio::time::timeout(CLOSE_TIME_MAX, connection.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, name, "a database connection did not close"),
                Err(_) => tracing::warn!(name, "a database connection did not come back in time to be closed"),
            }
        }
        // Somebody may still hold a clone, but no connection: the next process need not wait for that.
        if let Kind::Sqlite { lock } = &self.kind
            && let Err(error) = lock.unlock()
        {
            tracing::warn!(%error, "the lock of the database was not released");
        }
    }
}

/// The file that a SQLite URL names, without its parameters.
pub fn sqlite_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    Some(PathBuf::from(path.split('?').next().unwrap_or_default()))
}

fn options(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false).acquire_timeout(ACQUIRE_TIMEOUT).connect_timeout(ACQUIRE_TIMEOUT);
    options
}

/// A pool of PostgreSQL.
fn postgres(url: &str, connections: u32) -> ConnectOptions {
    let mut options = options(url);
    options.max_connections(connections).test_before_acquire(false).statement_timeout(STATEMENT_TIMEOUT);
    options.map_sqlx_postgres_opts(|options| options.application_name("angarium").options(PLANS));
    options
}

/// Makes the file, if it is not there, for its owner alone: it holds what tenants have told nobody else.
fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|source| OpenError::Lock { path: path.to_owned(), source })
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let failed = |source| OpenError::Lock { path: path.to_owned(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock_path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
