//! A records server: `GET /{session}/{kind}/{id}` answers the record as it was after that session, 404 where there is none.
//!
//! It serves a folder (`records_after.json` over any `KIND_before.json`), or records given in memory, which may appear
//! only after some looks, as records in real systems do, and may fail on demand.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Server;
use crate::adapters::plain_text::one_line;

const AFTER: &str = "records_after.json";
const BEFORE: &str = "_before.json";

/// Why a folder of records cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}; give a folder that holds {AFTER} or KIND{BEFORE}")]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has nothing to serve.
    #[error("{path} holds neither {AFTER} nor any KIND{BEFORE} (such as reservations{BEFORE}): nothing to serve")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what it should be.
    #[error("{path}, line {line}, column {column}: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 where the shape as a whole is wrong.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// What a path answers instead of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status with a JSON error.
    Status(u16),
    /// This status with `Retry-After: SECONDS`.
    RetryAfter(u16, u32),
    /// This status and body.
    Body(u16, &'static str, String),
    /// A page for people, with status 200.
    Html,
    /// No answer until the server stops.
    Hang,
}

#[derive(Debug, Clone)]
struct Scripted {
    record: Value,
    /// 404 for this many looks first.
    after_looks: u64,
}

/// What a records server knows.
#[derive(Debug, Default)]
pub struct Records {
    /// By kind, then id: what every session starts from.
    before: HashMap<String, Map<String, Value>>,
    /// By session, then `kind/id`; `null` is a record that is gone.
    after: HashMap<String, HashMap<String, Scripted>>,
    /// By `session/kind/id`; the empty path is every path. The number is how many requests still fail.
    faults: Mutex<HashMap<String, (Fault, u64)>>,
    looks: Mutex<BTreeMap<String, u64>>,
    requests: AtomicU64,
    /// How long each answer takes.
    latency: Duration,
    arrivals: Mutex<Vec<(String, Instant)>>,
}

