//! Changing a subscription.

use angarium_dispatcher::Asked;
use angarium_entity::api_key::Scope;
use angarium_entity::json::StringList;
use angarium_entity::signing_secret::SigningSecret;
use angarium_entity::subscription::{self, CHANNELS_MAX, OWNER_ID_LEN_MAX};
use angarium_entity::workspace::rules::CompiledRules;
use angarium_entity::{EndpointId, endpoint, subscription_revision};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseTransaction, IntoActiveModel as _, QueryFilter as _, Set,
};

use super::check::{
    check_catalogue, check_channels, check_existing, check_filter, check_metadata, check_patterns,
    check_payload_fields, each_once,
};
use super::{ErrorCode, change_of, confirm, endpoints, endpoints_of, insert_revision, take};
use crate::app::endpoint::update as endpoint_update;
use crate::app::event_type::DESCRIPTION_LEN_MAX;
use crate::app::reach::Reach;
use crate::app::retry_policy::RetryPolicyDraft;
use crate::app::workspace::{NAME_LEN_MAX, rules_of};
use crate::app::{AppError, Change, Path, Problem, Problems, Refusal, logged};
use crate::{AppState, Caller};

/// What to change.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Display name.
    pub name: Change<String>,
    /// Note for people.
    pub description: Change<String>,
    /// Who owns it.
    pub owner_id: Change<String>,
    /// Switched on.
    pub enabled: Change<bool>,
    /// Where its events go.
    pub endpoint: Change<EndpointChange>,
    /// Names and patterns of event types.
    pub event_types: Change<Vec<String>>,
    /// Channels whose events match.
    pub channels: Change<Vec<String>>,
    /// Condition on an event, in CEL.
    pub filter: Change<String>,
    /// Top-level payload fields to send.
    pub payload_fields: Change<Vec<String>>,
    /// Caller-defined data, as compact JSON text.
    pub metadata: Change<String>,
    /// When failed deliveries are tried again.
    pub retry_policy: Change<RetryPolicyDraft>,
}

/// What becomes of the endpoint of a subscription.
#[derive(Clone, Debug)]
pub enum EndpointChange {
    /// Another one from now on, by its ID in the text form; open deliveries stay with theirs.
    Id(String),
    /// The present one changes.
    Update(Box<endpoints::Patch>),
}

/// A subscription as it was changed, and the new secret of its endpoint, which is shown only now.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The row.
    pub subscription: subscription::Model,
    /// None unless the change asked for another.
    pub secret: Option<SigningSecret>,
}

/// The same, checked.
enum EndpointChoice {
    Keep,
    Other(Box<endpoint::Model>),
    Changed(Box<endpoint_update::Checked>),
}

