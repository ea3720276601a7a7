//! What changed, for the live streams.

use sea_orm_migration::prelude::*;

use crate::columns::{big, drop_tables, json_text, run, table, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut seq = big("seq");
        seq.primary_key().auto_increment();
        manager.create_table(table("change_log", [seq, uuid("workspace_id"), big("at"), json_text("changes")])).await?;
        // The transaction that wrote a row tells exactly who can see it; the number, drawn before the commit, does not.
        // SQLite has one writer, whose numbers are committed in their order.
        let by_workspace: &[&str] = match manager.get_database_backend() {
            sea_orm::DbBackend::Postgres => &[
                "ALTER TABLE change_log ADD COLUMN xid bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)",
                "CREATE INDEX change_log_workspace ON change_log (workspace_id, xid, seq)",
                // Much faster than the default and as good. A server that was built without it does without.
                "DO $$ BEGIN ALTER TABLE change_log ALTER COLUMN changes SET COMPRESSION lz4; \
                 EXCEPTION WHEN feature_not_supported THEN NULL; END $$",
            ],
            _ => &["CREATE INDEX change_log_workspace ON change_log (workspace_id, seq)"],
        };
        run(manager, by_workspace).await?;
        run(manager, &["CREATE INDEX change_log_at ON change_log (at)"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["change_log"]).await
    }
}
