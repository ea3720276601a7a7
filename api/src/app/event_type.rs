//! The catalogue of event types.

use std::collections::HashMap;
use std::sync::Arc;

use angarium_entity::EventTypeId;
use angarium_entity::api_key::Scope;
use angarium_entity::event::PAYLOAD_BYTES_MAX;
use angarium_entity::event_type::{self, NAME_LEN_MAX, RESERVED_PREFIX, is_reserved, is_valid_name};
use angarium_entity::json_schema::{Fault, PayloadSchema, SCHEMA_BYTES_MAX};
use async_graphql::Enum;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QuerySelect, Select, SqlErr,
};
use uuid::Uuid;

use super::list::{Listed, SortValue};
use super::problem::CommonCode;
use super::{AppError, Path, Problems, Refusal, filter};
use crate::{AppState, Caller};

mod known;
mod update;

pub use known::{Catalogue, KnownEventTypes, violations};
pub use update::{Patch, archive, update};

/// Most characters of a description, here and of endpoints and subscriptions.
pub const DESCRIPTION_LEN_MAX: usize = 4096;
/// Most characters of the name of a service.
pub const SERVICE_LEN_MAX: usize = 128;

/// Kinds of problem with event type input. New values may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(name = "EventTypeErrorCode")]
pub enum ErrorCode {
    /// The value is empty.
    Blank,
    /// The value is malformed.
    Invalid,
    /// No such event type.
    NotFound,
    /// Names under `angarium.` are the server's.
    Reserved,
    /// The sample payload does not satisfy the schema.
    SampleMismatch,
    /// The JSON Schema is not valid.
    SchemaInvalid,
    /// The value must be unique and is in use.
    Taken,
    /// The schema or sample is too large.
    TooLarge,
    /// The value is too long.
    TooLong,
}

impl CommonCode for ErrorCode {
    const BLANK: Self = Self::Blank;
    const INVALID: Self = Self::Invalid;
    const TOO_LONG: Self = Self::TooLong;
}

/// An event type to create.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Unique name.
    pub name: String,
    /// The service that emits it.
    pub service: Option<String>,
    /// What it means.
    pub description: Option<String>,
    /// An example payload, as JSON text.
    pub sample_payload: Option<String>,
    /// JSON Schema of payloads, as JSON text.
    pub schema: Option<String>,
}

/// Adds an event type to the catalogue.
///
/// # Errors
/// [`Refusal`].
pub async fn create(state: &AppState, caller: &Caller, draft: Draft) -> Result<event_type::Model, Refusal<ErrorCode>> {
    caller.require(Scope::EventTypeWrite)?;
    let input = Path::argument("input");
    let mut problems = Problems::default();
    let name = check_name(&mut problems, &input.at("name"), draft.name);
    let service = problems.optional_text(&input.at("service"), draft.service, SERVICE_LEN_MAX);
    let description = problems.optional_text(&input.at("description"), draft.description, DESCRIPTION_LEN_MAX);
    check_sample(&input.at("samplePayload"), draft.sample_payload.as_deref(), &mut problems);
    if let Some(text) = &draft.schema
        && let Some(schema) = check_schema(state, &input.at("schema"), text, &mut problems).await?
        && let Some(sample) = draft.sample_payload.as_deref().filter(|sample| sample.len() <= PAYLOAD_BYTES_MAX)
    {
        let found = violations(&schema, sample).await;
        tell(ErrorCode::SampleMismatch, &input.at("samplePayload"), found, &mut problems);
    }
    let name = problems.unless_any(name).map_err(Refusal::Problems)?;
    let now = state.now();
    let row = event_type::Model {
        id: EventTypeId::new(now),
        name,
        service,
        description,
        sample_payload: draft.sample_payload,
        schema: draft.schema,
        archived_at: None,
        created_at: now,
        updated_at: now,
    };
    match event_type::Entity::insert(row.clone().into_active_model()).exec_without_returning(state.db.write()).await {
        Ok(_) => Ok(row),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
            let mut problems = Problems::default();
            problems.add(ErrorCode::Taken, &input.at("name"), format!("is in use: `{}` exists", row.name));
            problems.unless_any(None).map_err(Refusal::Problems)
        }
        Err(error) => Err(error.into()),
    }
}

fn check_sample(field: &Path, sample: Option<&str>, problems: &mut Problems<ErrorCode>) {
    if sample.is_some_and(|sample| sample.len() > PAYLOAD_BYTES_MAX) {
        problems.add(ErrorCode::TooLarge, field, format!("is larger than {PAYLOAD_BYTES_MAX} bytes"));
    }
}

