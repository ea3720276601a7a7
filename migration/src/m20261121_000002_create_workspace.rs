//! Tenants and their credentials.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, bytes, drop_tables, id, json, json_null, references, run, table, text, text_null, uuid_null, word,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(table(
                "workspace",
                [
                    id(),
                    text_null("external_id"),
                    text("name"),
                    json_null("retry_policy"),
                    big("hold_max_ms"),
                    big("retention_ms"),
                    big("suspend_after_ms"),
                    big_null("max_subscription_lifetime_ms"),
                    json("rules"),
                    word("secret_visibility"),
                    word("subscription_confirmation"),
                    big("config_version"),
                    big("endpoint_count"),
                    big("subscription_count"),
                    big("created_at"),
                    big("updated_at"),
                    big_null("deleted_at"),
                ],
            ))
            .await?;
        let mut api_key = table(
            "api_key",
            [
                id(),
                uuid_null("workspace_id"),
                text("name"),
                word("prefix"),
                bytes("hash"),
                json("scopes"),
                big("created_at"),
                big_null("expires_at"),
                big_null("revoked_at"),
                big_null("last_used_at"),
            ],
        );
        manager
            .create_table(api_key.foreign_key(&mut references("api_key", "workspace_id", "workspace")).take())
            .await?;
        run(
            manager,
            &[
                "CREATE UNIQUE INDEX workspace_external_id ON workspace (external_id)",
                "CREATE INDEX workspace_deleted ON workspace (deleted_at) WHERE deleted_at IS NOT NULL",
                "CREATE INDEX workspace_created ON workspace (created_at, id)",
                "CREATE UNIQUE INDEX api_key_hash ON api_key (hash)",
                "CREATE INDEX api_key_workspace ON api_key (workspace_id, created_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["api_key", "workspace"]).await
    }
}
