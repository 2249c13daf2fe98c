//! Rate limits as Langfuse Cloud has them: fixed windows of a minute, one for the new API and one for the old reads.

use axum::http::{HeaderName, header::RETRY_AFTER};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    problem::{Body, Problem},
    route::Endpoint,
    time::instant,
};

/// Requests for a minute. A request is refused when fewer than one is left *after* it, so one fewer gets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// For the new reads and for writing scores.
    pub public_api: u32,
    /// For the old reads.
    pub old_reads: u32,
}

impl RateLimit {
    /// What the smallest plan has.
    pub const HOBBY: Self = Self {
        public_api: 30,
        old_reads: 15,
    };
}

#[derive(Debug, Default)]
pub(super) struct RateLimits {
    pub(super) limit: Option<RateLimit>,
    public_api: Window,
    old_reads: Window,
}

#[derive(Debug, Default)]
struct Window {
    ends: Option<DateTime<Utc>>,
    used: u32,
}

impl RateLimits {
    /// Counts a request.
    ///
    /// # Errors
    /// When it is one too many: 429.
    pub(super) fn count(&mut self, endpoint: Endpoint, now: DateTime<Utc>) -> Result<(), Problem> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let (window, limit) = match endpoint {
            Endpoint::Health | Endpoint::Projects | Endpoint::Unknown => return Ok(()),
            // Scores of all ages are in the bucket of the new API; only the five removed reads are in the other.
            endpoint if is_old_bucket(endpoint) => (&mut self.old_reads, limit.old_reads),
            _ => (&mut self.public_api, limit.public_api),
        };
        let ends = match window.ends {
            Some(ends) if now < ends => ends,
            _ => {
                window.used = 0;
                *window.ends.insert(now + TimeDelta::minutes(1))
            }
        };
        window.used = window.used.saturating_add(1);
        if limit.saturating_sub(window.used) >= 1 {
            return Ok(());
        }
        let milliseconds = u64::try_from((ends - now).num_milliseconds()).unwrap_or_default();
        let seconds = u32::try_from(milliseconds.div_ceil(1000)).unwrap_or(u32::MAX);
        Err(limited(endpoint, limit, seconds, ends))
    }
}

fn is_old_bucket(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Traces
            | Endpoint::Trace
            | Endpoint::Sessions
            | Endpoint::Session
            | Endpoint::Observations
            | Endpoint::Observation
    )
}

fn limited(endpoint: Endpoint, limit: u32, seconds: u32, ends: DateTime<Utc>) -> Problem {
    let message = if is_old_bucket(endpoint) {
        "Rate limit exceeded for GET /api/public/traces. Use GET /api/public/v2/observations for high-volume reads."
    } else {
        "Rate limit exceeded"
    };
    let details = json!({"retryAfterSeconds": seconds, "limit": limit, "remaining": 0, "resetAt": instant(ends)});
    Problem {
        status: 429,
        body: Body::Json(json!({"message": message, "code": "rate_limited", "details": details})),
        headers: headers(limit, seconds, ends),
    }
}

/// A scripted 429.
pub(super) fn scripted(endpoint: Endpoint, seconds: u32, plain: bool, now: DateTime<Utc>) -> Problem {
    let ends = now + TimeDelta::seconds(i64::from(seconds));
    let mut problem = limited(endpoint, 30, seconds, ends);
    if plain {
        problem.body = Body::Text("text/plain; charset=utf-8", "429 - rate limit exceeded".to_owned());
    }
    problem
}

fn headers(limit: u32, seconds: u32, ends: DateTime<Utc>) -> Vec<(HeaderName, String)> {
    // As JavaScript writes a date: not meant to be parsed.
    let reset = ends.format("%a %b %d %Y %H:%M:%S GMT+0000 (Coordinated Universal Time)");
    vec![
        (RETRY_AFTER, seconds.to_string()),
        (HeaderName::from_static("x-ratelimit-limit"), limit.to_string()),
        (HeaderName::from_static("x-ratelimit-remaining"), "0".to_owned()),
        (HeaderName::from_static("x-ratelimit-reset"), reset.to_string()),
    ]
}
