//! One process delivers for a database.
//!
//! SQLite keeps a second process out by the lock on its file. On PostgreSQL the deliverer holds an advisory lock of a
//! session. The lock goes with the session, so the question is asked again and again: while it is ours the answer is
//! yes at once; after a lost connection it is yes if nobody else was faster; and if somebody was, we stop sending.

use std::time::Duration;

use angarium_entity::Database;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use crate::actor::Hubs;

/// Any number that nobody else locks; not the migrations'.
const ADVISORY_LOCK: i64 = 0x616e_6761_7269_0001;
/// Pause between two questions.
const EVERY: Duration = Duration::from_secs(3);
/// How long a start waits for the right, and the pause between two tries.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);
const CLAIM_AGAIN: Duration = Duration::from_millis(100);

/// The right to deliver.
#[derive(Debug)]
pub(crate) struct Sole(Option<DatabaseConnection>);

impl Sole {
    /// Takes the right. Waits a little for one who is just giving it up, as at a restart; none if it is not free then.
    pub(crate) async fn claim(db: &Database) -> Result<Option<Self>, DbErr> {
        let sole = Self(db.session().await?);
        let mut waited = Duration::ZERO;
        while !sole.holds().await? {
            if waited >= CLAIM_WITHIN {
                return Ok(None);
            }
            tokio::time::sleep(CLAIM_AGAIN).await;
            waited += CLAIM_AGAIN;
        }
        Ok(Some(sole))
    }

    /// Makes the hubs stop when the right is lost. Ends then.
    pub(crate) async fn watch(self, hubs: Hubs) {
        if self.0.is_none() {
            return;
        }
        loop {
            tokio::time::sleep(EVERY).await;
            match self.holds().await {
                Ok(true) => {}
                Ok(false) => break,
                // While the database is away nobody else can take the right either.
                Err(error) => tracing::warn!(%error, "could not ask whether this process may still deliver"),
            }
        }
        tracing::error!("another process delivers for this database now; this one stops sending. Restart it");
        hubs.drain();
    }

    async fn holds(&self) -> Result<bool, DbErr> {
        let Some(session) = &self.0 else { return Ok(true) };
        let ask = Statement::from_sql_and_values(
            session.get_database_backend(),
            "SELECT pg_try_advisory_lock($1) AS held",
            [ADVISORY_LOCK.into()],
        );
        match session.query_one_raw(ask).await? {
            Some(row) => row.try_get("", "held"),
            None => Ok(false),
        }
    }
}
