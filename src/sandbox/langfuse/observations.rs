//! `GET /v2/observations`: newest start first, behind an opaque cursor, in the groups of fields that were asked for.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    filter::Filter,
    problem::{self, Problem},
    query::Query,
    state::{PROJECT, Row, State},
    time::{instant, instant_or_null, seconds_between},
};

/// Longer values of metadata are cut unless they were asked for by name.
const METADATA_VALUE: usize = 200;
const PARSE_IO: &str = "parseIoAsJson=true is no longer supported on the v2 observations endpoint. Input/output fields are \
                        always returned as raw strings. Remove the parseIoAsJson parameter or set it to false.";

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "lastStartTimeTo")]
    start: String,
    #[serde(rename = "lastTraceId")]
    trace: String,
    #[serde(rename = "lastId")]
    id: String,
}

/// The plain parameters, which a `filter` overrides.
struct Plain {
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    kind: Option<String>,
    /// Parameter values by what they are compared with.
    name: Option<String>,
    user_id: Option<String>,
    session_id: Option<String>,
    trace_id: Option<String>,
    level: Option<String>,
    version: Option<String>,
    parent: Option<String>,
    is_root: Option<bool>,
    environments: Vec<String>,
}

pub(super) fn list(state: &mut State, query: &mut Query, now: DateTime<Utc>) -> Result<Value, Problem> {
    let limit = query.limit(0, 1000);
    let plain = Plain::read(query);
    if query.text("parseIoAsJson") == Some("true") {
        query.refuse(problem::custom(&["parseIoAsJson"], PARSE_IO));
    }
    query.check()?;
    let filter = query.text("filter").map(Filter::read).transpose()?;
    let filter = filter.filter(|filter| !filter.is_empty());
    let after = query.text("cursor").map(read_cursor).transpose()?;
    let most_rows = state.most_rows;
    let rows = state.rows(now);
    let found: Vec<&Row<'_>> = rows
        .iter()
        .filter(|row| match &filter {
            Some(filter) => filter.holds(row),
            None => plain.holds(row),
        })
        .collect();
    if most_rows.is_some_and(|most| found.len() > most) {
        return Err(Problem::too_large());
    }
    let limit = usize::try_from(limit).unwrap_or_default();
    let mut left = found
        .into_iter()
        .filter(|row| after.as_ref().is_none_or(|after| is_after(row, after)));
    let page: Vec<&Row<'_>> = left.by_ref().take(limit).collect();
    let mut meta = Map::new();
    if let (Some(last), Some(_)) = (page.last(), left.next()) {
        meta.insert("cursor".to_owned(), json!(cursor_of(last)));
    }
    let fields = Fields::read(query);
    let data: Vec<Value> = page.iter().map(|row| fields.show(row)).collect();
    Ok(json!({"data": data, "meta": meta}))
}

impl Plain {
    fn read(query: &mut Query) -> Self {
        let text = |query: &Query, name: &str| query.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            from: query.instant("fromStartTime"),
            to: query.instant("toStartTime"),
            kind: query.kind(),
            name: text(query, "name"),
            user_id: text(query, "userId"),
            session_id: text(query, "sessionId"),
            trace_id: text(query, "traceId"),
            level: text(query, "level"),
            version: text(query, "version"),
            // Given and empty means: without a parent.
            parent: query.text("parentObservationId").map(str::to_owned),
            is_root: query.text("isRootObservation").map(|text| text == "true"),
            environments: query.all("environment"),
        }
    }

    fn holds(&self, row: &Row<'_>) -> bool {
        let observation = &row.recorded.observation;
        let same = |wanted: &Option<String>, held: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| held.unwrap_or_default() == wanted)
        };
        self.from.is_none_or(|from| observation.start_time >= from)
            && self.to.is_none_or(|to| observation.start_time < to)
            && self.is_root.is_none_or(|root| observation.is_root_observation == root)
            && same(&self.kind, Some(&observation.kind))
            && same(&self.name, Some(&observation.name))
            && same(&self.user_id, observation.user_id.as_deref())
            && same(&self.session_id, observation.session_id.as_deref())
            && same(&self.trace_id, Some(&observation.trace_id))
            && same(&self.level, Some(&observation.level))
            && same(&self.version, row.recorded.more.version.as_deref())
            && same(&self.parent, observation.parent_observation_id.as_deref())
            && (self.environments.is_empty()
                || self
                    .environments
                    .iter()
                    .any(|wanted| wanted == observation.environment.as_deref().unwrap_or("default")))
    }
}

fn cursor_of(row: &Row<'_>) -> String {
    let observation = &row.recorded.observation;
    let cursor = json!({
        "lastStartTimeTo": instant(observation.start_time),
        "lastTraceId": observation.trace_id,
        "lastId": observation.id,
    });
    STANDARD_NO_PAD.encode(cursor.to_string())
}

fn read_cursor(text: &str) -> Result<(DateTime<Utc>, Cursor), Problem> {
    let read = || {
        let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let cursor: Cursor = serde_json::from_slice(&bytes).ok()?;
        let start = DateTime::parse_from_rfc3339(&cursor.start).ok()?;
        Some((start.to_utc(), cursor))
    };
    read().ok_or_else(|| Problem::invalid("Invalid cursor format"))
}

