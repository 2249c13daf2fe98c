//! Requests of webhooks: they carry no token, but prove who sent them, and only then anything is asked or done.
//!
//! Headers are looked at first, then the body is read, then the signature is checked against the source's secrets, and only what
//! is signed costs a question to the database. A source that is not there, one without such a webhook and a wrong signature are
//! answered alike, and take much the same work: only a form, which is small, is parsed where such a webhook is there alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    RequestExt as _,
    body::{Body, Bytes},
    extract::{RawPathParams, Request},
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::{
    Api, once,
    problem::{Code, Problem},
};
use crate::{
    config::WebhookConfig,
    db::{Db, DbError},
    domain::webhook::{self, Refusal, Shape},
    store::ends,
};

/// Bytes of a body, at most: a report holds the whole transcript.
const LARGEST: usize = 5 * 1024 * 1024;
/// Bytes of a form: it has to be parsed and sorted before it is known who sent it.
const LARGEST_FORM: usize = 64 * 1024;
/// Time in which a body has to be there: whoever sends it slowly holds a place that few have.
const BODY: Duration = Duration::from_secs(5);
/// Refusals are logged and counted in the database no more often, of each webhook.
const NOTED: Duration = Duration::from_secs(10);

/// Which webhook a request is of, and that it is.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) source: String,
    pub(super) webhook: WebhookConfig,
    /// Of the path; empty where the body names it.
    pub(super) session_id: String,
    pub(super) query: Option<String>,
    /// When it was signed, where that is signed with it.
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) body: Bytes,
}

/// What the path names.
struct Place {
    source: String,
    session_id: String,
    shape: Option<Shape>,
}

/// Lets a request in that is signed, or not.
pub(super) async fn let_in(api: &Api, mut request: Request, next: Next) -> Result<Response, Problem> {
    let place = place(&mut request).await?;
    let (head, body) = request.into_parts();
    let shape = place.shape.unwrap_or(Shape::Generic);
    let configured = api
        .config
        .source(&place.source)
        .and_then(|source| source.webhook(shape));
    let configured = configured.filter(|webhook| place.shape.is_some() && !webhook.secrets.is_empty());
    let header = |name: &str| only(&head.headers, name);
    let mut asked = webhook::Request {
        header: &header,
        source: &place.source,
        session_id: &place.session_id,
        url: configured
            .and_then(|webhook| webhook.url.as_deref())
            .unwrap_or_default(),
        query: head.uri.query(),
        body: b"",
    };
    // What is not signed at all is not read: so far this looks at headers.
    webhook::proof(shape, &asked).map_err(refused)?;
    let body = in_time(body, shape).await?;
    asked.body = &body;
    let proof = match (shape, configured) {
        (Shape::Twilio, None) => None,
        // Its headers can be read: what cannot is a form, and nobody learns that it was looked at.
        _ => webhook::proof(shape, &asked).ok(),
    };
    let nobody = [String::new()];
    let secrets: Vec<&str> = match configured {
        Some(webhook) => webhook.secrets.iter().map(crate::config::Secret::expose).collect(),
        None => nobody.iter().map(String::as_str).collect(),
    };
    let proof = proof.filter(|proof| secrets.iter().fold(false, |good, secret| good | proof.is_by(secret)));
    let (Some(webhook), Some(proof)) = (configured, proof) else {
        if configured.is_some() {
            api.refusals.note(api.db.get(), &place.source, shape, Why::NotGood);
        }
        return Err(Problem::new(
            Code::InvalidSignature,
            "no secret of such a webhook made this signature, or there is no such webhook",
        ));
    };
    if let Some(signed_at) = proof.signed_at() {
        let now = api.db().await?.now().await?;
        if !webhook::is_fresh(signed_at, now) {
            let age = (now - signed_at).num_seconds();
            api.refusals
                .note(api.db.get(), &place.source, shape, Why::Stale { age });
            return Err(stale(age));
        }
    }
    let taken = api.webhooks.take(&place.source);
    let answered = if taken.may {
        let signed = Signed {
            source: place.source.clone(),
            webhook: webhook.clone(),
            session_id: place.session_id.clone(),
            query: head.uri.query().map(str::to_owned),
            at: proof.signed_at(),
            body: body.clone(),
        };
        let mut request = Request::from_parts(head, Body::empty());
        request.extensions_mut().insert(signed);
        next.run(request).await
    } else {
        Problem::new(Code::TooManyRequests, "this source's webhooks are called too often")
            .after(taken.reset)
            .into_response()
    };
    let mut response = answered;
    taken.write(response.headers_mut());
    Ok(response)
}

