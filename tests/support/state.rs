//! The whole state that a user can see, as a text without times and ids of its own: two runs that should end alike are
//! compared by it. And what must hold of the tables at every moment.

use std::fmt::Write as _;

use aftercall::{
    db::{Db, Row},
    store::inspect::sessions::{self, SessionFilter},
};
use serde_json::Value;

/// Every row that a user can see, in order.
pub(crate) async fn final_state(db: &Db) -> String {
    let parts = [
        ("session", rows(db, SESSIONS).await),
        ("verdict", rows(db, VERDICTS).await),
        ("result", rows(db, RESULTS).await),
        ("reading", rows(db, READINGS).await),
        ("snapshot", rows(db, SNAPSHOTS).await),
        ("lookup", rows(db, LOOKUPS).await),
        ("unreadable", rows(db, FAULTS).await),
        ("answers", rows(db, ANSWERS).await),
        ("jobs", rows(db, JOBS).await),
        ("left", rows(db, LEFT).await),
    ];
    let mut text = String::new();
    for (name, rows) in parts {
        for row in rows {
            writeln!(text, "{name}: {row}").unwrap();
        }
    }
    text
}

/// Every column that is no time, as one JSON text each: SQL says what is left out.
const SESSIONS: &str = "SELECT json_array(source, session_id, environment, first_activity_at, last_activity_at,
    observation_count, trace_count, digest, ended, incomplete, state, generation, analyzed_digest = digest, waiting_reason)
    AS line FROM sessions ORDER BY source, session_id";
const VERDICTS: &str = "SELECT json_array(source, session_id, generation, status, reason, severity, intent, confidence,
    summary, playbook, playbook_version, playbook_hash, json(document), json(diff)) AS line
    FROM verdicts ORDER BY source, session_id, generation";
const RESULTS: &str =
    "SELECT json_array(source, session_id, generation, intent_type, intent_confidence, verification_status,
    verdict_summary, diagnostic_status, json(diagnostic_report_json), diagnosed_at IS NULL) AS line
    FROM monitoring_results ORDER BY source, session_id";
const READINGS: &str =
    "SELECT json_array(source, session_id, generation, json(reader), json(reading), json(dropped)) AS line
    FROM readings ORDER BY source, session_id, generation";
const SNAPSHOTS: &str = "SELECT json_array(source, session_id, generation, digest, observations, hex(content)) AS line
    FROM snapshots ORDER BY source, session_id, generation";
const LOOKUPS: &str =
    "SELECT json_array(source, session_id, generation, seq, round, system, record, json(lookup), request,
    status, json(answer)) AS line FROM lookups ORDER BY source, session_id, generation, seq";
const FAULTS: &str = "SELECT json_array(source, position, reason) AS line FROM source_faults ORDER BY source, position";
const ANSWERS: &str = "SELECT json_array(input_hash, model, hex(answer)) AS line FROM llm_answers ORDER BY input_hash";
/// How often each thing was done to its end.
const JOBS: &str = "SELECT json_array(queue, unique_key, state) AS line FROM jobs
    WHERE queue IN ('analyze_session', 'verify_session', 'diagnose_session') ORDER BY queue, unique_key";
/// What must be gone in the end.
const LEFT: &str = "SELECT json_array('job', queue, unique_key) AS line FROM jobs
    WHERE state IN ('available', 'scheduled', 'running', 'retryable')
    UNION ALL SELECT json_array('facts', session_id) FROM facts
    UNION ALL SELECT json_array('call', state) FROM llm_calls WHERE state = 'started'";

