//! What the systems of record were asked and what they answered.

use super::{
    compress,
    readings::{json, parse},
    totals,
};
use crate::{
    db::{Db, DbError, Tx},
    domain::{
        lookup::{Evidence, Fact, Facts, Lookup},
        session::{Generation, SessionKey},
    },
    params,
};

/// Appends evidence to a generation. Questions and answers must be masked already.
///
/// # Errors
/// When the database refuses it.
pub async fn append(
    tx: &mut Tx,
    key: &SessionKey,
    generation: Generation,
    evidence: &[Evidence],
) -> Result<(), DbError> {
    if evidence.is_empty() {
        return Ok(());
    }
    let row = tx
        .fetch_optional(
            "-- next_lookup_seq
             SELECT COALESCE(MAX(seq), 0) AS last FROM lookups WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    let mut seq: i64 = row.map_or(Ok(0), |row| row.get("last"))?;
    for item in evidence {
        seq += 1;
        tx.execute(
            "-- save_lookup
             INSERT INTO lookups (source, session_id, generation, seq, round, system, record, lookup, request, status, answer,
                                  asked_at, latency_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            &params![
                &key.source,
                &key.session_id,
                generation,
                seq,
                item.round,
                &item.lookup.system,
                &item.lookup.record,
                json(&item.lookup)?,
                &item.request,
                item.status.map(u32::from),
                json(&item.fact)?,
                item.at,
                item.latency_ms
            ],
        )
        .await?;
    }
    totals::add(tx, evidence).await
}

/// The evidence of a generation, in the order asked.
///
/// # Errors
/// When the database cannot answer, or a row does not hold evidence.
pub async fn load(db: &Db, key: &SessionKey, generation: Generation) -> Result<Vec<Evidence>, DbError> {
    let rows = db
        .fetch_all(
            "-- load_lookups
             SELECT round, lookup, request, status, answer, asked_at, latency_ms FROM lookups
             WHERE source = $1 AND session_id = $2 AND generation = $3 ORDER BY seq",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Evidence {
                lookup: parse(row, "lookup")?,
                request: row.get("request")?,
                status: row
                    .get::<Option<u32>>("status")?
                    .and_then(|status| u16::try_from(status).ok()),
                fact: parse(row, "answer")?,
                at: row.get("asked_at")?,
                latency_ms: row.get("latency_ms")?,
                round: row.get("round")?,
            })
        })
        .collect()
}

/// How often the systems of record were looked at: 1 more than the last round of any of them, 0 when nothing was asked.
///
/// # Errors
/// When the database cannot answer.
pub async fn looks(tx: &mut Tx, key: &SessionKey, generation: Generation) -> Result<u32, DbError> {
    let row = tx
        .fetch_optional(
            "-- count_looks
             SELECT COALESCE(MAX(round) + 1, 0) AS looks FROM lookups
             WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("looks"))
}

/// Stores the answers so far: the next system's job, or the next look, goes on from them.
///
/// # Errors
/// When the database refuses it.
pub async fn save_facts(tx: &mut Tx, key: &SessionKey, generation: Generation, facts: &Facts) -> Result<(), DbError> {
    let now = tx.now().await?;
    let content = compress::pack(&facts.iter().collect::<Vec<(&Lookup, &Fact)>>())?;
    tx.execute(
        "-- save_facts
         INSERT INTO facts (source, session_id, generation, content, updated_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (source, session_id, generation) DO UPDATE SET content = excluded.content, updated_at = excluded.updated_at",
        &params![&key.source, &key.session_id, generation, content, now],
    )
    .await?;
    Ok(())
}

/// The answers so far.
///
/// # Errors
/// When the database cannot answer, or the row does not hold facts.
pub async fn load_facts(db: &Db, key: &SessionKey, generation: Generation) -> Result<Facts, DbError> {
    let row = db
        .fetch_optional(
            "-- load_facts
             SELECT content FROM facts WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    let Some(row) = row else {
        return Ok(Facts::new());
    };
    let pairs: Vec<(Lookup, Fact)> = compress::unpack(&row, "content")?;
    Ok(pairs.into_iter().collect())
}

/// Drops the answers in clear once the verdict stands: the masked evidence stays.
///
/// # Errors
/// When the database refuses it.
pub async fn drop_facts(tx: &mut Tx, key: &SessionKey) -> Result<(), DbError> {
    tx.execute(
        "-- drop_facts\nDELETE FROM facts WHERE source = $1 AND session_id = $2",
        &params![&key.source, &key.session_id],
    )
    .await?;
    Ok(())
}
