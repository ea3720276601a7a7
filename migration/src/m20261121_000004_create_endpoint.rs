//! Endpoints, how they were, and their signing secrets.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, bytes, drop_tables, flag, id, int, int_null, json, references, run, table, text, text_null, uuid,
    uuid_null, word,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut endpoint = table(
            "endpoint",
            vec![
                id(),
                uuid("workspace_id"),
                int("shard"),
                text_null("name"),
                text_null("description"),
                text("url"),
                json("headers"),
                word("body_format"),
                word("ordering"),
                word("on_exhausted"),
                int("max_in_flight"),
                int_null("rate_limit_per_second"),
                int("timeout_ms"),
                word("signature_scheme"),
                flag("inline"),
                word("status"),
                text_null("status_reason"),
                big_null("held_since"),
                big_null("held_until"),
                int("version"),
                uuid_null("created_by"),
                big("created_at"),
                big("updated_at"),
                big_null("deleted_at"),
            ],
        );
        manager
            .create_table(endpoint.foreign_key(&mut references("endpoint", "workspace_id", "workspace")).take())
            .await?;
        let mut health = table(
            "endpoint_health",
            [
                uuid("endpoint_id"),
                uuid("workspace_id"),
                int("generation"),
                word("status"),
                int("recent"),
                int("consecutive_failures"),
                big_null("failing_since"),
                big_null("last_failure_at"),
                big_null("last_success_at"),
                int("opened"),
                big_null("probe_at"),
                big("updated_at"),
            ],
        );
        health.primary_key(Index::create().col(Alias::new("endpoint_id"))).foreign_key(&mut references(
            "endpoint_health",
            "endpoint_id",
            "endpoint",
        ));
        manager.create_table(health).await?;
        let mut revision = table(
            "endpoint_revision",
            [
                uuid("endpoint_id"),
                int("version"),
                text("url"),
                json("headers"),
                word("body_format"),
                word("signature_scheme"),
                big("created_at"),
            ],
        );
        revision
            .primary_key(Index::create().col(Alias::new("endpoint_id")).col(Alias::new("version")))
            .foreign_key(&mut references("endpoint_revision", "endpoint_id", "endpoint"));
        manager.create_table(revision).await?;
        let mut secret = table(
            "signing_secret",
            [
                id(),
                uuid("endpoint_id"),
                word("scheme"),
                bytes("sealed"),
                text_null("public_key"),
                text("hint"),
                big("created_at"),
                big_null("expires_at"),
            ],
        );
        manager
            .create_table(secret.foreign_key(&mut references("signing_secret", "endpoint_id", "endpoint")).take())
            .await?;
        run(
            manager,
            &[
                "CREATE INDEX endpoint_workspace ON endpoint (workspace_id, created_at, id)",
                // Ordered by name, those without one first: where nulls go differs between the databases.
                "CREATE INDEX endpoint_workspace_name ON endpoint (workspace_id, COALESCE(name, ''), id)",
                "CREATE INDEX endpoint_workspace_updated ON endpoint (workspace_id, updated_at, id)",
                "CREATE INDEX endpoint_health_workspace ON endpoint_health (workspace_id, status, endpoint_id)",
                "CREATE INDEX endpoint_held ON endpoint (held_since) WHERE status <> 'ACTIVE'",
                "CREATE INDEX signing_secret_endpoint ON signing_secret (endpoint_id, created_at)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["signing_secret", "endpoint_revision", "endpoint_health", "endpoint"]).await
    }
}
