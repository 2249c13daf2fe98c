//! The demo's sessions: made-up orthodontic calls, each with what the practice holds afterwards, what a language model would
//! read in it, and what aftercall has to say of it.
//!
//! One file per session under `sessions/`, written to be read: what was said, which tools were called, what they answered.
//! `observations` makes of it what a tracing server would have recorded, `model` what a scripted language model answers.

mod model;
mod observations;
mod script;
pub mod served;
pub mod stage;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt::Write as _};

use serde::Deserialize;
use serde_json::{Value, json};

use self::script::Script;
use super::{cloud9::Practice, language_model::ScriptedModel, records::Records};
use crate::domain::{
    observation::Observation,
    verdict::{Reason, Status},
};

const SCRIPTS: [(&str, &str); 25] = [
    ("01-booked", include_str!("sessions/01-booked.toml")),
    ("02-two-booked", include_str!("sessions/02-two-booked.toml")),
    ("03-moved", include_str!("sessions/03-moved.toml")),
    ("04-cancelled", include_str!("sessions/04-cancelled.toml")),
    ("05-opening-hours", include_str!("sessions/05-opening-hours.toml")),
    ("06-wrong-number", include_str!("sessions/06-wrong-number.toml")),
    ("07-declined", include_str!("sessions/07-declined.toml")),
    ("08-changed-mind", include_str!("sessions/08-changed-mind.toml")),
    ("09-slow-record", include_str!("sessions/09-slow-record.toml")),
    ("10-reader-repaired", include_str!("sessions/10-reader-repaired.toml")),
    ("11-error-hidden", include_str!("sessions/11-error-hidden.toml")),
    (
        "12-second-child-queued",
        include_str!("sessions/12-second-child-queued.toml"),
    ),
    ("13-hostile", include_str!("sessions/13-hostile.toml")),
    ("14-other-time", include_str!("sessions/14-other-time.toml")),
    (
        "15-cancel-never-called",
        include_str!("sessions/15-cancel-never-called.toml"),
    ),
    ("16-unclear", include_str!("sessions/16-unclear.toml")),
    ("17-first-visit", include_str!("sessions/17-first-visit.toml")),
    ("18-siblings", include_str!("sessions/18-siblings.toml")),
    ("19-moved-again", include_str!("sessions/19-moved-again.toml")),
    ("20-called-off", include_str!("sessions/20-called-off.toml")),
    ("21-directions", include_str!("sessions/21-directions.toml")),
    ("22-late-span", include_str!("sessions/22-late-span.toml")),
    ("23-called-back", include_str!("sessions/23-called-back.toml")),
    ("24-still-talking", include_str!("sessions/24-still-talking.toml")),
    ("25-plan-refused", include_str!("sessions/25-plan-refused.toml")),
];

/// Name of the playbook that the demo is judged by.
pub const PLAYBOOK: &str = "orthodontics";
/// Name of the system of record that it speaks of.
pub const SYSTEM: &str = "practice";

/// Which of the demo's two Langfuse servers holds a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DemoSource {
    /// Version 4, read by its observations.
    #[default]
    Newer,
    /// Version 3, read by its traces.
    Older,
}

impl DemoSource {
    /// Its name as a source.
    pub fn name(self) -> &'static str {
        match self {
            Self::Newer => "calls",
            Self::Older => "calls-older",
        }
    }
}

/// One made-up session.
#[derive(Debug, Clone)]
pub struct DemoSession {
    /// Its id.
    pub id: String,
    /// What happened, in one line.
    pub happened: String,
    /// What the verdict has to be.
    pub status: Status,
    /// And why.
    pub reason: Reason,
    /// Which server holds it.
    pub source: DemoSource,
    /// The verdict before what comes later, where it is another.
    pub first: Option<(Status, Reason)>,
    /// It is still going on when the demo ends: no verdict.
    pub going_on: bool,
    /// Ids of the observations that arrive only after its first verdict.
    pub later: BTreeSet<String>,
    /// What a tracing server recorded of it in the end.
    pub observations: Vec<Observation>,
    /// What the practice holds afterwards.
    pub records: Vec<DemoRecord>,
    /// What the language model answers when it is asked to read it; the last is the one that counts.
    pub answers: Vec<String>,
    /// What it answers until the words of `once` are said.
    pub first_answers: Vec<String>,
    /// Words that are said only after the first verdict.
    pub once: Option<String>,
    /// What the language model answers as an expert: the expert's id and its answer.
    pub experts: Vec<(String, String)>,
    /// Words of this session alone: how the scripted model knows it.
    marker: String,
}

/// One record of the practice.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoRecord {
    /// Kind and id.
    pub path: (String, String),
    /// As the practice answers.
    pub record: Value,
    /// It is not there for the first so many looks.
    pub after_looks: u64,
}

/// Every session of the demo, in order.
///
/// # Errors
/// Which script is broken and why. A test reads all of them, so a release never errs.
pub fn sessions() -> anyhow::Result<Vec<DemoSession>> {
    SCRIPTS
        .iter()
        .map(|(name, text)| Script::read(name, text)?.into_session())
        .collect()
}

/// The sessions as a bundle: one observation per line, in the shape of Langfuse's observations API.
///
/// # Errors
/// Never for the sessions of [`sessions`]: they hold nothing that JSON cannot.
pub fn bundle_jsonl(sessions: &[DemoSession]) -> anyhow::Result<String> {
    let mut bundle = String::new();
    for observation in sessions.iter().flat_map(|session| &session.observations) {
        // Writing to a String cannot fail.
        let _ = writeln!(bundle, "{}", serde_json::to_string(observation)?);
    }
    Ok(bundle)
}

/// What the practice holds after the sessions.
pub fn records(sessions: &[DemoSession]) -> Records {
    let mut records = Records::new();
    for session in sessions {
        for DemoRecord {
            path,
            record,
            after_looks,
        } in &session.records
        {
            records = records.appearing(&session.id, &path.0, &path.1, record.clone(), *after_looks);
        }
    }
    records
}

/// The language model of the demo.
pub fn language_model(sessions: &[DemoSession]) -> ScriptedModel {
    model::scripted(sessions, None)
}

/// The same practice behind its Cloud9.
pub fn practice(sessions: &[DemoSession]) -> Practice {
    let practice = Practice::new();
    for DemoRecord {
        path,
        record,
        after_looks,
    } in sessions.iter().flat_map(|session| &session.records)
    {
        match path.0.as_str() {
            "patients" => practice.add(&json!({ "patients": [record] })),
            "appointments_of_patient" => {
                let mut appointments = record.clone();
                for appointment in appointments.as_array_mut().into_iter().flatten() {
                    appointment["after_looks"] = json!(after_looks);
                }
                practice.add(&json!({ "appointments": appointments }));
            }
            // Cloud9 finds patients by name by itself.
            _ => {}
        }
    }
    practice
}
