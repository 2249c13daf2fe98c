//! Who we say we are: a token of the configuration, or one that is fetched with what the configuration holds.
//!
//! A fetched token is kept until shortly before it expires, and fetched once however many calls wait for it. What a token
//! server answers is never repeated: it may hold what it was sent.

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::Value;
use serde_json_path::JsonPath;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    adapters::{
        client::{self, Bounds, Reply},
        percent,
        secret::Secret,
    },
    ports::{UpstreamError, UpstreamReason},
};

/// A token's answer is a few hundred bytes; one with many claims some thousand.
const LARGEST_TOKEN_ANSWER: usize = 64 * 1024;
/// A token that expires this soon is not used any more: the call that carries it takes its time, too.
const BEFORE_ITS_END: Duration = Duration::from_secs(30);
/// Where a token server does not say.
const UNTOLD_LIFETIME: Duration = Duration::from_mins(5);
/// A server that promises more is asked again all the same.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);
/// Error codes of RFC 6749: the only words of a token server that are shown.
const ERROR_CODES: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// How a system is signed in to, beside its configured headers.
#[derive(Debug, Clone, Default)]
pub enum HttpAuth {
    /// Not at all, or by a configured header.
    #[default]
    None,
    /// A token that does not change.
    Bearer(Secret),
    /// OAuth 2.0 client credentials (RFC 6749, section 4.4).
    ClientCredentials {
        /// Where tokens are fetched.
        token_url: String,
        /// The client's id.
        client_id: Secret,
        /// The client's secret.
        client_secret: Secret,
        /// What the token is for.
        scope: Option<String>,
        /// `client_secret_post`: id and secret in the body; `client_secret_basic` otherwise.
        in_body: bool,
    },
    /// An API key is posted as `Authorization`, and the answer holds a token.
    ApiKey {
        /// Where tokens are fetched.
        token_url: String,
        /// The key.
        api_key: Secret,
        /// `JSONPath` to the token.
        token: String,
        /// How long a token holds.
        lifetime: Duration,
    },
}

/// A token as it is sent.
#[derive(Debug, Clone)]
struct Token {
    header: HeaderValue,
    /// Not used from here on.
    until: Instant,
}

/// Signs requests.
#[derive(Debug)]
pub(super) struct Signer {
    auth: HttpAuth,
    upstream: String,
    client: Client,
    bounds: Bounds,
    /// Of the API itself; none is a secret.
    headers: HeaderMap,
    /// Where the token of an [`HttpAuth::ApiKey`] is.
    token_path: Option<JsonPath>,
    fixed: Option<HeaderValue>,
    /// Held while a token is fetched: whoever else needs one waits and takes it from here.
    token: Mutex<Option<Token>>,
}

impl Signer {
    /// # Errors
    /// Says what cannot be used, without repeating it.
    pub(super) fn new(
        auth: HttpAuth,
        upstream: String,
        client: Client,
        timeout: Duration,
        headers: HeaderMap,
    ) -> Result<Self, String> {
        let mut token_path = None;
        let mut fixed = None;
        match &auth {
            HttpAuth::None | HttpAuth::ClientCredentials { .. } => {}
            HttpAuth::Bearer(token) => fixed = Some(bearer(token.expose()).ok_or(UNSENDABLE)?),
            HttpAuth::ApiKey { api_key, token, .. } => {
                HeaderValue::from_str(api_key.expose()).map_err(|_| UNSENDABLE)?;
                token_path = Some(JsonPath::parse(token).map_err(|error| format!("auth.token: {error}"))?);
            }
        }
        Ok(Self {
            auth,
            upstream,
            client,
            bounds: Bounds {
                timeout,
                max_bytes: LARGEST_TOKEN_ANSWER,
            },
            headers,
            token_path,
            fixed,
            token: Mutex::new(None),
        })
    }

    /// Whether another token can be had.
    pub(super) fn fetches(&self) -> bool {
        matches!(self.auth, HttpAuth::ClientCredentials { .. } | HttpAuth::ApiKey { .. })
    }

