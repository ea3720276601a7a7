//! Events, and the keys that make publishing them safe to repeat.

use sea_orm_migration::prelude::*;

use crate::columns::{big, bytes, bytes_null, drop_tables, flag, id, json, run, table, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(table(
                "event",
                [
                    id(),
                    uuid("workspace_id"),
                    text("event_type"),
                    text("payload"),
                    json("channels"),
                    text_null("idempotency_key"),
                    big("occurred_at"),
                    flag("test"),
                    big("created_at"),
                    bytes_null("sealed"),
                    text_null("trace_parent"),
                    text_null("trace_state"),
                ],
            ))
            .await?;
        let mut key = table(
            "idempotency_key",
            [uuid("workspace_id"), text("key"), uuid("event_id"), bytes("fingerprint"), big("created_at")],
        );
        key.primary_key(Index::create().col(Alias::new("workspace_id")).col(Alias::new("key")));
        manager.create_table(key).await?;
        run(
            manager,
            &[
                "CREATE INDEX event_workspace ON event (workspace_id, created_at, id)",
                "CREATE INDEX event_workspace_type ON event (workspace_id, event_type, created_at, id)",
                "CREATE INDEX event_workspace_test ON event (workspace_id, created_at, id) WHERE test",
                "CREATE INDEX event_workspace_key ON event (workspace_id, idempotency_key) \
                 WHERE idempotency_key IS NOT NULL",
                "CREATE INDEX idempotency_key_created ON idempotency_key (created_at)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["idempotency_key", "event"]).await
    }
}
