//! A claim: what a tool call says of a record. A tool's OK is never a success by itself; the system of record decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::Operation;

/// What the call says it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It wrote.
    Write(Operation),
    /// It only read: what the record held at that time.
    Read,
}

/// How far the call got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// The tool says it is done.
    Done,
    /// Accepted but not done yet (queued): to be looked for, not a success.
    Promised,
    /// The tool says it failed.
    Failed {
        /// The tool's words.
        error: String,
    },
}

/// One tool call's word on one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Id of the playbook's `[[claim]]` rule.
    pub rule: String,
    /// The tool call.
    pub step: String,
    /// Position of the call among the session's tool calls, from 1.
    pub order: u32,
    /// What it did.
    pub effect: Effect,
    /// How far it got.
    pub state: ClaimState,
    /// Kind of the record.
    pub record: String,
    /// Id of the record, where the call gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Values that the call wrote or read, by the playbook's field names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// Further values that a lookup needs (a patient's id for an appointment), by the playbook's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
}
