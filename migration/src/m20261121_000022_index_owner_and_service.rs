//! Subscriptions are found by their owner, of whom a workspace may have thousands, and event types by their service.

use sea_orm_migration::prelude::*;

use crate::columns::run;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(
            manager,
            &[
                "CREATE INDEX subscription_owner ON subscription (workspace_id, owner_id, created_at, id) \
                 WHERE owner_id IS NOT NULL",
                "CREATE INDEX event_type_service ON event_type (service, name, id) WHERE service IS NOT NULL",
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &["DROP INDEX subscription_owner", "DROP INDEX event_type_service"]).await
    }
}
