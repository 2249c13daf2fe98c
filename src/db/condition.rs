//! In which condition a database is, for people. Changes nothing.

use super::{Db, DbError, Sql};

/// How an embedded database keeps its journal: `wal`, unless somebody changed it.
///
/// # Errors
/// When the database cannot answer.
pub async fn journal_mode(db: &Db) -> Result<String, DbError> {
    let sql = Sql::each("PRAGMA journal_mode", "-- journal_mode\nSELECT 'wal' AS journal_mode");
    db.fetch_optional(sql, &[])
        .await?
        .ok_or_else(|| DbError::other("PRAGMA journal_mode gave no row"))?
        .get("journal_mode")
}

/// The first thing that is wrong with the pages of an embedded database. Reads all of it.
///
/// # Errors
/// When the database cannot answer, because it is damaged or for another reason.
pub async fn first_damage(db: &Db) -> Result<Option<String>, DbError> {
    let sql = Sql::each("PRAGMA quick_check(1)", "-- quick_check\nSELECT 'ok' AS quick_check");
    let said: String = db
        .fetch_optional(sql, &[])
        .await?
        .ok_or_else(|| DbError::other("PRAGMA quick_check gave no row"))?
        .get("quick_check")?;
    Ok((said != "ok").then_some(said))
}

/// Takes the write lock and gives it back: nothing is written.
///
/// # Errors
/// When the file cannot be written, or another process holds the lock for too long.
pub async fn take_write_lock(db: &Db) -> Result<(), DbError> {
    drop(db.begin().await?);
    Ok(())
}
