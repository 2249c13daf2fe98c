//! Paid answers and the ledger of paid calls.
//!
//! The ledger's row is written before the call and the answer is stored before it is used, each in a transaction of its
//! own: a crash at any point repeats at most the calls in flight, and the ledger shows those as `lost`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::compress;
use crate::{
    db::{Db, DbError, Sql, Tx},
    domain::session::{Generation, SessionKey},
    params,
    ports::{ChatAnswer, Usage},
};

/// What a paid call is for.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Id of the ledger's row.
    pub id: Uuid,
    /// Hash of model and request.
    pub input_hash: &'a str,
    /// `reading`, `reading_repair`, `expert`.
    pub purpose: &'a str,
    /// Whom it is for.
    pub session: &'a SessionKey,
    /// Of which generation.
    pub generation: Generation,
    /// `llm:default`.
    pub upstream: &'a str,
    /// The configured model.
    pub model: &'a str,
    /// The process that calls.
    pub worker: &'a str,
    /// The most that it may cost, in millionths of the currency of the prices: what it counts as until it is answered.
    pub bound_micros: u64,
}

/// What a source's calls cost, in millionths of the currency of the prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Answered calls by their price, and lost ones by their bound: those may have been paid for.
    pub spent: u64,
    /// Calls under way, by their bound.
    pub under_way: u64,
}

// Two processes that ask at the same moment must not both be told that there is something left. In SQLite a transaction is
// the only one that writes.
const LOCK_BUDGET: Sql = Sql::each(
    "-- lock_budget\nSELECT $1 AS source",
    "-- lock_budget\nSELECT pg_advisory_xact_lock(hashtextextended('llm budget of ' || $1, 0))",
);

/// What the calls of a source cost that began since then. Until the end of the transaction nobody else is told.
///
/// # Errors
/// When the database cannot answer.
pub async fn spent_since(tx: &mut Tx, source: &str, since: DateTime<Utc>) -> Result<Spent, DbError> {
    tx.fetch_optional(LOCK_BUDGET, &params![source]).await?;
    let row = tx
        .fetch_optional(
            "-- llm_spent_since
             SELECT CAST(COALESCE(SUM(CASE state WHEN 'answered' THEN cost_micros WHEN 'lost' THEN bound_micros ELSE 0 END), 0)
                        AS bigint) AS spent,
                    CAST(COALESCE(SUM(CASE state WHEN 'started' THEN bound_micros ELSE 0 END), 0) AS bigint) AS under_way
             FROM llm_calls WHERE source = $1 AND started_at >= $2",
            &params![source, since],
        )
        .await?;
    row.map_or(Ok(Spent::default()), |row| {
        Ok(Spent {
            spent: row.get("spent")?,
            under_way: row.get("under_way")?,
        })
    })
}

/// The stored answer to exactly this question, if it was ever bought.
///
/// # Errors
/// When the database cannot answer.
pub async fn answer(db: &Db, input_hash: &str) -> Result<Option<ChatAnswer>, DbError> {
    let row = db
        .fetch_optional(
            "-- load_llm_answer\nSELECT answer FROM llm_answers WHERE input_hash = $1",
            &params![input_hash],
        )
        .await?;
    row.map(|row| compress::unpack(&row, "answer")).transpose()
}

/// Enters a call into the ledger, before it is made.
///
/// One job at a time works for a generation of a session: a call of it that is still open belongs to a run that died.
///
/// # Errors
/// When the database refuses it.
pub async fn start(tx: &mut Tx, call: &Call<'_>) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- mark_earlier_llm_calls_lost
         UPDATE llm_calls SET state = 'lost', detail = 'its run died before the answer was stored', finished_at = $4
         WHERE source = $1 AND session_id = $2 AND generation = $3 AND state = 'started'",
        &params![&call.session.source, &call.session.session_id, call.generation, now],
    )
    .await?;
    tx.execute(
        "-- start_llm_call
         INSERT INTO llm_calls (id, input_hash, purpose, source, session_id, generation, upstream, model, worker, state, started_at,
                                bound_micros)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'started', $10, $11)",
        &params![
            call.id,
            call.input_hash,
            call.purpose,
            &call.session.source,
            &call.session.session_id,
            call.generation,
            call.upstream,
            call.model,
            call.worker,
            now,
            call.bound_micros
        ],
    )
    .await?;
    Ok(())
}

/// Stores an answer under its question's hash and closes the ledger's row.
///
/// # Errors
/// When the database refuses it.
pub async fn save_answer(
    tx: &mut Tx,
    id: Uuid,
    input_hash: &str,
    answer: &ChatAnswer,
    cost_micros: u64,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    let content = compress::pack(answer)?;
    tx.execute(
        "-- save_llm_answer
         INSERT INTO llm_answers (input_hash, model, answer, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (input_hash) DO NOTHING",
        &params![input_hash, &answer.model, content, now],
    )
    .await?;
    let Usage {
        prompt_tokens,
        completion_tokens,
    } = answer.usage;
    tx.execute(
        "-- close_llm_call
         UPDATE llm_calls SET state = 'answered', prompt_tokens = $2, completion_tokens = $3, cost_micros = $4, finished_at = $5
         WHERE id = $1",
        &params![id, prompt_tokens, completion_tokens, cost_micros, now],
    )
    .await?;
    Ok(())
}

/// Closes the ledger's row of a call that brought no answer.
///
/// # Errors
/// When the database refuses it.
pub async fn fail(tx: &mut Tx, id: Uuid, detail: &str) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- fail_llm_call
         UPDATE llm_calls SET state = 'failed', detail = $2, finished_at = $3 WHERE id = $1",
        &params![id, detail, now],
    )
    .await?;
    Ok(())
}

/// How many calls are not answered yet.
///
/// # Errors
/// When the database cannot answer.
pub async fn under_way(db: &Db) -> Result<u64, DbError> {
    let row = db
        .fetch_optional(
            "-- llm_calls_under_way\nSELECT count(*) AS n FROM llm_calls WHERE state = 'started'",
            &[],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("n"))
}

/// Marks calls whose process is gone: paid perhaps, answered never.
///
/// # Errors
/// When the database refuses it.
pub async fn mark_lost(tx: &mut Tx) -> Result<u64, DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- mark_lost_llm_calls
         UPDATE llm_calls SET state = 'lost', detail = 'its worker died before the answer was stored', finished_at = $1
         WHERE state = 'started'
           AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.worker = llm_calls.worker AND jobs.state = 'running')",
        &params![now],
    )
    .await
}
