//! Lists that grow without end, a page at a time: each page begins behind a place, so that rows that come in between neither
//! repeat others nor hide them.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{WorkerRow, worker_row};
use crate::{
    db::{Db, DbError},
    params,
};

/// A page of processes, latest first, without those that stopped where they are not asked for: those behind `after`, which is
/// when one started and its id.
///
/// # Errors
/// When the database cannot answer.
pub async fn workers(
    db: &Db,
    with_stopped: bool,
    limit: u32,
    after: Option<(DateTime<Utc>, String)>,
) -> Result<Vec<WorkerRow>, DbError> {
    let (started_at, id) = after.unzip();
    db.fetch_all(
        "-- page_of_workers
         SELECT * FROM workers
         WHERE ($1 IS NULL OR started_at < $1 OR (started_at = $1 AND id < $2)) AND ($4 OR stopped_at IS NULL)
         ORDER BY started_at DESC, id DESC LIMIT $3",
        &params![started_at, id, limit, with_stopped],
    )
    .await?
    .iter()
    .map(worker_row)
    .collect()
}

/// One change that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditLine {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: `NAME (command line)`, or the name of a token.
    pub actor: String,
    /// What, as a stable word.
    pub action: String,
    /// To what.
    pub subject: String,
    /// In words.
    pub detail: Option<String>,
}

/// Which changes, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// By this actor.
    pub actor: Option<String>,
    /// Of this kind.
    pub action: Option<String>,
    /// Made before the one of this number.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// A page of the audit log.
///
/// # Errors
/// When the database cannot answer.
pub async fn audit(db: &Db, filter: &AuditFilter) -> Result<Vec<AuditLine>, DbError> {
    db.fetch_all(
        "-- page_of_audit_log
         SELECT id, at, actor, action, subject, detail FROM audit_log
         WHERE ($1 IS NULL OR id < $1) AND ($2 IS NULL OR actor = $2) AND ($3 IS NULL OR action = $3)
         ORDER BY id DESC LIMIT $4",
        &params![
            filter.before,
            filter.actor.as_deref(),
            filter.action.as_deref(),
            filter.limit
        ],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(AuditLine {
            id: row.get("id")?,
            at: row.get("at")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            subject: row.get("subject")?,
            detail: row.get("detail")?,
        })
    })
    .collect()
}
