//! One Langfuse server: the address, the keys, and one way to ask.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::{Client, Url};
use serde::Deserialize;

use super::{
    pace::Pace,
    refusal::Refusal,
    wire::{Deprecation, Text},
};
use crate::{
    adapters::{
        client::{self, Bounds, Reply},
        percent,
        plain_text::one_line,
        secret::Secret,
    },
    ports::{UpstreamError, UpstreamReason},
};

/// Query parameters, in order; a name may come again.
pub(super) type Query = Vec<(&'static str, String)>;

/// A server and how it is asked.
#[derive(Debug)]
pub(super) struct Server {
    /// Name of the source.
    pub(super) source: String,
    /// `source:NAME`.
    pub(super) upstream: String,
    /// Up to and with `/api/public`.
    address: String,
    public_key: Secret,
    secret_key: Secret,
    timeout: Duration,
    client: Client,
    pub(super) pace: Pace,
    deprecated_answers: AtomicU64,
    deprecation: Mutex<Option<Deprecation>>,
}

impl Server {
    pub(super) fn new(
        source: &str,
        base_url: &str,
        (public_key, secret_key): (Secret, Secret),
        timeout: Duration,
        pace: Pace,
        client: Client,
    ) -> Self {
        let base = base_url.trim_end_matches('/');
        let base = base.strip_suffix("/api/public").unwrap_or(base);
        Self {
            source: source.to_owned(),
            upstream: format!("source:{source}"),
            address: format!("{base}/api/public"),
            public_key,
            secret_key,
            timeout,
            client,
            pace,
            deprecated_answers: AtomicU64::new(0),
            deprecation: Mutex::new(None),
        }
    }

    pub(super) fn error(&self, reason: UpstreamReason, detail: impl Into<String>) -> UpstreamError {
        UpstreamError {
            upstream: self.upstream.clone(),
            reason,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// Asks. Every 2xx that is no page for people is an answer, at most `max_bytes` long.
    pub(super) async fn get(&self, path: &str, query: &Query, max_bytes: usize) -> Result<Reply, Refusal> {
        if let Err(pause) = self.pace.turn().await {
            let mut error = self.error(
                UpstreamReason::RateLimited,
                "the server asked not to be asked before a certain instant",
            );
            error.retry_after = Some(pause);
            return Err(Refusal::failed(error));
        }
        let reply = self.exchange(path, query, max_bytes).await?;
        self.pace.note(&reply.headers);
        if !reply.is_success() || reply.is_html() {
            let refusal = Refusal::of(&self.upstream, endpoint(path), &reply);
            if refusal.error.reason == UpstreamReason::RateLimited {
                self.pace.refused(refusal.error.retry_after);
            }
            return Err(refusal);
        }
        Ok(reply)
    }

    /// Asks without a turn: for what the server does not count.
    pub(super) async fn exchange(&self, path: &str, query: &Query, max_bytes: usize) -> Result<Reply, Refusal> {
        let mut address = format!("{}{path}", self.address);
        for (position, (name, value)) in query.iter().enumerate() {
            address.push(if position == 0 { '?' } else { '&' });
            address.push_str(name);
            address.push('=');
            address.push_str(&percent::encode(value));
        }
        let address = Url::parse(&address).map_err(|_| {
            Refusal::failed(self.error(UpstreamReason::BadAnswer, "base_url is not an address: check it"))
        })?;
        let request = self
            .client
            .get(address)
            .basic_auth(self.public_key.expose(), Some(self.secret_key.expose()))
            .header("X-Langfuse-Sdk-Name", "aftercall");
        let bounds = Bounds {
            timeout: self.timeout,
            max_bytes,
        };
        client::exchange(&self.upstream, request, bounds)
            .await
            .map_err(Refusal::failed)
    }

    /// Reads an answer of the API.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&self, path: &str, reply: &'a Reply) -> Result<T, Refusal> {
        serde_json::from_slice(&reply.body).map_err(|_| {
            let detail = format!(
                "the answer to {} is not the API's complete JSON: check base_url",
                endpoint(path)
            );
            Refusal::failed(self.error(UpstreamReason::BadAnswer, detail))
        })
    }

    /// Notes that the server marks what it was asked as going away; says so once.
    pub(super) fn note_deprecation(&self, deprecation: Option<Deprecation>) {
        let Some(deprecation) = deprecation else { return };
        self.deprecated_answers.fetch_add(1, Ordering::Relaxed);
        let mut known = self.deprecation.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            tracing::warn!(
                source = self.source,
                sunset = shown(&deprecation.sunset_at),
                replacement = shown(&deprecation.replacement),
                "the server says that the API this source reads is going away; set api = \"auto\", and the new one is read as \
                 soon as the server has it"
            );
        }
        *known = Some(deprecation);
    }

    /// How many answers were marked as going away, and the last of these marks for people.
    pub(super) fn deprecations(&self) -> Option<(u64, String)> {
        let known = self.deprecation.lock().unwrap_or_else(PoisonError::into_inner);
        let deprecation = known.as_ref()?;
        Some((
            self.deprecated_answers.load(Ordering::Relaxed),
            shown(&deprecation.sunset_at),
        ))
    }
}

fn shown(text: &Text) -> String {
    one_line(text.0.as_deref().unwrap_or("not said"), 100)
}

/// The path without ids: they may be a session's own words.
fn endpoint(path: &str) -> &str {
    if path.starts_with("/traces/") {
        "/traces/{id}"
    } else {
        path
    }
}
