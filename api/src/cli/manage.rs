//! Commands that work on the database and end.

use std::error::Error;

use angarium_entity::api_key::{ApiKeySecret, Scopes};
use angarium_entity::{Clock as _, Database, SystemClock};
use serde_json::json;

use super::{ScopeWord, open, say, serve};
use crate::config::{DatabaseConfig, SecretsConfig, Variables};
use crate::{provision, reencrypt};

/// `angarium migrate`. Any number of them may run at once.
pub(super) async fn migrate(variables: Variables, json: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let db = open_configured(variables).await?;
    let steps = angarium_migration::up(db.write()).await?;
    db.close().await;
    match steps {
        steps if json => say(json!({ "steps": steps })),
        0 => say("the schema was up to date"),
        steps => say(format_args!("the schema is up to date, {steps} step(s) later")),
    }
    Ok(())
}

/// `angarium workspace create`.
pub(super) async fn create_workspace(
    variables: Variables,
    name: &str,
    external_id: Option<&str>,
    json: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let db = open_configured(variables).await?;
    serve::check_schema(&db).await?;
    let workspace = provision::create_workspace(&db, SystemClock.now(), name, external_id).await?;
    db.close().await;
    if json {
        say(json!({ "id": workspace.id.to_string(), "name": name, "externalId": external_id }));
    } else {
        say(workspace.id);
    }
    Ok(())
}

/// `angarium key create`.
pub(super) async fn create_key(
    variables: Variables,
    workspace: Option<&str>,
    name: &str,
    words: &[ScopeWord],
    json: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let db = open_configured(variables).await?;
    serve::check_schema(&db).await?;
    let workspace = match workspace {
        Some(named) => Some(provision::find_workspace(&db, named).await?.id),
        None => None,
    };
    let scopes: Vec<_> = words
        .iter()
        .flat_map(|word| match word {
            ScopeWord::All => provision::workspace_scopes().iter().collect(),
            ScopeWord::One(scope) => vec![*scope],
        })
        .collect();
    let names: Vec<_> = scopes.iter().map(|scope| scope.name()).collect();
    let secret = ApiKeySecret::generate();
    provision::create_key(&db, SystemClock.now(), workspace, name, Scopes::new(scopes), &secret).await?;
    db.close().await;
    if json {
        say(json!({ "key": secret.reveal(), "name": name, "scopes": names }));
    } else {
        say(secret.reveal());
    }
    Ok(())
}

/// Secrets that no configured key opens.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} secret(s) open under none of the keys; add the key that they were sealed under to ANGARIUM_PREVIOUS_ENCRYPTION_KEYS, \
     or make those secrets anew"
)]
struct Unopened(u64);

/// `angarium reencrypt`.
pub(super) async fn reencrypt(variables: Variables, json: bool) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = SecretsConfig::of(variables)?;
    config.log.start();
    let db = open(&config.database).await?;
    serve::check_schema(&db).await?;
    let report = reencrypt::reencrypt(&db, &config.sealer).await?;
    db.close().await;
    if json {
        say(json!({ "sealedAnew": report.previous, "unopened": report.unknown }));
    } else {
        say(format_args!("{} secret(s) were sealed anew", report.previous));
    }
    if report.unknown > 0 {
        return Err(Unopened(report.unknown).into());
    }
    if !json {
        say("every secret is under ANGARIUM_ENCRYPTION_KEY; no previous key is needed any more");
    }
    Ok(())
}

async fn open_configured(variables: Variables) -> Result<Database, Box<dyn Error + Send + Sync>> {
    let config = DatabaseConfig::of(variables)?;
    config.log.start();
    Ok(open(&config.database).await?)
}
