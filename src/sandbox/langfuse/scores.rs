//! Scores: `POST /scores` with its validation, and how the server keeps them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    problem::{self, Problem, wrong_type},
    state::{PROJECT, State},
    time::{instant, second},
    version::Version,
};

const NO_SUBJECT: &str = "Provide exactly one of the following: traceId (with optional observationId), sessionId or \
                          datasetRunId. ObservationId requires traceId.";

/// A score as it is kept: the same id again changes its value, its comment and its metadata, and nothing else.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the API's own names")]
pub struct Score {
    pub id: String,
    pub name: String,
    /// Number or text, as it was written.
    pub value: Value,
    /// `NUMERIC`, `BOOLEAN`, `CATEGORICAL` or `TEXT`.
    pub data_type: String,
    pub trace_id: Option<String>,
    pub observation_id: Option<String>,
    pub session_id: Option<String>,
    pub comment: Option<String>,
    pub metadata: Value,
    pub environment: String,
    pub config_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// From when on it can be read.
    pub visible_after: DateTime<Utc>,
    /// How often it was written.
    pub writes: u32,
}

impl State {
    /// Every score that can be read now, newest first.
    pub(super) fn scores_at(&self, now: DateTime<Utc>) -> Vec<Score> {
        let mut scores: Vec<Score> = self
            .scores
            .iter()
            .filter(|score| score.visible_after <= now)
            .cloned()
            .collect();
        scores.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        scores
    }
}

/// `POST /scores`
pub(super) fn post(state: &mut State, body: &[u8], now: DateTime<Utc>) -> Result<Value, Problem> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Problem::no_json())?;
    let version = state.version;
    check(&body, version)?;
    let text = |key: &str| body[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let id = text("id").unwrap_or_else(|| Uuid::new_v4().to_string());
    let name = text("name").unwrap_or_default();
    if state.dropped_scores.contains(&name) {
        return Ok(json!({ "id": id }));
    }
    let data_type = text("dataType").unwrap_or_else(|| {
        let inferred = if body["value"].is_string() {
            "CATEGORICAL"
        } else {
            "NUMERIC"
        };
        inferred.to_owned()
    });
    // The table's key has the name in it: an id that comes again under another name is a second row.
    if let Some(known) = state
        .scores
        .iter_mut()
        .find(|score| score.id == id && score.name == name)
    {
        known.value = body["value"].clone();
        known.data_type = data_type;
        known.comment = text("comment");
        known.metadata = body["metadata"].clone();
        known.updated_at = now;
        known.writes += 1;
        return Ok(json!({ "id": id }));
    }
    let visible_after = now + state.score_delay;
    state.scores.push(Score {
        id: id.clone(),
        name,
        value: body["value"].clone(),
        data_type,
        trace_id: text("traceId"),
        observation_id: text("observationId"),
        session_id: text("sessionId"),
        comment: text("comment"),
        metadata: body["metadata"].clone(),
        environment: text("environment").unwrap_or_else(|| "default".to_owned()),
        config_id: text("configId"),
        created_at: now,
        updated_at: now,
        visible_after,
        writes: 1,
    });
    Ok(json!({ "id": id }))
}

/// `DELETE /scores/{id}`
pub(super) fn delete(state: &mut State, id: &str) -> Value {
    state.scores.retain(|score| score.id != id);
    json!({"message": "Score deletion queued successfully"})
}

/// A boolean as it is written: 0 or 1. JavaScript knows no difference between 1 and 1.0.
pub(super) fn flag(value: &Value) -> Option<bool> {
    let number = value.as_f64()?;
    match (number.abs() < f64::EPSILON, (number - 1.0).abs() < f64::EPSILON) {
        (true, _) => Some(false),
        (_, true) => Some(true),
        _ => None,
    }
}

