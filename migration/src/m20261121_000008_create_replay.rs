//! Past events being sent again.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, drop_tables, id, int, int_null, json_null, run, table, text, text_null, uuid, uuid_null, word,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(table(
                "replay",
                [
                    id(),
                    uuid("workspace_id"),
                    word("status"),
                    text("target"),
                    json_null("subscription_ids"),
                    int_null("rate_per_second"),
                    int_null("matched_count"),
                    int("created_count"),
                    int("item_count"),
                    big_null("planned_at"),
                    uuid_null("planned_id"),
                    big_null("next_batch_at"),
                    text_null("failure_reason"),
                    uuid_null("created_by"),
                    big("created_at"),
                    big_null("completed_at"),
                ],
            ))
            .await?;
        let mut item =
            table("replay_item", [uuid("replay_id"), uuid("event_id"), uuid("endpoint_id"), uuid("subscription_id")]);
        let mut key = Index::create();
        for column in ["replay_id", "event_id", "endpoint_id", "subscription_id"] {
            key.col(Alias::new(column));
        }
        item.primary_key(&mut key);
        manager.create_table(item).await?;
        run(
            manager,
            &[
                "CREATE INDEX replay_workspace ON replay (workspace_id, created_at, id)",
                "CREATE INDEX replay_running ON replay (workspace_id, id) WHERE status = 'RUNNING'",
                // Stopped with a part of the plan left over.
                "CREATE INDEX replay_left ON replay (id) WHERE status IN ('CANCELED', 'FAILED') AND item_count > 0",
                // An endpoint gets an event once per replay.
                "CREATE UNIQUE INDEX delivery_replay_once ON delivery (replay_id, event_id, endpoint_id) \
                 WHERE replay_id IS NOT NULL",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &["DROP INDEX delivery_replay_once"]).await?;
        drop_tables(manager, &["replay_item", "replay"]).await
    }
}
