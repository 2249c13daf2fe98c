//! The old reads of traces and sessions. Pages count from the start, so they shift when data arrives in between.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{
    old_observations::{self, Within, metadata, parsed},
    problem::Problem,
    query::Query,
    scores::{self, Score},
    state::{PROJECT, State, TraceView},
    time::{instant, second},
    version::Version,
};

/// `GET /traces`
pub(super) fn list(state: &mut State, query: &mut Query, now: DateTime<Utc>) -> Result<Value, Problem> {
    let version = state.version;
    let page = query.page();
    let (from, to) = (query.instant("fromTimestamp"), query.instant("toTimestamp"));
    query.check()?;
    let order = Order::read(query, version)?;
    let groups = if version.is_v2() { None } else { query.list("fields") };
    let has = |group: &str| {
        groups
            .as_ref()
            .is_none_or(|groups| groups.iter().any(|name| name == group))
    };
    let tags = query.all("tags");
    let environments = query.all("environment");
    let same = |name: &str, held: Option<&str>| query.text(name).is_none_or(|wanted| held == Some(wanted));
    let visible_scores: Vec<Score> = state.scores_at(now);
    let mut traces = state.traces(now);
    traces.retain(|trace| {
        let at = trace.timestamp();
        from.is_none_or(|from| at >= from)
            && to.is_none_or(|to| at < to)
            && same("sessionId", trace.session_id())
            && same("userId", trace.user_id())
            && same("name", trace.name())
            && same("version", trace.version())
            && same("release", trace.release())
            && tags.iter().all(|tag| trace.tags().contains(&tag.as_str()))
            && (version.is_v2()
                || environments.is_empty()
                || environments.iter().any(|wanted| wanted == trace.environment()))
    });
    order.sort(&mut traces);
    let (traces, meta) = page.cut(traces)?;
    let data: Vec<Value> = traces
        .iter()
        .map(|trace| {
            let mut shown = core(trace, version, has("io"));
            let observations: Vec<&str> = if has("observations") {
                trace
                    .rows
                    .iter()
                    .map(|row| row.recorded.observation.id.as_str())
                    .collect()
            } else {
                Vec::new()
            };
            let scores: Vec<&str> = visible_scores
                .iter()
                .filter(|score| has("scores") && score.trace_id.as_deref() == Some(trace.id))
                .map(|score| score.id.as_str())
                .collect();
            let (latency, cost) = if has("metrics") {
                (trace.latency(version), trace.total_cost())
            } else {
                (json!(-1), json!(-1))
            };
            shown.insert("observations".to_owned(), json!(observations));
            shown.insert("scores".to_owned(), json!(scores));
            shown.insert("latency".to_owned(), latency);
            shown.insert("totalCost".to_owned(), cost);
            shown.insert("htmlPath".to_owned(), json!(html_path(trace.id)));
            Value::Object(shown)
        })
        .collect();
    Ok(json!({"data": data, "meta": meta}))
}

/// `GET /traces/{id}`
pub(super) fn one(state: &mut State, id: &str, now: DateTime<Utc>) -> Result<Value, Problem> {
    let version = state.version;
    let visible_scores: Vec<Score> = state.scores_at(now);
    let traces = state.traces(now);
    let Some(trace) = traces.iter().find(|trace| trace.id == id) else {
        return Err(Problem::not_found(&if version.is_v2() {
            "Trace not found within authorized project".to_owned()
        } else {
            format!("Trace {id} not found within authorized project")
        }));
    };
    let mut shown = core(trace, version, true);
    let mut observations: Vec<Value> = trace
        .rows
        .iter()
        .map(|row| old_observations::show(row, version, Within::Trace))
        .collect();
    if version.is_v2() {
        // v2 reads them oldest first; the newer releases in no order, here the newest first.
        observations.reverse();
    }
    let scores: Vec<Value> = visible_scores
        .iter()
        .filter(|score| score.trace_id.as_deref() == Some(id))
        .map(|score| scores::show_old(score, version))
        .collect();
    shown.insert("observations".to_owned(), json!(observations));
    shown.insert("scores".to_owned(), json!(scores));
    shown.insert("latency".to_owned(), trace.latency(version));
    shown.insert("totalCost".to_owned(), trace.total_cost());
    shown.insert("htmlPath".to_owned(), json!(html_path(id)));
    Ok(Value::Object(shown))
}

