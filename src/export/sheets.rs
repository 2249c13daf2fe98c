//! The rows of an export. Names and types are frozen with the first release: columns may be added, none is renamed or removed.

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use crate::{
    domain::{
        lookup::{Evidence, Fact},
        reading::Reader,
        verdict::Finding,
    },
    store::export::Judged,
};

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sheet {
    /// One row for each session with a verdict.
    Verdicts,
    /// One row for each request or unwanted effect, and one for each of its fields.
    Findings,
    /// One row for each question to a system of record. Answers are masked.
    Evidence,
}

/// The type of a column. Every column may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// 64 bits.
    Integer,
    /// 64 bits.
    Float,
    /// True or false.
    Flag,
    /// A point in time, in microseconds; as text RFC 3339 in UTC.
    Time,
    /// Any JSON; text outside of JSON Lines.
    Json,
}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

/// One cell, of its column's type or empty.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "as the types of columns")]
pub enum Value {
    Empty,
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    Time(DateTime<Utc>),
    Json(Json),
}

impl Value {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn optional(text: Option<&String>) -> Self {
        text.map_or(Self::Empty, |text| Self::Text(text.clone()))
    }

    fn count(number: impl TryInto<i64>) -> Self {
        Self::Integer(number.try_into().unwrap_or(i64::MAX))
    }

    fn json(value: &Json) -> Self {
        if value.is_null() {
            Self::Empty
        } else {
            Self::Json(value.clone())
        }
    }

    /// As text, for formats without types.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Time(time) => instant(*time),
            Self::Json(value) => value.to_string(),
        }
    }
}

/// RFC 3339, in UTC, with microseconds.
pub(super) fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

macro_rules! columns {
    ($($name:literal: $kind:ident),+ $(,)?) => {
        &[$(Column { name: $name, kind: Kind::$kind }),+]
    };
}

const VERDICTS: &[Column] = columns![
    "source": Text, "session_id": Text, "generation": Integer, "status": Text, "reason": Text, "severity": Text, "intent": Text,
    "confidence": Float, "summary": Text, "reader": Text, "playbook": Text, "playbook_version": Integer, "playbook_hash": Text,
    "looks": Integer, "incomplete": Flag, "judged_at": Time, "diagnosis": Text, "findings": Integer,
];

const FINDINGS: &[Column] = columns![
    "source": Text, "session_id": Text, "generation": Integer, "finding": Integer, "operation": Text, "record": Text,
    "system": Text, "id": Text, "subject": Text, "field": Text, "outcome": Text, "severity": Text, "expected": Json,
    "actual": Json, "why": Text, "asked": Text, "said_done": Text, "steps": Json, "touches": Json,
];

const EVIDENCE: &[Column] = columns![
    "source": Text, "session_id": Text, "generation": Integer, "look": Integer, "system": Text, "record": Text, "id": Text,
    "keys": Json, "request": Text, "status": Integer, "fact": Text, "answer": Json, "reason": Text, "asked_at": Time,
    "latency_ms": Integer,
];

impl Sheet {
    /// Its columns, in order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Verdicts => VERDICTS,
            Self::Findings => FINDINGS,
            Self::Evidence => EVIDENCE,
        }
    }

    /// The rows of one session.
    pub(super) fn rows(self, judged: &Judged, looked: &[Evidence]) -> Vec<Vec<Value>> {
        let key = || {
            vec![
                Value::text(&judged.key.source),
                Value::text(&judged.key.session_id),
                Value::count(judged.generation),
            ]
        };
        let with_key = |cells: Vec<Value>| [key(), cells].concat();
        match self {
            Self::Verdicts => vec![with_key(verdict(judged))],
            Self::Findings => {
                let findings = judged.verdict.findings.iter().zip(1..);
                findings
                    .flat_map(|(finding, number)| rows_of_finding(finding, number))
                    .map(with_key)
                    .collect()
            }
            Self::Evidence => looked.iter().map(evidence).map(with_key).collect(),
        }
    }
}

fn verdict(judged: &Judged) -> Vec<Value> {
    let verdict = &judged.verdict;
    vec![
        Value::text(verdict.status.as_str()),
        Value::text(verdict.reason.as_str()),
        Value::text(verdict.severity.as_str()),
        Value::text(&verdict.intent),
        Value::Float(verdict.confidence),
        Value::text(&verdict.summary),
        match &verdict.reader {
            Reader::Offline { .. } => Value::text("offline"),
            Reader::Llm { model, .. } => Value::text(format!("llm {model}")),
            Reader::File => Value::text("file"),
        },
        Value::text(&verdict.playbook.name),
        Value::count(verdict.playbook.version),
        Value::text(&verdict.playbook.hash),
        Value::count(verdict.looks),
        Value::Flag(verdict.incomplete),
        Value::Time(judged.judged_at),
        Value::optional(judged.diagnosis.as_ref()),
        Value::count(verdict.findings.len()),
    ]
}

/// The finding itself, with an empty field, then its fields.
fn rows_of_finding(finding: &Finding, number: i64) -> Vec<Vec<Value>> {
    let head = || {
        vec![
            Value::Integer(number),
            Value::text(finding.operation.as_str()),
            Value::text(&finding.record),
            Value::optional(finding.system.as_ref()),
            Value::optional(finding.id.as_ref()),
            Value::optional(finding.subject.as_ref()),
        ]
    };
    let list = |value: Json| {
        if value.as_array().is_some_and(Vec::is_empty) {
            Value::Empty
        } else {
            Value::Json(value)
        }
    };
    let own = vec![
        Value::Empty,
        Value::text(finding.outcome.as_str()),
        Value::text(finding.severity.as_str()),
        Value::Empty,
        Value::Empty,
        Value::text(&finding.why),
        Value::text(&finding.asked),
        Value::optional(finding.said_done.as_ref()),
        list(json!(finding.steps)),
        list(json!(finding.touches)),
    ];
    let mut rows = vec![[head(), own].concat()];
    for field in &finding.fields {
        let cells = vec![
            Value::text(&field.name),
            Value::text(field.outcome.as_str()),
            Value::Empty,
            Value::json(&field.expected),
            Value::json(&field.actual),
            Value::text(&field.why),
            Value::Empty,
            Value::Empty,
            Value::Empty,
            Value::Empty,
        ];
        rows.push([head(), cells].concat());
    }
    rows
}

fn evidence(evidence: &Evidence) -> Vec<Value> {
    let (fact, answer, reason) = match &evidence.fact {
        Fact::Found { record } => ("found", Value::json(record), Value::Empty),
        Fact::Absent => ("absent", Value::Empty, Value::Empty),
        Fact::Unknown { reason } => ("unknown", Value::Empty, Value::text(reason)),
    };
    vec![
        Value::count(evidence.round.saturating_add(1)),
        Value::text(&evidence.lookup.system),
        Value::text(&evidence.lookup.record),
        Value::optional(evidence.lookup.id.as_ref()),
        Value::Json(json!(evidence.lookup.keys)),
        Value::text(&evidence.request),
        evidence.status.map_or(Value::Empty, Value::count),
        Value::text(fact),
        answer,
        reason,
        Value::Time(evidence.at),
        Value::count(evidence.latency_ms),
    ]
}
