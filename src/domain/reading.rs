//! A reading: what was asked and what the agent said it did, as extracted from the transcript by an LLM, by the offline
//! classifier, or by the user's own file (`--readings`). It never decides a pass: the verdict is computed from the system
//! of record's answers.
//!
//! The JSON form is frozen with the first release and documented in `docs/readings.md`.

mod check;

use std::collections::BTreeMap;

pub use check::check;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The intent that no playbook needs to name: the reader could not tell.
pub const UNKNOWN_INTENT: &str = "unknown";

/// Below this confidence a session is `skipped`.
pub const CONFIDENCE_FLOOR: f64 = 0.5;

/// What a session was about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reading {
    /// Name of one of the playbook's intents, or [`UNKNOWN_INTENT`].
    pub intent: String,
    /// How sure the reader is, 0 to 1.
    pub confidence: f64,
    /// One sentence.
    #[serde(default)]
    pub summary: String,
    /// What the playbook asks for beside the requests (numbers of children, phone, requested dates …).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
    /// What the caller asked for.
    #[serde(default)]
    pub requests: Vec<Request>,
    /// What the agent said it did, or did not.
    #[serde(default)]
    pub statements: Vec<Statement>,
}

/// What a request wants done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A record that was not there.
    #[serde(alias = "book", alias = "add", alias = "new")]
    Create,
    /// Other values in a record that is there.
    #[serde(alias = "change", alias = "modify", alias = "reschedule")]
    Update,
    /// A record gone, or in a cancelled state.
    #[serde(alias = "delete", alias = "remove")]
    Cancel,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Cancel];

    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Cancel => "cancel",
        }
    }
}

/// One thing that the caller asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Request {
    /// What should happen.
    pub operation: Operation,
    /// Kind of the record, as the playbook names it.
    #[serde(alias = "record_kind", alias = "kind")]
    pub record: String,
    /// For whom, where one session has several subjects (a child's name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Id of the record, where the caller named it.
    #[serde(default, alias = "record_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The values asked for, by the playbook's field names. An array of `{name, value}` is read as well.
    #[serde(default, with = "fields", skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// The words that show it. Required of an LLM: an item whose quote is not in the transcript is dropped.
    #[serde(default)]
    pub quote: String,
    /// Index of the turn quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// The caller's words that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawal>,
}

/// The caller took a request back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Withdrawal {
    /// Words of a caller turn.
    pub quote: String,
    /// Index of that turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
}

/// What the agent says of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It is done.
    Done,
    /// It will be done (queued, a call back).
    Promised,
    /// It was tried and did not work.
    Failed,
    /// It cannot or may not be done, or was handed to a person.
    Declined,
}

/// One thing that the agent said of an effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Statement {
    /// What it says.
    pub says: Says,
    /// Which effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// On which kind of record.
    #[serde(
        default,
        alias = "record_kind",
        alias = "kind",
        skip_serializing_if = "Option::is_none"
    )]
    pub record: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The values named, by the playbook's field names.
    #[serde(default, with = "fields", skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Value>,
    /// The agent's words.
    #[serde(default)]
    pub quote: String,
    /// Index of the turn quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
}

/// Who made a reading: kept with the verdict, because it bounds how far the verdict can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reader {
    /// Playbook signals and tool names; no LLM was asked.
    Offline {
        /// Why no LLM reading was used (`no LLM configured`, `the LLM's answer was unusable: …`).
        why: String,
    },
    /// An LLM.
    Llm {
        /// The model that answered.
        model: String,
        /// Asked twice because the first answer was not valid.
        repaired: bool,
    },
    /// The user's own file.
    File,
}

/// `fields` as an object or as an array of `{name, value}`: strict JSON schemas allow no free keys.
mod fields {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    #[derive(Deserialize)]
    struct Pair {
        name: String,
        value: Value,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Map(BTreeMap<String, Value>),
        Pairs(Vec<Pair>),
        None(()),
    }

    pub(super) fn serialize<S: Serializer>(fields: &BTreeMap<String, Value>, to: S) -> Result<S::Ok, S::Error> {
        fields.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
        Ok(match Either::deserialize(from)? {
            Either::Map(map) => map,
            Either::Pairs(pairs) => pairs.into_iter().map(|pair| (pair.name, pair.value)).collect(),
            Either::None(()) => BTreeMap::new(),
        })
    }
}