/// `GET /sessions`: newest first, and the instants are those of their first ingestion.
pub(super) fn sessions(state: &mut State, query: &mut Query, now: DateTime<Utc>) -> Result<Value, Problem> {
    let version = state.version;
    let page = query.page();
    let (from, to) = (query.instant("fromTimestamp"), query.instant("toTimestamp"));
    query.check()?;
    let environments = query.all("environment");
    let traces = state.traces(now);
    let mut sessions: Vec<(&str, DateTime<Utc>, &str)> = Vec::new();
    for trace in &traces {
        let Some(id) = trace.session_id() else { continue };
        match sessions.iter_mut().find(|session| session.0 == id) {
            Some(session) => session.1 = session.1.min(trace.created_at()),
            None => sessions.push((id, trace.created_at(), trace.environment())),
        }
    }
    sessions.retain(|(_, created, environment)| {
        from.is_none_or(|from| *created >= from)
            && to.is_none_or(|to| *created < to)
            && (version.is_v2() || environments.is_empty() || environments.iter().any(|wanted| wanted == environment))
    });
    sessions.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    let (sessions, meta) = page.cut(sessions)?;
    let data: Vec<Value> = sessions
        .iter()
        .map(|(id, created, environment)| Value::Object(session_core(id, *created, environment, version)))
        .collect();
    Ok(json!({"data": data, "meta": meta}))
}

/// `GET /sessions/{id}`: with all its traces, in one piece.
pub(super) fn session(state: &mut State, id: &str, now: DateTime<Utc>) -> Result<Value, Problem> {
    let version = state.version;
    let mut traces = state.traces(now);
    traces.retain(|trace| trace.session_id() == Some(id));
    let Some(created) = traces.iter().map(TraceView::created_at).min() else {
        return Err(Problem::not_found("Session not found within authorized project"));
    };
    // v2 gives the oldest first, the newer releases the newest.
    Order {
        by: By::Timestamp,
        ascending: version.is_v2(),
    }
    .sort(&mut traces);
    let environment = traces.first().map_or("default", TraceView::environment);
    let mut shown = session_core(id, created, environment, version);
    let traces: Vec<Value> = traces
        .iter()
        .map(|trace| Value::Object(core(trace, version, true)))
        .collect();
    shown.insert("traces".to_owned(), json!(traces));
    Ok(Value::Object(shown))
}

fn session_core(id: &str, created: DateTime<Utc>, environment: &str, version: Version) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), json!(id));
    shown.insert("createdAt".to_owned(), json!(instant(created)));
    shown.insert("projectId".to_owned(), json!(PROJECT));
    if !version.is_v2() {
        shown.insert("environment".to_owned(), json!(environment));
    }
    shown
}

fn html_path(id: &str) -> String {
    format!("/project/{PROJECT}/traces/{id}")
}

/// What every read of a trace shows.
fn core(trace: &TraceView<'_>, version: Version, io: bool) -> Map<String, Value> {
    let (mut input, mut output, mut meta) = (Value::Null, Value::Null, Value::Null);
    if io {
        input = parsed(&trace.content(|sent| &sent.input, |root| &root.observation.input));
        output = parsed(&trace.content(|sent| &sent.output, |root| &root.observation.output));
        meta = trace.content(|sent| &sent.metadata, |root| &root.observation.metadata);
    }
    let created = trace.created_at();
    let shown = json!({
        "id": trace.id,
        "projectId": PROJECT,
        "externalId": null,
        "timestamp": instant(trace.timestamp()),
        "name": trace.name(),
        "userId": trace.user_id(),
        "sessionId": trace.session_id(),
        "metadata": metadata(&meta, version),
        "release": trace.release(),
        "version": trace.version(),
        "public": false,
        "bookmarked": false,
        "tags": trace.tags(),
        "input": input,
        "output": output,
        "createdAt": if version.is_v2() { instant(created) } else { second(created) },
        "updatedAt": instant(trace.updated_at()),
    });
    let mut shown = if let Value::Object(shown) = shown {
        shown
    } else {
        Map::new()
    };
    if !version.is_v2() {
        shown.insert("environment".to_owned(), json!(trace.environment()));
    }
    shown
}

enum By {
    Timestamp,
    Name,
    Id,
}

struct Order {
    by: By,
    ascending: bool,
}

impl Order {
    /// Reads `orderBy=timestamp.asc`; the default is the newest first.
    fn read(query: &Query, version: Version) -> Result<Self, Problem> {
        let (column, direction) = query
            .text("orderBy")
            .and_then(|text| text.split_once('.'))
            .unwrap_or(("timestamp", "desc"));
        let by = match column {
            "timestamp" | "createdAt" => By::Timestamp,
            "name" => By::Name,
            "id" => By::Id,
            _ if version.is_v2() => return Err(Problem::internal(&format!("Invalid filter column: {column}"))),
            _ => return Err(Problem::invalid(&format!("Invalid order by column: {column}"))),
        };
        Ok(Self {
            by,
            ascending: direction.eq_ignore_ascii_case("asc"),
        })
    }

    fn sort(&self, traces: &mut [TraceView<'_>]) {
        traces.sort_by(|a, b| {
            let order = match self.by {
                By::Timestamp => a.timestamp().cmp(&b.timestamp()),
                By::Name => a.name().cmp(&b.name()),
                By::Id => a.id.cmp(b.id),
            };
            if self.ascending { order } else { order.reverse() }
        });
    }
}
