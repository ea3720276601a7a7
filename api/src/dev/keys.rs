//! The keys that `dev` makes once and finds again: a file beside the database that only its owner may read.
//!
//! Shape   lines `NAME=VALUE`; the names are those of the settings, so that the file can also be sourced by a shell.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;

use crate::config::setting::{ADMIN_KEY, ENCRYPTION_KEY, Setting};

/// Not a setting: the key of the workspace, for calls.
const API_KEY: &str = "API_KEY";

/// The keys of one development database.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Where they are kept.
    pub path: PathBuf,
    /// The operator's.
    pub admin_key: ApiKeySecret,
    /// The workspace's.
    pub api_key: ApiKeySecret,
    encryption_key: String,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file is there but cannot be read.
    #[error("failed to read the keys of the database from {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It holds something else.
    #[error("{} does not hold the keys that `angarium dev` wrote; delete it and the database to start anew", .0.display())]
    Damaged(PathBuf),
    /// There is a database, and no keys to it.
    #[error(
        "the database {} is there but its keys, {}, are not; put them back, or delete the database to start anew",
        database.display(), keys.display()
    )]
    Lost {
        /// The database.
        database: PathBuf,
        /// Where its keys should be.
        keys: PathBuf,
    },
    /// New ones cannot be kept.
    #[error("failed to write the keys of the database to {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

impl Keys {
    /// The keys in the file at `path`, made if it is not there. `database` is the SQLite file, if it is one: when it
    /// exists, its keys must too, because nothing in it opens under new ones.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn find_or_make(path: &Path, database: Option<&Path>) -> Result<Self, KeysError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text).ok_or_else(|| KeysError::Damaged(path.to_owned())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(KeysError::Read(path.to_owned(), error)),
            Err(_) => {
                if let Some(database) = database.filter(|database| database.exists()) {
                    return Err(KeysError::Lost { database: database.to_owned(), keys: path.to_owned() });
                }
                let keys = Self {
                    path: path.to_owned(),
                    admin_key: ApiKeySecret::generate(),
                    api_key: ApiKeySecret::generate(),
                    encryption_key: Sealer::generate_key(),
                };
                keys.store().map_err(|error| KeysError::Write(path.to_owned(), error))?;
                Ok(keys)
            }
        }
    }

    /// The settings that they stand for.
    pub fn settings(&self) -> [(&'static Setting, String); 2] {
        [(&ADMIN_KEY, self.admin_key.reveal().to_owned()), (&ENCRYPTION_KEY, self.encryption_key.clone())]
    }

    fn parse(path: &Path, text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let encryption_key = value(ENCRYPTION_KEY.name)?.to_owned();
        Sealer::from_base64(&encryption_key).ok()?;
        Some(Self {
            path: path.to_owned(),
            admin_key: ApiKeySecret::parse(value(ADMIN_KEY.name)?)?,
            api_key: ApiKeySecret::parse(value(API_KEY)?)?,
            encryption_key,
        })
    }

    /// Writes a whole file or none: half of one would cost the secrets of the database.
    fn store(&self) -> io::Result<()> {
        let mut text = String::from("# Keys of the development database beside this file. Made by `angarium dev`.\n");
        for (setting, value) in self.settings() {
            writeln!(text, "{}={value}", setting.name).expect("a String takes every write");
        }
        writeln!(text, "{API_KEY}={}", self.api_key.reveal()).expect("a String takes every write");
        let draft = self.path.with_extension("keys.draft");
        let mut options = fs::OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(draft, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is removed with it.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("angarium-keys-{}", uuid::Uuid::now_v7()));
            fs::create_dir(&path).expect("the temporary directory can be written");
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).expect("it was made");
        }
    }

    #[test]
    fn a_second_start_finds_the_same_keys_in_a_file_for_its_owner_only() {
        let directory = Directory::new();
        let (path, database) = (directory.0.join("x.db.keys"), directory.0.join("x.db"));
        let made = Keys::find_or_make(&path, Some(&database)).expect("made");
        fs::write(&database, "").expect("written");
        let found = Keys::find_or_make(&path, Some(&database)).expect("found");
        assert_eq!((made.settings(), made.api_key), (found.settings(), found.api_key));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_database_without_its_keys_and_keys_that_are_damaged_are_told_apart() {
        let directory = Directory::new();
        let (path, database) = (directory.0.join("x.db.keys"), directory.0.join("x.db"));
        fs::write(&database, "").expect("written");
        assert!(matches!(Keys::find_or_make(&path, Some(&database)), Err(KeysError::Lost { .. })));
        fs::write(&path, "API_KEY=x\n").expect("written");
        assert!(matches!(Keys::find_or_make(&path, Some(&database)), Err(KeysError::Damaged(_))));
        assert!(matches!(Keys::find_or_make(&directory.0, None), Err(KeysError::Read(..))));
    }
}