impl Records {
    /// No records at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a folder, once.
    ///
    /// # Errors
    /// When the folder cannot be read, has no such files, or one of them is broken.
    pub fn load(folder: &Path) -> Result<Self, RecordsError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| RecordsError::Unreadable { path, source }
        };
        let mut records = Self::new();
        let mut files = 0;
        for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
            let path = entry.map_err(unreadable(folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name == AFTER {
                files += 1;
                for (session, changed) in object(&path)? {
                    let Value::Object(changed) = changed else {
                        return Err(misshapen(&path, &session, "an object of `kind/id` to record"));
                    };
                    for (key, record) in changed {
                        if !key.contains('/') {
                            return Err(misshapen(&path, &session, "keys of the form `kind/id`"));
                        }
                        records.insert(&session, key, record, 0);
                    }
                }
            } else if let Some(kind) = name.strip_suffix(BEFORE) {
                files += 1;
                let kind = kind.to_owned();
                records.before.insert(kind, object(&path)?);
            }
        }
        if files == 0 {
            return Err(RecordsError::Empty {
                path: folder.to_owned(),
            });
        }
        Ok(records)
    }

    fn insert(&mut self, session: &str, key: String, record: Value, after_looks: u64) {
        let scripted = Scripted { record, after_looks };
        self.after.entry(session.to_owned()).or_default().insert(key, scripted);
    }

    /// A record that is there after this session; `null` is one that is gone.
    #[must_use]
    pub fn with(self, session: &str, kind: &str, id: &str, record: Value) -> Self {
        self.appearing(session, kind, id, record, 0)
    }

    /// A record that is found only after it was looked for in vain `after_looks` times.
    #[must_use]
    pub fn appearing(mut self, session: &str, kind: &str, id: &str, record: Value, after_looks: u64) -> Self {
        self.insert(session, format!("{kind}/{id}"), record, after_looks);
        self
    }

    /// Lets the next `times` requests of `session/kind/id` fail; the empty path stands for every path.
    pub fn fail(&self, path: &str, fault: Fault, times: u64) {
        locked(&self.faults).insert(path.to_owned(), (fault, times));
    }

    /// Takes so long for each answer.
    #[must_use]
    pub fn slow(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// When each request came in, in order.
    pub fn arrivals(&self) -> Vec<Instant> {
        locked(&self.arrivals).iter().map(|(_, at)| *at).collect()
    }

    /// The same of one kind of record.
    pub fn arrivals_of(&self, kind: &str) -> Vec<Instant> {
        let arrivals = locked(&self.arrivals);
        let of_kind = arrivals
            .iter()
            .filter(|(path, _)| path.split('/').any(|part| part == kind));
        of_kind.map(|(_, at)| *at).collect()
    }

    /// Whether every session starts with this record.
    pub fn was_there(&self, kind: &str, id: &str) -> bool {
        self.before.get(kind).is_some_and(|records| records.contains_key(id))
    }

    /// Requests answered so far, faults included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn fault(&self, path: &str) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        for key in [path, ""] {
            if let Some((fault, left)) = faults.get_mut(key)
                && *left > 0
            {
                *left -= 1;
                return Some(fault.clone());
            }
        }
        None
    }

    fn record(&self, session: &str, kind: &str, id: &str) -> Option<Value> {
        let key = format!("{kind}/{id}");
        if let Some(scripted) = self.after.get(session).and_then(|records| records.get(&key)) {
            if scripted.after_looks > 0 {
                let mut looks = locked(&self.looks);
                let seen = looks.entry(format!("{session}/{key}")).or_default();
                *seen += 1;
                if *seen <= scripted.after_looks {
                    return None;
                }
            }
            return Some(scripted.record.clone()).filter(|record| !record.is_null());
        }
        self.before
            .get(kind)?
            .get(id)
            .filter(|record| !record.is_null())
            .cloned()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn object(path: &Path) -> Result<Map<String, Value>, RecordsError> {
    let bytes = fs::read(path).map_err(|source| RecordsError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|error| RecordsError::Broken {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: match error.classify() {
            serde_json::error::Category::Data => "should be a JSON object of id to record".to_owned(),
            serde_json::error::Category::Eof => "the JSON breaks off here".to_owned(),
            _ => "not valid JSON".to_owned(),
        },
    })
}

fn misshapen(path: &Path, session: &str, should_be: &str) -> RecordsError {
    RecordsError::Broken {
        path: path.to_owned(),
        line: 0,
        column: 0,
        reason: format!("session `{}` should hold {should_be}", one_line(session, 100)),
    }
}

#[derive(Clone)]
struct Shared {
    records: Arc<Records>,
    stopping: CancellationToken,
}

/// Serves records on a listener of the caller's until `stopping` is cancelled.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(records: Arc<Records>, listener: TcpListener, stopping: CancellationToken) -> io::Result<()> {
    let router = router(records, stopping.clone());
    axum::serve(listener, router)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

/// Serves records on a free port of 127.0.0.1.
///
/// # Errors
/// When no port can be had.
pub async fn start(records: Arc<Records>) -> io::Result<Server> {
    let stopping = CancellationToken::new();
    Server::start(router(records, stopping.clone()), stopping).await
}

fn router(records: Arc<Records>, stopping: CancellationToken) -> Router {
    Router::new().fallback(answer).with_state(Shared { records, stopping })
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri) -> Response {
    locked(&shared.records.arrivals).push((uri.path().to_owned(), Instant::now()));
    shared.records.requests.fetch_add(1, Ordering::Relaxed);
    if !shared.records.latency.is_zero() {
        tokio::time::sleep(shared.records.latency).await;
    }
    if method != Method::GET {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "only GET is served");
    }
    // Split before decoding: an id may hold an encoded `/`.
    let segments: Option<Vec<String>> = uri.path()[1..]
        .split('/')
        .map(crate::adapters::percent_decode)
        .collect();
    let Some([session, kind, id]) = segments.as_deref() else {
        return problem(StatusCode::NOT_FOUND, "ask for /{session}/{kind}/{id}");
    };
    match shared.records.fault(&format!("{session}/{kind}/{id}")) {
        None => {}
        Some(Fault::Status(status)) => return problem(status_code(status), "scripted fault"),
        Some(Fault::RetryAfter(status, seconds)) => {
            let mut response = problem(status_code(status), "scripted fault");
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            return response;
        }
        Some(Fault::Body(status, media_type, body)) => {
            return (status_code(status), [(CONTENT_TYPE, media_type)], body).into_response();
        }
        Some(Fault::Html) => {
            let page = "<!DOCTYPE html><html><body>Please log in</body></html>";
            return (StatusCode::OK, [(CONTENT_TYPE, "text/html")], page).into_response();
        }
        Some(Fault::Hang) => {
            shared.stopping.cancelled().await;
            return problem(StatusCode::SERVICE_UNAVAILABLE, "stopping");
        }
    }
    match shared.records.record(session, kind, id) {
        Some(record) => Json(record).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no such record"),
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::client::{Bounds, ClientSettings, build, exchange};

    async fn get(server: &Server, path: &str) -> (u16, Value) {
        let client = build(&ClientSettings::default()).unwrap();
        let bounds = Bounds {
            timeout: std::time::Duration::from_secs(5),
            max_bytes: 10_000,
        };
        let reply = exchange("sandbox", client.get(format!("{}{path}", server.url())), bounds)
            .await
            .unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    #[tokio::test]
    async fn a_folder_is_served_with_the_records_after_the_session_over_those_before() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("trips_before.json"),
            r#"{"A": {"n": 1}, "B": {"n": 2}, "x/y é": {"n": 3}}"#,
        )
        .unwrap();
        fs::write(
            folder.path().join("records_after.json"),
            r#"{"s/1": {"trips/A": {"n": 9}, "trips/B": null, "trips/new/1": {"n": 4}}}"#,
        )
        .unwrap();
        let server = start(Arc::new(Records::load(folder.path()).unwrap())).await.unwrap();
        assert_eq!(get(&server, "/s%2F1/trips/A").await, (200, json!({"n": 9})));
        assert_eq!(get(&server, "/other/trips/A").await, (200, json!({"n": 1})));
        assert_eq!(get(&server, "/s%2F1/trips/B").await.0, 404);
        assert_eq!(get(&server, "/s%2F1/trips/new%2F1").await, (200, json!({"n": 4})));
        assert_eq!(
            get(&server, "/s%2F1/trips/x%2Fy%20%C3%A9").await,
            (200, json!({"n": 3}))
        );
        assert_eq!(get(&server, "/s%2F1/trips").await.0, 404);
        server.stop().await;
    }

    #[tokio::test]
    async fn a_record_may_appear_only_after_some_looks() {
        let records = Records::new().appearing("s", "trips", "A", json!({"n": 1}), 2);
        let server = start(Arc::new(records)).await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(get(&server, "/s/trips/A").await.0);
        }
        assert_eq!(statuses, [404, 404, 200, 200]);
    }

    #[tokio::test]
    async fn the_recorded_records_are_served_as_they_were_after_each_session() {
        let Some(folder) = std::env::var_os("AFTERCALL_AIRLINE_DIR").map(PathBuf::from) else {
            println!("SKIPPED sandbox::records, a real folder: AFTERCALL_AIRLINE_DIR is not set");
            return;
        };
        let after = object(&folder.join(AFTER)).unwrap();
        let server = start(Arc::new(Records::load(&folder).unwrap())).await.unwrap();
        for (session, changed) in &after {
            for (key, record) in changed.as_object().unwrap() {
                let (status, answered) = get(&server, &format!("/{session}/{key}")).await;
                let expected = if record.is_null() { 404 } else { 200 };
                assert_eq!(status, expected, "{session} {key}");
                assert!(record.is_null() || answered == *record, "{session} {key}");
            }
        }
        server.stop().await;
    }

    #[test]
    fn a_folder_that_cannot_be_served_says_what_is_wrong_and_where() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Records::load(&folder.path().join("nowhere")).unwrap_err().to_string();
        assert!(missing.contains("nowhere"), "{missing}");
        let empty = Records::load(folder.path()).unwrap_err().to_string();
        assert!(empty.contains("nothing to serve"), "{empty}");
        fs::write(folder.path().join("trips_before.json"), "{\n \"A\": {,}\n}").unwrap();
        let broken = Records::load(folder.path()).unwrap_err().to_string();
        assert!(broken.contains("trips_before.json, line 2, column 8"), "{broken}");
    }
}
