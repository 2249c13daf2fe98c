//! What the server was given: observations as the application sent them, each from the instant on at which a real server
//! would have ingested it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::observation::Observation;

/// One observation with everything that a server shows of it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What aftercall reads.
    pub observation: Observation,
    /// What else a server shows.
    pub more: More,
}

/// What a server shows of an observation and aftercall does not read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the API's own names")]
pub struct More {
    pub version: Option<String>,
    pub release: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub completion_start_time: Option<DateTime<Utc>>,
    pub model: Option<String>,
    pub model_id: Option<String>,
    pub model_parameters: Map<String, Value>,
    pub usage_details: Map<String, Value>,
    pub cost_details: Map<String, Value>,
    /// USD for a token, as text or number.
    pub input_price: Value,
    /// USD for a token, as text or number.
    pub output_price: Value,
    pub usage_pricing_tier_id: Option<String>,
    pub usage_pricing_tier_name: Option<String>,
}

impl From<Observation> for Recorded {
    fn from(observation: Observation) -> Self {
        Self {
            observation,
            more: More::default(),
        }
    }
}

impl Recorded {
    /// Reads one line of a bundle: an object in the shape of `GET /v2/observations`.
    ///
    /// # Errors
    /// What is wrong with it, without its content.
    pub fn read(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| position(&error))?;
        let Value::Object(mut object) = value else {
            return Err("not a JSON object".to_owned());
        };
        object.retain(|_, value| !value.is_null());
        for key in [
            "sessionId",
            "userId",
            "parentObservationId",
            "statusMessage",
            "environment",
        ] {
            if object.get(key).is_some_and(|value| value == "") {
                object.remove(key);
            }
        }
        let value = Value::Object(object);
        let more = More::deserialize(&value).map_err(|error| position(&error))?;
        let observation = Observation::deserialize(&value).map_err(|error| position(&error))?;
        Ok(Self { observation, more })
    }
}

/// Only what serde says of the shape: its messages may quote a value.
fn position(error: &serde_json::Error) -> String {
    if error.is_data() {
        "not an observation: it needs id, traceId, type and startTime (a date and time with its offset)".to_owned()
    } else {
        format!("not JSON at column {}", error.column())
    }
}

/// A trace as applications sent it before v4, with words of its own beside those of its observations.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the API's own names")]
pub struct SentTrace {
    pub id: String,
    pub timestamp: DateTime<Utc>,
    pub name: Option<String>,
    pub session_id: Option<String>,
    pub user_id: Option<String>,
    pub environment: Option<String>,
    pub release: Option<String>,
    pub version: Option<String>,
    pub tags: Vec<String>,
    pub input: Value,
    pub output: Value,
    pub metadata: Value,
}

/// One piece of data, and from when on a reader sees it.
#[derive(Debug, Clone)]
pub(super) struct Arrival<T> {
    pub(super) visible_after: DateTime<Utc>,
    pub(super) what: T,
    /// A second row of the same observation, which the server has not merged with the first yet.
    pub(super) unmerged: bool,
}
