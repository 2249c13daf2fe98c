//! Writes: their body is read whole, and one that carries an `Idempotency-Key` is done once.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    Api,
    door::{Caller, is_write},
    problem::{self, Code, Problem},
    signed::Signed,
};
use crate::{
    db::Db,
    domain::hex::hex,
    store::idempotency::{self, Claim, Claimed},
};

/// Bytes of a body, at most.
const LARGEST: usize = 1_000_000;
/// Letters of a key, at most.
const LONGEST_KEY: usize = 255;
pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The claim that a write keeps its answer under, where it carries a key.
#[derive(Debug, Clone)]
pub(super) struct Kept(pub(super) Option<Claim>);

/// An answer that was kept with what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct IsKept;

/// Around every route.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Result<Response, Problem> {
    if !is_write(request.method()) {
        return Ok(next.run(request).await);
    }
    if request.extensions().get::<Signed>().is_some() {
        // Its body was read with its signature, and sent again it does nothing.
        return Ok(next.run(request).await);
    }
    let (mut head, body) = request.into_parts();
    let body = read(body, LARGEST).await?;
    let is_bare = head.method == Method::DELETE && body.is_empty();
    if !is_bare && !is_json(&head.headers) {
        return Err(Problem::new(
            Code::NotJson,
            "the header Content-Type is not application/json",
        ));
    }
    let claim = match (key(&head.headers)?, head.extensions.get::<Caller>()) {
        (Some(key), Some(Caller::Token(bearer))) => Some(Claim {
            token_id: bearer.id.clone(),
            key,
            fingerprint: fingerprint(&head.method, &head.uri.to_string(), &body),
            attempt: Uuid::now_v7(),
        }),
        _ => None,
    };
    head.extensions.insert(Kept(claim.clone()));
    let request = Request::from_parts(head, Body::from(body));
    let Some(claim) = claim else {
        return Ok(next.run(request).await);
    };
    let db = api.db().await?;
    match idempotency::claim(db, &claim).await? {
        Claimed::Ours => settle(db, &claim, next.run(request).await).await,
        Claimed::Answered { status, answer } => replay(status, answer),
        Claimed::UnderWay => Err(Problem::new(Code::RequestUnderWay, "it is being done").after(1)),
        Claimed::Different => Err(Problem::new(
            Code::IdempotencyKeyReused,
            "the key came with another method, path, query or body",
        )),
    }
}

/// The body, of so many bytes at most.
pub(super) async fn read(body: Body, largest: usize) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut read = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::BadRequest, "its body broke off"))?;
        if read.len() + chunk.len() > largest {
            return Err(Problem::new(
                Code::TooLarge,
                format!("it has more than {largest} bytes"),
            ));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.into())
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key
        .to_str()
        .ok()
        .filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY && key.bytes().all(|byte| byte.is_ascii_graphic()));
    match (text, keys.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Code::BadIdempotencyKey,
            "it is empty, too long, there twice, or not visible ASCII",
        )),
    }
}

fn fingerprint(method: &Method, uri: &str, body: &Bytes) -> String {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), uri.as_bytes(), body] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Keeps the answer of a write that changed nothing. One that changed something kept it itself; one that failed for a
/// reason that passes may be sent again.
async fn settle(db: &Db, claim: &Claim, response: Response) -> Result<Response, Problem> {
    if response.extensions().get::<IsKept>().is_some() {
        return Ok(response);
    }
    let status = response.status();
    if !status.is_client_error() {
        // Also one of which nobody knows whether it came through: then the answer was kept, and is not released.
        if let Err(error) = idempotency::release(db, claim).await {
            tracing::warn!(%error, "an idempotency key is not given back: it is free again in a minute");
        }
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Problem::internal())?;
    let mut tx = db.begin().await?;
    idempotency::answer(&mut tx, claim, status.as_u16(), &String::from_utf8_lossy(&body)).await?;
    tx.commit().await?;
    Ok(Response::from_parts(head, Body::from(body)))
}

fn replay(status: u16, answer: String) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(status).map_err(|_| Problem::internal())?;
    let media_type = if status.is_client_error() {
        problem::MEDIA_TYPE
    } else {
        "application/json"
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    Ok((status, headers, answer).into_response())
}
