//! How a session of the demo is written down.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{DemoRecord, DemoSession, DemoSource, observations};
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
    /// Which of the two Langfuse servers has it.
    #[serde(default)]
    source: DemoSource,
    /// Still going on while the demo ends; what it would end as is said all the same.
    #[serde(default)]
    going_on: bool,
    /// The verdict before what comes later, where it is another.
    first: Option<ScriptFirst>,
    #[serde(rename = "turn")]
    pub(super) turns: Vec<ScriptTurn>,
    #[serde(default, rename = "record")]
    records: Vec<ScriptRecord>,
    #[serde(default, rename = "answer")]
    answers: Vec<ScriptAnswer>,
    #[serde(default, rename = "expert")]
    experts: Vec<ScriptExpert>,
}

/// A verdict that is not the last.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFirst {
    status: Status,
    reason: Reason,
}

/// What the caller said, what the agent did about it and what it answered: one trace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptTurn {
    pub(super) caller: String,
    pub(super) agent: String,
    /// Machine JSON behind the agent's words.
    pub(super) payload: Option<String>,
    /// Said only after the session had its verdict.
    #[serde(default)]
    pub(super) later: bool,
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
    /// Its span arrives only after the session had its verdict.
    #[serde(default)]
    pub(super) late: bool,
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
    /// Answers only once these words were said.
    once: Option<String>,
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
        let (observations, later) = observations::of(&self)?;
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
        let once = self.answers.iter().find_map(|answer| answer.once.clone());
        let (last, first): (Vec<_>, Vec<_>) = self.answers.into_iter().partition(|answer| answer.once == once);
        let texts = |answers: Vec<ScriptAnswer>| answers.into_iter().map(|answer| answer.text).collect();
        let (answers, first_answers): (Vec<String>, Vec<String>) = (texts(last), texts(first));
        Ok(DemoSession {
            id: self.session,
            happened: self.happened,
            status: self.status,
            reason: self.reason,
            source: self.source,
            first: self.first.map(|first| (first.status, first.reason)),
            going_on: self.going_on,
            later,
            observations,
            records,
            once,
            first_answers,
            answers,
            experts: self
                .experts
                .into_iter()
                .map(|expert| (expert.id, expert.answer))
                .collect(),
            marker: self.marker,
        })
    }
}
