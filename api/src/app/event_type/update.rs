//! Changing an event type, and taking it out of use.

use angarium_entity::api_key::Scope;
use angarium_entity::event::PAYLOAD_BYTES_MAX;
use angarium_entity::{event_type, installation};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QuerySelect as _, Set,
};

use super::{DESCRIPTION_LEN_MAX, ErrorCode, SERVICE_LEN_MAX, tell, violations};
use crate::app::{Change, Path, Problem, Problems, Refusal};
use crate::{AppState, Caller};

/// What to change.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// The service that emits it.
    pub service: Change<String>,
    /// What it means.
    pub description: Change<String>,
    /// An example payload, as JSON text.
    pub sample_payload: Change<String>,
    /// JSON Schema of payloads, as JSON text.
    pub schema: Change<String>,
}

/// Changes an event type. Its name stays: subscriptions and events have it.
///
/// # Errors
/// [`Refusal`].
pub async fn update(
    state: &AppState,
    caller: &Caller,
    name: &str,
    patch: Patch,
) -> Result<event_type::Model, Refusal<ErrorCode>> {
    caller.require(Scope::EventTypeWrite)?;
    let input = Path::argument("input");
    let mut problems = Problems::default();
    // Before the transaction, which it would hold up.
    let given = match &patch.schema {
        Change::Set(text) => super::check_schema(state, &input.at("schema"), text, &mut problems).await?,
        Change::Keep | Change::Clear => None,
    };
    let transaction = state.db.begin().await?;
    let before = take(&transaction, name).await?;
    let service = problems.changed_text(&input.at("service"), patch.service, before.service.as_ref(), SERVICE_LEN_MAX);
    let present = before.description.as_ref();
    let description = problems.changed_text(&input.at("description"), patch.description, present, DESCRIPTION_LEN_MAX);
    let is_sample_given = !patch.sample_payload.is_keep();
    let sample_payload = patch.sample_payload.on(before.sample_payload.clone());
    super::check_sample(&input.at("samplePayload"), sample_payload.as_deref(), &mut problems);
    let is_schema_kept = patch.schema.is_keep();
    let schema = patch.schema.on(before.schema.clone());
    let compiled = match &schema {
        Some(text) if is_schema_kept && is_sample_given => state.event_types.compile(text.clone()).await?.ok(),
        _ => given,
    };
    if let (Some(compiled), Some(sample)) = (compiled, &sample_payload)
        && sample.len() <= PAYLOAD_BYTES_MAX
    {
        let found = violations(&compiled, sample).await;
        if is_sample_given {
            tell(ErrorCode::SampleMismatch, &input.at("samplePayload"), found, &mut problems);
        } else if let Some(first) = found.first() {
            let place = first.steps.iter().fold(String::new(), |place, step| place + "/" + step);
            let message =
                format!("is not satisfied by the stored sample payload, which at `{place}` {}", first.message);
            problems.add(ErrorCode::SampleMismatch, &input.at("schema"), message);
        }
    }
    problems.unless_any(Some(())).map_err(Refusal::Problems)?;
    let is_schema_changed = before.schema != schema;
    let mut changed = before.into_active_model();
    changed.service = Set(service);
    changed.description = Set(description);
    changed.sample_payload = Set(sample_payload);
    changed.schema = Set(schema);
    changed.updated_at = Set(state.now());
    let row = changed.update(&transaction).await?;
    if is_schema_changed {
        installation::bump_catalogue_version(&transaction).await?;
    }
    transaction.commit().await?;
    if is_schema_changed {
        state.event_types.forget();
    }
    Ok(row)
}

/// Takes an event type out of use for new subscriptions, or brings it back. Doing it again changes nothing.
///
/// # Errors
/// [`Refusal`].
pub async fn archive(
    state: &AppState,
    caller: &Caller,
    name: &str,
    archived: bool,
) -> Result<event_type::Model, Refusal<ErrorCode>> {
    caller.require(Scope::EventTypeWrite)?;
    let transaction = state.db.begin().await?;
    let before = take(&transaction, name).await?;
    if before.archived_at.is_some() == archived {
        return Ok(before);
    }
    let now = state.now();
    let mut changed = before.into_active_model();
    changed.archived_at = Set(archived.then_some(now));
    changed.updated_at = Set(now);
    let row = changed.update(&transaction).await?;
    transaction.commit().await?;
    Ok(row)
}

/// The event type called `name`, which nobody else changes until the transaction ends.
async fn take(db: &DatabaseTransaction, name: &str) -> Result<event_type::Model, Refusal<ErrorCode>> {
    if event_type::is_reserved(name) {
        let message = "is a type of the server's own, which nobody changes".to_owned();
        return Err(Problem { code: ErrorCode::Reserved, message, field: Path::argument("name") }.into());
    }
    let select = event_type::Entity::find().filter(event_type::Column::Name.eq(name)).lock_exclusive();
    let found = if name.contains('\0') { None } else { select.one(db).await? };
    Ok(found.ok_or_else(|| Problem::not_found(ErrorCode::NotFound, Path::argument("name")))?)
}
