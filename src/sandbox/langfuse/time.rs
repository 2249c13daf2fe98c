//! Instants and durations as the API writes them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// UTC with milliseconds.
pub(super) fn instant(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn instant_or_null(at: Option<DateTime<Utc>>) -> Value {
    at.map_or(Value::Null, |at| json!(instant(at)))
}

/// The whole second: what the newer releases keep of a row's creation.
pub(super) fn second(at: DateTime<Utc>) -> String {
    let second = DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at);
    instant(second)
}

/// From one instant to another in seconds, as JavaScript writes a number.
pub(super) fn seconds_between(start: DateTime<Utc>, end: DateTime<Utc>) -> Value {
    let milliseconds = (end - start).num_milliseconds();
    if milliseconds % 1000 == 0 {
        json!(milliseconds / 1000)
    } else {
        json!(milliseconds as f64 / 1000.0)
    }
}
