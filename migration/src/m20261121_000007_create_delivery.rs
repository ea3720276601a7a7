//! Deliveries and their attempts. No foreign keys: these are the hot tables, and rows outlive what they name.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, drop_tables, flag, id, int, int_null, json_null, run, table, text, text_null, uuid, uuid_null, word,
    word_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(table(
                "delivery",
                [
                    id(),
                    uuid("workspace_id"),
                    uuid("event_id"),
                    uuid("endpoint_id"),
                    uuid("subscription_id"),
                    int("shard"),
                    big("seq"),
                    word("status"),
                    text_null("status_reason"),
                    word("trigger"),
                    uuid_null("replay_id"),
                    text("event_type"),
                    int("attempt_count"),
                    int("round"),
                    int("round_attempts"),
                    big_null("next_attempt_at"),
                    big_null("last_attempt_at"),
                    int_null("response_status_code"),
                    big("created_at"),
                    big("updated_at"),
                    big_null("completed_at"),
                ],
            ))
            .await?;
        manager
            .create_table(table(
                "attempt",
                [
                    id(),
                    uuid("workspace_id"),
                    uuid("delivery_id"),
                    int("number"),
                    word("trigger"),
                    big("started_at"),
                    big("completed_at"),
                    int("duration_ms"),
                    text_null("signature"),
                    text_null("trace_parent"),
                    int("endpoint_version"),
                    int("subscription_version"),
                    word_null("error_code"),
                    text_null("error_message"),
                    int_null("response_status_code"),
                    json_null("response_headers"),
                    text_null("response_body"),
                    flag("response_body_truncated"),
                ],
            ))
            .await?;
        // Publish order. A sequence of PostgreSQL does not make concurrent writers wait for each other; SQLite has one
        // writer, so a row does as well there.
        let order = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "CREATE SEQUENCE delivery_seq AS bigint CACHE 1",
            _ => "CREATE TABLE delivery_seq (value bigint NOT NULL)",
        };
        run(
            manager,
            &[
                order,
                // The line of an endpoint, and, skipping from endpoint to endpoint, who has one.
                "CREATE INDEX delivery_line ON delivery (shard, endpoint_id, seq) \
                 WHERE status = 'PENDING' AND next_attempt_at IS NULL",
                // What stands in a STRICT line again.
                "CREATE INDEX delivery_again ON delivery (endpoint_id, seq) WHERE status = 'RETRYING'",
                // Tests that were not sent yet.
                "CREATE INDEX delivery_test ON delivery (created_at) \
                 WHERE trigger = 'TEST' AND status = 'PENDING' AND next_attempt_at IS NULL",
                // What waits for a time.
                "CREATE INDEX delivery_due ON delivery (shard, next_attempt_at) WHERE next_attempt_at IS NOT NULL",
                "CREATE INDEX delivery_endpoint_due ON delivery (endpoint_id, next_attempt_at) \
                 WHERE next_attempt_at IS NOT NULL",
                "CREATE INDEX delivery_subscription_due ON delivery (subscription_id, next_attempt_at) \
                 WHERE next_attempt_at IS NOT NULL",
                // The part of an endpoint's backlog that is not in its line.
                "CREATE INDEX delivery_waiting ON delivery (endpoint_id, created_at) WHERE next_attempt_at IS NOT NULL",
                "CREATE INDEX delivery_workspace ON delivery (workspace_id, created_at, id)",
                "CREATE INDEX delivery_workspace_unusual ON delivery (workspace_id, status, created_at, id) \
                 WHERE status <> 'SUCCEEDED'",
                // Not of what is new, which is most of what there ever was.
                "CREATE INDEX delivery_workspace_unusual_updated ON delivery (workspace_id, status, updated_at, id) \
                 WHERE status <> 'SUCCEEDED' AND status <> 'PENDING'",
                "CREATE INDEX delivery_workspace_type ON delivery (workspace_id, event_type, created_at, id)",
                "CREATE INDEX delivery_replay ON delivery (replay_id, created_at, id) WHERE replay_id IS NOT NULL",
                "CREATE INDEX delivery_endpoint ON delivery (endpoint_id, created_at, id)",
                "CREATE INDEX delivery_subscription ON delivery (subscription_id, created_at, id)",
                "CREATE INDEX delivery_event ON delivery (event_id, created_at, id)",
                // What became final, counted without reading the rows. Of a workspace or a subscription, that of all of
                // its endpoints: every index more costs each delivery as much as a tenth of itself.
                "CREATE INDEX delivery_endpoint_completed ON delivery \
                 (endpoint_id, completed_at, status, workspace_id, subscription_id) WHERE completed_at IS NOT NULL",
                "CREATE INDEX attempt_delivery ON attempt (delivery_id, number)",
            ],
        )
        .await?;
        if manager.get_database_backend() == sea_orm::DbBackend::Sqlite {
            run(manager, &["INSERT INTO delivery_seq (value) VALUES (0)"]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["attempt", "delivery"]).await?;
        let order = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => "DROP SEQUENCE delivery_seq",
            _ => "DROP TABLE delivery_seq",
        };
        run(manager, &[order]).await
    }
}
