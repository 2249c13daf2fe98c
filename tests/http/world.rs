//! A judged world, an `aftercall api` on it, and tokens.

use std::fmt;

use aftercall::{
    adapters::client::{ClientSettings, build},
    db::Db,
    params,
};
use chrono::DateTime;
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    bakery::{self, Session},
    child::Child,
    world::{Plan, World},
};

/// A port of its own, and its address in a form that the tests read.
pub(super) const API: [&str; 4] = ["api", "--listen", "127.0.0.1:0", "--json"];

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}\n{}", self.status, self.headers, self.text)
    }
}

impl Answer {
    pub(super) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Its body, where its status is this.
    pub(super) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.json()
    }

    /// A whole problem of this status and code.
    pub(super) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self}");
        assert_eq!(problem["code"], code, "{self}");
        assert_eq!(problem["type"], format!("urn:aftercall:problem:{code}"), "{self}");
        for said in ["title", "detail", "next_step"] {
            assert!(
                problem[said].as_str().is_some_and(|text| !text.is_empty()),
                "{said}: {self}"
            );
        }
        self.is_protected();
    }

    /// Nobody keeps it, and nothing in it acts in a browser.
    pub(super) fn is_protected(&self) {
        assert_eq!(self.header("cache-control"), "no-store", "{self}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{self}");
        let policy = self.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"),
            "{self}"
        );
        assert!(!self.headers.contains_key("access-control-allow-origin"), "{self}");
    }
}

/// Runs a command to its end and reads what it says.
pub(super) async fn command(world: &World, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    let ended = Child::start(world, &arguments, &[]).ended().await;
    assert!(ended.status.success(), "{arguments:?}: {ended}");
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

/// A token that is made by the command line.
pub(super) async fn token(world: &World, name: &str, scope: &str, more: &[&str]) -> String {
    let arguments = [&["token", "create", "--name", name, "--scope", scope], more].concat();
    let made = command(world, &arguments).await;
    made["token"].as_str().unwrap().to_owned()
}

/// Sessions that end in every way, one of them with an id that has to be written with care.
pub(super) fn sessions() -> Vec<Session> {
    let mut sessions = bakery::every_way();
    sessions.push(bakery::other_cake(ODD));
    sessions
}

/// An id that is no path.
pub(super) const ODD: &str = "c/é 100%";

/// A client that follows nothing.
pub(super) fn client() -> Client {
    build(&ClientSettings::default()).unwrap()
}

/// The API on a world whose sessions were judged.
pub(super) struct Served {
    pub(super) world: World,
    pub(super) db: Db,
    pub(super) api: Child,
    pub(super) url: String,
    pub(super) operate: String,
    pub(super) read: String,
    client: Client,
}

impl Served {
    pub(super) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these words on its command line.
    pub(super) async fn with(more: &[&str]) -> Self {
        let sessions = sessions();
        let world = Plan::of(&sessions)
            .model(bakery::model(&sessions))
            // Two looks come between two signs of life, and a process that is not heard of for a moment is alive.
            .set("queue", "lease", "'30s'")
            .set("queue", "heartbeat", "'5s'")
            .start()
            .await;
        let db = world.db().await;
        world.run_until_idle(&db).await;
        let operate = token(&world, "operator", "operate", &[]).await;
        let read = token(&world, "dashboard", "read", &[]).await;
        let api = Child::start(&world, &[&API[..], more].concat(), &[]);
        let url = api.url().await;
        Self {
            world,
            db,
            api,
            url,
            operate,
            read,
            client: client(),
        }
    }

    /// A request without a token; `path` begins behind `/api/v1`.
    pub(super) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v1{path}", self.url))
    }

    /// One of the operator's.
    pub(super) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.operate)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.ask(Method::GET, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.ask(Method::POST, path).json(&body)).await
    }

    /// The document.
    pub(super) async fn document(&self) -> Value {
        self.get("/openapi.json").await.is(200)
    }

    /// What the audit log says, newest first: who, what, to what.
    pub(super) async fn audit(&self) -> Vec<[String; 3]> {
        let page = self.get("/audit?limit=500").await.is(200);
        let lines = page["items"].as_array().unwrap().iter();
        let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        lines
            .map(|line| ["actor", "action", "subject"].map(|key| word(line, key)))
            .collect()
    }

    /// A session of the source `made-up`, active in this second of 1970.
    pub(super) async fn made_up_session(&self, id: &str, second: i64) {
        let at = DateTime::from_timestamp(second, 0).unwrap();
        let mut tx = self.db.begin().await.unwrap();
        tx.execute(
            "-- made_up_session
             INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
                 digest_since, open_since, state, waiting_reason, discovered_at, updated_at)
             VALUES ('made-up', $1, $2, $2, 3, 1, 'd', $2, $2, 'open', 'made up', $2, $2)",
            &params![id, at],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    /// Ends it well.
    pub(super) async fn stop(self) {
        self.api.signal(Signal::TERM);
        let ended = self.api.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
}

/// An operation of the document.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// As the document has it, from `/api/v1` on.
    pub(super) path: String,
    pub(super) described: Value,
}

impl Operation {
    /// All of them.
    pub(super) fn all(document: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, described) in item.as_object().unwrap() {
                all.push(Self {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.strip_prefix("/api/v1").unwrap().to_owned(),
                    described: described.clone(),
                });
            }
        }
        all
    }

    pub(super) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    /// Its path with something for each parameter that there is not.
    pub(super) fn filled(&self) -> String {
        let nobody = "01a21481-1315-70a7-8e7d-6802d688d648";
        let parts = self
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { nobody } else { part });
        parts.collect::<Vec<&str>>().join("/")
    }

    /// Asks for it with a body that may fit.
    pub(super) fn ask(&self, served: &Served) -> RequestBuilder {
        let request = served.bare(self.method.clone(), &self.filled());
        if self.described["requestBody"].is_object() {
            request.json(&json!({}))
        } else {
            request
        }
    }
}
