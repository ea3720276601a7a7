//! The few kinds of column that the tables are made of.

use sea_orm_migration::prelude::*;

fn column(name: &str, set_type: impl FnOnce(&mut ColumnDef) -> &mut ColumnDef) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    set_type(&mut column);
    column
}

/// A UUIDv7 that is the primary key.
pub(crate) fn id() -> ColumnDef {
    let mut id = uuid("id");
    id.primary_key();
    id
}

/// A UUID.
pub(crate) fn uuid(name: &str) -> ColumnDef {
    column(name, |column| column.uuid().not_null())
}

/// A UUID or null.
pub(crate) fn uuid_null(name: &str) -> ColumnDef {
    column(name, |column| column.uuid().null())
}

/// Text of any length.
pub(crate) fn text(name: &str) -> ColumnDef {
    column(name, |column| column.text().not_null())
}

/// Text of any length or null.
pub(crate) fn text_null(name: &str) -> ColumnDef {
    column(name, |column| column.text().null())
}

/// One of a few words.
pub(crate) fn word(name: &str) -> ColumnDef {
    column(name, |column| column.string_len(24).not_null())
}

/// One of a few words, or null.
pub(crate) fn word_null(name: &str) -> ColumnDef {
    column(name, |column| column.string_len(24).null())
}

/// A small JSON document that only Angarium writes.
pub(crate) fn json(name: &str) -> ColumnDef {
    column(name, |column| column.json_binary().not_null())
}

/// JSON that is written once and read as it is: PostgreSQL keeps its text and does not take it apart.
pub(crate) fn json_text(name: &str) -> ColumnDef {
    column(name, |column| column.json().not_null())
}

/// A small JSON document or null.
pub(crate) fn json_null(name: &str) -> ColumnDef {
    column(name, |column| column.json_binary().null())
}

/// Bytes.
pub(crate) fn bytes(name: &str) -> ColumnDef {
    column(name, |column| column.var_binary(1024).not_null())
}

/// Bytes of any length, or null.
pub(crate) fn bytes_null(name: &str) -> ColumnDef {
    column(name, |column| column.blob().null())
}

/// A 32-bit number.
pub(crate) fn int(name: &str) -> ColumnDef {
    column(name, |column| column.integer().not_null())
}

/// A 32-bit number or null.
pub(crate) fn int_null(name: &str) -> ColumnDef {
    column(name, |column| column.integer().null())
}

/// A 64-bit number: an instant, a length of time, a place in an order.
pub(crate) fn big(name: &str) -> ColumnDef {
    column(name, |column| column.big_integer().not_null())
}

/// A 64-bit number or null.
pub(crate) fn big_null(name: &str) -> ColumnDef {
    column(name, |column| column.big_integer().null())
}

/// True or false.
pub(crate) fn flag(name: &str) -> ColumnDef {
    column(name, |column| column.boolean().not_null())
}

/// A table of these columns.
pub(crate) fn table(name: &str, columns: impl IntoIterator<Item = ColumnDef>) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(Alias::new(name));
    for column in columns {
        table.col(column);
    }
    table.take()
}

/// A reference to `id` of another table that forbids deleting what is referred to.
pub(crate) fn references(from: &str, column: &str, to: &str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(Alias::new(from), Alias::new(column))
        .to(Alias::new(to), Alias::new("id"))
        .on_delete(ForeignKeyAction::Restrict)
        .take()
}

/// Drops the tables in the given order.
pub(crate) async fn drop_tables(manager: &SchemaManager<'_>, names: &[&str]) -> Result<(), DbErr> {
    for name in names {
        manager.drop_table(Table::drop().table(Alias::new(*name)).take()).await?;
    }
    Ok(())
}

/// Runs statements that both databases read alike; indexes with a condition have no builder that says it as plainly.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
