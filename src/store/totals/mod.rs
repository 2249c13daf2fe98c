//! Totals that only grow, for monitoring: how many runs, verdicts and paid calls there ever were, and how long systems of
//! record took to answer.
//!
//! Rows are pruned, and a count of what is left would fall. So what ended a while ago is added up once, by [`fold`], and
//! what ended since then is counted from the rows: however long the history is, a reading costs the last minutes. Pruning
//! takes only what was added up. Latencies of lookups are added where their evidence is written.

mod lookups;
mod stream;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use self::lookups::add;
pub use self::lookups::{Latency, latencies};
use self::stream::Stream;
use crate::db::{Db, DbError, Sql};

/// A row is dated by the clock of its transaction and there from its commit on: what is younger than this may have rows to
/// come.
const SETTLED: Duration = Duration::from_mins(2);
/// The same of paid calls, which are counted by when they began and are under way for minutes.
const CALL_SETTLED: Duration = Duration::from_mins(10);

/// Values of a name that are told apart; later ones are counted together as [`OTHER`]. A playbook has a dozen intents and an
/// installation a handful of models: this bounds what a broken one can cost.
const VALUES_MOST: usize = 100;

/// What stands for all values beyond the bound.
pub const OTHER: &str = "(other)";

/// Runs that ended, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// The queue.
    pub queue: String,
    /// `completed`, `snoozed`, `retried`, `discarded`, `cancelled`, `handed_back`, `rescued`.
    pub outcome: String,
    /// How many.
    pub attempts: u64,
    /// How long they took, all together, in microseconds.
    pub busy_us: u64,
}

/// Verdicts, one per generation of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    /// `pass`, `partial`, `fail`, `skipped`, `error`.
    pub status: String,
    /// The intent, as the playbook names it.
    pub intent: String,
    /// How many.
    pub verdicts: u64,
}

/// Paid calls that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmCalls {
    /// `reading`, `reading_repair`, `expert`.
    pub purpose: String,
    /// The configured model.
    pub model: String,
    /// For a session of this source.
    pub source: String,
    /// `answered`, `failed`, `lost`.
    pub state: String,
    /// How many.
    pub calls: u64,
    /// Tokens sent.
    pub prompt_tokens: u64,
    /// Tokens answered.
    pub completion_tokens: u64,
    /// Millionths of the configured currency; of lost calls the most that they may have cost.
    pub cost_micros: u64,
}

const ATTEMPTS: Stream<2, 2> = Stream {
    name: "attempts",
    settled: SETTLED,
    counts_open: false,
    bounded: [true, false],
    total: Sql::both(
        "-- attempts_in_total
         SELECT u.until_at, t.* FROM totals_until u LEFT JOIN (
             SELECT 0 AS since, queue AS label_1, outcome AS label_2, attempts AS figure_1, busy_us AS figure_2
             FROM attempt_totals
             UNION ALL
             SELECT 1, queue, outcome, count(*), CAST(sum(duration_us) AS bigint) FROM job_attempts
             WHERE finished_at > $1 GROUP BY queue, outcome
         ) AS t ON true WHERE u.stream = 'attempts' ORDER BY since, label_1, label_2",
    ),
    between: Sql::both(
        "-- attempts_between
         SELECT queue AS label_1, outcome AS label_2, count(*) AS figure_1, CAST(sum(duration_us) AS bigint) AS figure_2
         FROM job_attempts WHERE finished_at > $1 AND finished_at <= $2 GROUP BY queue, outcome ORDER BY 1, 2",
    ),
    add:
        "-- add_attempts
         INSERT INTO attempt_totals (queue, outcome, attempts, busy_us) VALUES ($1, $2, $3, $4)
         ON CONFLICT (queue, outcome) DO UPDATE SET
            attempts = attempt_totals.attempts + excluded.attempts, busy_us = attempt_totals.busy_us + excluded.busy_us",
};

const VERDICTS: Stream<2, 1> = Stream {
    name: "verdicts",
    settled: SETTLED,
    counts_open: false,
    bounded: [false, true],
    total: Sql::both(
        "-- verdicts_in_total
         SELECT u.until_at, t.* FROM totals_until u LEFT JOIN (
             SELECT 0 AS since, status AS label_1, intent AS label_2, verdicts AS figure_1 FROM verdict_totals
             UNION ALL
             SELECT 1, status, intent, count(*) FROM verdicts WHERE created_at > $1 GROUP BY status, intent
         ) AS t ON true WHERE u.stream = 'verdicts' ORDER BY since, label_1, label_2",
    ),
    between: Sql::both(
        "-- verdicts_between
         SELECT status AS label_1, intent AS label_2, count(*) AS figure_1
         FROM verdicts WHERE created_at > $1 AND created_at <= $2 GROUP BY status, intent ORDER BY 1, 2",
    ),
    add: "-- add_verdicts
         INSERT INTO verdict_totals (status, intent, verdicts) VALUES ($1, $2, $3)
         ON CONFLICT (status, intent) DO UPDATE SET verdicts = verdict_totals.verdicts + excluded.verdicts",
};