/// Changes a subscription, and its endpoint with it, in one transaction.
///
/// # Errors
/// [`Refusal`].
pub async fn update(
    state: &AppState,
    caller: &Caller,
    id: &str,
    patch: Patch,
    expected_version: Option<i32>,
) -> Result<Updated, Refusal<ErrorCode>> {
    caller.require(Scope::WebhookSubscribe)?;
    let transaction = state.db.begin().await?;
    let before = take(&transaction, Reach::of(caller)?, id).await??;
    endpoint_update::expect_version(expected_version, before.version, ErrorCode::Conflict)?;
    let rules = rules_of(&transaction, before.workspace_id).await?;
    let mut problems = Problems::default();
    let endpoint_field = Path::argument("input").at("endpoint");
    let endpoint = match problems.not_cleared(&endpoint_field, patch.endpoint.clone()) {
        Some(Some(change)) => check_endpoint(&transaction, (state, &rules), &before, change, &mut problems).await?,
        Some(None) => Some(EndpointChoice::Keep),
        None => None,
    };
    if patch.enabled == Change::Set(true) && !before.enabled && before.is_expired(state.now()) {
        let field = Path::argument("input").at("enabled");
        problems.add(ErrorCode::Expired, &field, "is of a subscription that is expired; renew it first");
    }
    let after = patch.check(&transaction, &before, &rules, &mut problems).await?;
    let (mut after, endpoint) = problems.unless_any(after.zip(endpoint)).map_err(Refusal::Problems)?;
    let asked_anew = match &endpoint {
        EndpointChoice::Other(other) if other.id != before.endpoint_id => {
            let own = subscription::Entity::of(before.workspace_id).filter(subscription::Column::Id.eq(before.id));
            Some((endpoint_field.at("id"), own))
        }
        EndpointChoice::Changed(checked) if checked.moves() => {
            let all = confirm::subscribed_to(before.workspace_id, before.endpoint_id);
            Some((endpoint_field.at("update").at("url"), all))
        }
        _ => None,
    };
    if let Some((field, rows)) = asked_anew
        && let Err(message) = confirm::refuse_asking(&transaction, before.workspace_id, rows, state.now()).await?
    {
        return Err(Problem { code: ErrorCode::LimitReached, message, field }.into());
    }
    let (mut changes, mut secret) = (Vec::new(), None);
    let (now, mut moved) = (state.now(), None);
    match endpoint {
        EndpointChoice::Keep => {}
        EndpointChoice::Other(endpoint) if endpoint.id == before.endpoint_id => {}
        EndpointChoice::Other(endpoint) => {
            after.endpoint_id = endpoint.id;
            after.confirmation = confirm::mode(&transaction, before.workspace_id).await?;
            after.confirmed_at = None;
            after.confirmation_expires_at = confirm::token_end(after.confirmation, now);
            moved = Some(endpoint);
        }
        EndpointChoice::Changed(checked) => {
            changes.extend(checked.change());
            let is_moved = checked.moves();
            let updated = checked.store(&transaction, state).await?;
            secret = updated.secret;
            moved = is_moved.then(|| Box::new(updated.endpoint));
        }
    }
    let left = before.endpoint_id;
    let mut row = if after == before {
        before
    } else {
        changes.push(change_of(&before));
        store(&transaction, state, before, after).await?
    };
    let asked = match moved {
        None => Asked::default(),
        Some(endpoint) if endpoint.id != left => {
            confirm::ask(state, &transaction, &[&row], endpoint.id, &endpoint.url, now).await?
        }
        Some(endpoint) => {
            let (asked, anew) = confirm::moved(state, &transaction, &endpoint).await?;
            changes.extend(anew);
            let lost = || AppError::Inconsistent(format!("{} is gone", row.id));
            row = subscription::Entity::of(row.workspace_id)
                .filter(subscription::Column::Id.eq(row.id))
                .one(&transaction)
                .await?
                .ok_or_else(lost)?;
            asked
        }
    };
    let endpoints = endpoints_of(&transaction, [row.id]).await?;
    let changes = changes.into_iter().map(|change| (row.workspace_id, change));
    logged::commit(state, transaction, now, changes).await?;
    for endpoint in endpoints {
        state.dispatcher.endpoint_changed(endpoint);
    }
    state.dispatcher.send_confirmations(asked).await?;
    Ok(Updated { subscription: row, secret })
}

async fn store(
    db: &DatabaseTransaction,
    state: &AppState,
    before: subscription::Model,
    after: subscription::Model,
) -> Result<subscription::Model, AppError> {
    let version = before.version + 1;
    let is_revised = subscription_revision::Model::from(&before).is_outdated_by(&after);
    let revision = if is_revised { version } else { before.revision };
    let now = state.now();
    let held_since = if before.enabled == after.enabled { before.held_since } else { (!after.enabled).then_some(now) };
    let mut changed = before.into_active_model();
    changed.name = Set(after.name);
    changed.description = Set(after.description);
    changed.owner_id = Set(after.owner_id);
    changed.enabled = Set(after.enabled);
    changed.held_since = Set(held_since);
    changed.endpoint_id = Set(after.endpoint_id);
    changed.event_types = Set(after.event_types);
    changed.channels = Set(after.channels);
    changed.filter = Set(after.filter);
    changed.payload_fields = Set(after.payload_fields);
    changed.metadata = Set(after.metadata);
    changed.retry_policy = Set(after.retry_policy);
    changed.confirmation = Set(after.confirmation);
    changed.confirmed_at = Set(after.confirmed_at);
    changed.confirmation_expires_at = Set(after.confirmation_expires_at);
    changed.version = Set(version);
    changed.revision = Set(revision);
    changed.updated_at = Set(now);
    let row = changed.update(db).await?;
    if is_revised {
        insert_revision(db, &row).await?;
    }
    Ok(row)
}

