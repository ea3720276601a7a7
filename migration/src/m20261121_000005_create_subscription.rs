//! Subscriptions.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, drop_tables, flag, id, int, json, json_null, references, run, table, text_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut subscription = table(
            "subscription",
            [
                id(),
                uuid("workspace_id"),
                uuid("endpoint_id"),
                text_null("name"),
                text_null("description"),
                text_null("owner_id"),
                json("event_types"),
                json_null("channels"),
                text_null("metadata"),
                json_null("retry_policy"),
                text_null("service"),
                flag("enabled"),
                big_null("expires_at"),
                int("version"),
                uuid_null("created_by"),
                big("created_at"),
                big("updated_at"),
                big_null("deleted_at"),
            ],
        );
        subscription
            .foreign_key(&mut references("subscription", "workspace_id", "workspace"))
            .foreign_key(&mut references("subscription", "endpoint_id", "endpoint"));
        manager.create_table(subscription).await?;
        run(
            manager,
            &[
                "CREATE INDEX subscription_workspace ON subscription (workspace_id, created_at, id)",
                // Ordered by name, those without one first, and by end, those without one last: where nulls go differs
                // between the databases.
                "CREATE INDEX subscription_workspace_name ON subscription (workspace_id, COALESCE(name, ''), id)",
                "CREATE INDEX subscription_workspace_end \
                 ON subscription (workspace_id, COALESCE(expires_at, 9223372036854775807), id)",
                "CREATE INDEX subscription_workspace_updated ON subscription (workspace_id, updated_at, id)",
                "CREATE INDEX subscription_endpoint ON subscription (endpoint_id, created_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["subscription"]).await
    }
}
