//! What says from outside that a session is over. Who may say so is decided by [`signed`](super::signed).

use axum::{
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::Response,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Api,
    change::ok,
    problem::{Code, Problem},
    signed::Signed,
};
use crate::{
    db::DbError,
    domain::{
        hex::hex,
        session::SessionKey,
        webhook::{self, End, Event},
    },
    ending::{self, Became, Of},
    queue::control,
    store::ends::{self, ToldEnd},
};

/// What a team's own program may say of an end.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "it is read where its signature is checked")]
pub(super) struct Ended {
    /// When it ended; by default now.
    ended_at: Option<DateTime<Utc>>,
    /// Why, for people; 100 letters of it are kept.
    reason: Option<String>,
}

/// What was understood. The same each time the same is sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Heard {
    /// The source.
    source: String,
    /// The session that ended; null: the event ends none, and nothing is done.
    session_id: Option<String>,
}

impl FromRequestParts<Api> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let signed = parts.extensions.remove::<Self>();
        signed.ok_or_else(|| Problem::new(Code::NoSignature, "it is not signed"))
    }
}

/// Say that a session is over: it is judged as soon as its traces are there, without waiting for it to rest
///
/// Signed with HMAC-SHA256 over the timestamp, the source, the session's id and the body; see docs/webhooks.md. Sent again, it
/// has no second effect.
#[utoipa::path(
    post,
    path = "/api/v1/sources/{source}/sessions/{id}/ended",
    tag = "webhooks",
    security(("signature" = [])),
    params(
        ("source" = String, Path, description = "Its source"),
        ("id" = String, Path, description = "Its id, percent-encoded: a `/` in it is `%2F`"),
    ),
    request_body = Option<Ended>,
    responses((status = 200, description = "It is known to be over", body = Heard))
)]
pub(super) async fn ended(State(api): State<Api>, signed: Signed) -> Result<Response, Problem> {
    hear(&api, &signed).await
}

/// An event of a vendor: one that ends a call ends its session, any other is answered and ignored
///
/// Signed as the vendor signs; see docs/webhooks.md. Sent again, it has no second effect.
#[utoipa::path(
    post,
    path = "/api/v1/sources/{source}/webhooks/{shape}",
    tag = "webhooks",
    security(("signature" = [])),
    params(
        ("source" = String, Path, description = "Its source"),
        ("shape" = String, Path, description = "`vapi`, `retell` or `twilio`"),
    ),
    request_body(content((Value = "application/json"), (String = "application/x-www-form-urlencoded"))),
    responses((status = 200, description = "What was understood", body = Heard))
)]
pub(super) async fn vendor(State(api): State<Api>, signed: Signed) -> Result<Response, Problem> {
    hear(&api, &signed).await
}

async fn hear(api: &Api, signed: &Signed) -> Result<Response, Problem> {
    let shape = signed.webhook.shape;
    let request = webhook::Request {
        header: &|_| None,
        source: &signed.source,
        session_id: &signed.session_id,
        url: "",
        query: signed.query.as_deref(),
        body: &signed.body,
    };
    let event = match webhook::read(shape, signed.webhook.session_id.as_ref(), &request) {
        Ok(event) => event,
        Err(unreadable) => {
            count(api, signed, "unreadable").await?;
            return Err(Problem::new(Code::BadBody, unreadable.to_string()));
        }
    };
    let session_id = match event {
        Event::Ended(end) => {
            let session_id = end.session_id.clone();
            let told = told(signed, end);
            tell(api, signed, &told).await?;
            Some(session_id)
        }
        Event::Other => {
            count(api, signed, "ignored").await?;
            None
        }
    };
    Ok(ok(&Heard {
        source: signed.source.clone(),
        session_id,
    }))
}

/// The end, with a digest of what was signed: a vendor that sends an event again signs it with another time, the event is the
/// same.
fn told(signed: &Signed, end: End) -> ToldEnd {
    let shape = signed.webhook.shape;
    let mut hash = Sha256::new();
    for part in [shape.as_str().as_bytes(), end.session_id.as_bytes(), &signed.body] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    if let Some(signed_at) = signed.at.filter(|_| shape == webhook::Shape::Generic) {
        hash.update(signed_at.timestamp().to_le_bytes());
    }
    ToldEnd {
        key: SessionKey::new(&signed.source, end.session_id),
        delivery: hex(&hash.finalize()),
        shape: shape.as_str(),
        ended_at: end.ended_at,
        reason: end.reason,
    }
}

/// One transaction: the end, what becomes of it, its line in the audit log, its place in the figures.
async fn tell(api: &Api, signed: &Signed, told: &ToldEnd) -> Result<(), Problem> {
    let Some(source) = api.config.source(&signed.source) else {
        return Err(Problem::internal());
    };
    let of = Of {
        rules: source.settle_rules(),
        enabled: source.enabled,
    };
    let mut tx = api.db().await?.begin().await?;
    let became = ending::end(&mut tx, of, told).await?;
    if became != Became::Repeated {
        let actor = format!("webhook:{}", signed.source);
        let detail = format!("{}: {}", told.shape, became.as_str());
        control::audit(&mut tx, &actor, "end_session", &told.key.to_string(), Some(&detail)).await?;
    }
    ends::count(&mut tx, &signed.source, told.shape, became.as_str(), 1).await?;
    Ok(tx.commit().await?)
}

async fn count(api: &Api, signed: &Signed, outcome: &str) -> Result<(), DbError> {
    let Some(db) = api.db.get() else { return Ok(()) };
    let mut tx = db.begin().await?;
    ends::count(&mut tx, &signed.source, signed.webhook.shape.as_str(), outcome, 1).await?;
    tx.commit().await
}
