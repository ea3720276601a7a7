//! The installation with its shards, and the running nodes.

use sea_orm_migration::prelude::*;

use crate::columns::{big, drop_tables, flag, id, int, run, table, uuid, uuid_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut one_row_id = ColumnDef::new(Alias::new("id"));
        one_row_id.small_integer().not_null().primary_key();
        manager
            .create_table(table(
                "installation",
                [
                    one_row_id,
                    uuid("key"),
                    int("shard_count"),
                    big("catalogue_version"),
                    big("membership_version"),
                    big("created_at"),
                ],
            ))
            .await?;
        let mut shard_id = int("id");
        shard_id.primary_key();
        manager.create_table(table("shard", [shard_id, uuid_null("owner_id"), big("epoch")])).await?;
        manager.create_table(table("node", [id(), big("started_at"), big("lease_until"), flag("draining")])).await?;
        run(manager, &["CREATE INDEX shard_owner ON shard (owner_id)"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["node", "shard", "installation"]).await
    }
}
