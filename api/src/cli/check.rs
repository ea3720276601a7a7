//! `angarium check`: would `serve` start here?

use std::error::Error;

use angarium_entity::database::sqlite_path;

use super::{environment, open, serve};
use crate::config::Config;

pub(super) async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::read(environment())?;
    println!("configuration: complete");
    match sqlite_path(&config.database.url) {
        // Opening would make it.
        Some(path) if !path.exists() => {
            println!("database: {} will be made by the first `angarium serve`", path.display());
        }
        is_sqlite => {
            let db = open(&config.database).await?;
            println!("database: reached");
            if is_sqlite.is_some() {
                println!("schema: `angarium serve` brings it up to date");
            } else {
                serve::check_schema(&db).await?;
                println!("schema: up to date");
            }
            db.close().await;
        }
    }
    Ok(())
}
