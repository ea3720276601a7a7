//! `angarium dev`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use angarium_entity::database::sqlite_path;
use angarium_entity::{Clock as _, SystemClock};

use super::{environment, open, say, serve};
use crate::config::Config;
use crate::dev::{self, Example, Keys};
use crate::server::{Grace, Server};

const DATABASE_URL: &str = "ANGARIUM_DATABASE_URL";
const DATABASE: &str = "angarium.db";
/// What the log says unless it is told otherwise: the terminal belongs to what a newcomer should read.
const LOG: (&str, &str) = ("ANGARIUM_LOG", "warn");

/// Why there is no place for the data.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error("failed to make the directory {}", .0.display())]
    Directory(PathBuf, #[source] std::io::Error),
    #[error("the directory {} cannot be part of a database URL; choose one without `?`, `#` and `%`", .0.display())]
    Url(PathBuf),
}

pub(super) async fn run(data_dir: &Path, listen: Option<String>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let place = Place::find(data_dir, environment())?;
    // Whoever brings the key that the database was sealed under needs none to be found beside it.
    let needs_keys = place.sqlite.as_deref().filter(|_| std::env::var_os("ANGARIUM_ENCRYPTION_KEY").is_none());
    let keys = Keys::find_or_make(&place.keys, needs_keys)?;
    let mut settings =
        BTreeMap::from([(LOG.0.to_owned(), LOG.1.to_owned()), (DATABASE_URL.to_owned(), place.url.clone())]);
    settings.extend(keys.settings());
    settings.extend(environment().filter(|(_, value)| !value.trim().is_empty()));
    settings.extend(listen.map(|listen| ("ANGARIUM_LISTEN".to_owned(), listen)));
    let mut config = Config::read(settings)?;
    dev::relax(&mut config);
    config.log.start();

    let clock = Arc::new(SystemClock);
    let db = open(&config.database).await?;
    angarium_migration::up(db.write()).await?;
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
    fn find(data_dir: &Path, mut environment: impl Iterator<Item = (String, String)>) -> Result<Self, PlaceError> {
        let failed = |error| PlaceError::Directory(data_dir.to_owned(), error);
        fs::create_dir_all(data_dir).map_err(failed)?;
        let directory = data_dir.canonicalize().map_err(failed)?;
        let given = environment.find(|(name, value)| name == DATABASE_URL && !value.trim().is_empty());
        let url = match given {
            Some((_, url)) => url,
            None => match directory.join(DATABASE).to_str() {
                Some(path) if !path.contains(['?', '#', '%']) => format!("sqlite://{path}"),
                _ => return Err(PlaceError::Url(directory)),
            },
        };
        let sqlite = sqlite_path(url.trim()).map(|path| std::path::absolute(&path).unwrap_or(path));
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
        let place = |url: Option<&str>| {
            let variables = url.map(|url| (DATABASE_URL.to_owned(), url.to_owned()));
            Place::find(&here, variables.into_iter()).expect("a place")
        };
        let canonical = here.canonicalize().expect("it is there");
        assert_eq!(place(None).keys, canonical.join("angarium.db.keys"));
        assert_eq!(place(None).url, format!("sqlite://{}", canonical.join("angarium.db").display()));
        assert_eq!(place(Some("sqlite:///data/x.db?mode=rwc")).keys, Path::new("/data/x.db.keys"));
        assert_eq!(place(Some("postgres://localhost/x")).keys, canonical.join("angarium.keys"));
        assert_eq!(place(Some("")).sqlite, Some(canonical.join("angarium.db")));
    }
}
