//! One observation of a trace, in the shape of Langfuse's `GET /api/public/v2/observations`, read leniently.
//!
//! Servers vary: an unknown type or level is kept as it is, an empty text counts as none, and `input` and `output` may be
//! JSON, JSON inside a string, or plain text.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One step of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// Unique within the source. This is the *step id* that a diagnosis cites.
    pub id: String,
    /// The trace it belongs to: usually one per caller turn.
    pub trace_id: String,
    /// The session, where the application set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The step that this one ran inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_observation_id: Option<String>,
    /// Root of its trace; a root may still have a parent id.
    #[serde(default)]
    pub is_root_observation: bool,
    /// `SPAN`, `GENERATION`, `TOOL`, `AGENT`, …; unknown values are kept.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the step, often the tool's.
    #[serde(default)]
    pub name: String,
    /// When it began.
    pub start_time: DateTime<Utc>,
    /// When it ended, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<DateTime<Utc>>,
    /// When the server last changed it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
    /// `DEBUG`, `DEFAULT`, `WARNING`, `ERROR`; unknown values are kept.
    #[serde(default)]
    pub level: String,
    /// Free text, set mostly on errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_message: Option<String>,
    /// `production`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The caller, as the application names them. Personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Name of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_name: Option<String>,
    /// Tags of the trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What went in: JSON where it parsed, else text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// What came out: JSON where it parsed, else text.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub metadata: Value,
}

impl Observation {
    /// The latest instant known of it.
    pub fn last_activity(&self) -> DateTime<Utc> {
        self.end_time.map_or(self.start_time, |end| end.max(self.start_time))
    }
}

/// Everything that the source held of a session when it was analysed: what the verdict saw, and what diagnosis and a later
/// reader see again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In order of start time, then id.
    pub observations: Vec<Observation>,
    /// How much was cut off to stay within bounds; `None` when nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// The visible mark of a session that was too large to keep whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Observations left out.
    pub observations: u64,
    /// Bytes of input and output left out.
    pub bytes: u64,
}
