//! Questions to a system of record and its answers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{http_api::Pages, sql::Statement};

/// One record to look up. Two equal lookups are asked once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Lookup {
    /// Name of the configured system of record.
    pub system: String,
    /// Kind of the record, as the playbook names it.
    pub record: String,
    /// Id of the record, where one is known.
    pub id: Option<String>,
    /// Further values for the lookup's template (session, patient id, name, …).
    pub keys: BTreeMap<String, String>,
}

/// What a system of record says of a lookup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The record, or several where the lookup is a search.
    Found {
        /// As the system answered, decoded.
        record: Value,
    },
    /// The system says that there is none.
    Absent,
    /// The system could not answer this question, and asking again will not help. Never "not found".
    Unknown {
        /// The system's words, without secrets.
        reason: String,
    },
}

/// How a fact was learnt: kept with the verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Evidence {
    /// What was asked. Masked when stored.
    pub lookup: Lookup,
    /// The request as sent, without secrets (`GET /airline-00-0/reservations/HATHAT`).
    pub request: String,
    /// The answer's status code, where there was one.
    pub status: Option<u16>,
    /// The answer. Masked when stored.
    pub fact: Fact,
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub latency_ms: u64,
    /// 0 for the first look, then one more for each look again.
    pub round: u32,
}

/// How a kind of record is asked for: `[record.lookup]` of a playbook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordLookup {
    /// Over HTTP.
    Http(HttpLookup),
    /// In a database.
    Sql(SqlLookup),
}

/// How a kind of record is asked for in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlLookup {
    /// The lookup's `id` and `keys` are bound to its parameters.
    pub statement: Statement,
    /// The playbook reads a list of rows (`each`): without it there is one row at most.
    pub is_list: bool,
}

/// All answers so far, by question.
pub type Facts = BTreeMap<Lookup, Fact>;

/// How a kind of record is asked for over HTTP: `[record.lookup]` of a playbook. The host is the configuration's alone.
///
/// `path`, `query` and `body` are templates over the lookup's `id` and `keys`; every value is escaped for where it stands,
/// so that nothing in a transcript can leave its place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpLookup {
    /// `GET` (default) or `POST`.
    #[serde(default)]
    pub method: HttpMethod,
    /// Path below the system's base address: `/{{ session }}/reservations/{{ id }}`.
    pub path: String,
    /// Query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// JSON body, for `POST`.
    #[serde(default)]
    pub body: Option<String>,
    /// `JSONPath` to the record in the answer; the whole answer by default. Nothing selected is an absent record.
    #[serde(default)]
    pub select: Option<String>,
    /// CEL over `status` and `body`: there is no such record, though the status does not say so.
    #[serde(default)]
    pub absent_when: Option<String>,
    /// Query parameters that are left out where the session gives no value for them.
    #[serde(default)]
    pub optional: Vec<String>,
    /// How the rest of a list is asked for.
    #[serde(default)]
    pub pages: Option<Pages>,
}

/// A longer list is not read to its end: nothing is concluded from what is not in its beginning.
pub const MOST_ELEMENTS: usize = 2000;

/// What an `absent_when` may speak of: the answer's status and its JSON, null where it has none.
pub const ANSWER_VARIABLES: [&str; 2] = ["status", "body"];

/// Reading methods only: aftercall never writes to a system of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// The default.
    #[default]
    Get,
    /// For APIs whose searches are posted.
    Post,
}

impl HttpMethod {
    /// As it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}
