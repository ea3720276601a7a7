//! Keys that make creating an object safe to repeat.

use sea_orm_migration::prelude::*;

use crate::columns::{big, bytes, bytes_null, drop_tables, run, table, text, uuid, uuid_null, word};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut key = table(
            "creation_key",
            [
                uuid("workspace_id"),
                word("object"),
                text("key"),
                bytes("fingerprint"),
                uuid("object_id"),
                bytes_null("secret"),
                uuid_null("created_by"),
                big("created_at"),
            ],
        );
        let columns = ["workspace_id", "object", "key"];
        let mut primary = Index::create();
        for column in columns {
            primary.col(Alias::new(column));
        }
        key.primary_key(&mut primary);
        manager.create_table(key).await?;
        run(manager, &["CREATE INDEX creation_key_created ON creation_key (created_at)"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["creation_key"]).await
    }
}
