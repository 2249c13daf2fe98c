//! How old what is known of the sources is, and when anything was judged last.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::db::{Db, DbError};

/// How far a source has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ingestion {
    /// Its name.
    pub source: String,
    /// What happened before that has been seen: the beginning of the latest scan that came to its end. Where none is kept, when
    /// the scans got on last.
    pub seen_until: DateTime<Utc>,
    /// When the latest scan began, however it ended.
    pub scanned_at: DateTime<Utc>,
}

/// All sources with a scan that is kept, by name. One that was switched off has none once its last one is pruned.
///
/// # Errors
/// When the database cannot answer.
pub async fn ingestion(db: &Db) -> Result<Vec<Ingestion>, DbError> {
    let rows = db
        .fetch_all(
            "-- ingestion_by_source
             SELECT * FROM (
                 SELECT s.name AS source,
                        COALESCE((SELECT c.started_at FROM discovery_cycles c
                                  WHERE c.source = s.name AND c.finished_at IS NOT NULL AND c.error IS NULL
                                  ORDER BY c.started_at DESC LIMIT 1), s.updated_at) AS seen_until,
                        (SELECT max(c.started_at) FROM discovery_cycles c WHERE c.source = s.name) AS scanned_at
                 FROM sources s) AS scanned
             WHERE scanned_at IS NOT NULL ORDER BY source",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Ingestion {
                source: row.get("source")?,
                seen_until: row.get("seen_until")?,
                scanned_at: row.get("scanned_at")?,
            })
        })
        .collect()
}

/// When the latest verdict was written.
///
/// # Errors
/// When the database cannot answer.
pub async fn last_verdict(db: &Db) -> Result<Option<DateTime<Utc>>, DbError> {
    let row = db
        .fetch_optional("-- last_verdict\nSELECT max(created_at) AS at FROM verdicts", &[])
        .await?;
    row.map_or(Ok(None), |row| row.get("at"))
}
