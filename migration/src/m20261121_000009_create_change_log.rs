//! What changed, for the live streams.

use sea_orm_migration::prelude::*;

use crate::columns::{big, drop_tables, json, run, table, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut seq = big("seq");
        seq.primary_key().auto_increment();
        manager.create_table(table("change_log", [seq, uuid("workspace_id"), big("at"), json("changes")])).await?;
        run(
            manager,
            &[
                "CREATE INDEX change_log_workspace ON change_log (workspace_id, seq)",
                "CREATE INDEX change_log_at ON change_log (at)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["change_log"]).await
    }
}
