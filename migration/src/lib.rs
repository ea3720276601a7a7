//! The history of the schema, on SQLite and PostgreSQL.
//!
//! Each migration is one step in literal names; it never imports `entity`, whose names move on. Old code still runs
//! while a new step applies: first widen, then move, then narrow.
//! All steps of a run share one transaction, which both databases can roll back, and which starts by taking a lock:
//! of any number of concurrent runs one migrates and the others find nothing left to do.
//! Conventions: instants are `BIGINT` Unix milliseconds, lengths of time end in `_ms`, states are their words.

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;

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
        ]
    }
}

/// Applies every step that is missing. Safe to call from many processes at once.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn up(db: &impl TransactionTrait<Transaction = DatabaseTransaction>) -> Result<(), DbErr> {
    let transaction = begin_alone(db).await?;
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
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

/// Names of the steps that are missing.
///
/// # Errors
/// Those of the database.
pub async fn pending(db: &sea_orm::DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let pending = Migrator::get_pending_migrations(db).await?;
    Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
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
