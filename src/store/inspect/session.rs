//! Everything known of one session: its way in time, every verdict, the evidence, the diagnosis, and what it cost.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sessions::{self, SessionFilter, SessionLine};
use crate::{
    db::{Db, DbError, Row},
    domain::{lookup::Evidence, reading::Reader, reading::Reading, session::SessionKey, verdict::Verdict},
    params,
    store::{evidence, readings, verdicts},
};

/// Sessions of one id listed at most: ids are unique only within their source.
const NAMESAKES: u32 = 100;

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionDetail {
    /// At a glance.
    #[serde(flatten)]
    pub line: SessionLine,
    /// What happened when, oldest first.
    pub timeline: Vec<Event>,
    /// Every generation that was read, newest first.
    pub generations: Vec<GenerationDetail>,
    /// The report on the latest verdict: a diagnosis, or why there is none.
    pub diagnosis: Option<Value>,
    /// What the LLM was asked.
    pub llm_calls: Vec<LlmCall>,
}

/// One thing that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// When it began.
    pub at: DateTime<Utc>,
    /// What, as a stable word.
    #[schema(value_type = String)]
    pub what: Cow<'static, str>,
    /// In words.
    pub detail: String,
    /// How long it took, in microseconds, where it took any time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<i64>,
    /// How long it waited before it began, in microseconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_us: Option<i64>,
    /// The process that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
}

impl Event {
    /// By time; the end after what was written with it.
    pub fn order(&self) -> (DateTime<Utc>, bool) {
        (self.at, self.what == "done")
    }
}

/// One analysis of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GenerationDetail {
    /// Its number, from 1.
    pub generation: u32,
    /// What was asked and said.
    pub reading: Option<Reading>,
    /// Who read.
    pub reader: Option<Reader>,
    /// Items of the reading that did not hold, and why.
    pub dropped: Vec<String>,
    /// The verdict, field by field.
    pub verdict: Option<Verdict>,
    /// What changed against the generation before.
    pub diff: Option<Value>,
    /// Every question to a system of record and its masked answer.
    pub evidence: Vec<Evidence>,
}

/// One paid call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LlmCall {
    /// `reading`, `reading_repair`, `expert`.
    pub purpose: String,
    /// For which generation.
    pub generation: u32,
    /// Which model.
    pub model: String,
    /// `started`, `answered`, `failed`, `lost`.
    pub state: String,
    /// Why it failed.
    pub detail: Option<String>,
    /// Tokens sent.
    pub prompt_tokens: u64,
    /// Tokens answered.
    pub completion_tokens: u64,
    /// Millionths of the configured currency.
    pub cost_micros: u64,
    /// When.
    pub started_at: DateTime<Utc>,
    /// When it was answered, failed or given up as lost.
    pub finished_at: Option<DateTime<Utc>>,
}

impl LlmCall {
    fn event(&self) -> Event {
        let tokens = self.prompt_tokens + self.completion_tokens;
        let paid = if tokens > 0 {
            format!(", {tokens} tokens, cost {}", money(self.cost_micros))
        } else {
            String::new()
        };
        let why = self.detail.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let Self {
            purpose, model, state, ..
        } = self;
        Event {
            at: self.started_at,
            what: "asked_llm".into(),
            detail: of_generation(self.generation, &format!("{purpose} by {model}, {state}{paid}{why}")),
            took_us: self
                .finished_at
                .and_then(|end| (end - self.started_at).num_microseconds()),
            ..Event::default()
        }
    }
}

