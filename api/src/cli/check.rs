//! `angarium check`: would `serve` start here?

use std::error::Error;

use angarium_entity::database::sqlite_path;

use super::{environment, open, say, serve};
use crate::config::Config;

pub(super) async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::read(environment())?;
    say("configuration: complete");
    match sqlite_path(&config.database.url) {
        // Opening would make it.
        Some(path) if !path.exists() => {
            say(format_args!("database: {} will be made by the first `angarium serve`", path.display()));
        }
        is_sqlite => {
            let db = open(&config.database).await?;
            say("database: reached");
            if is_sqlite.is_some() {
                say("schema: `angarium serve` brings it up to date");
            } else {
                serve::check_schema(&db).await?;
                say("schema: up to date");
            }
            db.close().await;
        }
    }
    Ok(())
}
