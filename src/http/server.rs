//! The server: a thread that answers, and how it stops.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    api::{self, Api, Served},
    bind::Bound,
    connections::Connections,
    health, metrics,
    reused::Reused,
};
use crate::{db::Db, queue::Pulse};

/// How long answers under way may take once it stops.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two tries to connect to the database.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
/// Connections to a server for each of health and figures.
const BESIDE: u32 = 2;
/// How long it is remembered whether the process is ready.
const READINESS: Duration = Duration::from_secs(1);

/// What the answers are about.
#[derive(Debug, Clone)]
pub struct About {
    /// The database. The server opens connections of its own.
    pub db: Db,
    /// The workers of this process.
    pub pulse: Pulse,
    /// The API, where it is served as well.
    pub api: Option<Served>,
}

/// What questions are answered from.
pub(super) struct Asked {
    /// Connections of the server's own, once it has any: those for health wait for no figures.
    pub(super) health: Arc<OnceLock<Db>>,
    pub(super) figures: Arc<OnceLock<Db>>,
    pub(super) pulse: Pulse,
}

/// A running server. Dropped, it stops.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Answers at a port until it is told to stop.
    ///
    /// # Errors
    /// When the machine has no thread for it.
    pub fn start(bound: Bound, about: About) -> io::Result<Self> {
        let Bound { listener, address } = bound;
        let stop = CancellationToken::new();
        let until = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new()
            .name("aftercall-http".to_owned())
            .spawn(move || {
                let served = runtime.block_on(async move {
                    let listener = TcpListener::from_std(listener)?;
                    serve(listener, about, until).await
                });
                if let Err(error) = served {
                    tracing::error!(%error, "health and metrics are not served any more");
                }
            })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it; answers under way are given a second.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, about: About, stop: CancellationToken) -> io::Result<()> {
    let asked = Arc::new(Asked {
        health: connections(&about.db, Whom::Machines, BESIDE, health::DATABASE),
        figures: connections(&about.db, Whom::Machines, BESIDE, metrics::EVALUATION),
        pulse: about.pulse,
    });
    let mut router = router(&asked);
    if let Some(served) = about.api {
        let db = connections(&about.db, Whom::People, api::CONNECTIONS, api::STATEMENT);
        let api = Api::new(served, db, asked.pulse.clone());
        router = api.guard_health(router).merge(api.router());
    }
    let router = router.fallback(async |uri: Uri| api::no_route(&uri));
    let served = axum::serve(Connections::new(listener), router).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        served = served.into_future() => served,
        () = async { stop.cancelled().await; tokio::time::sleep(LAST_WORDS).await; } => Ok(()),
    }
}

/// Connections on which no statement takes longer than `patience`. They are made at once and not at the first question: by
/// then a file may be gone, and opening it would make another.
/// Who asks over these connections: always the same of an index, or now and then over whole tables.
#[derive(Clone, Copy)]
enum Whom {
    Machines,
    People,
}

fn connections(db: &Db, whom: Whom, most: u32, patience: Duration) -> Arc<OnceLock<Db>> {
    let (db, connected) = (db.clone(), Arc::new(OnceLock::new()));
    let connecting = Arc::clone(&connected);
    tokio::spawn(async move {
        loop {
            let opened = match whom {
                Whom::Machines => db.reopen_wide(most, patience).await,
                Whom::People => db.reopen_for_people(most, patience).await,
            };
            match opened {
                Ok(own) => return drop(connecting.set(own)),
                Err(error) => tracing::warn!(%error, "health and metrics have no connection yet"),
            }
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
    });
    connected
}

#[derive(Clone)]
struct Answers {
    ready: Reused<Answer>,
    metrics: Reused<Answer>,
}

fn router(asked: &Arc<Asked>) -> Router {
    let (of_readiness, of_metrics) = (Arc::clone(asked), Arc::clone(asked));
    let answers = Answers {
        ready: Reused::new(
            move || {
                let asked = Arc::clone(&of_readiness);
                async move { health::ready(&asked).await }
            },
            |_| READINESS,
        ),
        metrics: Reused::new(
            move || {
                let asked = Arc::clone(&of_metrics);
                async move { metrics::answer(&asked).await }
            },
            metrics::kept_for,
        ),
    };
    Router::new()
        .route("/healthz", get(async || health::alive()))
        .route(
            "/readyz",
            get(async |State(answers): State<Answers>| given(&answers.ready).await),
        )
        .route(
            "/metrics",
            get(async |State(answers): State<Answers>| given(&answers.metrics).await),
        )
        .with_state(answers)
}

async fn given(answer: &Reused<Answer>) -> Answer {
    match answer.get().await {
        Some(answer) => answer,
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "a bug: see the log of this process"),
    }
}

fn problem(status: StatusCode, error: &str) -> Answer {
    Answer::json(status, &json!({ "error": error }))
}

/// An answer, cheap to give again.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: StatusCode,
    media_type: &'static str,
    body: Bytes,
}

impl Answer {
    pub(super) fn new(status: StatusCode, media_type: &'static str, body: String) -> Self {
        Self {
            status,
            media_type,
            body: body.into(),
        }
    }

    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        // What is written here are words and flags: they can always be written.
        let body = serde_json::to_string(body).unwrap_or_default();
        Self::new(status, "application/json", body + "\n")
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.media_type),
            (header::CACHE_CONTROL, "no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (self.status, headers, self.body).into_response()
    }
}
