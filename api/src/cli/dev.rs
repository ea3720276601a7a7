//! `angarium dev`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use angarium_entity::database::sqlite_path;
use angarium_entity::{Clock as _, SystemClock};

use super::{files, open, say, serve};
use crate::config::setting::{DATABASE_URL, ENCRYPTION_KEY, LISTEN, LOG};
use crate::config::{Config, SettingOrigin, Variables};
use crate::dev::{self, Example, Keys};
use crate::reencrypt;
use crate::server::{Grace, Server};

const DATABASE: &str = "angarium.db";
/// What the log says unless it is told otherwise: the terminal belongs to what a newcomer should read.
const QUIET: &str = "warn";

/// Why there is no place for the data.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error("failed to make the directory {}", .0.display())]
    Directory(PathBuf, #[source] std::io::Error),
    #[error("the directory {} cannot be part of a database URL; choose one without `?`, `#` and `%`", .0.display())]
    Url(PathBuf),
}

pub(super) async fn run(
    mut variables: Variables,
    data_dir: &Path,
    listen: Option<String>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let place = Place::find(data_dir, variables.text(&DATABASE_URL))?;
    // Whoever brings the key that the database was sealed under needs none to be found beside it.
    let needs_keys = place.sqlite.as_deref().filter(|_| variables.text(&ENCRYPTION_KEY).is_none());
    let keys = Keys::find_or_make(&place.keys, needs_keys)?;
    variables.set_default(&LOG, QUIET.to_owned(), SettingOrigin::Dev);
    variables.set_default(&DATABASE_URL, place.url.clone(), SettingOrigin::Dev);
    for (setting, value) in keys.settings() {
        variables.set_default(setting, value, SettingOrigin::Dev);
    }
    if let Some(listen) = listen {
        variables.set(&LISTEN, listen, SettingOrigin::CommandLine);
    }
    let mut config = Config::of(variables)?;
    dev::relax(&mut config);
    config.log.start();
    files::fit(&mut config.dispatcher);

    let clock = Arc::new(SystemClock);
    let db = open(&config.database).await?;
    angarium_migration::up(db.write()).await?;
    reencrypt::check_key(&db, &config.secrets.sealer).await?;
    dev::furnish(&db, &keys, clock.now()).await?;
    dev::build_playground().await;
    let server = Server::start(&config, db, clock, Some(&keys)).await?;
    introduce(&Example::at(server.address()), &place, &keys);
    serve::told_to_stop().await;
    say("stopping");
    server.stop(Grace::DEV).await;
    Ok(())
}

/// Where the data is, in absolute paths.
struct Place {
    url: String,
    /// The database, if it is a file.
    sqlite: Option<PathBuf>,
    keys: PathBuf,
}

impl Place {
    fn find(data_dir: &Path, database_url: Option<&str>) -> Result<Self, PlaceError> {
        let failed = |error| PlaceError::Directory(data_dir.to_owned(), error);
        fs::create_dir_all(data_dir).map_err(failed)?;
        let directory = data_dir.canonicalize().map_err(failed)?;
        let url = match database_url {
            Some(url) => url.to_owned(),
            None => match directory.join(DATABASE).to_str() {
                Some(path) if !path.contains(['?', '#', '%']) => format!("sqlite://{path}"),
                _ => return Err(PlaceError::Url(directory)),
            },
        };
        let sqlite = sqlite_path(&url).map(|path| std::path::absolute(&path).unwrap_or(path));
        let mut keys = sqlite.clone().unwrap_or_else(|| directory.join("angarium")).into_os_string();
        keys.push(".keys");
        Ok(Self { url, sqlite, keys: keys.into() })
    }
}

/// What a newcomer needs to go on.
fn introduce(example: &Example, place: &Place, keys: &Keys) {
    let database = place.sqlite.as_ref().map_or_else(|| "PostgreSQL".to_owned(), |path| path.display().to_string());
    say(format_args!(
        "
  Playground  {}
  GraphQL     {}
  Inbox       {}
  API key     {}
  Database    {database}
  Keys        {}

Open the playground and press the button, or paste this document anywhere with the key in `x-api-key`.
It subscribes the inbox and publishes an event to it:

{}
The same from a shell:

{}

the server is up at {}; Ctrl-C stops it",
        example.url("/playground/"),
        example.url("/graphql"),
        example.url("/dev/inbox"),
        keys.api_key.reveal(),
        keys.path.display(),
        example.document(),
        example.command(&keys.api_key),
        example.url(""),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_beside_the_database_wherever_it_is() {
        let here = std::env::temp_dir();
        let place = |url: Option<&str>| Place::find(&here, url).expect("a place");
        let canonical = here.canonicalize().expect("it is there");
        assert_eq!(place(None).keys, canonical.join("angarium.db.keys"));
        assert_eq!(place(None).url, format!("sqlite://{}", canonical.join("angarium.db").display()));
        assert_eq!(place(Some("sqlite:///data/x.db?mode=rwc")).keys, Path::new("/data/x.db.keys"));
        assert_eq!(place(Some("postgres://localhost/x")).keys, canonical.join("angarium.keys"));
        assert_eq!(place(None).sqlite, Some(canonical.join("angarium.db")));
    }
}
