//! What was read of a session, by whom.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    db::{Db, DbError, Row, Tx},
    domain::{
        reading::{Reader, Reading},
        session::{Generation, SessionKey},
    },
    params,
};

/// A reading as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReading {
    /// What was asked and said.
    pub reading: Reading,
    /// Who read.
    pub reader: Reader,
    /// Items that did not hold, and why.
    pub dropped: Vec<String>,
}

/// Stores the reading of a generation; the first one stays.
///
/// # Errors
/// When the database refuses it.
pub async fn save(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    stored: &StoredReading,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- save_reading
         INSERT INTO readings (source, session_id, generation, reader, reading, dropped, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, session_id, generation) DO NOTHING",
        &params![
            &key.source,
            &key.session_id,
            generation,
            json(&stored.reader)?,
            json(&stored.reading)?,
            json(&stored.dropped)?,
            now
        ],
    )
    .await?;
    Ok(())
}

/// The reading of a generation, or `None` before it was read.
///
/// # Errors
/// When the database cannot answer, or the row does not hold a reading.
pub async fn load(db: &Db, key: &SessionKey, generation: Generation) -> Result<Option<StoredReading>, DbError> {
    let row = db
        .fetch_optional(
            "-- load_reading
             SELECT reader, reading, dropped FROM readings WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    row.map(|row| {
        Ok(StoredReading {
            reading: parse(&row, "reading")?,
            reader: parse(&row, "reader")?,
            dropped: parse(&row, "dropped")?,
        })
    })
    .transpose()
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<Value, DbError> {
    serde_json::to_value(value).map_err(|error| DbError::other(format!("cannot write a value as JSON: {error}")))
}

pub(super) fn parse<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, DbError> {
    let value: Value = row.get(column)?;
    serde_json::from_value(value).map_err(|error| row.bad_json(column, &error))
}