async fn check_endpoint(
    db: &DatabaseTransaction,
    (state, rules): (&AppState, &CompiledRules),
    before: &subscription::Model,
    change: EndpointChange,
    problems: &mut Problems<ErrorCode>,
) -> Result<Option<EndpointChoice>, AppError> {
    let field = Path::argument("input").at("endpoint");
    let find = |id: EndpointId| endpoint::Entity::of(before.workspace_id).filter(endpoint::Column::Id.eq(id));
    match change {
        EndpointChange::Id(id) => {
            let found = match id.parse() {
                Ok(id) => find(id).one(db).await?,
                Err(_) => None,
            };
            check_existing(&field.at("id"), found.as_ref(), rules, problems);
            Ok(found.map(|endpoint| EndpointChoice::Other(Box::new(endpoint))))
        }
        EndpointChange::Update(patch) => {
            let lost = || AppError::Inconsistent(format!("{} has no endpoint", before.id));
            let present = find(before.endpoint_id).one(db).await?.ok_or_else(lost)?;
            let mut found = Problems::default();
            let checked = patch.check(state, rules, present, &field.at("update"), &mut found);
            problems.extend_from(found);
            Ok(checked.map(|checked| EndpointChoice::Changed(Box::new(checked))))
        }
    }
}

impl Patch {
    /// Checks everything but the endpoint against the subscription as it is.
    async fn check(
        self,
        db: &DatabaseTransaction,
        before: &subscription::Model,
        rules: &CompiledRules,
        problems: &mut Problems<ErrorCode>,
    ) -> Result<Option<subscription::Model>, AppError> {
        let input = Path::argument("input");
        let name = problems.changed_text(&input.at("name"), self.name, before.name.as_ref(), NAME_LEN_MAX);
        let (field, present) = (input.at("description"), before.description.as_ref());
        let description = problems.changed_text(&field, self.description, present, DESCRIPTION_LEN_MAX);
        let (field, present) = (input.at("ownerId"), before.owner_id.as_ref());
        let owner_id = problems.changed_text(&field, self.owner_id, present, OWNER_ID_LEN_MAX);
        let enabled = problems.not_cleared(&input.at("enabled"), self.enabled);
        let event_types = match problems.not_cleared(&input.at("eventTypes"), self.event_types) {
            Some(Some(texts)) => {
                let kept = &before.event_types.0;
                check_patterns(&input.at("eventTypes"), &texts, rules, problems);
                check_catalogue(db, &input, &texts, kept, before.service.as_deref(), problems).await?;
                Some(StringList(each_once(texts)))
            }
            Some(None) => Some(before.event_types.clone()),
            None => None,
        };
        let channels = match self.channels {
            Change::Keep => before.channels.clone(),
            Change::Clear => None,
            Change::Set(list) => {
                check_channels(&input.at("channels"), Some(list), CHANNELS_MAX, problems).map(StringList)
            }
        };
        let filter = match self.filter {
            Change::Set(text) => check_filter(&input.at("filter"), Some(text), problems),
            other => other.on(before.filter.clone()),
        };
        let payload_fields = match self.payload_fields {
            Change::Keep => before.payload_fields.clone(),
            Change::Clear => None,
            Change::Set(list) => check_payload_fields(&input.at("payloadFields"), Some(list), problems).map(StringList),
        };
        let is_given = !self.metadata.is_keep();
        let metadata = self.metadata.on(before.metadata.clone());
        if is_given {
            check_metadata(&input.at("metadata"), metadata.as_deref(), problems);
        }
        let retry_policy = match self.retry_policy {
            Change::Keep => before.retry_policy.clone(),
            Change::Clear => None,
            Change::Set(draft) => draft.check(ErrorCode::RetryPolicyInvalid, &input.at("retryPolicy"), problems),
        };
        let (Some(enabled), Some(event_types)) = (enabled, event_types) else { return Ok(None) };
        Ok(Some(subscription::Model {
            name,
            description,
            owner_id,
            enabled: enabled.unwrap_or(before.enabled),
            event_types,
            channels,
            filter,
            payload_fields,
            metadata,
            retry_policy,
            ..before.clone()
        }))
    }
}
