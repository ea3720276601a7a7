//! The schema goes up, down and up again, and many may migrate at once.

use angarium_entity::Database;
use angarium_tests::app::create_database;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

async fn sqlite() -> (Database, std::path::PathBuf) {
    let directory = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let url = format!("sqlite://{}", directory.join("test.db").display());
    (Database::open(&url, 1).await.expect("the database opens"), directory)
}

async fn postgres() -> Database {
    let url = create_database(&uuid::Uuid::now_v7().simple().to_string()).await;
    Database::open(&url, 10).await.expect("the database opens")
}

/// Every table and index with its definition, sorted.
async fn schema(db: &Database) -> Vec<(String, String)> {
    let query = match db.backend() {
        DbBackend::Postgres => {
            "SELECT indexname AS name, indexdef AS definition FROM pg_indexes WHERE schemaname = 'public' \
             UNION ALL SELECT table_name || '.' || column_name, data_type || ' ' || is_nullable \
             FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1"
        }
        _ => {
            "SELECT name, coalesce(sql, '') AS definition FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1"
        }
    };
    let rows =
        db.write().query_all_raw(Statement::from_string(db.backend(), query)).await.expect("the catalogue reads");
    let text = |row: &sea_orm::QueryResult, column| row.try_get::<String>("", column).expect("a text");
    rows.iter()
        .map(|row| (text(row, "name"), text(row, "definition")))
        .filter(|(name, _)| !name.starts_with("seaql_migrations"))
        .collect()
}

async fn up_down_up(db: Database) {
    angarium_migration::up(db.write()).await.expect("up");
    let first = schema(&db).await;
    for table in [
        "workspace",
        "api_key",
        "event_type",
        "endpoint",
        "signing_secret",
        "subscription",
        "event",
        "event_deletion",
        "delivery",
        "attempt",
        "replay",
        "replay_item",
        "change_log",
        "shard",
        "node",
    ] {
        assert!(first.iter().any(|(name, _)| name.split('.').next() == Some(table)), "{table} is missing");
    }
    assert!(angarium_migration::pending(db.read()).await.expect("it can be asked").is_empty());
    angarium_migration::down(db.write()).await.expect("down");
    assert_eq!(schema(&db).await, [], "nothing is left");
    angarium_migration::up(db.write()).await.expect("up again");
    assert_eq!(schema(&db).await, first);
    db.close().await;
}

async fn many_at_once(db: Database) {
    let migrators = (0..8).map(|_| {
        let db = db.clone();
        tokio::spawn(async move { angarium_migration::up(db.write()).await })
    });
    for migrator in migrators.collect::<Vec<_>>() {
        migrator.await.expect("no panic").expect("each finds the schema right in the end");
    }
    assert!(angarium_migration::pending(db.read()).await.expect("it can be asked").is_empty());
    db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_goes_up_down_and_up_again() {
    let (db, directory) = sqlite().await;
    up_down_up(db).await;
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_goes_up_down_and_up_again() {
    up_down_up(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_takes_many_migrators_at_once() {
    let (db, directory) = sqlite().await;
    many_at_once(db).await;
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_takes_many_migrators_at_once() {
    many_at_once(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_away_from_a_sqlite_file() {
    let (db, directory) = sqlite().await;
    let url = format!("sqlite://{}", directory.join("test.db").display());
    let refused = Database::open(&url, 1).await.expect_err("the file is in use").to_string();
    assert!(refused.contains("another process has the database") && refused.contains("test.db"), "{refused}");
    db.close().await;
    let again = Database::open(&url, 1).await.expect("it is free again");
    again.close().await;
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}