/// As JavaScript names the type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "undefined",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(body: &Value, version: Version) -> Result<(), Problem> {
    let mut issues = Vec::new();
    let given = |key: &str| !body[key].is_null();
    if !body["name"].is_string() {
        issues.push(wrong_type(version, "name", "string", type_of(&body["name"])));
    }
    if version.is_v2() && !body["traceId"].is_string() {
        issues.push(wrong_type(version, "traceId", "string", type_of(&body["traceId"])));
    }
    let value = &body["value"];
    let received = type_of(value);
    match body["dataType"].as_str() {
        Some("NUMERIC" | "BOOLEAN") if !value.is_number() => {
            issues.push(wrong_type(version, "value", "number", received));
        }
        Some("BOOLEAN") if flag(value).is_none() => {
            let message = "Value must be a number equal to either 0 or 1 for data type BOOLEAN";
            issues.push(problem::custom(&["value"], message));
        }
        Some("CATEGORICAL" | "TEXT") if !value.is_string() => {
            issues.push(wrong_type(version, "value", "string", received));
        }
        Some("TEXT")
            if value
                .as_str()
                .is_some_and(|text| text.is_empty() || text.chars().count() > 500) =>
        {
            issues.push(problem::custom(
                &["value"],
                "Text must have between 1 and 500 characters",
            ));
        }
        None if !value.is_number() && !value.is_string() => issues.push(no_value(version, received)),
        _ => {}
    }
    // Rules that span fields are looked at once each field is what it should be.
    let subjects = ["traceId", "sessionId", "datasetRunId"];
    let subjects = subjects.into_iter().filter(|key| given(key)).count();
    if issues.is_empty() && !version.is_v2() && (subjects != 1 || given("observationId") && !given("traceId")) {
        let path = ["traceId", "sessionId", "datasetRunId", "observationId"];
        issues.push(problem::custom(&path, NO_SUBJECT));
    }
    if issues.is_empty() {
        Ok(())
    } else {
        Err(Problem::issues(&issues))
    }
}

fn no_value(version: Version, received: &str) -> Value {
    if version.is_v2() {
        let union =
            |expected: &str| json!({"issues": [wrong_type(version, "value", expected, received)], "name": "ZodError"});
        json!({"code": "invalid_union", "unionErrors": [union("string"), union("number")], "path": ["value"],
               "message": "Invalid input"})
    } else {
        let union = |expected: &str| {
            json!([{"expected": expected, "code": "invalid_type", "path": [],
                    "message": format!("Invalid input: expected {expected}, received {received}")}])
        };
        json!({"code": "invalid_union", "errors": [union("string"), union("number")], "path": ["value"],
               "message": "Invalid input"})
    }
}

/// A score in the shape of the old reads: a number, a text beside it, and booleans as both.
pub(super) fn show_old(score: &Score, version: Version) -> Value {
    let text = match (score.data_type.as_str(), &score.value) {
        ("BOOLEAN", value) => Some(if flag(value) == Some(true) { "True" } else { "False" }),
        (_, Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    // v2 has no number for a category, the newer releases 0 or the category's own.
    let number = match &score.value {
        Value::String(_) if version.is_v2() => Value::Null,
        Value::String(_) => json!(0),
        number => number.clone(),
    };
    let shown = json!({
        "id": score.id,
        "timestamp": instant(score.created_at),
        "projectId": PROJECT,
        "name": score.name,
        "source": "API",
        "authorUserId": null,
        "comment": score.comment,
        "traceId": score.trace_id,
        "observationId": score.observation_id,
        "configId": score.config_id,
        "createdAt": if version.is_v2() { instant(score.created_at) } else { second(score.created_at) },
        "updatedAt": instant(score.updated_at),
        "queueId": null,
        "value": number,
        "stringValue": text,
        "dataType": score.data_type,
    });
    let mut shown = if let Value::Object(shown) = shown {
        shown
    } else {
        Map::new()
    };
    if !version.is_v2() {
        shown.insert("environment".to_owned(), json!(score.environment));
        shown.insert("metadata".to_owned(), object(&score.metadata));
        shown.insert("executionTraceId".to_owned(), Value::Null);
    }
    Value::Object(shown)
}

/// Metadata is always an object.
pub(super) fn object(value: &Value) -> Value {
    if value.is_object() { value.clone() } else { json!({}) }
}
