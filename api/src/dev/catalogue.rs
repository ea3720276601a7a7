//! Example event types, after the APIs that Angarium grew up with.

use angarium_entity::{Database, EventTypeId, Timestamp, event_type};
use sea_orm::sea_query::OnConflict;
use sea_orm::{DbErr, EntityTrait as _, IntoActiveModel as _};

/// Name, service, meaning, sample payload.
const EXAMPLES: [(&str, &str, &str, &str); 9] = [
    (
        "asset.processing.completed",
        "assets",
        "An uploaded asset has been processed and can be used.",
        r#"{"assetId":"ast_7Jd2","name":"harbour.tif","format":"tiff","bytes":52428800,"durationMs":8120}"#,
    ),
    (
        "asset.processing.failed",
        "assets",
        "An uploaded asset could not be processed.",
        r#"{"assetId":"ast_7Jd3","name":"broken.tif","error":{"code":"UNREADABLE","message":"The file ends too early."}}"#,
    ),
    (
        "invoice.paid",
        "billing",
        "An invoice was paid in full.",
        r#"{"invoice":"INV-2041","amount":"129.00","currency":"EUR","paidAt":"2026-11-21T09:30:00Z"}"#,
    ),
    (
        "order.created",
        "orders",
        "A customer placed an order.",
        r#"{"order":1007,"customer":"cus_81","total":"59.90","currency":"EUR","lines":[{"sku":"MUG-1","quantity":2}]}"#,
    ),
    (
        "order.shipped",
        "orders",
        "An order has left the warehouse.",
        r#"{"order":1007,"carrier":"Angaros","trackingNumber":"AN4411"}"#,
    ),
    (
        "organization.member.added",
        "organizations",
        "Somebody joined an organization.",
        r#"{"organization":"org_12","member":{"email":"ada@example.com","role":"EDITOR"}}"#,
    ),
    (
        "sms.inbound",
        "sms",
        "A text message was received.",
        r#"{"from":"+15550101","to":"+15550100","text":"Yes, please."}"#,
    ),
    (
        "sms.outbound",
        "sms",
        "A text message was sent.",
        r#"{"from":"+15550100","to":"+15550101","text":"Hello from Angarium","parts":1}"#,
    ),
    (
        "voice.call.ended",
        "voice",
        "A call ended.",
        r#"{"call":"call_9c","from":"+15550101","to":"+15550100","seconds":74,"reason":"HANGUP"}"#,
    ),
];

/// Adds the examples that are missing. What a person changed stays as it is.
pub(super) async fn fill(db: &Database, now: Timestamp) -> Result<(), DbErr> {
    let rows = EXAMPLES.map(|(name, service, description, sample)| {
        let row = event_type::Model {
            id: EventTypeId::new(now),
            name: name.to_owned(),
            service: Some(service.to_owned()),
            description: Some(description.to_owned()),
            sample_payload: Some(sample.to_owned()),
            schema: None,
            archived_at: None,
            created_at: now,
            updated_at: now,
        };
        row.into_active_model()
    });
    event_type::Entity::insert_many(rows)
        .on_conflict(OnConflict::column(event_type::Column::Name).do_nothing().to_owned())
        .exec_without_returning(db.write())
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_valid_event_type_with_a_sample() {
        for (name, _, description, sample) in EXAMPLES {
            assert!(event_type::is_valid_name(name) && !event_type::is_reserved(name), "{name}");
            assert!(serde_json::from_str::<serde_json::Value>(sample).is_ok_and(|sample| sample.is_object()), "{name}");
            assert!(description.ends_with('.'), "{name}");
        }
        assert!(EXAMPLES.is_sorted_by_key(|(name, ..)| *name));
    }
}
