//! What the database has in the end.

use std::collections::HashMap;

use angarium_entity::{EndpointId, attempt, delivery};
use sea_orm::{ConnectOptions, EntityTrait, QueryOrder};

use super::evidence::{Attempt, Row, RunClock};

/// Reads every delivery with its attempts. `endpoints` are their IDs in the order of the run.
pub async fn read(url: &str, endpoints: &[EndpointId], clock: RunClock) -> Vec<Row> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = sea_orm::Database::connect(options).await.expect("the database is there");
    let attempts = attempt::Entity::find().order_by_asc(attempt::Column::Number).all(&db).await.expect("it reads");
    let mut by_delivery: HashMap<_, Vec<Attempt>> = HashMap::new();
    for attempt in attempts {
        by_delivery.entry(attempt.delivery_id).or_default().push(Attempt {
            number: attempt.number,
            started: clock.of_row(attempt.started_at),
            completed: clock.of_row(attempt.completed_at),
            status: attempt.response_status_code.and_then(|status| u16::try_from(status).ok()),
        });
    }
    let places: HashMap<_, _> = endpoints.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let deliveries = delivery::Entity::find().all(&db).await.expect("it reads");
    db.close().await.expect("it closes");
    let row = |delivery: delivery::Model| Row {
        event: delivery.event_id.to_string(),
        endpoint: places[&delivery.endpoint_id],
        status: delivery.status,
        attempt_count: delivery.attempt_count,
        attempts: by_delivery.remove(&delivery.id).unwrap_or_default(),
    };
    deliveries.into_iter().map(row).collect()
}