/// Millionths as a number: `1.000250`.
pub fn money(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The sessions of this id, in any source.
///
/// # Errors
/// When the database cannot answer.
pub async fn find(db: &Db, source: Option<&str>, session_id: &str) -> Result<Vec<SessionLine>, DbError> {
    let filter = SessionFilter {
        source: source.map(str::to_owned),
        session_id: Some(session_id.to_owned()),
        limit: NAMESAKES,
        ..SessionFilter::default()
    };
    sessions::list(db, &filter).await
}

/// Everything known of a session.
///
/// # Errors
/// When the database cannot answer.
pub async fn detail(db: &Db, line: SessionLine) -> Result<SessionDetail, DbError> {
    let key = line.key.clone();
    let llm_calls = llm_calls(db, &key).await?;
    let mut timeline = timeline(db, &key).await?;
    timeline.extend(llm_calls.iter().map(LlmCall::event));
    timeline.sort_by_key(Event::order);
    let mut generations = Vec::new();
    for generation in (1..=line.generation).rev() {
        let reading = readings::load(db, &key, generation).await?;
        let verdict = verdicts::load(db, &key, generation).await?;
        let evidence = evidence::load(db, &key, generation).await?;
        if reading.is_none() && verdict.is_none() && evidence.is_empty() {
            continue;
        }
        let (reading, reader, dropped) = match reading {
            Some(stored) => (Some(stored.reading), Some(stored.reader), stored.dropped),
            None => (None, None, Vec::new()),
        };
        generations.push(GenerationDetail {
            generation,
            reading,
            reader,
            dropped,
            verdict,
            diff: diff(db, &key, generation).await?,
            evidence,
        });
    }
    Ok(SessionDetail {
        line,
        timeline,
        generations,
        diagnosis: diagnosis(db, &key).await?,
        llm_calls,
    })
}

async fn diff(db: &Db, key: &SessionKey, generation: u32) -> Result<Option<Value>, DbError> {
    let row = db
        .fetch_optional(
            "-- verdict_diff
             SELECT diff FROM verdicts WHERE source = $1 AND session_id = $2 AND generation = $3",
            &params![&key.source, &key.session_id, generation],
        )
        .await?;
    row.map_or(Ok(None), |row| row.get("diff"))
}

async fn diagnosis(db: &Db, key: &SessionKey) -> Result<Option<Value>, DbError> {
    let row = db
        .fetch_optional(
            "-- diagnosis_of_session
             SELECT diagnostic_report_json FROM monitoring_results WHERE source = $1 AND session_id = $2",
            &params![&key.source, &key.session_id],
        )
        .await?;
    row.map_or(Ok(None), |row| row.get("diagnostic_report_json"))
}

async fn llm_calls(db: &Db, key: &SessionKey) -> Result<Vec<LlmCall>, DbError> {
    let rows = db
        .fetch_all(
            "-- llm_calls_of_session
             SELECT purpose, generation, model, state, detail, prompt_tokens, completion_tokens, cost_micros, started_at,
                    finished_at
             FROM llm_calls WHERE source = $1 AND session_id = $2 ORDER BY started_at, id",
            &params![&key.source, &key.session_id],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(LlmCall {
                purpose: row.get("purpose")?,
                generation: row.get("generation")?,
                model: row.get("model")?,
                state: row.get("state")?,
                detail: row.get("detail")?,
                prompt_tokens: row.get("prompt_tokens")?,
                completion_tokens: row.get("completion_tokens")?,
                cost_micros: row.get("cost_micros")?,
                started_at: row.get("started_at")?,
                finished_at: row.get("finished_at")?,
            })
        })
        .collect()
}

