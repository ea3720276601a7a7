//! Events that are being deleted with their deliveries.

use sea_orm_migration::prelude::*;

use crate::columns::{big, drop_tables, run, table, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut event = uuid("event_id");
        event.primary_key();
        manager.create_table(table("event_deletion", [event, uuid("workspace_id"), big("created_at")])).await?;
        run(manager, &["CREATE INDEX event_deletion_created ON event_deletion (created_at, event_id)"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["event_deletion"]).await
    }
}