    /// What goes into `Authorization`; `refused` is a token that the system no longer takes.
    ///
    /// # Errors
    /// When no token can be had now.
    pub(super) async fn authorization(
        &self,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, UpstreamError> {
        let Some(request) = self.token_request() else {
            return Ok(self.fixed.clone());
        };
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref()
            && refused.is_none_or(|refused| refused != token.header)
            && Instant::now() < token.until
        {
            return Ok(Some(token.header.clone()));
        }
        *held = None;
        let asked_at = Instant::now();
        let reply = client::exchange(&self.upstream, request, self.bounds)
            .await
            .map_err(|mut error| {
                error.detail = format!("no token from auth.token_url: {}", error.detail);
                error
            })?;
        let (header, lifetime) = self.read_token(&reply)?;
        *held = Some(Token {
            header: header.clone(),
            until: asked_at + usable_for(lifetime),
        });
        Ok(Some(header))
    }

    /// `None` where nothing is fetched.
    fn token_request(&self) -> Option<RequestBuilder> {
        match &self.auth {
            HttpAuth::None | HttpAuth::Bearer(_) => None,
            HttpAuth::ClientCredentials {
                token_url,
                client_id,
                client_secret,
                scope,
                in_body,
            } => {
                let mut form = "grant_type=client_credentials".to_owned();
                let mut add = |name: &str, value: &str| {
                    for part in ["&", name, "=", &percent::encode(value)] {
                        form.push_str(part);
                    }
                };
                if let Some(scope) = scope {
                    add("scope", scope);
                }
                let mut request = self
                    .client
                    .post(token_url)
                    .header(ACCEPT, "application/json")
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
                if *in_body {
                    add("client_id", client_id.expose());
                    add("client_secret", client_secret.expose());
                } else {
                    // Both are encoded before they are joined: RFC 6749, section 2.3.1.
                    request = request.basic_auth(
                        percent::encode(client_id.expose()),
                        Some(percent::encode(client_secret.expose())),
                    );
                }
                Some(request.body(form))
            }
            HttpAuth::ApiKey { token_url, api_key, .. } => {
                let mut headers = self.headers.clone();
                // One that no header can carry was refused before.
                let mut key = HeaderValue::from_str(api_key.expose()).ok()?;
                key.set_sensitive(true);
                headers.insert(AUTHORIZATION, key);
                Some(self.client.post(token_url).headers(headers))
            }
        }
    }

    fn read_token(&self, reply: &Reply) -> Result<(HeaderValue, Option<Duration>), UpstreamError> {
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if !reply.is_success() {
            let code = answer["error"].as_str().filter(|code| ERROR_CODES.contains(code));
            return Err(self.no_token(reply, code));
        }
        let bad = |what: &str| UpstreamError {
            upstream: self.upstream.clone(),
            reason: UpstreamReason::BadAnswer,
            detail: format!(
                "auth.token_url answers {} {what}: check the address",
                client::status_name(reply.status)
            ),
            retry_after: None,
        };
        let (token, lifetime) = if let (HttpAuth::ApiKey { lifetime, .. }, Some(path)) = (&self.auth, &self.token_path)
        {
            let found = path.query(&answer).all();
            (found.into_iter().find_map(Value::as_str), Some(*lifetime))
        } else {
            if let Some(kind) = answer["token_type"].as_str()
                && !kind.eq_ignore_ascii_case("bearer")
            {
                return Err(bad("with a token that is no bearer token"));
            }
            let seconds: Option<f64> = match &answer["expires_in"] {
                Value::Number(seconds) => seconds.as_f64(),
                Value::String(seconds) => seconds.trim().parse().ok(),
                _ => None,
            };
            // What is no time at all is a token for one call.
            let seconds = seconds.map(|seconds| if seconds > 0.0 { seconds } else { 0.0 });
            let lifetime = seconds.map(|seconds| Duration::from_secs_f64(seconds.min(LONGEST_LIFETIME.as_secs_f64())));
            (answer["access_token"].as_str(), lifetime)
        };
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| bad("without a token"))?;
        let header = bearer(token).ok_or_else(|| bad("with a token that cannot be sent"))?;
        Ok((header, lifetime))
    }

    /// Every 4xx but a few means that what we have to show is not enough.
    fn no_token(&self, reply: &Reply, code: Option<&str>) -> UpstreamError {
        let mut error = client::refusal(&self.upstream, reply, code).unwrap_or_else(|| UpstreamError {
            upstream: self.upstream.clone(),
            reason: UpstreamReason::AuthInvalid,
            detail: match code {
                Some(code) => format!("the server refused our credentials (status {}): {code}", reply.status),
                None => format!("the server gives no token (status {})", reply.status),
            },
            retry_after: reply.retry_after,
        });
        error.detail = format!("no token from auth.token_url: {}", error.detail);
        error
    }
}

const UNSENDABLE: &str = "the token or key of [records.auth] holds characters that HTTP forbids";

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// How long a token of this lifetime is used: of a short one, most of it.
fn usable_for(lifetime: Option<Duration>) -> Duration {
    let lifetime = lifetime.unwrap_or(UNTOLD_LIFETIME).min(LONGEST_LIFETIME);
    lifetime.saturating_sub(BEFORE_ITS_END.min(lifetime / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let seconds = Duration::from_secs;
        assert_eq!(usable_for(Some(seconds(3600))), seconds(3570));
        assert_eq!(usable_for(Some(seconds(60))), seconds(54));
        assert_eq!(usable_for(Some(Duration::ZERO)), Duration::ZERO);
        assert_eq!(usable_for(None), seconds(270));
        assert_eq!(
            usable_for(Some(Duration::from_hours(9000))),
            LONGEST_LIFETIME.saturating_sub(BEFORE_ITS_END)
        );
    }
}
