//! The catalogue of event types.

use sea_orm_migration::prelude::*;

use crate::columns::{big, big_null, drop_tables, id, run, table, text, text_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(table(
                "event_type",
                [
                    id(),
                    text("name"),
                    text_null("service"),
                    text_null("description"),
                    text_null("sample_payload"),
                    text_null("schema"),
                    big_null("archived_at"),
                    big("created_at"),
                    big("updated_at"),
                ],
            ))
            .await?;
        run(manager, &["CREATE UNIQUE INDEX event_type_name ON event_type (name)"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["event_type"]).await
    }
}
