//! What a subscription may look like.

use std::time::Duration;

use angarium_entity::event::CHANNEL_LEN_MAX;
use angarium_entity::json::StringList;
use angarium_entity::subscription::cel::{self, Filter};
use angarium_entity::subscription::event_filter::Pattern;
use angarium_entity::subscription::payload_fields;
use angarium_entity::subscription::{self, CHANNELS_MAX, EVENT_TYPES_MAX, METADATA_BYTES_MAX, OWNER_ID_LEN_MAX};
use angarium_entity::workspace::rules::CompiledRules;
use angarium_entity::workspace::{LIFETIME, SubscriptionConfirmation};
use angarium_entity::{EndpointId, SubscriptionId, Timestamp, WorkspaceId, endpoint, workspace};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use uuid::Uuid;

use super::{AppState, Draft, EndpointChoice, EndpointDraft, ErrorCode, Path, Problems, Refusal, endpoints};
use crate::app::event_type::{self, DESCRIPTION_LEN_MAX, SERVICE_LEN_MAX};
use crate::app::workspace::NAME_LEN_MAX;
use crate::app::{AppError, duration};

/// A draft that was checked. The row still lacks its workspace, its maker and the endpoint that is made with it.
pub(super) struct Checked {
    pub(super) row: subscription::Model,
    pub(super) endpoint: EndpointChoice,
}