async fn rows(db: &Db, sql: &'static str) -> Vec<String> {
    let rows = db.fetch_all(sql, &[]).await.unwrap();
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> String {
    row.get("line").unwrap()
}

/// The lines that only one of two states has; empty when they are equal.
pub(crate) fn difference(expected: &str, found: &str) -> String {
    let mut lines = Vec::new();
    for line in expected
        .lines()
        .filter(|line| !found.lines().any(|other| other == *line))
    {
        lines.push(format!("- {line}"));
    }
    for line in found
        .lines()
        .filter(|line| !expected.lines().any(|other| other == *line))
    {
        lines.push(format!("+ {line}"));
    }
    lines.join("\n")
}

/// What one statement sees must hold at every moment, also after a kill: a job is part of the change that made it
/// necessary. Answers what does not.
pub(crate) async fn broken_promises(db: &Db) -> Vec<String> {
    const BROKEN: &str = "
        WITH live AS (SELECT queue, unique_key FROM jobs WHERE state IN ('available', 'scheduled', 'running', 'retryable'))
        SELECT 'session ' || session_id || ' is ' || state || ' without its analysis' AS line FROM sessions s
        WHERE state IN ('settled', 'analyzing') AND NOT EXISTS (SELECT 1 FROM live WHERE queue = 'analyze_session'
            AND unique_key = s.source || '/' || s.session_id || '#' || s.generation)
        UNION ALL
        SELECT 'session ' || session_id || ' is verifying without its verification' FROM sessions s
        WHERE state = 'verifying' AND NOT EXISTS (SELECT 1 FROM live WHERE queue = 'verify_session'
            AND unique_key = s.source || '/' || s.session_id || '#' || s.generation || '@' || s.system)
        UNION ALL
        SELECT 'session ' || session_id || ' waits for a diagnosis without its job' FROM monitoring_results m
        WHERE diagnostic_status = 'pending' AND NOT EXISTS (SELECT 1 FROM live WHERE queue = 'diagnose_session'
            AND unique_key = m.source || '/' || m.session_id || '#' || m.generation)
        UNION ALL
        SELECT 'session ' || session_id || ' is done without a verdict' FROM sessions s
        WHERE state = 'done' AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.source = s.source
            AND v.session_id = s.session_id AND v.generation = s.generation)
        UNION ALL
        SELECT 'session ' || session_id || ' has a verdict and is ' || state FROM sessions s
        WHERE state IN ('settled', 'analyzing', 'verifying') AND EXISTS (SELECT 1 FROM verdicts v WHERE v.source = s.source
            AND v.session_id = s.session_id AND v.generation = s.generation)
        UNION ALL
        SELECT 'session ' || session_id || ' is ' || state || ' without a reason' FROM sessions
        WHERE state <> 'done' AND waiting_reason IS NULL
        UNION ALL
        SELECT 'a verdict of ' || session_id || ' has no result' FROM verdicts v WHERE NOT EXISTS (SELECT 1
            FROM monitoring_results m WHERE m.source = v.source AND m.session_id = v.session_id AND m.generation >= v.generation)";
    rows(db, BROKEN).await
}

/// Why each session that has no verdict yet waits, as people are shown it.
pub(crate) async fn waiting(db: &Db) -> Vec<(String, String)> {
    let filter = SessionFilter {
        statuses: vec!["waiting".to_owned()],
        limit: 1_000,
        ..SessionFilter::default()
    };
    let lines = sessions::list(db, &filter).await.unwrap();
    let mut waiting: Vec<(String, String)> = lines
        .into_iter()
        .map(|line| (line.key.session_id, line.waiting_reason.unwrap_or_default()))
        .collect();
    waiting.sort();
    waiting
}

/// One number from a statement that selects it as `n`.
pub(crate) async fn count(db: &Db, sql: &'static str) -> u64 {
    db.fetch_optional(sql, &[]).await.unwrap().unwrap().get("n").unwrap()
}

/// The latest verdict of a session: status and reason.
pub(crate) async fn verdict(db: &Db, session: &str) -> (String, String) {
    let document = document(db, session).await;
    let text = |key: &str| document[key].as_str().unwrap().to_owned();
    (text("status"), text("reason"))
}

/// The latest verdict of a session, whole.
pub(crate) async fn document(db: &Db, session: &str) -> Value {
    let row = db
        .fetch_optional(
            "SELECT document FROM verdicts WHERE session_id = $1 ORDER BY generation DESC LIMIT 1",
            &aftercall::params![session],
        )
        .await
        .unwrap();
    row.unwrap_or_else(|| panic!("session {session} has no verdict"))
        .get("document")
        .unwrap()
}

/// Session, status and reason of every latest verdict, by session.
pub(crate) async fn verdicts(db: &Db) -> Vec<(String, String, String)> {
    let rows = db
        .fetch_all(
            "SELECT session_id, generation, status, reason FROM verdicts ORDER BY session_id, generation",
            &[],
        )
        .await
        .unwrap();
    let mut latest: Vec<(String, String, String)> = Vec::new();
    for row in rows {
        let session: String = row.get("session_id").unwrap();
        latest.retain(|(known, _, _)| *known != session);
        latest.push((session, row.get("status").unwrap(), row.get("reason").unwrap()));
    }
    latest
}
