//! The reads of scores: `GET /scores`, `GET /scores/{id}` and `GET /v2/scores` by pages, `GET /v3/scores` by cursor.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    problem::{self, Problem},
    query::Query,
    scores::{Score, flag, object, show_old},
    state::{PROJECT, State, TraceView},
    time::{instant, second},
};

const GROUPS: [&str; 4] = ["core", "details", "subject", "annotation"];

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cursor {
    v: u32,
    last_timestamp: String,
    last_id: String,
}

/// `GET /scores`, and `GET /v2/scores` with `of_sessions`: only the latter shows scores of sessions.
pub(super) fn list_old(
    state: &mut State,
    query: &mut Query,
    now: DateTime<Utc>,
    of_sessions: bool,
) -> Result<Value, Problem> {
    let version = state.version;
    let page = query.page();
    let (from, to) = (query.instant("fromTimestamp"), query.instant("toTimestamp"));
    query.check()?;
    let ids = query.list("scoreIds");
    let same = |name: &str, held: Option<&str>| query.text(name).is_none_or(|wanted| held == Some(wanted));
    let mut scores = state.scores_at(now);
    scores.retain(|score| {
        (of_sessions || score.trace_id.is_some())
            && from.is_none_or(|from| score.created_at >= from)
            && to.is_none_or(|to| score.created_at < to)
            && ids.as_ref().is_none_or(|ids| ids.contains(&score.id))
            && same("name", Some(&score.name))
            && same("dataType", Some(&score.data_type))
            && same("traceId", score.trace_id.as_deref())
            && same("sessionId", score.session_id.as_deref())
    });
    let traces = state.traces(now);
    if !version.is_v2() && !of_sessions {
        // The newer releases join the traces: a score of one that is not there is not shown.
        scores.retain(|score| traces.iter().any(|trace| Some(trace.id) == score.trace_id.as_deref()));
    }
    let (scores, meta) = page.cut(scores)?;
    let data: Vec<Value> = scores
        .iter()
        .map(|score| {
            let mut shown = show_old(score, version);
            let trace = traces.iter().find(|trace| Some(trace.id) == score.trace_id.as_deref());
            shown["trace"] = json!({
                "userId": trace.and_then(TraceView::user_id),
                "tags": trace.map(TraceView::tags),
            });
            if !version.is_v2() {
                shown["trace"]["environment"] = json!(trace.map(TraceView::environment));
            }
            if of_sessions {
                shown["sessionId"] = json!(score.session_id);
            }
            shown
        })
        .collect();
    Ok(json!({"data": data, "meta": meta}))
}

/// `GET /scores/{id}`
pub(super) fn one_old(state: &mut State, id: &str, now: DateTime<Utc>) -> Result<Value, Problem> {
    let scores = state.scores_at(now);
    let score = scores.iter().find(|score| score.id == id);
    score
        .map(|score| show_old(score, state.version))
        .ok_or_else(|| Problem::not_found("Score not found within authorized project"))
}

/// `GET /v3/scores`
pub(super) fn list(state: &mut State, query: &mut Query, now: DateTime<Utc>) -> Result<Value, Problem> {
    let limit = query.limit(1, 100);
    let (from, to) = (query.instant("fromTimestamp"), query.instant("toTimestamp"));
    let groups = query.list("fields").unwrap_or_default();
    for (index, group) in groups.iter().enumerate() {
        if !GROUPS.contains(&group.as_str()) {
            let path = json!(["fields", index]);
            query.refuse(problem::not_one_of(state.version, &path, &GROUPS, group));
        }
    }
    if query.text("sessionId").is_some() && query.text("traceId").is_some() {
        let message = "sessionId and traceId cannot be combined";
        query.refuse(problem::custom(&["sessionId", "traceId"], message));
    }
    query.check()?;
    let after = query.text("cursor").map(read_cursor).transpose()?;
    let among = |name: &str, held: Option<&str>| {
        query
            .list(name)
            .is_none_or(|wanted| wanted.iter().any(|wanted| held == Some(wanted)))
    };
    let mut scores = state.scores_at(now);
    scores.retain(|score| {
        from.is_none_or(|from| score.created_at >= from)
            && to.is_none_or(|to| score.created_at < to)
            && among("id", Some(&score.id))
            && among("name", Some(&score.name))
            && among("dataType", Some(&score.data_type))
            && among("environment", Some(&score.environment))
            && among("source", Some("API"))
            && among("traceId", score.trace_id.as_deref())
            && among("sessionId", score.session_id.as_deref())
            && after
                .as_ref()
                .is_none_or(|(at, id)| (score.created_at.timestamp_millis(), &score.id) < (at.timestamp_millis(), id))
    });
    let limit_rows = usize::try_from(limit).unwrap_or_default();
    let mut meta = json!({ "limit": limit });
    if let (true, Some(last)) = (scores.len() > limit_rows, scores.get(limit_rows.saturating_sub(1))) {
        let cursor = Cursor {
            v: 1,
            last_timestamp: instant(last.created_at),
            last_id: last.id.clone(),
        };
        meta["cursor"] = json!(URL_SAFE_NO_PAD.encode(json!(cursor).to_string()));
    }
    scores.truncate(limit_rows);
    let data: Vec<Value> = scores.iter().map(|score| show(score, &groups)).collect();
    Ok(json!({"data": data, "meta": meta}))
}

fn read_cursor(text: &str) -> Result<(DateTime<Utc>, String), Problem> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let cursor: Cursor = serde_json::from_slice(&bytes).ok()?;
        let at = DateTime::parse_from_rfc3339(&cursor.last_timestamp).ok()?;
        Some((at.to_utc(), cursor.last_id))
    };
    read().ok_or_else(|| Problem::invalid("Invalid cursor format"))
}

fn show(score: &Score, groups: &[String]) -> Value {
    let has = |group: &str| groups.iter().any(|name| name == group);
    // A boolean here, though it was written as a number.
    let value = if score.data_type == "BOOLEAN" {
        json!(flag(&score.value) == Some(true))
    } else {
        score.value.clone()
    };
    let mut shown = Map::new();
    let mut put = |value: Value| {
        if let Value::Object(fields) = value {
            shown.extend(fields);
        }
    };
    put(json!({
        "id": score.id,
        "projectId": PROJECT,
        "name": score.name,
        "source": "API",
        "timestamp": instant(score.created_at),
        "environment": score.environment,
        "createdAt": second(score.created_at),
        "updatedAt": instant(score.updated_at),
        "dataType": score.data_type,
        "value": value,
    }));
    if has("details") {
        put(json!({
            "comment": score.comment,
            "configId": score.config_id,
            "metadata": object(&score.metadata),
        }));
    }
    if has("subject") {
        put(json!({ "subject": subject(score) }));
    }
    if has("annotation") {
        put(json!({"authorUserId": null, "queueId": null}));
    }
    Value::Object(shown)
}

fn subject(score: &Score) -> Value {
    match (&score.session_id, &score.observation_id) {
        (Some(session), _) => json!({"kind": "session", "id": session}),
        (None, Some(observation)) => json!({"kind": "observation", "id": observation, "traceId": score.trace_id}),
        (None, None) => json!({"kind": "trace", "id": score.trace_id}),
    }
}
