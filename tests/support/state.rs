//! The whole state that a user can see, as a text without times and ids of its own: two runs that should end alike are
//! compared by it. And what must hold of the tables at every moment.

use std::fmt::Write as _;

use aftercall::{
    db::{Db, Row},
    store::inspect::sessions::{self, SessionFilter},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde_json::Value;

/// How a column is read: alike from every database.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Whole,
    Number,
    Flag,
    Time,
    Json,
    Bytes,
}

use Kind::{Bytes, Flag, Json, Number, Text, Time, Whole};

/// A part of the state: what each row shows of itself.
struct Part {
    name: &'static str,
    sql: &'static str,
    columns: &'static [(Kind, &'static str)],
}

impl Part {
    fn line(&self, row: &Row) -> String {
        let values: Vec<Value> = self.columns.iter().map(|column| value(row, *column)).collect();
        format!("{}: {}", self.name, Value::from(values))
    }
}

/// Every row that a user can see, in order.
pub(crate) async fn final_state(db: &Db) -> String {
    let mut text = String::new();
    for part in PARTS {
        for row in db.fetch_all(part.sql, &[]).await.unwrap() {
            writeln!(text, "{}", part.line(&row)).unwrap();
        }
    }
    text
}

/// Each verdict: whose, and all of it that is no time.
pub(crate) async fn whole_verdicts(db: &Db) -> Vec<(String, String)> {
    let rows = db.fetch_all(VERDICTS.sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get("session_id").unwrap(), VERDICTS.line(row)))
        .collect()
}

/// Every column that is no time of our own.
const PARTS: &[Part] = &[
    Part {
        name: "session",
        sql: "SELECT s.*, analyzed_digest = digest AS as_scanned FROM sessions s ORDER BY source, session_id",
        columns: &[
            (Text, "source"),
            (Text, "session_id"),
            (Text, "environment"),
            (Time, "first_activity_at"),
            (Time, "last_activity_at"),
            (Whole, "observation_count"),
            (Whole, "trace_count"),
            (Text, "digest"),
            (Flag, "ended"),
            (Flag, "incomplete"),
            (Text, "state"),
            (Whole, "generation"),
            (Flag, "as_scanned"),
            (Text, "waiting_reason"),
        ],
    },
    VERDICTS,
    Part {
        name: "result",
        sql: "SELECT m.*, diagnosed_at IS NULL AS undiagnosed FROM monitoring_results m ORDER BY source, session_id",
        columns: &[
            (Text, "source"),
            (Text, "session_id"),
            (Whole, "generation"),
            (Text, "intent_type"),
            (Number, "intent_confidence"),
            (Text, "verification_status"),
            (Text, "verdict_summary"),
            (Text, "diagnostic_status"),
            (Json, "diagnostic_report_json"),
            (Flag, "undiagnosed"),
        ],
    },
    Part {
        name: "reading",
        sql: "SELECT * FROM readings ORDER BY source, session_id, generation",
        columns: &[
            (Text, "source"),
            (Text, "session_id"),
            (Whole, "generation"),
            (Json, "reader"),
            (Json, "reading"),
            (Json, "dropped"),
        ],
    },
    Part {
        name: "snapshot",
        sql: "SELECT * FROM snapshots ORDER BY source, session_id, generation",
        columns: &[
            (Text, "source"),
            (Text, "session_id"),
            (Whole, "generation"),
            (Text, "digest"),
            (Whole, "observations"),
            (Bytes, "content"),
        ],
    },
    Part {
        name: "lookup",
        sql: "SELECT * FROM lookups ORDER BY source, session_id, generation, seq",
        columns: &[
            (Text, "source"),
            (Text, "session_id"),
            (Whole, "generation"),
            (Whole, "seq"),
            (Whole, "round"),
            (Text, "system"),
            (Text, "record"),
            (Json, "lookup"),
            (Text, "request"),
            (Whole, "status"),
            (Json, "answer"),
        ],
    },
    Part {
        name: "unreadable",
        sql: "SELECT * FROM source_faults ORDER BY source, position",
        columns: &[(Text, "source"), (Text, "position"), (Text, "reason")],
    },
    Part {
        name: "answers",
        sql: "SELECT * FROM llm_answers ORDER BY input_hash",
        columns: &[(Text, "input_hash"), (Text, "model"), (Bytes, "answer")],
    },
    // How often each thing was done to its end.
    Part {
        name: "jobs",
        sql: "SELECT * FROM jobs WHERE queue IN ('analyze_session', 'verify_session', 'diagnose_session')
              ORDER BY queue, unique_key, state",
        columns: &[(Text, "queue"), (Text, "unique_key"), (Text, "state")],
    },
    // What must be gone in the end, but for what the clock calls for: its minute may pass at any moment.
    Part {
        name: "left",
        sql: "SELECT 'job' AS what, queue, unique_key FROM jobs
              WHERE state IN ('available', 'scheduled', 'running', 'retryable')
                AND NOT (state = 'available' AND attempt = 0
                         AND queue IN ('discover_sessions', 'evaluate_alerts', 'reconcile', 'prune_history'))
              UNION ALL SELECT 'facts', session_id, NULL FROM facts
              UNION ALL SELECT 'call', state, NULL FROM llm_calls WHERE state = 'started'",
        columns: &[(Text, "what"), (Text, "queue"), (Text, "unique_key")],
    },
];

const VERDICTS: Part = Part {
    name: "verdict",
    sql: "SELECT * FROM verdicts ORDER BY source, session_id, generation",
    columns: &[
        (Text, "source"),
        (Text, "session_id"),
        (Whole, "generation"),
        (Text, "status"),
        (Text, "reason"),
        (Text, "severity"),
        (Text, "intent"),
        (Number, "confidence"),
        (Text, "summary"),
        (Text, "playbook"),
        (Whole, "playbook_version"),
        (Text, "playbook_hash"),
        (Json, "document"),
        (Json, "diff"),
    ],
};

fn value(row: &Row, (kind, column): (Kind, &'static str)) -> Value {
    match kind {
        Text => row.get::<Option<String>>(column).unwrap().into(),
        Whole => row.get::<Option<i64>>(column).unwrap().into(),
        Number => row.get::<Option<f64>>(column).unwrap().into(),
        Flag => row.get::<Option<bool>>(column).unwrap().into(),
        Time => row
            .get::<Option<DateTime<Utc>>>(column)
            .unwrap()
            .map(|at| at.timestamp_micros())
            .into(),
        Json => row.get::<Option<Value>>(column).unwrap().into(),
        Bytes => row
            .get::<Option<Vec<u8>>>(column)
            .unwrap()
            .map(|bytes| BASE64_STANDARD.encode(bytes))
            .into(),
    }
}

async fn rows(db: &Db, sql: &'static str) -> Vec<String> {
    let rows = db.fetch_all(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get("line").unwrap()).collect()
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
