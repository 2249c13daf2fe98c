//! The old reads of observations: `GET /observations`, `GET /observations/{id}`, and those inside of a trace.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{
    observations::level,
    problem::Problem,
    query::Query,
    state::{PROJECT, Row, State},
    time::{instant, instant_or_null, second, seconds_between},
    version::Version,
};

/// `GET /observations`
pub(super) fn list(state: &mut State, query: &mut Query, now: DateTime<Utc>) -> Result<Value, Problem> {
    let page = query.page();
    let kind = query.kind();
    let (from, to) = (query.instant("fromStartTime"), query.instant("toStartTime"));
    query.check()?;
    let version = state.version;
    let environments = query.all("environment");
    let same = |name: &str, held: Option<&str>| query.text(name).is_none_or(|wanted| held == Some(wanted));
    let mut rows = state.rows(now);
    rows.retain(|row| {
        let observation = &row.recorded.observation;
        kind.as_ref().is_none_or(|kind| *kind == observation.kind)
            && from.is_none_or(|from| observation.start_time >= from)
            && to.is_none_or(|to| observation.start_time < to)
            && same("traceId", Some(&observation.trace_id))
            && same("name", Some(&observation.name))
            && same("userId", observation.user_id.as_deref())
            && same("level", Some(&observation.level))
            && same("parentObservationId", observation.parent_observation_id.as_deref())
            && (version.is_v2()
                || environments.is_empty()
                || environments
                    .iter()
                    .any(|wanted| wanted == observation.environment.as_deref().unwrap_or("default")))
    });
    let (rows, meta) = page.cut(rows)?;
    let data: Vec<Value> = rows.iter().map(|row| show(row, version, Within::List)).collect();
    Ok(json!({"data": data, "meta": meta}))
}

/// `GET /observations/{id}`
pub(super) fn one(state: &mut State, id: &str, now: DateTime<Utc>) -> Result<Value, Problem> {
    let version = state.version;
    let rows = state.rows(now);
    let row = rows.iter().find(|row| row.recorded.observation.id == id);
    row.map(|row| show(row, version, Within::Nothing)).ok_or_else(|| {
        Problem::not_found(&if version.is_v2() {
            "Observation not found within authorized project".to_owned()
        } else {
            format!("Observation with id {id} not found")
        })
    })
}

/// Input and output as the old reads give them: parsed where they are JSON.
pub(super) fn parsed(value: &Value) -> Value {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
        other => other.clone(),
    }
}

/// v2 keeps metadata as it was sent; from v3 on it is always an object.
pub(super) fn metadata(value: &Value, version: Version) -> Value {
    match value {
        Value::Object(_) => value.clone(),
        _ if version.is_v2() => value.clone(),
        Value::Null => json!({}),
        other => json!({ "metadata": other }),
    }
}

/// Where an observation is shown. From v3 on that makes small differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Asked for by its id.
    Nothing,
    /// `GET /observations`: no pricing tier.
    List,
    /// `GET /traces/{id}`: prices are 0 where there are none.
    Trace,
}

/// One observation in the shape of the old reads.
pub(super) fn show(row: &Row<'_>, version: Version, within: Within) -> Value {
    let observation = &row.recorded.observation;
    let more = &row.recorded.more;
    let v2 = version.is_v2();
    let usage = |key: &str| more.usage_details.get(key).cloned().unwrap_or(json!(0));
    let cost = |key: &str| more.cost_details.get(key).cloned().unwrap_or_default();
    let unit = if !v2 || !more.usage_details.is_empty() {
        json!("TOKENS")
    } else {
        Value::Null
    };
    let latency = observation
        .end_time
        .map_or(Value::Null, |end| seconds_between(observation.start_time, end));
    let first_token = more
        .completion_start_time
        .map_or(Value::Null, |at| seconds_between(observation.start_time, at));
    let model_parameters = if more.model_parameters.is_empty() {
        Value::Null
    } else {
        Value::Object(more.model_parameters.clone())
    };
    let total_cost = match more.cost_details.get("total") {
        Some(total) => total.clone(),
        None if v2 => Value::Null,
        None => json!(0),
    };
    let shown = json!({
        "id": observation.id,
        "traceId": observation.trace_id,
        "projectId": PROJECT,
        "type": observation.kind,
        "startTime": instant(observation.start_time),
        "endTime": instant_or_null(observation.end_time),
        "name": observation.name,
        "metadata": metadata(&observation.metadata, version),
        "parentObservationId": observation.parent_observation_id,
        "level": level(&observation.level),
        "statusMessage": observation.status_message,
        "version": more.version,
        "createdAt": if v2 { instant(row.created_at()) } else { second(row.created_at()) },
        "updatedAt": instant(row.updated_at()),
        "model": more.model,
        "modelParameters": model_parameters,
        "input": parsed(&observation.input),
        "output": parsed(&observation.output),
        "completionStartTime": instant_or_null(more.completion_start_time),
        "promptId": null,
        "promptName": null,
        "promptVersion": null,
        "modelId": more.model_id,
        "inputPrice": price_number(&more.input_price),
        "outputPrice": price_number(&more.output_price),
        "totalPrice": null,
        "calculatedInputCost": cost("input"),
        "calculatedOutputCost": cost("output"),
        "calculatedTotalCost": total_cost,
        "latency": latency,
        "timeToFirstToken": first_token,
        "unit": unit,
        "promptTokens": usage("input"),
        "completionTokens": usage("output"),
        "totalTokens": usage("total"),
        "usage": {"unit": unit, "input": usage("input"), "output": usage("output"), "total": usage("total")},
    });
    let mut shown = if let Value::Object(shown) = shown {
        shown
    } else {
        Map::new()
    };
    if !v2 {
        let environment = observation.environment.as_deref().unwrap_or("default");
        shown.insert("environment".to_owned(), json!(environment));
        shown.insert("usageDetails".to_owned(), json!(more.usage_details));
        shown.insert("costDetails".to_owned(), json!(more.cost_details));
        let tier = |tier: &Option<String>| {
            if within == Within::List {
                Value::Null
            } else {
                json!(tier)
            }
        };
        shown.insert("usagePricingTierId".to_owned(), tier(&more.usage_pricing_tier_id));
        shown.insert("usagePricingTierName".to_owned(), tier(&more.usage_pricing_tier_name));
        if within == Within::Trace {
            for price in ["inputPrice", "outputPrice", "totalPrice"] {
                let price = shown.entry(price).or_insert(Value::Null);
                if price.is_null() {
                    *price = json!(0);
                }
            }
        }
    }
    Value::Object(shown)
}

/// Prices are numbers here.
fn price_number(price: &Value) -> Value {
    match price {
        Value::String(text) => text.parse::<f64>().map_or(Value::Null, |price| json!(price)),
        other => other.clone(),
    }
}
