//! A server that gives recorded answers: what real Langfuse servers said (`tests/fixtures/langfuse-recorded`), in their own
//! words. A request that no answer was laid out for fails the test, and so does an answer that nobody asked for.
//!
//! The recorded requests are not the adapter's to the letter: an answer is laid out for a path and the parameters that
//! decide what is in it. Where no recording fits, a list is put together of recorded entries.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use aftercall::adapters::langfuse::{Langfuse, LangfuseConfig};
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderValue, Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::world::config;

/// One recorded answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: u16,
    content_type: String,
    body: Value,
}

/// The answer of this file: release and name.
pub(super) fn recorded(file: &str) -> Answer {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/langfuse-recorded/{file}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let recording: Value = serde_json::from_str(&text).unwrap();
    Answer {
        status: u16::try_from(recording["status"].as_u64().unwrap()).unwrap(),
        content_type: recording["headers"]["Content-Type"].as_str().unwrap().to_owned(),
        body: recording["body"].clone(),
    }
}

impl Answer {
    /// The entries of a list.
    pub(super) fn entries(&self) -> &[Value] {
        self.body["data"].as_array().unwrap()
    }

    /// The same list with these entries, as its last page.
    pub(super) fn with_entries<'a>(&self, entries: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut answer = self.clone();
        answer.body["data"] = entries.into_iter().cloned().collect();
        if let Some(meta) = answer.body["meta"].as_object_mut() {
            meta.remove("cursor");
        }
        answer
    }

    /// The same list with the entries that have this value.
    pub(super) fn only(&self, key: &str, value: &str) -> Self {
        self.with_entries(self.entries().iter().filter(|entry| entry[key] == value))
    }

    /// An entry of a list as an answer of its own.
    pub(super) fn entry(&self, id: &str) -> Self {
        Self {
            body: self.entries().iter().find(|entry| entry["id"] == id).unwrap().clone(),
            ..self.clone()
        }
    }

    /// The same answer with another field.
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.body[key] = value;
        self
    }

    /// A field of the body.
    pub(super) fn field(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap()
    }
}

#[derive(Debug)]
struct Rule {
    path: String,
    query: Vec<(String, String)>,
    answer: Answer,
    once: bool,
    asked: usize,
}

#[derive(Debug, Default)]
struct Laid {
    rules: Vec<Rule>,
    unexpected: Vec<String>,
}

/// A running server.
pub(super) struct Replay {
    laid: Arc<Mutex<Laid>>,
    url: String,
    task: JoinHandle<()>,
}

impl Replay {
    pub(super) async fn start() -> Self {
        let laid = Arc::<Mutex<Laid>>::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&laid));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { laid, url, task }
    }

    /// Lays out an answer to `GET /api/public{path}` with at least these parameters, until another one is laid out for it.
    pub(super) fn on(&self, path: &str, query: &[(&str, &str)], answer: Answer) -> &Self {
        self.lay(path, query, answer, false)
    }

    /// The same, for one request: before what is laid out for always.
    pub(super) fn once(&self, path: &str, query: &[(&str, &str)], answer: Answer) -> &Self {
        self.lay(path, query, answer, true)
    }

    fn lay(&self, path: &str, query: &[(&str, &str)], answer: Answer, once: bool) -> &Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.laid.lock().unwrap().rules.push(Rule {
            path: format!("/api/public{path}"),
            query: query.iter().map(owned).collect(),
            answer,
            once,
            asked: 0,
        });
        self
    }

    /// Takes all answers away: the server becomes another one. What was laid out and not asked for fails the test.
    pub(super) fn clear(&self) {
        let mut laid = self.laid.lock().unwrap();
        let left = unasked(&laid);
        assert!(left.is_empty(), "never asked for: {left:?}");
        laid.rules.clear();
    }

    /// A source that reads it. One slice is all that was recorded.
    pub(super) fn source(&self, change: impl FnOnce(&mut LangfuseConfig)) -> Langfuse {
        let mut config = config(&self.url);
        config.windows.since = std::time::Duration::from_hours(48);
        config.windows.slice = std::time::Duration::from_hours(72);
        change(&mut config);
        Langfuse::new(config).unwrap()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() {
            return;
        }
        let laid = self.laid.lock().unwrap();
        assert!(
            laid.unexpected.is_empty(),
            "nothing was laid out for {:?}",
            laid.unexpected
        );
        let left = unasked(&laid);
        assert!(left.is_empty(), "never asked for: {left:?}");
    }
}

fn unasked(laid: &Laid) -> Vec<String> {
    let left = laid.rules.iter().filter(|rule| rule.asked == 0);
    left.map(|rule| format!("{} {:?}", rule.path, rule.query)).collect()
}

async fn answer(
    State(laid): State<Arc<Mutex<Laid>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let mut laid = laid.lock().unwrap();
    // What real servers refuse is no fair question: recorded as `limit_101` and `obs2_bad_limit_1001`.
    let most = if uri.path().contains("/v2/") { 1_000 } else { 100 };
    let too_long =
        |(name, value): &(String, String)| name == "limit" && value.parse().is_ok_and(|limit: u32| limit > most);
    let fair = method == Method::GET && !query.iter().any(too_long);
    let fits = |rule: &&mut Rule| {
        fair && rule.path == uri.path()
            && !(rule.once && rule.asked > 0)
            && rule.query.iter().all(|wanted| query.contains(wanted))
    };
    // The most particular one.
    let found = laid
        .rules
        .iter_mut()
        .filter(fits)
        .max_by_key(|rule| (rule.once, rule.query.len()));
    let answer = if let Some(rule) = found {
        rule.asked += 1;
        rule.answer.clone()
    } else {
        laid.unexpected.push(format!("{method} {uri}"));
        Answer {
            status: 501,
            content_type: "application/json".to_owned(),
            body: json!({"message": "nothing was laid out for this"}),
        }
    };
    let body = answer
        .body
        .as_str()
        .map_or_else(|| answer.body.to_string(), str::to_owned);
    let content_type = HeaderValue::from_str(&answer.content_type).unwrap();
    (
        StatusCode::from_u16(answer.status).unwrap(),
        [(CONTENT_TYPE, content_type)],
        body,
    )
        .into_response()
}