async fn timeline(db: &Db, key: &SessionKey) -> Result<Vec<Event>, DbError> {
    let session = &params![&key.source, &key.session_id];
    let mut events = Vec::new();
    let rows = db
        .fetch_all(
            "-- timeline_of_session
             SELECT first_activity_at, last_activity_at, discovered_at, settled_at, done_at, observation_count, trace_count,
                    incomplete
             FROM sessions WHERE source = $1 AND session_id = $2",
            session,
        )
        .await?;
    for row in &rows {
        let observations: u64 = row.get("observation_count")?;
        let traces: u64 = row.get("trace_count")?;
        if observations > 0 {
            push(&mut events, row, "first_activity_at", "began", String::new)?;
            push(&mut events, row, "last_activity_at", "last_activity", || {
                format!("{observations} observations in {traces} traces")
            })?;
            push(&mut events, row, "discovered_at", "discovered", String::new)?;
        }
        let incomplete: bool = row.get("incomplete")?;
        push(&mut events, row, "settled_at", "settled", || {
            if incomplete {
                "by the deadline, not by rest".to_owned()
            } else {
                String::new()
            }
        })?;
        push(&mut events, row, "done_at", "done", String::new)?;
    }
    let rows = db
        .fetch_all(
            "-- timeline_of_stages
             SELECT created_at AS at, 'read_content' AS what, generation, CAST(observations AS TEXT) AS detail,
                    CAST(NULL AS bigint) AS took_ms
                FROM snapshots WHERE source = $1 AND session_id = $2
             UNION ALL
             SELECT created_at, 'understood', generation, '', NULL FROM readings WHERE source = $1 AND session_id = $2
             UNION ALL
             SELECT created_at, 'judged', generation, status, NULL FROM verdicts WHERE source = $1 AND session_id = $2
             UNION ALL
             SELECT asked_at, 'looked_up', generation, record || ' in ' || system || ', look ' || (round + 1), latency_ms FROM lookups
                WHERE source = $1 AND session_id = $2
             UNION ALL
             SELECT diagnosed_at, 'diagnosed', generation, COALESCE(diagnostic_status, ''), NULL FROM monitoring_results
                WHERE source = $1 AND session_id = $2 AND diagnosed_at IS NOT NULL
             UNION ALL
             SELECT received_at, 'told_over', 1, shape || COALESCE(': ' || reason, ''), NULL FROM session_ends
                WHERE source = $1 AND session_id = $2",
            session,
        )
        .await?;
    for row in &rows {
        let generation: u32 = row.get("generation")?;
        let detail: String = row.get("detail")?;
        let (what, detail) = match row.get::<String>("what")?.as_str() {
            "read_content" => ("read_content", format!("{detail} observations")),
            "told_over" => ("told_over", detail),
            "understood" => ("understood", detail),
            "looked_up" => ("looked_up", detail),
            "judged" => ("judged", detail),
            "diagnosed" => ("diagnosed", detail),
            other => return Err(row.bad("what", &format!("unknown stage `{other}`"))),
        };
        let took_ms: Option<i64> = row.get("took_ms")?;
        events.push(Event {
            at: row.get("at")?,
            what: what.into(),
            detail: of_generation(generation, &detail),
            took_us: took_ms.map(|ms| ms.saturating_mul(1_000)),
            ..Event::default()
        });
    }
    events.sort_by_key(Event::order);
    Ok(events)
}

/// The first generation is the usual one, and not named.
fn of_generation(generation: u32, detail: &str) -> String {
    if generation == 1 {
        return detail.to_owned();
    }
    format!("generation {generation} {detail}").trim_end().to_owned()
}

fn push(
    events: &mut Vec<Event>,
    row: &Row,
    column: &'static str,
    what: &'static str,
    detail: impl FnOnce() -> String,
) -> Result<(), DbError> {
    if let Some(at) = row.get::<Option<DateTime<Utc>>>(column)? {
        events.push(Event {
            at,
            what: what.into(),
            detail: detail(),
            ..Event::default()
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::inspect::tests::{session, verdict},
        test_support::{TestDb, on_each_database},
    };

    on_each_database! {
        a_session_shows_its_stages_in_order_and_every_generation,
    }

    async fn a_session_shows_its_stages_in_order_and_every_generation(database: TestDb) {
        let db = &database.db;
        session(db, "calls", "a", "done", None).await;
        session(db, "other", "a", "done", None).await;
        verdict(db, "calls", "a", 1, "fail").await;
        verdict(db, "calls", "a", 2, "pass").await;
        assert_eq!(find(db, None, "a").await.unwrap().len(), 2);
        let mut found = find(db, Some("calls"), "a").await.unwrap();
        let detail = detail(db, found.remove(0)).await.unwrap();
        let generations: Vec<u32> = detail
            .generations
            .iter()
            .map(|generation| generation.generation)
            .collect();
        assert_eq!(generations, [2, 1]);
        let stages: Vec<&str> = detail.timeline.iter().map(|event| event.what.as_ref()).collect();
        assert_eq!(stages, ["began", "last_activity", "discovered", "judged", "judged"]);
        assert!(detail.timeline.is_sorted_by_key(|event| event.at));
        assert_eq!(detail.timeline[4].detail, "generation 2 pass");
    }
}
