//! How a session of the demo is written down.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{DemoRecord, DemoSession, observations};
use crate::domain::verdict::{Reason, Status};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    pub(super) session: String,
    marker: String,
    happened: String,
    status: Status,
    reason: Reason,
    /// The caller's number: the `userId` of the traces.
    pub(super) caller: String,
    pub(super) began: toml::value::Datetime,
    #[serde(rename = "turn")]
    pub(super) turns: Vec<ScriptTurn>,
    #[serde(default, rename = "record")]
    records: Vec<ScriptRecord>,
    #[serde(default, rename = "answer")]
    answers: Vec<ScriptAnswer>,
    #[serde(default, rename = "expert")]
    experts: Vec<ScriptExpert>,
}

/// What the caller said, what the agent did about it and what it answered: one trace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptTurn {
    pub(super) caller: String,
    pub(super) agent: String,
    /// Machine JSON behind the agent's words.
    pub(super) payload: Option<String>,
    #[serde(default, rename = "call")]
    pub(super) calls: Vec<ScriptCall>,
}

/// One tool call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptCall {
    pub(super) name: String,
    /// JSON, or plain text where it is none.
    pub(super) input: String,
    pub(super) output: String,
    pub(super) seconds: f64,
    /// A status message with level `ERROR`.
    pub(super) error: Option<String>,
    /// A second span of the tool's own around the call, with the same input and output.
    #[serde(default)]
    pub(super) wrapped: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptRecord {
    /// `kind/id`
    path: String,
    json: String,
    #[serde(default)]
    after_looks: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptAnswer {
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptExpert {
    id: String,
    answer: String,
}

impl Script {
    pub(super) fn read(name: &str, text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).with_context(|| format!("demo session {name}"))
    }

    /// When it began.
    pub(super) fn began(&self) -> anyhow::Result<DateTime<Utc>> {
        let began = DateTime::parse_from_rfc3339(&self.began.to_string())
            .with_context(|| format!("demo session {}: began", self.session))?;
        Ok(began.to_utc())
    }

    pub(super) fn into_session(self) -> anyhow::Result<DemoSession> {
        let observations = observations::of(&self)?;
        let mut records = Vec::new();
        for record in &self.records {
            let (kind, id) = record.path.split_once('/').ok_or_else(|| {
                anyhow!(
                    "demo session {}: the record path {} is not kind/id",
                    self.session,
                    record.path
                )
            })?;
            let value: Value = serde_json::from_str(&record.json)
                .with_context(|| format!("demo session {}: record {}", self.session, record.path))?;
            records.push(DemoRecord {
                path: (kind.to_owned(), id.to_owned()),
                record: value,
                after_looks: record.after_looks,
            });
        }
        Ok(DemoSession {
            id: self.session,
            happened: self.happened,
            status: self.status,
            reason: self.reason,
            observations,
            records,
            answers: self.answers.into_iter().map(|answer| answer.text).collect(),
            experts: self
                .experts
                .into_iter()
                .map(|expert| (expert.id, expert.answer))
                .collect(),
            marker: self.marker,
        })
    }
}