/// Checks everything and tells all that is wrong, with what was found before.
pub(super) async fn check(
    db: &DatabaseTransaction,
    state: &AppState,
    (workspace, rules): (&workspace::Model, &CompiledRules),
    draft: Draft,
    mut problems: Problems<ErrorCode>,
) -> Result<Checked, Refusal<ErrorCode>> {
    let (input, now) = (Path::argument("input"), state.now());
    let name = problems.optional_text(&input.at("name"), draft.name, NAME_LEN_MAX);
    let description = problems.optional_text(&input.at("description"), draft.description, DESCRIPTION_LEN_MAX);
    let owner_id = problems.optional_text(&input.at("ownerId"), draft.owner_id, OWNER_ID_LEN_MAX);
    let service = problems.optional_text(&input.at("service"), draft.service, SERVICE_LEN_MAX);
    check_count(state, workspace, &input, &mut problems);
    let endpoint = check_endpoint(state, (workspace, rules), &input.at("endpoint"), draft.endpoint, &mut problems);
    check_patterns(&input.at("eventTypes"), &draft.event_types, rules, &mut problems);
    check_catalogue(db, &input, &draft.event_types, &[], service.as_deref(), &mut problems).await?;
    let channels = check_channels(&input.at("channels"), draft.channels, CHANNELS_MAX, &mut problems);
    let filter = check_filter(&input.at("filter"), draft.filter, &mut problems);
    let payload_fields = check_payload_fields(&input.at("payloadFields"), draft.payload_fields, &mut problems);
    check_metadata(&input.at("metadata"), draft.metadata.as_deref(), &mut problems);
    let retry_policy = draft
        .retry_policy
        .and_then(|policy| policy.check(ErrorCode::RetryPolicyInvalid, &input.at("retryPolicy"), &mut problems));
    let (field, longest) = (input.at("expiresIn"), workspace.max_subscription_lifetime());
    let expires_at = check_lifetime(&field, draft.expires_in.as_deref(), longest, now, &mut problems);
    let endpoint = problems.unless_any(endpoint).map_err(Refusal::Problems)?;
    let row = subscription::Model {
        id: SubscriptionId::new(now),
        workspace_id: WorkspaceId(Uuid::nil()),
        endpoint_id: match endpoint {
            EndpointChoice::Existing(id) => id,
            EndpointChoice::New(_) => EndpointId(Uuid::nil()),
        },
        name,
        description,
        owner_id,
        event_types: StringList(each_once(draft.event_types)),
        channels: channels.map(StringList),
        filter,
        payload_fields: payload_fields.map(StringList),
        metadata: draft.metadata,
        retry_policy,
        service,
        enabled: draft.enabled,
        held_since: None,
        expires_at,
        expiry_due_at: subscription::expiry_due_at(expires_at, now),
        expired_at: None,
        // The workspace decides that.
        confirmation: SubscriptionConfirmation::None,
        confirmed_at: None,
        confirmation_expires_at: None,
        version: 1,
        revision: 1,
        created_by: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    Ok(Checked { row, endpoint })
}

fn check_endpoint(
    state: &AppState,
    (workspace, rules): (&workspace::Model, &CompiledRules),
    field: &Path,
    draft: EndpointDraft,
    problems: &mut Problems<ErrorCode>,
) -> Option<EndpointChoice> {
    let (draft, field) = match draft {
        EndpointDraft::Id(id) => {
            let parsed = id.parse().ok().map(EndpointChoice::Existing);
            if parsed.is_none() {
                problems.add(ErrorCode::NotFound, &field.at("id"), "does not exist");
            }
            return parsed;
        }
        // The draft names its URL `url`, which is what the field is called here as well.
        EndpointDraft::Url(url) => (endpoints::Draft::for_url(url), field.clone()),
        EndpointDraft::Create(draft) => (*draft, field.at("create")),
    };
    let mut found = Problems::default();
    endpoints::check_count(state, workspace, &field, &mut found);
    let new = draft.check(state, rules, &field, &mut found);
    problems.extend_from(found);
    new.map(|new| EndpointChoice::New(Box::new(new)))
}

/// Whether the workspace may have another subscription.
fn check_count(state: &AppState, workspace: &workspace::Model, field: &Path, problems: &mut Problems<ErrorCode>) {
    let most = state.limits.subscriptions_max;
    if usize::try_from(workspace.subscription_count).is_ok_and(|count| count >= most) {
        let message = format!("is one more than the {most} subscriptions that a workspace may have; delete one first");
        problems.add(ErrorCode::LimitReached, field, message);
    }
}

/// An endpoint that a subscription is given: it may be older than the rules.
pub(super) fn check_existing(
    field: &Path,
    found: Option<&endpoint::Model>,
    rules: &CompiledRules,
    problems: &mut Problems<ErrorCode>,
) {
    match found.map(|endpoint| rules.check_url(&endpoint.url)) {
        None => problems.add(ErrorCode::NotFound, field, "does not exist"),
        Some(Ok(())) => {}
        Some(Err(forbidden)) => problems.add(ErrorCode::Invalid, field, format!("has a URL that {forbidden}")),
    }
}

pub(super) fn check_patterns(
    field: &Path,
    texts: &[String],
    rules: &CompiledRules,
    problems: &mut Problems<ErrorCode>,
) {
    if texts.is_empty() {
        problems.add(ErrorCode::Blank, field, "is empty; name at least one event type, or `*`");
    }
    if texts.len() > EVENT_TYPES_MAX {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {EVENT_TYPES_MAX} event types"));
    }
    for (index, text) in texts.iter().enumerate().take(EVENT_TYPES_MAX) {
        if text.is_empty() {
            problems.add(ErrorCode::Blank, &field.item(index), "is empty");
        } else if let Err(error) = Pattern::parse(text) {
            problems.add(ErrorCode::Invalid, &field.item(index), error.to_string());
        } else if let Err(forbidden) = rules.check_event_type(text) {
            problems.add(ErrorCode::Invalid, &field.item(index), forbidden.to_string());
        }
    }
}

/// Names must be in the catalogue and not archived, unless the subscription has had them, and must not belong to another
/// service; patterns are free.
pub(super) async fn check_catalogue(
    db: &impl ConnectionTrait,
    input: &Path,
    texts: &[String],
    kept: &[String],
    service: Option<&str>,
    problems: &mut Problems<ErrorCode>,
) -> Result<(), AppError> {
    let names: Vec<(usize, &str)> = texts
        .iter()
        .take(EVENT_TYPES_MAX)
        .enumerate()
        .filter(|(_, text)| matches!(Pattern::parse(text), Ok(Pattern::Exact(_))))
        .map(|(index, text)| (index, text.as_str()))
        .collect();
    let known = event_type::find_all(db, names.iter().map(|(_, name)| *name)).await?;
    for (index, name) in names {
        let field = input.at("eventTypes").item(index);
        match known.get(name) {
            None => problems.add(ErrorCode::UnknownEventType, &field, format!("`{name}` is not in the catalogue")),
            Some(found) if found.archived_at.is_some() && !kept.contains(&found.name) => {
                problems.add(ErrorCode::UnknownEventType, &field, format!("`{name}` is archived"));
            }
            Some(found) => {
                if let (Some(wanted), Some(actual)) = (service, found.service.as_deref())
                    && wanted != actual
                {
                    let message = format!("is not that of `{name}`, which belongs to `{actual}`");
                    problems.add(ErrorCode::Invalid, &input.at("service"), message);
                }
            }
        }
    }
    Ok(())
}

pub(super) fn check_channels(
    field: &Path,
    channels: Option<Vec<String>>,
    count_max: usize,
    problems: &mut Problems<ErrorCode>,
) -> Option<Vec<String>> {
    let channels = channels?;
    if channels.is_empty() {
        problems.add(ErrorCode::Blank, field, "is empty and would match nothing; leave it out to match every event");
    }
    if channels.len() > count_max {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {count_max} channels"));
        return None;
    }
    let checked = channels
        .into_iter()
        .enumerate()
        .filter_map(|(index, channel)| problems.text(&field.item(index), channel, CHANNEL_LEN_MAX))
        .collect();
    Some(each_once(checked))
}

/// The same filter, if it is one.
pub(super) fn check_filter(field: &Path, filter: Option<String>, problems: &mut Problems<ErrorCode>) -> Option<String> {
    let filter = problems.optional_text(field, filter, cel::LEN_MAX)?;
    match Filter::parse(&filter) {
        Ok(_) => return Some(filter),
        Err(error) => problems.add(ErrorCode::FilterInvalid, field, format!("is no CEL condition: {error}")),
    }
    None
}

pub(super) fn check_payload_fields(
    field: &Path,
    fields: Option<Vec<String>>,
    problems: &mut Problems<ErrorCode>,
) -> Option<Vec<String>> {
    let fields = fields?;
    if fields.is_empty() {
        problems.add(ErrorCode::Blank, field, "is empty; name at least one field, or leave it out to send all");
    }
    if fields.len() > payload_fields::COUNT_MAX {
        problems.add(ErrorCode::TooMany, field, format!("holds more than {} fields", payload_fields::COUNT_MAX));
        return None;
    }
    let checked = fields
        .into_iter()
        .enumerate()
        .filter_map(|(index, name)| problems.text(&field.item(index), name, payload_fields::NAME_LEN_MAX))
        .collect();
    Some(each_once(checked))
}

pub(super) fn check_metadata(field: &Path, text: Option<&str>, problems: &mut Problems<ErrorCode>) {
    let Some(text) = text else { return };
    if !text.starts_with('{') {
        problems.add(ErrorCode::Invalid, field, "is not a JSON object");
    }
    if text.len() > METADATA_BYTES_MAX {
        problems.add(ErrorCode::TooLong, field, format!("is longer than {METADATA_BYTES_MAX} bytes"));
    }
}

/// When a lifetime ends that begins at `now`; `longest` is what the workspace allows, and its default.
pub(super) fn check_lifetime(
    field: &Path,
    text: Option<&str>,
    longest: Option<Duration>,
    now: Timestamp,
    problems: &mut Problems<ErrorCode>,
) -> Option<Timestamp> {
    let Some(text) = text else { return longest.map(|longest| now + longest) };
    match (duration::parse(text), longest) {
        (Ok(lifetime), Some(longest)) if LIFETIME.contains(&lifetime) && lifetime > longest => {
            let longest = duration::print(longest);
            problems.add(
                ErrorCode::ExpiryTooLong,
                field,
                format!("is longer than `{longest}`, the workspace's maximum"),
            );
        }
        (Ok(lifetime), _) if LIFETIME.contains(&lifetime) => return Some(now + lifetime),
        (Ok(_), _) => problems.add(ErrorCode::Invalid, field, "is not from 1 minute to 10 years (`P3650D`)"),
        (Err(error), _) => problems.add(ErrorCode::Invalid, field, error.to_string()),
    }
    None
}

pub(super) fn each_once(texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts.into_iter().filter(|text| seen.insert(text.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_rules() -> CompiledRules {
        workspace::Rules::default().compile().expect("there is no pattern")
    }

    fn told(check: impl FnOnce(&Path, &mut Problems<ErrorCode>)) -> Vec<ErrorCode> {
        let mut problems = Problems::default();
        check(&Path::argument("x"), &mut problems);
        problems.unless_any::<()>(None).map_or_else(|told| told.iter().map(|p| p.code).collect(), |()| Vec::new())
    }

    #[test]
    fn patterns_are_one_to_a_hundred_and_each_is_checked() {
        let patterns = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let check = |list: Vec<String>| told(|field, problems| check_patterns(field, &list, &no_rules(), problems));
        assert_eq!(check(patterns(&["a", "a.*", "*"])), []);
        assert_eq!(check(vec![]), [ErrorCode::Blank]);
        assert_eq!(check(patterns(&["", "a*b"])), [ErrorCode::Blank, ErrorCode::Invalid]);
        assert_eq!(check(vec!["a".to_owned(); 101]), [ErrorCode::TooMany]);
    }

    #[test]
    fn metadata_is_an_object_of_at_most_four_kibibytes() {
        let check = |text: &str| told(|field, problems| check_metadata(field, Some(text), problems));
        assert_eq!(check("{}"), []);
        assert_eq!(check("[]"), [ErrorCode::Invalid]);
        assert_eq!(check(&format!("{{\"a\":\"{}\"}}", "x".repeat(4096))), [ErrorCode::TooLong]);
    }

    #[test]
    fn a_lifetime_is_from_a_minute_to_ten_years() {
        let check = |text| {
            let mut problems = Problems::default();
            check_lifetime(&Path::argument("x"), Some(text), None, Timestamp::from_millis(0), &mut problems)
        };
        assert_eq!(check("PT1M"), Some(Timestamp::from_millis(60_000)));
        assert_eq!([check("PT59S"), check("P3651D"), check("P1Y"), check("")], [None; 4]);
        assert!(check("P3650D").is_some());
    }

    #[test]
    fn the_longest_lifetime_of_the_workspace_is_the_default_and_the_bound() {
        let longest = Some(Duration::from_secs(120));
        let end = |text| {
            check_lifetime(&Path::argument("x"), text, longest, Timestamp::from_millis(0), &mut Problems::default())
        };
        assert_eq!([end(None), end(Some("PT2M"))], [Some(Timestamp::from_millis(120_000)); 2]);
        assert_eq!(end(Some("PT1M")), Some(Timestamp::from_millis(60_000)));
        let check =
            |text| told(|field, told| _ = check_lifetime(field, Some(text), longest, Timestamp::from_millis(0), told));
        assert_eq!([check("PT2M0.001S"), check("P3650D")], [[ErrorCode::ExpiryTooLong]; 2]);
        assert_eq!([check("P3651D"), check("PT1S")], [[ErrorCode::Invalid]; 2]);
    }

    #[test]
    fn channels_are_not_empty_and_each_is_kept_once() {
        let mut problems = Problems::default();
        let kept = check_channels(
            &Path::argument("x"),
            Some(vec!["a".to_owned(), "b".to_owned(), "a".to_owned()]),
            3,
            &mut problems,
        );
        assert_eq!(kept, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert!(problems.is_empty());
        assert_eq!(told(|field, told| drop(check_channels(field, Some(vec![]), 3, told))), [ErrorCode::Blank]);
        assert_eq!(
            told(|field, told| drop(check_channels(field, Some(vec!["a".to_owned(); 4]), 3, told))),
            [ErrorCode::TooMany]
        );
    }
}
