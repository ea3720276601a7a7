//! What publishing needs of the catalogue, read once and kept.
//!
//! Fresh   a publish carries the version of the catalogue that it was checked by, and its transaction compares it with
//!         the present one: a schema that was changed on any node holds for every later event, and no publish pays for a
//!         look-up of its own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use angarium_entity::installation;
use angarium_entity::json_schema::{Fault, PayloadSchema, SchemaError};
use sea_orm::DatabaseConnection;

use super::find_all;
use crate::app::AppError;

/// Most memory of compiled schemas; beyond it all are dropped, and compiled again as they are needed.
const WEIGHT_MAX: usize = 256 * 1024 * 1024;
/// Longer payloads are checked aside, where they hold nobody up.
const CHECKED_AT_ONCE_BYTES_MAX: usize = 4 * 1024;

/// What was read of the catalogue.
#[derive(Debug, Default)]
pub struct KnownEventTypes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Of `types`; none while nothing was read.
    version: Option<i64>,
    types: HashMap<String, Option<Arc<PayloadSchema>>>,
    /// By their text.
    compiled: HashMap<Arc<str>, Arc<PayloadSchema>>,
    weight: usize,
}

/// A part of the catalogue at one version.
#[derive(Debug)]
pub struct Catalogue {
    /// The version.
    pub version: i64,
    types: HashMap<String, Option<Arc<PayloadSchema>>>,
}

impl Catalogue {
    /// The schema of a type, if it has one; the outer none is a type that is not in the catalogue.
    pub fn schema(&self, name: &str) -> Option<Option<&Arc<PayloadSchema>>> {
        self.types.get(name).map(Option::as_ref)
    }
}

impl KnownEventTypes {
    /// What the catalogue says of `names`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn look_up(
        &self,
        db: &DatabaseConnection,
        names: impl IntoIterator<Item = &str> + Clone + Send,
    ) -> Result<Catalogue, AppError> {
        if let Some(known) = self.recall(names.clone()) {
            return Ok(known);
        }
        // The version first: what is read after it is at least as new.
        let version = installation::catalogue_version(db).await?;
        let mut types = HashMap::new();
        for (name, row) in find_all(db, names).await? {
            let schema = match row.schema {
                Some(text) => Some(self.compile(text).await?.map_err(|_| unreadable(&name))?),
                None => None,
            };
            types.insert(name, schema);
        }
        let mut known = self.write();
        if known.version < Some(version) {
            known.types.clear();
            known.version = Some(version);
        }
        if known.version == Some(version) {
            known.types.extend(types.iter().map(|(name, schema)| (name.clone(), schema.clone())));
        }
        Ok(Catalogue { version, types })
    }

    /// The same from memory, if all of it is there.
    fn recall<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<Catalogue> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = |name: &str| Some((name.to_owned(), known.types.get(name)?.clone()));
        Some(Catalogue { version: known.version?, types: names.into_iter().map(entry).collect::<Option<_>>()? })
    }

    /// Whether `catalogue` is as it is now. What it allows is compared when it is committed; what it forbids is asked for
    /// here.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn is_current(&self, db: &DatabaseConnection, catalogue: &Catalogue) -> Result<bool, AppError> {
        Ok(installation::catalogue_version(db).await? == catalogue.version)
    }

    /// Reads all of it again: the catalogue has changed.
    pub fn forget(&self) {
        let mut known = self.write();
        known.types.clear();
        known.version = None;
    }

    /// Compiles a schema, aside, or recalls it.
    ///
    /// # Errors
    /// [`AppError`]; the inner one is what is wrong with the schema.
    pub async fn compile(&self, text: String) -> Result<Result<Arc<PayloadSchema>, Vec<Fault>>, AppError> {
        let text: Arc<str> = text.into();
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).compiled.get(&text).cloned();
        if let Some(schema) = found {
            return Ok(Ok(schema));
        }
        let source = text.clone();
        let schema = match aside(move || PayloadSchema::compile(&source)).await {
            Ok(schema) => Arc::new(schema),
            Err(SchemaError::Invalid(faults)) => return Ok(Err(faults)),
            Err(error @ SchemaError::Thread(_)) => return Err(AppError::Dispatcher(Box::new(error))),
        };
        let mut known = self.write();
        if known.weight + schema.weight() > WEIGHT_MAX {
            known.compiled.clear();
            known.types.clear();
            known.weight = 0;
        }
        if known.compiled.insert(text, schema.clone()).is_none() {
            known.weight += schema.weight();
        }
        Ok(Ok(schema))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is wrong with a payload by its schema; nothing if it is empty.
pub async fn violations(schema: &Arc<PayloadSchema>, payload: &str) -> Vec<Fault> {
    let checked = if payload.len() <= CHECKED_AT_ONCE_BYTES_MAX {
        schema.check(payload)
    } else {
        let (schema, payload) = (schema.clone(), payload.to_owned());
        aside(move || schema.check(&payload)).await
    };
    checked.err().unwrap_or_default()
}

/// Runs what takes a while where it holds nobody up.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn unreadable(name: &str) -> AppError {
    AppError::Inconsistent(format!("the stored schema of the event type `{name}` does not compile"))
}
