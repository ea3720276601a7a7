//! Subscriptions.

use sea_orm_migration::prelude::*;

use crate::columns::{
    big, big_null, bytes_null, drop_tables, flag, id, int, json, json_null, references, run, table, text_null, uuid,
    uuid_null, word,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut subscription = table(
            "subscription",
            vec![
                id(),
                uuid("workspace_id"),
                uuid("endpoint_id"),
                text_null("name"),
                text_null("description"),
                text_null("owner_id"),
                json("event_types"),
                json_null("channels"),
                text_null("filter"),
                json_null("payload_fields"),
                text_null("metadata"),
                json_null("retry_policy"),
                text_null("service"),
                flag("enabled"),
                big_null("held_since"),
                big_null("expires_at"),
                big_null("expiry_due_at"),
                big_null("expired_at"),
                word("confirmation"),
                big_null("confirmed_at"),
                big_null("confirmation_expires_at"),
                int("version"),
                int("revision"),
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
        let mut revision = table(
            "subscription_revision",
            [
                uuid("subscription_id"),
                int("version"),
                uuid("endpoint_id"),
                json_null("payload_fields"),
                big("created_at"),
            ],
        );
        revision
            .primary_key(Index::create().col(Alias::new("subscription_id")).col(Alias::new("version")))
            .foreign_key(&mut references("subscription_revision", "subscription_id", "subscription"));
        manager.create_table(revision).await?;
        let mut event_id = uuid("event_id");
        event_id.primary_key();
        manager
            .create_table(table(
                "confirmation",
                [
                    event_id,
                    uuid("workspace_id"),
                    uuid("subscription_id"),
                    bytes_null("token_hash"),
                    big("created_at"),
                    big_null("expires_at"),
                    big_null("ended_at"),
                    flag("used"),
                ],
            ))
            .await?;
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
                // Whose deliveries an endpoint has, those of subscriptions that have moved on included.
                "CREATE INDEX subscription_revision_endpoint ON subscription_revision (endpoint_id, subscription_id)",
                // Whose end comes next.
                "CREATE INDEX subscription_expiry ON subscription (expiry_due_at, id) \
                 WHERE expiry_due_at IS NOT NULL AND deleted_at IS NULL",
                "CREATE UNIQUE INDEX confirmation_token ON confirmation (token_hash) WHERE token_hash IS NOT NULL",
                "CREATE INDEX confirmation_workspace ON confirmation (workspace_id, event_id)",
                "CREATE INDEX confirmation_ended ON confirmation (ended_at) WHERE ended_at IS NOT NULL",
                "CREATE INDEX confirmation_subscription ON confirmation (subscription_id, created_at)",
                // Whose token dies next.
                "CREATE INDEX confirmation_open ON confirmation (expires_at) \
                 WHERE ended_at IS NULL AND expires_at IS NOT NULL",
                "CREATE INDEX subscription_held ON subscription (held_since) WHERE NOT enabled",
                "CREATE INDEX subscription_endpoint ON subscription (endpoint_id, created_at, id)",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["confirmation", "subscription_revision", "subscription"]).await
    }
}
