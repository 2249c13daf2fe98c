//! One request from its arrival to its answer, in the order in which the real servers look at it: route, method, the reads
//! that a mode took away (before the keys), the keys, the rate limit, and only then the parameters.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::State as Extracted,
    http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use futures::stream;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    FakeLangfuse, auth,
    faults::Fault,
    log::Logged,
    observations, old_observations,
    problem::Problem,
    query::Query,
    rate,
    route::{self, Endpoint, Route},
    scores, scores_read,
    state::{PROJECT, State},
    traces,
};

const BASE: &str = "/api/public";

#[derive(Clone)]
struct Shared {
    langfuse: Arc<FakeLangfuse>,
    stopping: CancellationToken,
}

pub(super) fn router(langfuse: Arc<FakeLangfuse>, stopping: CancellationToken) -> Router {
    Router::new().fallback(answer).with_state(Shared { langfuse, stopping })
}

/// What comes of a request.
enum Outcome {
    Answer(u16, Value),
    Problem(Problem),
    /// The answer, of which only the first half goes out.
    Cut {
        answer: Value,
        breaks_off: bool,
    },
    Hang,
}

async fn answer(
    Extracted(shared): Extracted<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let now = shared.langfuse.clock.now();
    let path = uri.path().strip_prefix(BASE).unwrap_or("/").to_owned();
    let route = route::find(method.as_str(), &path);
    let endpoint = route.endpoint;
    let outcome = {
        let mut state = shared.langfuse.state();
        let outcome = outcome(
            &mut state,
            &Asked {
                route,
                uri: &uri,
                headers: &headers,
                body: &body,
                now,
            },
        );
        state.log.push(Logged {
            method: method.to_string(),
            endpoint,
            path,
            query: uri.query().unwrap_or_default().to_owned(),
            status: outcome.status(),
        });
        outcome
    };
    match outcome {
        Outcome::Answer(status, answer) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            (status, Json(answer)).into_response()
        }
        Outcome::Problem(problem) => problem.into_response(),
        Outcome::Cut { answer, breaks_off } => cut(&answer, breaks_off),
        Outcome::Hang => {
            shared.stopping.cancelled().await;
            Problem::status(503).into_response()
        }
    }
}

impl Outcome {
    fn status(&self) -> u16 {
        match self {
            Self::Answer(status, _) => *status,
            Self::Problem(problem) => problem.status,
            Self::Cut { .. } => 200,
            Self::Hang => 0,
        }
    }
}

/// Half of an answer.
fn cut(answer: &Value, breaks_off: bool) -> Response {
    let mut half = answer.to_string().into_bytes();
    half.truncate(half.len() / 2);
    let half = Bytes::from(half);
    let body = if breaks_off {
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Body::from_stream(stream::iter([Ok(half), Err(gone)]))
    } else {
        Body::from(half)
    };
    ([(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

struct Asked<'a> {
    route: Route,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
    now: DateTime<Utc>,
}

fn outcome(state: &mut State, asked: &Asked<'_>) -> Outcome {
    let endpoint = asked.route.endpoint;
    let fault = state.faults.meet(endpoint, asked.now);
    match fault {
        Some(Fault::Status(status)) => return Outcome::Problem(Problem::status(status)),
        Some(Fault::Html(status)) => return Outcome::Problem(Problem::html(status)),
        Some(Fault::Hang) => return Outcome::Hang,
        _ => {}
    }
    match (respond(state, asked, fault), fault) {
        (Ok((_, answer)), Some(Fault::CutBody)) => Outcome::Cut {
            answer,
            breaks_off: true,
        },
        (Ok((_, answer)), Some(Fault::CutJson)) => Outcome::Cut {
            answer,
            breaks_off: false,
        },
        (Ok((status, answer)), _) => Outcome::Answer(status, answer),
        (Err(problem), _) => Outcome::Problem(problem),
    }
}

fn respond(state: &mut State, asked: &Asked<'_>, fault: Option<Fault>) -> Result<(u16, Value), Problem> {
    let Route {
        endpoint,
        ref id,
        method_allowed,
    } = asked.route;
    let version = state.version;
    let now = asked.now;
    if endpoint.is_missing_in(version) {
        return Err(Problem::no_route());
    }
    if !method_allowed {
        return Err(Problem::method_not_allowed());
    }
    if endpoint == Endpoint::Health {
        return Ok((200, json!({"status": "OK", "version": version.release()})));
    }
    if endpoint.is_old_read() && !version.has_old_reads() {
        return Err(Problem::events_only());
    }
    auth::check(asked.headers, endpoint, version)?;
    match fault {
        Some(Fault::RateLimited(seconds)) => return Err(rate::scripted(endpoint, seconds, false, now)),
        Some(Fault::RateLimitedPlain(seconds)) => return Err(rate::scripted(endpoint, seconds, true, now)),
        _ => state.rates.count(endpoint, now)?,
    }
    if endpoint == Endpoint::ObservationsV2 && !version.has_new_reads() {
        return Err(Problem::no_new_reads());
    }
    let mut query = Query::of(asked.uri, version);
    let answer = match endpoint {
        Endpoint::Projects => Ok(projects(state)),
        Endpoint::ObservationsV2 => observations::list(state, &mut query, now),
        Endpoint::Traces => traces::list(state, &mut query, now),
        Endpoint::Trace => traces::one(state, id, now),
        Endpoint::Sessions => traces::sessions(state, &mut query, now),
        Endpoint::Session => traces::session(state, id, now),
        Endpoint::Observations => old_observations::list(state, &mut query, now),
        Endpoint::Observation => old_observations::one(state, id, now),
        Endpoint::PostScore => scores::post(state, asked.body, now),
        Endpoint::Scores => scores_read::list_old(state, &mut query, now, false),
        Endpoint::Score => scores_read::one_old(state, id, now),
        Endpoint::ScoresV2 => scores_read::list_old(state, &mut query, now, true),
        Endpoint::ScoresV3 => scores_read::list(state, &mut query, now),
        Endpoint::DeleteScore => return Ok((202, scores::delete(state, id))),
        Endpoint::Health | Endpoint::Unknown => Err(Problem::no_route()),
    };
    answer.map(|answer| (200, answer))
}

fn projects(state: &State) -> Value {
    let mut project = json!({"id": PROJECT, "name": "Sandbox"});
    if !state.version.is_v2() {
        project["organization"] = json!({"id": "sandbox-org", "name": "Sandbox"});
        project["metadata"] = json!({});
    }
    json!({"data": [project]})
}