/// The paid calls of each source that began in some time: by source and time, as their index has them, also where a planner
/// would rather read all of them once.
macro_rules! calls {
    (sqlite, $when:literal) => {
        concat!(
            "FROM sources s CROSS JOIN llm_calls c WHERE c.source = s.name AND ",
            $when
        )
    };
    (postgres, $when:literal) => {
        concat!(
            "FROM sources s CROSS JOIN LATERAL (SELECT * FROM llm_calls c WHERE c.source = s.name AND ",
            $when,
            " OFFSET 0) AS c WHERE true"
        )
    };
}

macro_rules! llm_calls_in_total {
    ($engine:ident) => {
        concat!(
            "-- llm_calls_in_total
             SELECT u.until_at, t.* FROM totals_until u LEFT JOIN (
                 SELECT 0 AS since, purpose AS label_1, model AS label_2, source AS label_3, state AS label_4,
                        calls AS figure_1, prompt_tokens AS figure_2, completion_tokens AS figure_3, cost_micros AS figure_4
                 FROM llm_totals
                 UNION ALL
                 SELECT 1, c.purpose, c.model, c.source, c.state, count(*), CAST(sum(c.prompt_tokens) AS bigint),
                        CAST(sum(c.completion_tokens) AS bigint),
                        CAST(sum(CASE c.state WHEN 'lost' THEN c.bound_micros ELSE c.cost_micros END) AS bigint) ",
            calls!($engine, "c.started_at > $1"),
            " AND c.state <> 'started' GROUP BY c.purpose, c.model, c.source, c.state
             ) AS t ON true WHERE u.stream = 'llm_calls' ORDER BY since, label_1, label_2, label_3, label_4"
        )
    };
}

macro_rules! llm_calls_between {
    ($engine:ident) => {
        concat!(
            "-- llm_calls_between
             SELECT c.purpose AS label_1, c.model AS label_2, c.source AS label_3, c.state AS label_4, count(*) AS figure_1,
                    CAST(sum(c.prompt_tokens) AS bigint) AS figure_2, CAST(sum(c.completion_tokens) AS bigint) AS figure_3,
                    CAST(sum(CASE c.state WHEN 'lost' THEN c.bound_micros ELSE c.cost_micros END) AS bigint) AS figure_4 ",
            calls!($engine, "c.started_at > $1 AND c.started_at <= $2"),
            " GROUP BY c.purpose, c.model, c.source, c.state ORDER BY 1, 2, 3, 4"
        )
    };
}

const LLM_CALLS: Stream<4, 4> = Stream {
    name: "llm_calls",
    settled: CALL_SETTLED,
    counts_open: true,
    bounded: [true, true, true, false],
    total: Sql::each(llm_calls_in_total!(sqlite), llm_calls_in_total!(postgres)),
    between: Sql::each(llm_calls_between!(sqlite), llm_calls_between!(postgres)),
    add: "-- add_llm_calls
         INSERT INTO llm_totals (purpose, model, source, state, calls, prompt_tokens, completion_tokens, cost_micros)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (purpose, model, source, state) DO UPDATE SET
            calls = llm_totals.calls + excluded.calls,
            prompt_tokens = llm_totals.prompt_tokens + excluded.prompt_tokens,
            completion_tokens = llm_totals.completion_tokens + excluded.completion_tokens,
            cost_micros = llm_totals.cost_micros + excluded.cost_micros",
};

/// Adds up what ended a while ago.
///
/// # Errors
/// When the database refuses it: then nothing of that stream is added, and the next time does it.
pub async fn fold(db: &Db) -> Result<(), DbError> {
    ATTEMPTS.fold(db).await?;
    VERDICTS.fold(db).await?;
    LLM_CALLS.fold(db).await
}

/// Runs that ended, ever.
///
/// # Errors
/// When the database cannot answer.
pub async fn attempts(db: &Db) -> Result<Vec<Attempts>, DbError> {
    let rows = ATTEMPTS.total(db).await?.into_iter();
    Ok(rows
        .map(|([queue, outcome], [attempts, busy_us])| Attempts {
            queue,
            outcome,
            attempts,
            busy_us,
        })
        .collect())
}

/// Verdicts, ever.
///
/// # Errors
/// When the database cannot answer.
pub async fn verdicts(db: &Db) -> Result<Vec<Verdicts>, DbError> {
    let rows = VERDICTS.total(db).await?.into_iter();
    Ok(rows
        .map(|([status, intent], [verdicts])| Verdicts {
            status,
            intent,
            verdicts,
        })
        .collect())
}

/// Paid calls that ended, ever.
///
/// # Errors
/// When the database cannot answer.
pub async fn llm_calls(db: &Db) -> Result<Vec<LlmCalls>, DbError> {
    let rows = LLM_CALLS.total(db).await?.into_iter();
    Ok(rows
        .map(
            |([purpose, model, source, state], [calls, prompt_tokens, completion_tokens, cost_micros])| LlmCalls {
                purpose,
                model,
                source,
                state,
                calls,
                prompt_tokens,
                completion_tokens,
                cost_micros,
            },
        )
        .collect())
}