/// Whether a row comes after the one of the cursor. Starts are compared in milliseconds, as the cursor keeps them.
fn is_after(row: &Row<'_>, (start, cursor): &(DateTime<Utc>, Cursor)) -> bool {
    let observation = &row.recorded.observation;
    let key = (
        observation.start_time.timestamp_millis(),
        &observation.trace_id,
        &observation.id,
    );
    key < (start.timestamp_millis(), &cursor.trace, &cursor.id)
}

/// Groups of fields. An unknown name asks for nothing, and says nothing.
struct Fields {
    names: Vec<String>,
    /// Keys of metadata that are wanted whole.
    expand: Vec<String>,
}

impl Fields {
    fn read(query: &Query) -> Self {
        Self {
            names: query
                .list("fields")
                .unwrap_or_else(|| vec!["core".to_owned(), "basic".to_owned()]),
            expand: query.list("expandMetadata").unwrap_or_default(),
        }
    }

    fn has(&self, group: &str) -> bool {
        self.names.iter().any(|name| name == group)
    }

    fn show(&self, row: &Row<'_>) -> Value {
        let observation = &row.recorded.observation;
        let more = &row.recorded.more;
        let mut shown = Map::new();
        let mut put = |value: Value| {
            if let Value::Object(fields) = value {
                shown.extend(fields);
            }
        };
        let none_as_empty = |text: &Option<String>| json!(text.as_deref().unwrap_or_default());
        // What is always there, asked for or not; the model and its prices then as null.
        let first_token = more
            .completion_start_time
            .map_or(Value::Null, |at| seconds_between(observation.start_time, at));
        let latency = observation
            .end_time
            .map_or(Value::Null, |end| seconds_between(observation.start_time, end));
        put(json!({
            "id": observation.id,
            "traceId": observation.trace_id,
            "startTime": instant(observation.start_time),
            "endTime": instant_or_null(observation.end_time),
            "projectId": PROJECT,
            "parentObservationId": observation.parent_observation_id,
            "type": observation.kind,
            "latency": latency,
            "timeToFirstToken": first_token,
            "modelId": null,
            "inputPrice": null,
            "outputPrice": null,
            "totalPrice": null,
        }));
        if self.has("basic") {
            put(json!({
                "name": observation.name,
                "level": level(&observation.level),
                "statusMessage": none_as_empty(&observation.status_message),
                "version": more.version,
                "environment": observation.environment.as_deref().unwrap_or("default"),
                "userId": none_as_empty(&observation.user_id),
                "sessionId": none_as_empty(&observation.session_id),
                "isRootObservation": observation.is_root_observation,
                "bookmarked": false,
                "public": false,
            }));
        }
        if self.has("time") {
            put(json!({
                "completionStartTime": instant_or_null(more.completion_start_time),
                "createdAt": instant(row.created_at()),
                "updatedAt": instant(row.updated_at()),
            }));
        }
        if self.has("io") {
            put(json!({"input": raw(&observation.input), "output": raw(&observation.output)}));
        }
        if self.has("metadata") {
            put(json!({"metadata": self.metadata(&observation.metadata)}));
        }
        if self.has("model") {
            put(json!({
                "model": none_as_empty(&more.model),
                "internalModelId": none_as_empty(&more.model_id),
                "modelParameters": more.model_parameters,
                "modelId": more.model_id,
                "inputPrice": price_text(&more.input_price),
                "outputPrice": price_text(&more.output_price),
            }));
        }
        if self.has("usage") {
            let usage = |key: &str| more.usage_details.get(key).cloned().unwrap_or(json!(0));
            let cost = |key: &str| more.cost_details.get(key).cloned().unwrap_or_default();
            put(json!({
                "usageDetails": more.usage_details,
                "inputUsage": usage("input"),
                "outputUsage": usage("output"),
                "totalUsage": usage("total"),
                "costDetails": more.cost_details,
                "inputCost": cost("input"),
                "outputCost": cost("output"),
                "totalCost": more.cost_details.get("total").cloned().unwrap_or(json!(0)),
                "usagePricingTierId": more.usage_pricing_tier_id,
                "usagePricingTierName": more.usage_pricing_tier_name,
            }));
        }
        if self.has("prompt") {
            put(json!({"promptId": "", "promptName": "", "promptVersion": null}));
        }
        if self.has("trace_context") {
            put(json!({
                "traceName": none_as_empty(&observation.trace_name),
                "release": none_as_empty(&more.release),
                "tags": observation.tags,
            }));
        }
        Value::Object(shown)
    }

    /// Long values are cut.
    fn metadata(&self, metadata: &Value) -> Value {
        let Value::Object(metadata) = metadata else {
            return json!({});
        };
        let cut = |(key, value): (&String, &Value)| {
            let value = match value {
                Value::String(text) if !self.expand.contains(key) && text.chars().count() > METADATA_VALUE => {
                    Value::String(text.chars().take(METADATA_VALUE).collect())
                }
                other => other.clone(),
            };
            (key.clone(), value)
        };
        Value::Object(metadata.iter().map(cut).collect())
    }
}

/// Servers show a level always.
pub(super) fn level(level: &str) -> &str {
    if level.is_empty() { "DEFAULT" } else { level }
}

/// Input and output are text here: what was sent, or its JSON.
fn raw(value: &Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value.clone(),
        other => Value::String(other.to_string()),
    }
}

/// Prices are text here, without an exponent.
fn price_text(price: &Value) -> Value {
    match price {
        Value::Number(number) => number
            .as_f64()
            .map_or(Value::Null, |number| Value::String(number.to_string())),
        other => other.clone(),
    }
}
