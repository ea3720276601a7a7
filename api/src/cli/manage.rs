//! Commands that work on the database and end.

use std::error::Error;

use angarium_entity::api_key::{ApiKeySecret, Scopes};
use angarium_entity::{Clock as _, Database, SystemClock};

use super::{ScopeWord, environment, open, say, serve};
use crate::config::DatabaseConfig;
use crate::provision;

/// `angarium migrate`. Any number of them may run at once.
pub(super) async fn migrate() -> Result<(), Box<dyn Error + Send + Sync>> {
    let db = open_configured().await?;
    let missing = angarium_migration::pending(db.write()).await?;
    angarium_migration::up(db.write()).await?;
    db.close().await;
    match missing.len() {
        0 => say("the schema was up to date"),
        steps => say(format_args!("the schema is up to date, {steps} step(s) later")),
    }
    Ok(())
}

/// `angarium workspace create`.
pub(super) async fn create_workspace(
    name: &str,
    external_id: Option<&str>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let db = open_configured().await?;
    serve::check_schema(&db).await?;
    let workspace = provision::create_workspace(&db, SystemClock.now(), name, external_id).await?;
    db.close().await;
    say(workspace.id);
    Ok(())
}

/// `angarium key create`.
pub(super) async fn create_key(
    workspace: Option<&str>,
    name: &str,
    words: &[ScopeWord],
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let db = open_configured().await?;
    serve::check_schema(&db).await?;
    let workspace = match workspace {
        Some(named) => Some(provision::find_workspace(&db, named).await?.id),
        None => None,
    };
    let scopes = words.iter().flat_map(|word| match word {
        ScopeWord::All => provision::workspace_scopes().iter().collect(),
        ScopeWord::One(scope) => vec![*scope],
    });
    let secret = ApiKeySecret::generate();
    provision::create_key(&db, SystemClock.now(), workspace, name, Scopes::new(scopes), &secret).await?;
    db.close().await;
    say(secret.reveal());
    Ok(())
}

async fn open_configured() -> Result<Database, Box<dyn Error + Send + Sync>> {
    let config = DatabaseConfig::read(environment())?;
    config.log.start();
    Ok(open(&config.database).await?)
}
