//! The content that a generation was judged by, compressed.

use std::sync::Arc;

use super::compress;
use crate::{
    db::{Db, DbError, Tx},
    domain::{
        observation::Snapshot,
        session::{Generation, SessionKey},
    },
    params,
};

/// A snapshot as it is stored.
#[derive(Debug)]
pub struct Packed {
    content: Vec<u8>,
    observations: u64,
}

impl Packed {
    /// Bytes, compressed.
    pub fn bytes(&self) -> usize {
        self.content.len()
    }
}

/// Compresses a snapshot, before the transaction that stores it and off the threads that everything else runs on: a large one
/// takes its time, and nobody writes meanwhile who waits for a transaction.
///
/// # Errors
/// When it was interrupted.
pub async fn pack(snapshot: &Arc<Snapshot>) -> Result<Packed, DbError> {
    let snapshot = Arc::clone(snapshot);
    let packed = tokio::task::spawn_blocking(move || {
        Ok(Packed {
            content: compress::pack(&*snapshot)?,
            observations: snapshot.observations.len() as u64,
        })
    });
    packed
        .await
        .unwrap_or_else(|_| Err(DbError::other("compressing a snapshot was interrupted")))
}

/// Stores what was read; the first snapshot of a generation stays.
///
/// # Errors
/// When the database refuses it.
pub async fn save(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    packed: &Packed,
    digest: &str,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- save_snapshot
         INSERT INTO snapshots (source, session_id, generation, digest, observations, content, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (source, session_id, generation) DO NOTHING",
        &params![
            &key.source,
            &key.session_id,
            generation,
            digest,
            packed.observations,
            packed.content.clone(),
            now
        ],
    )
    .await?;
    Ok(())
}

/// The snapshot of a generation and its digest, or `None` before it was read.
///
/// # Errors
/// When the database cannot answer, or the row does not hold a snapshot.
pub async fn load(db: &Db, key: &SessionKey, generation: Generation) -> Result<Option<(Snapshot, String)>, DbError> {
    let row = db
        .fetch_optional(
            "-- load_snapshot
             SELECT digest, content FROM snapshots WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    row.map(|row| Ok((compress::unpack(&row, "content")?, row.get("digest")?)))
        .transpose()
}
/// Whether two generations saw other contents; `None` where one of them is no longer kept.
///
/// # Errors
/// When the database cannot answer.
pub async fn differ(
    tx: &mut Tx,
    key: &SessionKey,
    one: Generation,
    other: Generation,
) -> Result<Option<bool>, DbError> {
    let rows = tx
        .fetch_all(
            "-- snapshot_digests
             SELECT digest FROM snapshots WHERE source = $1 AND session_id = $2 AND generation IN ($3, $4)",
            &params![&key.source, &key.session_id, one, other],
        )
        .await?;
    let [one, other] = &rows[..] else { return Ok(None) };
    Ok(Some(one.get::<String>("digest")? != other.get::<String>("digest")?))
}
