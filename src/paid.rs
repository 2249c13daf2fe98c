//! Paid questions to an LLM: each is bought once.
//!
//! The ledger's row is committed before the call, the answer is stored under the hash of its question before it is used,
//! and a stored answer is never bought again. A crash repeats at most the calls in flight.
//!
//! A source's daily budget is checked in the transaction that enters the call: a call is made as long as something is left
//! once calls under way are counted by their bound, so that all calls together pass the budget by less than one call.

use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    db::{Db, DbError, Tx},
    domain::session::{Generation, SessionKey},
    env::ModelEntry,
    fault::{self, FaultPoint},
    outside::{self, Called},
    ports::{ChatAnswer, ChatRequest, Finish, UpstreamError, UpstreamReason, Usage},
    queue::{JobContext, JobError, OrRetry},
    store::llm::{self, Call},
};

/// Tokens that a chat template may add to each message.
const TEMPLATE_TOKENS: usize = 16;

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
    if let Some(answer) = llm::answer(db, &input_hash).await? {
        return Ok(Called::Answer(answer));
    }
    // Before the ledger: no call is made to a model that is known to be down.
    let gate = format!("{}/{}", model.upstream(), purpose.session.source);
    if let Some(outage) = outside::shut(ctx, &gate).await? {
        return Ok(Called::Outage(outage));
    }
    let id = Uuid::now_v7();
    let bound = bound_micros(entry.prices, request);
    let mut tx = db.begin().await?;
    if let Some(outage) = over_budget(&mut tx, entry, &gate, &purpose.session.source).await? {
        return Ok(Called::Outage(outage));
    }
    let call = Call {
        id,
        input_hash: &input_hash,
        purpose: purpose.name,
        session: purpose.session,
        generation: purpose.generation,
        upstream: model.upstream(),
        model: model.model(),
        worker: ctx.worker(),
        bound_micros: bound,
    };
    llm::start(&mut tx, &call).await?;
    tx.commit().await?;
    fault::hit(FaultPoint::AfterLlmLedger);

    let called = outside::call_admitted(ctx, &gate, model.complete(request)).await;

    // A full disk or a lock held for too long must not make it bought again: it is kept as soon as that is over.
    let mut wait = Duration::from_millis(50);
    while let Err(error) = keep(db, entry, id, &input_hash, bound, &called).await {
        if !error.is_passing() || ctx.cancelled().is_cancelled() {
            return Err(error.into());
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
    bound: u64,
    called: &Result<Called<ChatAnswer>, JobError>,
) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    match called {
        Ok(Called::Answer(answer)) => {
            let cost = match answer.finish {
                // A server that does not count: charged as the most that it may be, or a budget would never be spent.
                Finish::Stop | Finish::Length if answer.usage == Usage::default() => bound,
                _ => cost_micros(entry.prices, answer.usage),
            };
            llm::save_answer(&mut tx, id, input_hash, answer, cost).await?;
        }
        Ok(Called::Outage(outage)) => llm::fail(&mut tx, id, &outage.to_string()).await?,
        Err(stopped) => llm::fail(&mut tx, id, &format!("the call was dropped: {stopped}")).await?,
    }
    tx.commit().await
}

/// Why no call may be made for this source now, if its daily budget is spent.
async fn over_budget(
    tx: &mut Tx,
    entry: &ModelEntry,
    gate: &str,
    source: &str,
) -> Result<Option<UpstreamError>, DbError> {
    let Some(&budget) = entry.daily_budgets.get(source) else {
        return Ok(None);
    };
    let now = tx.now().await?;
    let spent = llm::spent_since(tx, source, day_of(now)).await?;
    if spent.spent.saturating_add(spent.under_way) < budget {
        return Ok(None);
    }
    let money = |micros: u64| format!("{:.4}", micros as f64 / 1e6);
    let closed = |detail, retry_after| {
        Some(UpstreamError {
            upstream: gate.to_owned(),
            reason: UpstreamReason::Budget,
            detail,
            retry_after,
        })
    };
    if spent.spent < budget {
        // They will cost less than they may: it is worth another look once they are answered.
        let detail = format!(
            "{} of the daily budget of source {source}, {}, is spent, and calls under way may take the rest",
            money(spent.spent),
            money(budget)
        );
        return Ok(closed(detail, None));
    }
    let detail = format!(
        "the daily budget of source {source} is spent ({} of {}): goes on at 00:00 UTC, or when aftercall is restarted with a higher daily_budget",
        money(spent.spent),
        money(budget)
    );
    let tomorrow = day_of(now) + TimeDelta::days(1);
    Ok(closed(detail, (tomorrow - now).to_std().ok()))
}

/// 00:00 UTC of that day.
fn day_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(NaiveTime::MIN).and_utc()
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

/// The most that a call may cost: a token sent is a byte at least, and an answer has `max_tokens` at most.
fn bound_micros(prices: (f64, f64), request: &ChatRequest) -> u64 {
    let mut sent: usize = request
        .messages
        .iter()
        .map(|message| message.content.len() + TEMPLATE_TOKENS)
        .sum();
    if let Some(schema) = &request.schema {
        sent += schema.schema.to_string().len();
    }
    let usage = Usage {
        prompt_tokens: sent as u64,
        completion_tokens: request.max_tokens.into(),
    };
    cost_micros(prices, usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{ChatMessage, Role};

    #[test]
    fn a_call_is_bound_by_its_bytes_and_its_longest_answer() {
        let request = ChatRequest {
            messages: vec![ChatMessage {
                role: Role::User,
                content: "Zoë".to_owned(),
            }],
            schema: None,
            max_tokens: 100,
        };
        assert_eq!(bound_micros((2.0, 10.0), &request), 2 * (4 + 16) + 1_000);
        assert_eq!(bound_micros((0.0, 0.0), &request), 0);
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        let at: DateTime<Utc> = "2026-08-20T23:59:59.999Z".parse().unwrap();
        assert_eq!(day_of(at).to_rfc3339(), "2026-08-20T00:00:00+00:00");
        assert_eq!(day_of(day_of(at)), day_of(at));
    }

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
