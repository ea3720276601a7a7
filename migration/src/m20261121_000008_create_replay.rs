//! Past events being sent again.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, drop_tables, id, int, int_null, run, table, text, text_null, uuid, uuid_null, word,
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
                    int_null("rate_per_second"),
                    int_null("matched_count"),
                    int("created_count"),
                    text_null("failure_reason"),
                    uuid_null("created_by"),
                    big("created_at"),
                    big_null("completed_at"),
                ],
            ))
            .await?;
        run(manager, &["CREATE INDEX replay_workspace ON replay (workspace_id, created_at, id)"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["replay"]).await
    }
}
