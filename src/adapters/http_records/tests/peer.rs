//! A JSON API with a script: each request is kept, each answer comes from the test.

use std::sync::{Mutex, PoisonError};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::Response,
};
use tokio::net::TcpListener;

use super::*;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub(super) method: String,
    /// Path and query, as sent.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Arrived {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Says {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

#[expect(clippy::needless_pass_by_value, reason = "bodies are made for it, as JSON or text")]
pub(super) fn says(status: u16, body: impl ToString) -> Says {
    Says {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string(),
    }
}

impl Says {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub(super) struct Peer {
    pub(super) url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Peer {
    /// Answers each request as `script` says; it is told its own address, and how many requests came before.
    pub(super) async fn start(script: impl Fn(&str, &Arrived, usize) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let arrived: Arc<Mutex<Vec<Arrived>>> = Arc::default();
        let kept = Arc::clone(&arrived);
        let own = url.clone();
        let script = Arc::new(script);
        let router = Router::new().fallback(move |request: Request| {
            let (kept, own, script) = (Arc::clone(&kept), own.clone(), Arc::clone(&script));
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 1_000_000).await.unwrap();
                let arrived = Arrived {
                    method: parts.method.to_string(),
                    target: parts.uri.path_and_query().unwrap().to_string(),
                    headers: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let before = {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(arrived.clone());
                    kept.len() - 1
                };
                let says = script(&own, &arrived, before);
                let mut response = Response::builder().status(says.status);
                for (name, value) in says.headers {
                    response = response.header(name, value);
                }
                response.body(Body::from(says.body)).unwrap()
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, arrived }
    }

    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn targets(&self) -> Vec<String> {
        self.arrived().into_iter().map(|arrived| arrived.target).collect()
    }
}

/// A system that is asked for a thing.
pub(super) fn system(config: HttpRecordsConfig, how: HttpLookup) -> HttpRecords {
    HttpRecords::new("ehr", config, BTreeMap::from([("thing".to_owned(), how)])).unwrap()
}

pub(super) fn thing(id: &str) -> Lookup {
    Lookup {
        system: "ehr".to_owned(),
        record: "thing".to_owned(),
        id: Some(id.to_owned()),
        keys: BTreeMap::new(),
    }
}

pub(super) fn unknown(answer: &Answer) -> &str {
    match &answer.fact {
        Fact::Unknown { reason } => reason,
        other => panic!("{other:?}"),
    }
}

pub(super) fn found(answer: Answer) -> Value {
    match answer.fact {
        Fact::Found { record } => record,
        other => panic!("{other:?}"),
    }
}
