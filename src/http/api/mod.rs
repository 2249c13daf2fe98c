//! `/api/v1`: what the command line shows and does, over HTTP. One file per noun.
//!
//! A request passes, from the outside in: [`layers`] (time, headers, ETag), [`door`] (who asks, and whether they may; of a
//! webhook, [`signed`]), [`once`] (the body of a write, and its `Idempotency-Key`), and then the handler. Routes and document are one: what a route needs is
//! read from the document that describes it ([`rules`]), so that one without a rule is not there.
//!
//! Every change is one transaction with its line in `audit_log`, whose actor is the token's name, and with the answer that is
//! kept under its `Idempotency-Key` ([`change`]).

mod ask;
mod audit;
mod bulk;
mod change;
mod coverage;
mod cursor;
mod document;
mod door;
mod fleet;
mod gates;
mod jobs;
mod layers;
mod limits;
mod once;
mod operations;
mod problem;
mod queues;
mod rate;
mod reference;
mod rules;
mod sessions;
mod signed;
mod sources;
mod tokens;
mod verify;
mod webhooks;
mod which;
mod why;
mod workers;

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{Router, body::Bytes, http::Uri, middleware, response::Response};
use tokio::{sync::Semaphore, time::Instant};

pub use self::document::openapi;
use self::{
    layers::protect,
    problem::Problem,
    rate::{Buckets, REQUESTS, WEBHOOKS},
    rules::Rules,
    verify::Verifier,
};
use crate::{config::Config, db::Db, queue::Pulse};

/// Time that a statement of the API may take on a server.
pub(super) const STATEMENT: Duration = Duration::from_secs(10);
/// Its connections to a server.
pub(super) const CONNECTIONS: u32 = 4;

/// How long a request waits for the first connection, and how often it looks.
const CONNECTED: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Who reaches the address that the API listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// This machine. It is called by a name of loopback, or by one of these.
    Loopback {
        /// Further names of this machine.
        hosts: Vec<String>,
    },
    /// Anybody: without a token nothing is answered but that the process lives.
    Public,
    /// Machines of our own, for whom health and metrics are open. The API asks for tokens.
    Ours,
}

/// What the API is about, beside the database.
#[derive(Debug, Clone)]
pub struct Served {
    /// Sources, systems of record: of its secrets only those of webhooks are used.
    pub config: Arc<Config>,
    /// Who reaches it.
    pub reach: Reach,
}

/// What requests are answered from. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api(Arc<Inner>);

pub(super) struct Inner {
    db: Arc<OnceLock<Db>>,
    config: Arc<Config>,
    reach: Reach,
    pulse: Pulse,
    rules: Rules,
    tokens: Verifier,
    requests: Buckets,
    webhooks: Buckets,
    refusals: signed::Refusals,
    places: Semaphore,
    signed_places: Semaphore,
    document: Bytes,
    reference: reference::Page,
}

impl Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Its database. Right after the start, connections are still being made.
    async fn db(&self) -> Result<&Db, Problem> {
        let patience = Instant::now() + CONNECTED;
        loop {
            match self.db.get() {
                Some(db) => return Ok(db),
                None if Instant::now() >= patience => return Err(Problem::not_connected()),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

impl Api {
    pub(super) fn new(served: Served, db: Arc<OnceLock<Db>>, pulse: Pulse) -> Self {
        let document = document::document();
        Self(Arc::new(Inner {
            db,
            config: served.config,
            reach: served.reach,
            pulse,
            rules: Rules::of(&document),
            tokens: Verifier::new(),
            requests: Buckets::new(REQUESTS),
            webhooks: Buckets::new(WEBHOOKS),
            refusals: signed::Refusals::default(),
            places: Semaphore::new(layers::AT_ONCE),
            signed_places: Semaphore::new(layers::SIGNED_AT_ONCE),
            reference: reference::Page::of(&document),
            document: document.to_string().into(),
        }))
    }

    /// Its routes, each behind the door.
    pub(super) fn router(&self) -> Router {
        let (routes, _) = document::routes().split_for_parts();
        routes
            .with_state(self.clone())
            .layer(middleware::from_fn_with_state(self.clone(), once::once))
            .layer(middleware::from_fn_with_state(self.clone(), door::guard))
            .layer(middleware::from_fn_with_state(self.clone(), layers::around))
    }

    /// Health and metrics, behind the door where strangers reach it.
    pub(super) fn guard_health(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), door::guard_health))
    }
}

/// What there is not.
pub(super) fn no_route(uri: &Uri) -> Response {
    let mut response = axum::response::IntoResponse::into_response(Problem::no_route(uri.path()));
    protect(response.headers_mut());
    response
}
