//! The verdict: what was asked against what is there. Computed by pure code, never by an LLM.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::{Operation, Reader};

/// The seed's statuses of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything asked for is there.
    Pass,
    /// Some of it is.
    Partial,
    /// None of it is, or something is there that nobody asked for.
    Fail,
    /// Nothing to verify; the reason says why.
    Skipped,
    /// Given up, with the reason.
    Error,
}

impl Status {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial => "partial",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }

    /// Reads the stored spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "pass" => Self::Pass,
            "partial" => Self::Partial,
            "fail" => Self::Fail,
            "skipped" => Self::Skipped,
            "error" => Self::Error,
            _ => return None,
        })
    }

    /// A failure that has to be explained.
    pub fn needs_diagnosis(self) -> bool {
        matches!(self, Self::Fail | Self::Partial)
    }
}

/// Why a session ended as it did, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Every request is confirmed.
    AllConfirmed,
    /// The agent said it was done; it is not there. The top severity.
    SaidDoneNotThere,
    /// It is there, but the caller was told that it failed.
    DoneButToldFailed,
    /// Asked for, nothing was done.
    NothingDone,
    /// Records are missing.
    RecordsMissing,
    /// A field differs.
    FieldsWrong,
    /// An effect that nobody asked for.
    UnwantedEffect,
    /// No request and no write: nothing to look for.
    NothingToVerify,
    /// Every request was clearly declined by the agent.
    Declined,
    /// Every request was withdrawn by the caller.
    Withdrawn,
    /// The reader could not name an intent.
    UnknownIntent,
    /// The reader was less sure than the floor.
    LowConfidence,
    /// Fewer than two turns.
    TooShort,
    /// Writes or booking words beside a reading without requests.
    InconsistentReading,
    /// The system of record could not answer.
    RecordsUnreadable,
    /// The work was given up: the job was discarded.
    GaveUp,
}

impl Reason {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllConfirmed => "all_confirmed",
            Self::SaidDoneNotThere => "said_done_not_there",
            Self::DoneButToldFailed => "done_but_told_failed",
            Self::NothingDone => "nothing_done",
            Self::RecordsMissing => "records_missing",
            Self::FieldsWrong => "fields_wrong",
            Self::UnwantedEffect => "unwanted_effect",
            Self::NothingToVerify => "nothing_to_verify",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::UnknownIntent => "unknown_intent",
            Self::LowConfidence => "low_confidence",
            Self::TooShort => "too_short",
            Self::InconsistentReading => "inconsistent_reading",
            Self::RecordsUnreadable => "records_unreadable",
            Self::GaveUp => "gave_up",
        }
    }
}

/// How bad a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not a failure.
    None,
    /// Fields differ, or it was done although the caller was told that it failed.
    Medium,
    /// Missing, and the agent did not claim otherwise; or unwanted.
    High,
    /// Said done but not there: the caller relies on something that does not exist.
    Critical,
}

impl Severity {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What became of a request, of a field, or of a record that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There, as asked.
    Confirmed,
    /// Not there.
    Missing,
    /// There, with other values.
    Wrong,
    /// There, and nobody asked for it.
    Unwanted,
    /// Not done, and the agent clearly said so.
    Declined,
    /// Taken back by the caller, and not there.
    Withdrawn,
    /// The system could not answer.
    Unknown,
}

impl Outcome {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Unwanted => "unwanted",
            Self::Declined => "declined",
            Self::Withdrawn => "withdrawn",
            Self::Unknown => "unknown",
        }
    }
}

/// One field of one record, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldVerdict {
    /// The playbook's name of the field.
    pub name: String,
    /// `confirmed`, `missing`, `wrong` or `unknown`.
    pub outcome: Outcome,
    /// What was asked for.
    pub expected: Value,
    /// What is there.
    pub actual: Value,
    /// How the two were compared.
    pub why: String,
}

/// A record, by its kind and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordRef {
    /// Kind, as the playbook names it.
    pub record: String,
    /// Its id.
    pub id: String,
}

/// One request, or one effect that nobody asked for, against the system of record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Finding {
    /// What was asked for, or done.
    pub operation: Operation,
    /// Kind of the record.
    pub record: String,
    /// Name of the system of record; `None` when no lookup was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Id of the record, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// How bad.
    pub severity: Severity,
    /// Field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldVerdict>,
    /// Of what is not as it should be: other records that change with it, by the playbook's effects (a booking is paid from
    /// the caller's profile), and so are not as they should be either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touches: Vec<RecordRef>,
    /// The caller's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked: String,
    /// The agent's words, where it said that it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_done: Option<String>,
    /// The tool calls that claim it, as step ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// One sentence for a person.
    pub why: String,
}

/// The verdict on one generation of one session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verdict {
    /// Pass, partial, fail, skipped or error.
    pub status: Status,
    /// Why, as a code.
    pub reason: Reason,
    /// The worst of the findings.
    pub severity: Severity,
    /// A sentence or two in words.
    pub summary: String,
    /// The intent read.
    pub intent: String,
    /// The reader's confidence, 0 to 1.
    pub confidence: f64,
    /// Who read.
    pub reader: Reader,
    /// Request by request, then unwanted effects.
    pub findings: Vec<Finding>,
    /// The playbook that it was judged by.
    pub playbook: PlaybookRef,
    /// How many times the systems were looked at (1 = no look again).
    pub looks: u32,
    /// The session never came to rest, or was cut: what was seen may not be all.
    pub incomplete: bool,
}

/// Which playbook judged: its text is what a dispute is settled by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlaybookRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its text, in hex.
    pub hash: String,
}
