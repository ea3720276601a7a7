//! `angarium serve`.

use std::error::Error;
use std::sync::Arc;

use angarium_entity::{Database, SystemClock};
use sea_orm::{DbBackend, DbErr};

use super::{files, open};
use crate::config::{Config, Variables};
use crate::reencrypt;
use crate::server::{Grace, Opening};

/// Why the schema of the database will not do.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    /// PostgreSQL is migrated in its own step, so that a new version is not let onto the data by a mere restart.
    #[error("the schema of the database lacks {} step(s), from {}; run `angarium migrate` first", .0.len(), .0[0])]
    Behind(Vec<String>),
    #[error("failed to read the schema of the database")]
    Read(#[source] DbErr),
    #[error("failed to bring the schema of the database up to date")]
    Migrate(#[source] DbErr),
}

pub(super) async fn run(variables: Variables) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut config = Config::of(variables)?;
    config.log.start();
    files::fit(&mut config.dispatcher);
    // An orchestrator is told that we live, and why we are not ready, while the schema is changed.
    let opening = Opening::listen(&config).await?;
    let db = open(&config.database).await?;
    opening.explain("the schema of the database is being brought up to date");
    ready_schema(&db).await?;
    reencrypt::check_key(&db, &config.secrets.sealer).await?;
    opening.explain("the server is about to start");
    let server = opening.start(&config, db, Arc::new(SystemClock), None).await?;
    told_to_stop().await;
    server.stop(Grace { notice: config.http.drain_delay, ..Grace::SERVE }).await;
    Ok(())
}

/// Migrates SQLite, which belongs to this process alone, and wants PostgreSQL to be migrated.
async fn ready_schema(db: &Database) -> Result<(), SchemaError> {
    match db.backend() {
        DbBackend::Sqlite => angarium_migration::up(db.write()).await.map(drop).map_err(SchemaError::Migrate),
        _ => check_schema(db).await,
    }
}

/// Whether no step is missing.
pub(super) async fn check_schema(db: &Database) -> Result<(), SchemaError> {
    let missing = angarium_migration::pending(db.write()).await.map_err(SchemaError::Read)?;
    if missing.is_empty() { Ok(()) } else { Err(SchemaError::Behind(missing)) }
}

/// Ready when the process is told to stop: Ctrl-C, or SIGTERM. A second time ends it at once.
pub(super) async fn told_to_stop() {
    signal().await;
    tokio::spawn(async {
        signal().await;
        std::process::exit(130);
    });
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("failed to listen for signals; the server stops only when it is killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        tracing::error!("failed to listen for Ctrl-C; the server stops only when it is killed");
        std::future::pending().await
    }
}
