//! What the database says when it fails.

use sea_orm::DbErr;

/// Whether the transaction was ended so that another could go on; nothing of it is there, and it may be done again.
///
/// Source: error code 40P01, `deadlock_detected`.
pub(crate) fn is_deadlock(error: &DbErr) -> bool {
    use sea_orm::RuntimeErr::SqlxError;
    let (DbErr::Exec(SqlxError(inner)) | DbErr::Query(SqlxError(inner))) = error else { return false };
    inner.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code).is_some_and(|code| code == "40P01")
}

/// Whether the database was not there to ask, so that asking for less cannot help.
///
/// Source: class 08 of the error codes of PostgreSQL, and 57P01 to 57P03, which say that the server shuts down.
pub fn is_connection_lost(error: &DbErr) -> bool {
    use sea_orm::RuntimeErr::SqlxError;
    use sea_orm::sqlx::Error;
    let inner = match error {
        DbErr::ConnectionAcquire(_) => return true,
        DbErr::Conn(SqlxError(inner)) | DbErr::Exec(SqlxError(inner)) | DbErr::Query(SqlxError(inner)) => inner,
        _ => return false,
    };
    match inner.as_ref() {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        Error::Database(refused) => {
            refused.code().is_some_and(|code| code.starts_with("08") || code.starts_with("57P0"))
        }
        _ => false,
    }
}
