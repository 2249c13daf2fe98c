//! Paid questions to an LLM: each is bought once.
//!
//! The ledger's row is committed before the call, the answer is stored under the hash of its question before it is used,
//! and a stored answer is never bought again. A crash repeats at most the calls in flight.

use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    domain::session::{Generation, SessionKey},
    env::ModelEntry,
    fault::{self, FaultPoint},
    outside::{self, Called},
    ports::{ChatAnswer, ChatRequest, Usage},
    queue::{JobContext, JobError, OrRetry},
    store::llm::{self, Call},
};

/// Whom a question is for, and what for.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    /// `reading`, `reading_repair`, `expert`.
    pub name: &'a str,
    /// The session.
    pub session: &'a SessionKey,
    /// Its generation.
    pub generation: Generation,
}

/// Asks, unless the answer was bought before.
///
/// # Errors
/// When the job must stop, or the database is away.
pub async fn ask(
    ctx: &JobContext,
    db: &Db,
    entry: &ModelEntry,
    purpose: Purpose<'_>,
    request: &ChatRequest,
) -> Result<Called<ChatAnswer>, JobError> {
    let model = &*entry.model;
    let input_hash = input_hash(model.upstream(), model.model(), request).or_fail()?;
    if let Some(answer) = llm::answer(db, &input_hash).await.or_retry()? {
        return Ok(Called::Answer(answer));
    }
    // Before the ledger: no call is made to a model that is known to be down.
    let gate = format!("{}/{}", model.upstream(), purpose.session.source);
    if let Some(outage) = outside::shut(ctx, &gate).await? {
        return Ok(Called::Outage(outage));
    }
    let id = Uuid::now_v7();
    let mut tx = db.begin().await.or_retry()?;
    let call = Call {
        id,
        input_hash: &input_hash,
        purpose: purpose.name,
        session: purpose.session,
        generation: purpose.generation,
        upstream: model.upstream(),
        model: model.model(),
        worker: ctx.worker(),
    };
    llm::start(&mut tx, &call).await.or_retry()?;
    tx.commit().await.or_retry()?;
    fault::hit(FaultPoint::AfterLlmLedger);

    let called = outside::call_admitted(ctx, &gate, model.complete(request)).await;

    // A full disk or a lock held for too long must not make it bought again: it is kept as soon as that is over.
    let mut wait = Duration::from_millis(50);
    while let Err(error) = keep(db, entry, id, &input_hash, &called).await {
        if !error.is_passing() || ctx.certain_for().is_zero() || ctx.cancelled().is_cancelled() {
            return Err(JobError::retry(error));
        }
        tracing::warn!(%error, "what an LLM answered cannot be stored yet: it is tried again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(1));
    }
    fault::hit(FaultPoint::AfterLlmAnswer);
    called
}

/// Stores what came of a call. Not under the job's lease: what was paid for is kept whoever the job belongs to by now.
async fn keep(
    db: &Db,
    entry: &ModelEntry,
    id: Uuid,
    input_hash: &str,
    called: &Result<Called<ChatAnswer>, JobError>,
) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    match called {
        Ok(Called::Answer(answer)) => {
            let cost = cost_micros(entry.prices, answer.usage);
            llm::save_answer(&mut tx, id, input_hash, answer, cost).await?;
        }
        Ok(Called::Outage(outage)) => llm::fail(&mut tx, id, &outage.to_string()).await?,
        Err(stopped) => llm::fail(&mut tx, id, &format!("the call was dropped: {stopped}")).await?,
    }
    tx.commit().await
}

/// Everything that the answer depends on.
fn input_hash(upstream: &str, model: &str, request: &ChatRequest) -> Result<String, serde_json::Error> {
    let mut hasher = Sha256::new();
    for part in [
        upstream.as_bytes(),
        b"\0",
        model.as_bytes(),
        b"\0",
        &serde_json::to_vec(request)?,
    ] {
        hasher.update(part);
    }
    Ok(format!("{:x}", hasher.finalize()))
}

/// A price per million tokens is the price of one token in millionths.
fn cost_micros((prompt, completion): (f64, f64), usage: Usage) -> u64 {
    let cost = prompt * usage.prompt_tokens as f64 + completion * usage.completion_tokens as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "prices and counts are not negative, and a float cast saturates"
    )]
    let micros = cost.round() as u64;
    micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_in_millionths() {
        // 1,000 tokens at 2.50 per million are 0.0025: 2,500 millionths.
        let usage = Usage {
            prompt_tokens: 1_000,
            completion_tokens: 100,
        };
        assert_eq!(cost_micros((2.5, 10.0), usage), 2_500 + 1_000);
    }
}
