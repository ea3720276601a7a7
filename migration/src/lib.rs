//! The history of the schema, on SQLite and PostgreSQL.
//!
//! Each migration is one step in literal names; it never imports `entity`, whose names move on.
//! Alone   all steps of a run share one transaction, which both databases can roll back, and which starts by taking a
//!         lock: of any number of concurrent runs one migrates and the others find nothing left to do.
//! Beside  nodes of the version before run while a step applies and after it, and may be started again: first widen, then
//!         move, then narrow, each with a version of its own. So steps that a program does not know do not disturb it.
//! Locks   a statement that waits for a table's lock makes everybody wait who comes after it. It gives up after
//!         `LOCK_TIMEOUT`, and the run begins again, up to `TRIES` times.
//! Conventions: instants are `BIGINT` Unix milliseconds, lengths of time end in `_ms`, states are their words.

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, RuntimeErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;
use sea_orm_migration::seaql_migrations;

mod columns;
mod m20261121_000001_create_installation;
mod m20261121_000002_create_workspace;
mod m20261121_000003_create_event_type;
mod m20261121_000004_create_endpoint;
mod m20261121_000005_create_subscription;
mod m20261121_000006_create_event;
mod m20261121_000007_create_delivery;
mod m20261121_000008_create_replay;
mod m20261121_000009_create_change_log;
mod m20261121_000010_create_creation_key;
mod m20261121_000021_create_event_deletion;
mod m20261121_000022_index_owner_and_service;

/// How long a statement waits for a lock: less than PostgreSQL's `deadlock_timeout` of a second, so that where a step and a
/// publish wait for each other it is the step that gives up.
const LOCK_TIMEOUT: &str = "500ms";
/// Most runs, a second apart, before one gives up.
const TRIES: u32 = 30;
/// Any number that nobody else locks; the letters of `angarium`.
const ADVISORY_LOCK: i64 = 0x616e_6761_7269_756d;

/// The ordered list.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_installation::Migration),
            Box::new(m20261121_000002_create_workspace::Migration),
            Box::new(m20261121_000003_create_event_type::Migration),
            Box::new(m20261121_000004_create_endpoint::Migration),
            Box::new(m20261121_000005_create_subscription::Migration),
            Box::new(m20261121_000006_create_event::Migration),
            Box::new(m20261121_000007_create_delivery::Migration),
            Box::new(m20261121_000008_create_replay::Migration),
            Box::new(m20261121_000009_create_change_log::Migration),
            Box::new(m20261121_000010_create_creation_key::Migration),
            Box::new(m20261121_000021_create_event_deletion::Migration),
            Box::new(m20261121_000022_index_owner_and_service::Migration),
        ]
    }
}

/// Applies every step that is missing, and answers how many there were. Safe to call from many processes at once.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn up(db: &impl TransactionTrait<Transaction = DatabaseTransaction>) -> Result<usize, DbErr> {
    up_with::<Migrator>(db).await
}

/// The same for another list of steps; for tests of versions to come.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn up_with<M: MigratorTrait>(
    db: &impl TransactionTrait<Transaction = DatabaseTransaction>,
) -> Result<usize, DbErr> {
    let mut tries = 1;
    loop {
        match try_up::<M>(db, tries > 1).await {
            Err(error) if tries < TRIES && is_lock_timeout(&error) => tries += 1,
            done => return done,
        }
    }
}

async fn try_up<M: MigratorTrait>(
    db: &impl TransactionTrait<Transaction = DatabaseTransaction>,
    again: bool,
) -> Result<usize, DbErr> {
    let transaction = begin_alone(db).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        if again {
            transaction.execute_unprepared("SELECT pg_sleep(1)").await?;
        }
        transaction.execute_unprepared(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    }
    // The crate's own run refuses steps that it does not know, those of a later version.
    let missing = missing::<M, _>(&transaction).await?.len();
    if missing > 0 {
        M::up(&transaction, None).await?;
    }
    transaction.commit().await?;
    Ok(missing)
}

/// Whether a statement has waited for a lock for too long (SQLSTATE 55P03).
fn is_lock_timeout(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner))) = error else {
        return false;
    };
    inner.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "55P03")
}

/// Takes every step back, newest first: all data is gone.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn down(db: &impl TransactionTrait<Transaction = DatabaseTransaction>) -> Result<(), DbErr> {
    let transaction = begin_alone(db).await?;
    Migrator::down(&transaction, None).await?;
    transaction.commit().await
}

/// Names of the steps that are missing. Reads, and needs no right to make tables.
///
/// # Errors
/// Those of the database.
pub async fn pending(db: &sea_orm::DatabaseConnection) -> Result<Vec<String>, DbErr> {
    missing::<Migrator, _>(db).await
}

/// Names of the steps of a list that are missing, whatever others there are.
async fn missing<'c, M, C>(db: &'c C) -> Result<Vec<String>, DbErr>
where
    M: MigratorTrait,
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let mut names: Vec<_> = M::migrations().iter().map(|step| step.name().to_owned()).collect();
    if SchemaManager::new(db).has_table(M::migration_table_name().to_string()).await? {
        // The crate's own reading makes the table first, for which a user may lack the right.
        let applied = seaql_migrations::Entity::find().all(db).await?;
        names.retain(|name| !applied.iter().any(|step| step.version == *name));
    }
    Ok(names)
}

/// A transaction that no other migrator shares its time with.
async fn begin_alone(
    db: &impl TransactionTrait<Transaction = DatabaseTransaction>,
) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")).await?;
    }
    Ok(transaction)
}
