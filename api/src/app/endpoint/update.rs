//! Changing the settings of an endpoint.

use std::time::Duration;

use angarium_dispatcher::Asked;
use angarium_entity::api_key::Scope;
use angarium_entity::change_log::{self, EndpointChange};
use angarium_entity::endpoint::{
    self, BodyFormat, Ordering, RequestHeaders, SignatureScheme, Status, StrictExhaustion, TIMEOUT,
};
use angarium_entity::signing_secret::{self, SigningSecret};
use angarium_entity::workspace::rules::CompiledRules;
use angarium_entity::{endpoint_health, endpoint_revision};
use sea_orm::{ActiveModelTrait as _, DatabaseTransaction, DbErr, EntityTrait as _, IntoActiveModel as _, Set};

use super::check::{check_headers, check_in_flight, check_rate_limit, check_secret, check_timeout, check_url};
use super::rotate::{forget, retire};
use super::{DESCRIPTION_LEN_MAX, ErrorCode, HeaderDraft, NAME_LEN_MAX, take};
use crate::app::reach::Reach;
use crate::app::subscription::{moved, refuse_asking, subscribed_to};
use crate::app::workspace::rules_of;
use crate::app::{Change, Path, Problem, Problems, Refusal, logged};
use crate::{AppState, Caller};

/// What to change.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Display name.
    pub name: Change<String>,
    /// Note for people.
    pub description: Change<String>,
    /// Destination.
    pub url: Change<String>,
    /// Extra request headers.
    pub headers: Change<Vec<HeaderDraft>>,
    /// What a request body looks like.
    pub body_format: Change<BodyFormat>,
    /// In which order deliveries go out.
    pub ordering: Change<Ordering>,
    /// Most requests in flight at once.
    pub max_in_flight: Change<i32>,
    /// What a STRICT line does when its head fails for good.
    pub on_exhausted: Change<StrictExhaustion>,
    /// Most requests per second.
    pub rate_limit: Change<i32>,
    /// Time allowed for one request, in ISO 8601.
    pub timeout: Change<String>,
    /// How requests are signed.
    pub signing: Change<SigningDraft>,
}

/// Another scheme and secret.
#[derive(Clone, Debug)]
pub struct SigningDraft {
    /// The scheme.
    pub scheme: SignatureScheme,
    /// The caller's own secret.
    pub secret: Option<String>,
}

/// An endpoint as it was changed, and its new secret, which is shown only now.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The row.
    pub endpoint: endpoint::Model,
    /// None unless the change asked for another.
    pub secret: Option<SigningSecret>,
}

/// A change that was checked and can be stored.
#[derive(Clone, Debug)]
pub(in crate::app) struct Checked {
    before: endpoint::Model,
    after: endpoint::Model,
    secrets: Secrets,
}

/// What becomes of the secrets of an endpoint.
#[derive(Clone, Debug)]
enum Secrets {
    Keep,
    /// None of them signs any more.
    Drop,
    /// Only this one signs.
    Replace(SigningSecret),
}

/// Changes an endpoint.
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
    expect_version(expected_version, before.version, ErrorCode::Conflict)?;
    let mut problems = Problems::default();
    let rules = rules_of(&transaction, before.workspace_id).await?;
    let checked = patch.check(state, &rules, before, &Path::argument("input"), &mut problems);
    let checked = problems.unless_any(checked).map_err(Refusal::Problems)?;
    let (mut changes, is_moved) = (Vec::from_iter(checked.change()), checked.moves());
    if is_moved {
        let (workspace, rows) =
            (checked.before.workspace_id, subscribed_to(checked.before.workspace_id, checked.before.id));
        if let Err(message) = refuse_asking(&transaction, workspace, rows, state.now()).await? {
            let field = Path::argument("input").at("url");
            return Err(Problem { code: ErrorCode::LimitReached, message, field }.into());
        }
    }
    let updated = checked.store(&transaction, state).await?;
    let endpoint = &updated.endpoint;
    let mut asked = Asked::default();
    if is_moved {
        let (messages, anew) = moved(state, &transaction, endpoint).await?;
        asked = messages;
        changes.extend(anew);
    }
    let changes = changes.into_iter().map(|change| (endpoint.workspace_id, change));
    logged::commit(state, transaction, endpoint.updated_at, changes).await?;
    state.dispatcher.endpoint_changed(endpoint.id);
    state.dispatcher.send_confirmations(asked).await?;
    Ok(updated)
}

/// Refuses a change of another version than the present one: somebody else was first.
pub(in crate::app) fn expect_version<C>(expected: Option<i32>, present: i32, code: C) -> Result<(), Problem<C>> {
    if expected.is_none_or(|expected| expected == present) {
        return Ok(());
    }
    let message = format!("is not the present version, which is {present}; read it again");
    Err(Problem { code, message, field: Path::argument("expectedVersion") })
}

