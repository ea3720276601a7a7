//! What the database makes of the lists.

use angarium_entity::{Database, DeliveryId, EndpointId, Timestamp, WorkspaceId};
use angarium_entity::{delivery, endpoint, event, subscription};
use sea_orm::sea_query::SqliteQueryBuilder;
use sea_orm::{DbBackend, Statement};

use super::*;
use crate::app;
use crate::app::filter::TimeRange;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

struct Plans {
    db: Database,
    path: std::path::PathBuf,
}

impl Plans {
    async fn start() -> Self {
        let path = std::env::temp_dir().join(format!("angarium-plans-{}.db", Uuid::now_v7().simple()));
        let db = Database::open(&format!("sqlite://{}", path.display()), 1).await.expect("the database opens");
        angarium_migration::up(db.write()).await.expect("it migrates");
        Self { db, path }
    }

    /// How the database would answer a page in the middle of a list.
    async fn of<E: Listed>(&self, select: Select<E>, sort: E::Sort, value: SortValue) -> String {
        let after = Some(Key { value, id: Uuid::now_v7() });
        let request = Request { select, parts: Vec::new(), window: Window { after, ..Window::first(20, sort, true) } };
        let text = format!("EXPLAIN QUERY PLAN {}", limited(&request).to_string(SqliteQueryBuilder));
        let statement = Statement::from_string(DbBackend::Sqlite, text);
        let rows = self.db.read().query_all_raw(statement).await.expect("it is a select");
        let steps = rows.iter().map(|row| row.try_get::<String>("", "detail").expect("a step"));
        steps.collect::<Vec<_>>().join("; ")
    }

    async fn stop(self) {
        self.db.close().await;
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.path.display()));
        }
    }
}

fn number() -> SortValue {
    SortValue::Number(1)
}

#[tokio::test]
async fn every_order_of_every_list_is_read_from_an_index() {
    let (plans, workspace) = (Plans::start().await, WorkspaceId::new(NOW));
    let name = || SortValue::Text("a".to_owned());
    let endpoints = || endpoint::Entity::of(workspace);
    let subscriptions = || subscription::Entity::of(workspace);
    let of_endpoint = app::delivery::Filter { endpoint_ids: Some(vec![EndpointId::new(NOW)]), ..Default::default() };
    let of_endpoint = || {
        of_endpoint.select(DbBackend::Sqlite, workspace, app::delivery::Sort::CreatedAt, NOW).expect("it is bounded")
    };
    for plan in [
        plans.of(endpoints(), app::endpoint::Sort::CreatedAt, number()).await,
        plans.of(endpoints(), app::endpoint::Sort::Name, name()).await,
        plans.of(endpoints(), app::endpoint::Sort::UpdatedAt, number()).await,
        plans.of(subscriptions(), app::subscription::Sort::CreatedAt, number()).await,
        plans.of(subscriptions(), app::subscription::Sort::ExpiresAt, number()).await,
        plans.of(subscriptions(), app::subscription::Sort::Name, name()).await,
        plans.of(subscriptions(), app::subscription::Sort::UpdatedAt, number()).await,
        plans.of(event::Entity::of(workspace), app::event::Sort::CreatedAt, number()).await,
        plans.of(delivery::Entity::of(workspace), app::delivery::Sort::CreatedAt, number()).await,
        plans.of(of_endpoint(), app::delivery::Sort::CreatedAt, number()).await,
        plans.of(angarium_entity::workspace::Entity::find(), (), number()).await,
        plans.of(angarium_entity::event_type::Entity::find(), (), name()).await,
    ] {
        assert!(plan.contains("SEARCH") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
    plans.stop().await;
}

#[tokio::test]
async fn no_filter_makes_the_database_read_a_whole_table() {
    let (plans, workspace) = (Plans::start().await, WorkspaceId::new(NOW));
    let text = |text: &str| Some(text.to_owned());
    for filter in [
        app::event::Filter { event_types: Some(vec!["a".to_owned()]), ..Default::default() },
        app::event::Filter { event_types: Some(vec!["a.*".to_owned(), "*".to_owned()]), ..Default::default() },
        app::event::Filter { idempotency_key: text("k"), channel: text("c"), ..Default::default() },
    ] {
        let select = filter.select(DbBackend::Sqlite, workspace).expect("it is well-formed");
        let plan = plans.of(select, app::event::Sort::CreatedAt, number()).await;
        assert!(!plan.contains("SCAN event"), "{plan}");
    }
    let days = |days: u64| NOW - std::time::Duration::from_secs(days * 86_400);
    for (filter, sort) in [
        (
            app::delivery::Filter { status: Some(vec![delivery::Status::Failed]), ..Default::default() },
            app::delivery::Sort::UpdatedAt,
        ),
        (
            app::delivery::Filter {
                ids: Some(vec![DeliveryId::new(NOW)]),
                triggers: Some(vec![]),
                ..Default::default()
            },
            app::delivery::Sort::CreatedAt,
        ),
        (
            app::delivery::Filter { endpoint_ids: Some(vec![EndpointId::new(NOW)]), ..Default::default() },
            app::delivery::Sort::NextAttemptAt,
        ),
        (
            app::delivery::Filter {
                created_at: TimeRange { gte: Some(days(7)), lt: None },
                response_status_codes: Some(vec![500]),
                ..Default::default()
            },
            app::delivery::Sort::CreatedAt,
        ),
    ] {
        let select = filter.select(DbBackend::Sqlite, workspace, sort, NOW).expect("it is bounded");
        let plan = plans.of(select, sort, number()).await;
        assert!(!plan.contains("SCAN delivery"), "{plan}");
    }
    plans.stop().await;
}
