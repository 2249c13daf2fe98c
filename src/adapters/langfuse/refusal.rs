//! What an answer that is none means for the one who asked.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::DATE;
use serde_json::Value;

use crate::{
    adapters::{
        client::{self, Reply},
        plain_text::one_line,
    },
    ports::{UpstreamError, UpstreamReason},
};

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// The server does not speak this generation of the API (any more): ask the other one.
    OtherApi,
    /// The server does not have this very thing: not stored yet, or deleted.
    NotFound,
    /// Too much was asked for at once: ask for less.
    TooLarge,
    /// The cursor is not one: begin the list again.
    BadCursor,
    /// Nothing that asking otherwise would change.
    Failed,
}

/// A request that was not answered.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) kind: RefusalKind,
    /// What it is when nothing can be done about it.
    pub(super) error: UpstreamError,
}

impl Refusal {
    /// Nothing that asking otherwise would change.
    pub(super) fn failed(error: UpstreamError) -> Self {
        Self {
            kind: RefusalKind::Failed,
            error,
        }
    }

    /// Reads an answer that is no 2xx with the API's content.
    pub(super) fn of(upstream: &str, path: &str, reply: &Reply) -> Self {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        let said = body.get("message").and_then(Value::as_str).unwrap_or_default();
        let bad = |detail: String| UpstreamError {
            upstream: upstream.to_owned(),
            reason: UpstreamReason::BadAnswer,
            detail,
            retry_after: None,
        };
        let refusal = |kind, detail| Self {
            kind,
            error: bad(detail),
        };
        let status = client::status_name(reply.status);
        match reply.status {
            404 if reply.is_html() => refusal(
                RefusalKind::OtherApi,
                format!("there is no {path} at this address (status {status}, an HTML page): check base_url"),
            ),
            404 if said.contains("events_only") || said.contains("v4 write mode") => refusal(
                RefusalKind::OtherApi,
                format!("the server does not offer {path} in its mode (status {status})"),
            ),
            404 => refusal(
                RefusalKind::NotFound,
                format!("the server does not have what was asked of {path} (status {status})"),
            ),
            413 | 422 => refusal(
                RefusalKind::TooLarge,
                format!(
                    "the answer is too much for the server (status {status}): {}",
                    one_line(said, 200)
                ),
            ),
            400 if said.to_ascii_lowercase().contains("cursor") => refusal(
                RefusalKind::BadCursor,
                format!("the server does not take its own cursor back (status {status})"),
            ),
            429 => Self::failed(rate_limited(upstream, reply, &body)),
            401 | 403 => {
                let mut error = client::refusal(upstream, reply, said_of(said)).unwrap_or_else(|| bad(status));
                error.detail.push_str(
                    "; check public_key and secret_key (a project's, not an organisation's) and base_url: another region \
                     refuses them as well",
                );
                Self::failed(error)
            }
            _ if reply.is_success() => refusal(
                RefusalKind::Failed,
                format!("the answer to {path} is an HTML page, not the API's: check base_url"),
            ),
            _ => Self::failed(client::refusal(upstream, reply, said_of(said)).unwrap_or_else(|| {
                bad(format!(
                    "the server refused {path} (status {status}): {}",
                    one_line(said, 200)
                ))
            })),
        }
    }
}

fn said_of(said: &str) -> Option<&str> {
    Some(said).filter(|said| !said.is_empty())
}

/// The pause is in the header; newer servers name it in the body as well. `X-RateLimit-Reset` is a text for people.
fn rate_limited(upstream: &str, reply: &Reply, body: &Value) -> UpstreamError {
    let details = &body["details"];
    let seconds = details["retryAfterSeconds"].as_u64().map(Duration::from_secs);
    let until_reset = || {
        let reset = DateTime::parse_from_rfc3339(details["resetAt"].as_str()?).ok()?;
        // Against the server's own clock.
        let now = DateTime::parse_from_rfc2822(reply.headers.get(DATE)?.to_str().ok()?).ok()?;
        (reset - now).to_std().ok()
    };
    UpstreamError {
        upstream: upstream.to_owned(),
        reason: UpstreamReason::RateLimited,
        detail:
            "the server answers that there were too many requests (status 429): `requests_per_minute` keeps ours below \
                 its limit"
                .to_owned(),
        retry_after: reply
            .retry_after
            .or(seconds)
            .or_else(until_reset)
            .map(|pause| pause.min(Duration::from_hours(24))),
    }
}
