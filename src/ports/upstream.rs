//! An upstream that cannot do its part right now. This is never a verdict: the job behind it snoozes and burns no attempt.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Why an upstream cannot answer, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamReason {
    /// Refused our credentials (401, 403).
    AuthInvalid,
    /// No money left (402).
    BillingExhausted,
    /// The model does not exist or is not served (404 on a model).
    ModelUnavailable,
    /// Too many requests (429).
    RateLimited,
    /// No connection, a time-out, or a 5xx.
    Unreachable,
    /// It answers at certain hours only, and these are others.
    ClosedHours,
    /// The configured budget is spent.
    Budget,
    /// An answer that cannot be read (HTML from a proxy, cut JSON).
    BadAnswer,
}

impl UpstreamReason {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthInvalid => "auth_invalid",
            Self::BillingExhausted => "billing_exhausted",
            Self::ModelUnavailable => "model_unavailable",
            Self::RateLimited => "rate_limited",
            Self::Unreachable => "unreachable",
            Self::ClosedHours => "closed_hours",
            Self::Budget => "budget",
            Self::BadAnswer => "bad_answer",
        }
    }

    /// Reads the stored spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auth_invalid" => Self::AuthInvalid,
            "billing_exhausted" => Self::BillingExhausted,
            "model_unavailable" => Self::ModelUnavailable,
            "rate_limited" => Self::RateLimited,
            "unreachable" => Self::Unreachable,
            "closed_hours" => Self::ClosedHours,
            "budget" => Self::Budget,
            "bad_answer" => Self::BadAnswer,
            _ => return None,
        })
    }
}

/// One failed call of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UpstreamError {
    /// Which, with its kind: `records:airline`, `llm:default`, `source:bundle`.
    pub upstream: String,
    /// Why.
    pub reason: UpstreamReason,
    /// What happened, in words, without secrets and without content of a session.
    pub detail: String,
    /// When the upstream asks to be tried again.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not available ({}): {}",
            self.upstream,
            self.reason.as_str(),
            self.detail
        )
    }
}
