//! A FHIR R4 server with OAuth 2.0 in front: reads, and the two searches that are asked for, in pages of two.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, header::CONTENT_TYPE},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/fhir-r4");
/// Elements on a page.
const PAGE: usize = 2;

/// The server. Dropping it stops it.
pub(crate) struct Fhir {
    pub(crate) url: String,
    known: Arc<Known>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Known {
    /// By type and id: `Patient/p-ada`.
    resources: BTreeMap<String, Value>,
    outcomes: BTreeMap<String, Value>,
    asked: Mutex<Vec<String>>,
    tokens: AtomicUsize,
    down: AtomicBool,
}

impl Drop for Fhir {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fhir {
    /// Serves the fixtures below `/fhir`; tokens are had from `/oauth/token`.
    pub(crate) async fn start() -> Self {
        let mut known = Known::default();
        for entry in std::fs::read_dir(FOLDER).unwrap() {
            let path = entry.unwrap().path();
            let resource: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            match (resource["resourceType"].as_str().unwrap(), resource["id"].as_str()) {
                ("OperationOutcome", _) => {
                    let code = name.split_once('-').unwrap().1.to_owned();
                    known.outcomes.insert(code, resource);
                }
                (kind, Some(id)) => {
                    known.resources.insert(format!("{kind}/{id}"), resource.clone());
                }
                (_, None) => {
                    known.resources.insert("metadata".to_owned(), resource);
                }
            }
        }
        let known = Arc::new(known);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (serving, base) = (Arc::clone(&known), format!("{url}/fhir"));
        let router = Router::new().fallback(move |request: Request| {
            let (status, body) = serving.answer(&base, &request);
            async move {
                let response = Response::builder().status(status);
                let response = response.header(CONTENT_TYPE, "application/fhir+json");
                response.body(Body::from(body.to_string())).unwrap()
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, known, task }
    }

    /// Whether everything is answered by an error.
    pub(crate) fn set_down(&self, down: bool) {
        self.known.down.store(down, Ordering::SeqCst);
    }

    /// Paths and queries asked for, as sent.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.known.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tokens given out.
    pub(crate) fn tokens(&self) -> usize {
        self.known.tokens.load(Ordering::SeqCst)
    }
}

impl Known {
    fn answer(&self, base: &str, request: &Request) -> (u16, Value) {
        let target = request.uri().path_and_query().unwrap().as_str();
        if target == "/oauth/token" {
            let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
            let token = json!({"access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": 3600});
            return (200, token);
        }
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(target.to_owned());
        let signed = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if signed != Some("Bearer token-1") {
            return (401, json!({}));
        }
        if self.down.load(Ordering::SeqCst) {
            return (500, self.outcomes["exception"].clone());
        }
        let Some(path) = request.uri().path().strip_prefix("/fhir") else {
            return (404, json!({}));
        };
        let query = parameters(request.uri().query().unwrap_or_default());
        match path {
            "" => self.page(base, &query),
            "/Patient" | "/Appointment" => self.search(base, path, &query),
            "/Appointment/a-deleted" => (410, self.outcomes["deleted"].clone()),
            _ => match self.resources.get(path.trim_start_matches('/')) {
                Some(resource) => (200, resource.clone()),
                None => (404, self.outcomes["not-found"].clone()),
            },
        }
    }

    fn search(&self, base: &str, path: &str, query: &[(String, String)]) -> (u16, Value) {
        let ids: Vec<&str> = self
            .resources
            .iter()
            .filter(|(id, resource)| id.starts_with(&path[1..]) && query.iter().all(|pair| fits(resource, pair)))
            .map(|(id, _)| id.as_str())
            .rev()
            .collect();
        (200, self.bundle(base, &ids))
    }

    fn page(&self, base: &str, query: &[(String, String)]) -> (u16, Value) {
        let ids = query.iter().find(|(name, _)| name == "_getpages").unwrap();
        let ids: Vec<&str> = ids.1.split(',').collect();
        (200, self.bundle(base, &ids))
    }

    fn bundle(&self, base: &str, ids: &[&str]) -> Value {
        let (page, rest) = ids.split_at(ids.len().min(PAGE));
        let entries: Vec<Value> = page
            .iter()
            .map(|id| json!({"fullUrl": format!("{base}/{id}"), "resource": self.resources[*id], "search": {"mode": "match"}}))
            .collect();
        let mut links = vec![json!({"relation": "self", "url": format!("{base}/")})];
        if !rest.is_empty() {
            let next = rest.join(",").replace('/', "%2F");
            links.push(json!({"relation": "next", "url": format!("{base}?_getpages={next}")}));
        }
        json!({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})
    }
}

fn parameters(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.replace("%2F", "/").replace("%20", " ")))
        .collect()
}

/// As the server reads a search parameter: a name begins like one of the patient's.
fn fits(resource: &Value, (name, value): &(String, String)) -> bool {
    match name.as_str() {
        "_count" => true,
        "birthdate" => resource["birthDate"] == value.as_str(),
        "patient" => {
            let reference = format!("Patient/{value}");
            resource["participant"]
                .as_array()
                .unwrap()
                .iter()
                .any(|participant| participant["actor"]["reference"] == reference.as_str())
        }
        "name" => {
            let names = resource["name"].as_array().unwrap();
            names.iter().any(|known| {
                let given = known["given"].as_array().unwrap().iter();
                let mut parts = given.chain([&known["family"]]).filter_map(Value::as_str);
                parts.any(|part| part.to_lowercase().starts_with(&value.to_lowercase()))
            })
        }
        other => panic!("the search has no parameter {other}"),
    }
}