async fn in_time(body: Body, shape: Shape) -> Result<Bytes, Problem> {
    let largest = match shape {
        Shape::Twilio => LARGEST_FORM,
        Shape::Generic | Shape::Vapi | Shape::Retell => LARGEST,
    };
    let late = |_| {
        let detail = format!("its body did not arrive within {} s", BODY.as_secs());
        Problem::new(Code::TimedOut, detail).after(1)
    };
    tokio::time::timeout(BODY, once::read(body, largest))
        .await
        .map_err(late)?
}

/// It is the sender's, but of another time, so many seconds ago.
fn stale(age: i64) -> Problem {
    let minutes = webhook::WINDOW.num_minutes();
    let detail = format!(
        "it was signed {}: at most {minutes} minutes before or after are good",
        clock(age)
    );
    Problem::new(Code::InvalidSignature, detail)
        .next("compare the clocks of the sender and of the database, and sign each request as it is sent")
}

/// When it was signed, by the clock that counts.
fn clock(age: i64) -> String {
    let side = if age < 0 { "after" } else { "before" };
    format!("{} s {side} the database's clock", age.unsigned_abs())
}

async fn place(request: &mut Request) -> Result<Place, Problem> {
    let parts = request.extract_parts::<RawPathParams>().await;
    let parts = parts.map_err(|_| Problem::new(Code::BadPath, "it is no UTF-8"))?;
    let part = |name: &str| {
        parts
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
    };
    let session_id = part("id");
    let shape = match (&session_id, part("shape")) {
        (Some(_), _) => Some(Shape::Generic),
        // A generic request names its session in its path.
        (None, word) => word
            .and_then(|word| Shape::parse(&word))
            .filter(|shape| *shape != Shape::Generic),
    };
    Ok(Place {
        source: part("source").unwrap_or_default(),
        session_id: session_id.unwrap_or_default(),
        shape,
    })
}

fn refused(refusal: Refusal) -> Problem {
    let code = match refusal {
        Refusal::Missing(_) => Code::NoSignature,
        Refusal::Malformed(_) => Code::InvalidSignature,
    };
    Problem::new(code, refusal.to_string())
}

/// A header that is there once, as text.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Requests to webhooks that there are, and that were refused. Whoever sends them shall cost us little, and whoever set up a
/// wrong secret shall notice.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<(String, Shape, &'static str), Noted>>);

/// Why it was refused.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// No secret of the webhook's made the signature.
    NotGood,
    /// One did, so many seconds ago.
    Stale { age: i64 },
}

impl Why {
    /// In figures.
    fn outcome(self) -> &'static str {
        match self {
            Self::NotGood => "refused",
            Self::Stale { .. } => "stale",
        }
    }
}

#[derive(Debug, Default)]
struct Noted {
    pending: u64,
    at: Option<Instant>,
}

impl Refusals {
    fn note(&self, db: Option<&Db>, source: &str, shape: Shape, why: Why) {
        let (pending, db) = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let noted = all.entry((source.to_owned(), shape, why.outcome())).or_default();
            noted.pending += 1;
            if noted.at.is_some_and(|at| at.elapsed() < NOTED) {
                return;
            }
            // Right after the start there is no connection: the next one is noted with this one.
            let Some(db) = db else { return };
            noted.at = Some(Instant::now());
            (std::mem::take(&mut noted.pending), db.clone())
        };
        let (shape, source) = (shape.as_str(), source.to_owned());
        match why {
            Why::NotGood => tracing::warn!(
                source,
                shape,
                requests = pending,
                "a webhook was called with a signature that is not good: is its secret the sender's?"
            ),
            Why::Stale { age } => tracing::warn!(
                source,
                shape,
                requests = pending,
                "a webhook was called with what was signed {}: are both clocks right?",
                clock(age)
            ),
        }
        let outcome = why.outcome();
        // Beside the answer: how long it takes must not say that the webhook is there.
        tokio::spawn(async move {
            if let Err(error) = write(&db, &source, shape, outcome, pending).await {
                tracing::warn!(%error, source, shape, "refused requests are not counted");
            }
        });
    }
}

async fn write(db: &Db, source: &str, shape: &str, outcome: &str, requests: u64) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    ends::count(&mut tx, source, shape, outcome, requests).await?;
    tx.commit().await
}