impl Patch {
    /// Checks everything against the endpoint as it is. `field` is where the change was given.
    pub(in crate::app) fn check(
        self,
        state: &AppState,
        rules: &CompiledRules,
        before: endpoint::Model,
        field: &Path,
        problems: &mut Problems<ErrorCode>,
    ) -> Option<Checked> {
        let name = problems.changed_text(&field.at("name"), self.name, before.name.as_ref(), NAME_LEN_MAX);
        let (at, present) = (field.at("description"), before.description.as_ref());
        let description = problems.changed_text(&at, self.description, present, DESCRIPTION_LEN_MAX);
        let url = match problems.not_cleared(&field.at("url"), self.url) {
            Some(Some(url)) => check_url(state, rules, &field.at("url"), &url, problems),
            Some(None) => Some(before.url.clone()),
            None => None,
        };
        let headers = match self.headers {
            Change::Set(given) => {
                // What does not open cannot be kept, but replaced.
                let present = before.headers.open(before.id, &state.sealer).unwrap_or_default();
                check_headers(&field.at("headers"), given, &present, problems)
                    .map(|headers| RequestHeaders::seal(&headers, &before.headers, before.id, &state.sealer))
            }
            Change::Clear => Some(RequestHeaders::default()),
            Change::Keep => Some(before.headers.clone()),
        };
        let ordering = self.ordering.or_default(before.ordering, Ordering::Fifo);
        let max_in_flight = match self.max_in_flight {
            // Another order has another default.
            Change::Keep => (ordering == before.ordering).then_some(before.max_in_flight),
            other => other.on(None),
        };
        let max_in_flight = check_in_flight(&field.at("maxInFlight"), ordering, max_in_flight, problems);
        let rate_limit = self.rate_limit.on(before.rate_limit_per_second);
        let rate_limit = check_rate_limit(&field.at("rateLimitPerSecond"), rate_limit, problems);
        let timeout_ms = match self.timeout {
            Change::Keep => Some(before.timeout_ms),
            Change::Clear => Some(millis(TIMEOUT)),
            Change::Set(text) => check_timeout(&field.at("timeout"), &text, problems).map(millis),
        };
        let signing = check_signing(&field.at("signing"), self.signing, problems);
        let (signature_scheme, secrets) = signing?.unwrap_or((before.signature_scheme, Secrets::Keep));
        let after = endpoint::Model {
            name,
            description,
            url: url?,
            headers: headers?,
            body_format: self.body_format.or_default(before.body_format, BodyFormat::Envelope),
            ordering,
            on_exhausted: self.on_exhausted.or_default(before.on_exhausted, StrictExhaustion::Skip),
            max_in_flight: max_in_flight?,
            rate_limit_per_second: rate_limit?,
            timeout_ms: timeout_ms?,
            signature_scheme,
            ..before.clone()
        };
        Some(Checked { before, after, secrets })
    }
}

/// The outer none is a problem, the inner one asks for nothing.
#[expect(clippy::option_option, reason = "two questions, answered once and taken apart at once")]
fn check_signing(
    field: &Path,
    change: Change<SigningDraft>,
    problems: &mut Problems<ErrorCode>,
) -> Option<Option<(SignatureScheme, Secrets)>> {
    let Some(draft) = problems.not_cleared(field, change)? else { return Some(None) };
    let secrets = match check_secret(&field.at("secret"), draft.scheme, draft.secret, problems)? {
        Some(secret) => Secrets::Replace(secret),
        None => Secrets::Drop,
    };
    Some(Some((draft.scheme, secrets)))
}

impl Checked {
    /// Whether the URL changes, so that whoever is there now has to confirm what it is sent.
    pub(in crate::app) fn moves(&self) -> bool {
        self.after.url != self.before.url
    }

    /// The entry of the log for it; none where nothing changes.
    pub(in crate::app) fn change(&self) -> Option<change_log::Change> {
        let is_same = self.after == self.before && matches!(self.secrets, Secrets::Keep);
        (!is_same).then(|| EndpointChange::of(self.before.id).into())
    }

    /// Stores the change as a new version, or nothing where nothing changes.
    pub(in crate::app) async fn store(self, db: &DatabaseTransaction, state: &AppState) -> Result<Updated, DbErr> {
        if self.change().is_none() {
            return Ok(Updated { endpoint: self.before, secret: None });
        }
        let Self { before, after, secrets } = self;
        let now = state.now();
        let (id, version) = (before.id, before.version + 1);
        // Only these: the dispatcher writes the status of an endpoint at any time.
        let is_elsewhere = before.url != after.url;
        let mut changed = before.into_active_model();
        changed.name = Set(after.name);
        changed.description = Set(after.description);
        changed.url = Set(after.url);
        changed.headers = Set(after.headers);
        changed.body_format = Set(after.body_format);
        changed.ordering = Set(after.ordering);
        changed.on_exhausted = Set(after.on_exhausted);
        changed.max_in_flight = Set(after.max_in_flight);
        changed.rate_limit_per_second = Set(after.rate_limit_per_second);
        changed.timeout_ms = Set(after.timeout_ms);
        changed.signature_scheme = Set(after.signature_scheme);
        changed.version = Set(version);
        changed.updated_at = Set(now);
        let endpoint = changed.update(db).await?;
        add_revision(db, &endpoint).await?;
        if is_elsewhere && endpoint.status == Status::Active {
            // What was wrong with the old address says nothing of the new one.
            endpoint_health::start_afresh(db, id, endpoint.workspace_id, now).await?;
        }
        if !matches!(secrets, Secrets::Keep) {
            forget(db, id, now).await?;
            retire(db, id, now, now).await?;
        }
        let Secrets::Replace(secret) = secrets else { return Ok(Updated { endpoint, secret: None }) };
        let sealed = signing_secret::Model::seal(&secret, id, &state.sealer, now).into_active_model();
        signing_secret::Entity::insert(sealed).exec_without_returning(db).await?;
        Ok(Updated { endpoint, secret: Some(secret) })
    }
}

/// Keeps how an endpoint is from now on.
pub(super) async fn add_revision(db: &DatabaseTransaction, row: &endpoint::Model) -> Result<(), DbErr> {
    let revision = endpoint_revision::Model::from(row).into_active_model();
    endpoint_revision::Entity::insert(revision).exec_without_returning(db).await.map(drop)
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