/// Compiles a schema, or tells what is wrong with it.
async fn check_schema(
    state: &AppState,
    field: &Path,
    text: &str,
    problems: &mut Problems<ErrorCode>,
) -> Result<Option<Arc<PayloadSchema>>, AppError> {
    if text.len() > SCHEMA_BYTES_MAX {
        problems.add(ErrorCode::TooLarge, field, format!("is larger than {SCHEMA_BYTES_MAX} bytes"));
        return Ok(None);
    }
    Ok(match state.event_types.compile(text.to_owned()).await? {
        Ok(schema) => Some(schema),
        Err(faults) => {
            tell(ErrorCode::SchemaInvalid, field, faults, problems);
            None
        }
    })
}

/// Tells what is wrong with a document, each with its place in there.
pub(super) fn tell<C: Copy>(code: C, field: &Path, faults: Vec<Fault>, problems: &mut Problems<C>) {
    for fault in faults {
        problems.add(code, &field.down(fault.steps), fault.message);
    }
}

fn check_name(problems: &mut Problems<ErrorCode>, field: &Path, name: String) -> Option<String> {
    let name = problems.text(field, name, NAME_LEN_MAX)?;
    if !is_valid_name(&name) {
        problems.add(ErrorCode::Invalid, field, "holds other characters than `A-Z a-z 0-9 . _ -`");
    } else if is_reserved(&name) {
        problems.add(ErrorCode::Reserved, field, format!("starts with `{RESERVED_PREFIX}`, which is the server's"));
    } else {
        return Some(name);
    }
    None
}

/// The event type called `name`.
///
/// # Errors
/// Those of the database.
pub async fn find(state: &AppState, name: &str) -> Result<Option<event_type::Model>, AppError> {
    if !is_valid_name(name) {
        return Ok(None);
    }
    Ok(event_type::Entity::find().filter(event_type::Column::Name.eq(name)).one(state.db.read()).await?)
}

/// The event type with this ID.
///
/// # Errors
/// Those of the database.
pub async fn find_by_id(state: &AppState, id: EventTypeId) -> Result<Option<event_type::Model>, AppError> {
    Ok(event_type::Entity::find_by_id(id).one(state.db.read()).await?)
}

/// Those of `names` that are in the catalogue.
///
/// # Errors
/// Those of the database.
pub async fn find_all(
    db: &impl ConnectionTrait,
    names: impl IntoIterator<Item = &str> + Send,
) -> Result<HashMap<String, event_type::Model>, DbErr> {
    let names: Vec<_> = names.into_iter().collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = event_type::Entity::find().filter(event_type::Column::Name.is_in(names)).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

/// Conditions on event types.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Whether archived.
    pub archived: Option<bool>,
    /// Text in name or description.
    pub search: Option<String>,
    /// Emitted by this service.
    pub service: Option<String>,
}

impl Filter {
    /// Refuses what would read a catalogue that is large.
    ///
    /// # Errors
    /// [`AppError::FilterTooBroad`].
    pub async fn refuse_too_broad(&self, state: &AppState) -> Result<(), AppError> {
        if self.service.is_some() {
            return Ok(());
        }
        let conditions = [("`search`", self.search.is_some()), ("`archived: true`", self.archived == Some(true))];
        filter::refuse_reading_through(&conditions, "`service`", async {
            let some = event_type::Entity::find().limit(filter::READ_THROUGH_MAX + 1);
            some.count(state.db.read()).await
        })
        .await
    }

    /// The event types that match.
    ///
    /// # Errors
    /// [`AppError::BadInput`] for a search that is too short or too long.
    pub fn select(&self, backend: DbBackend) -> Result<Select<event_type::Entity>, AppError> {
        use event_type::Column;
        let mut select = event_type::Entity::find();
        if let Some(archived) = self.archived {
            let condition = if archived { Column::ArchivedAt.is_not_null() } else { Column::ArchivedAt.is_null() };
            select = select.filter(condition);
        }
        if let Some(text) = &self.search {
            select = select.filter(filter::search(backend, text, &[Column::Name, Column::Description])?);
        }
        if let Some(service) = &self.service {
            select = select.filter(Column::Service.eq(service.as_str()));
        }
        Ok(select)
    }
}

impl Listed for event_type::Entity {
    type Sort = ();

    fn sort_name((): ()) -> &'static str {
        "NAME"
    }

    fn sort_expr((): ()) -> Expr {
        Expr::col((Self, event_type::Column::Name))
    }

    fn is_text((): ()) -> bool {
        true
    }

    fn sort_value((): (), row: &event_type::Model) -> SortValue {
        SortValue::Text(row.name.clone())
    }

    fn id_column() -> event_type::Column {
        event_type::Column::Id
    }

    fn id(row: &event_type::Model) -> Uuid {
        row.id.uuid()
    }
}
