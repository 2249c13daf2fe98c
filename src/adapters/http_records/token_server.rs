//! What fetches tokens: one request, signed as the server wants it, and what it answers.
//!
//! What a token server answers is never repeated: it may hold what it was sent.

use std::time::Duration;

use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::Value;
use serde_json_path::JsonPath;
use tokio::time::Instant;

use super::{
    assertion::Assertion,
    auth::{HttpAuth, UNSENDABLE, bearer},
};
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
/// RFC 7523, section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A token as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    /// Not used from here on.
    pub(super) until: Instant,
}

/// What is shown for a token.
#[derive(Debug)]
enum Grant {
    /// RFC 6749, section 4.4.
    ClientCredentials {
        /// May hold the secret.
        form: Secret,
        /// Id and secret, each encoded, where they are not in the form.
        basic: Option<(Secret, Secret)>,
    },
    /// RFC 7523, section 2.2.
    PrivateKeyJwt { form: String, assertion: Assertion },
    ApiKey {
        key: HeaderValue,
        /// Where the token is in an answer.
        token: JsonPath,
        lifetime: Duration,
    },
}

/// Where tokens come from.
#[derive(Debug)]
pub(super) struct TokenServer {
    grant: Grant,
    token_url: String,
    upstream: String,
    client: Client,
    bounds: Bounds,
    /// Of the API itself; none is a secret.
    headers: HeaderMap,
}

impl TokenServer {
    /// `None` where nothing is fetched.
    ///
    /// # Errors
    /// Says what cannot be used, without repeating it.
    pub(super) fn new(
        auth: &HttpAuth,
        upstream: String,
        client: Client,
        timeout: Duration,
        headers: HeaderMap,
    ) -> Result<Option<Self>, String> {
        let Some((token_url, grant)) = grant(auth)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            grant,
            token_url,
            upstream,
            client,
            bounds: Bounds {
                timeout,
                max_bytes: LARGEST_TOKEN_ANSWER,
            },
            headers,
        }))
    }

    /// # Errors
    /// When no token can be had now.
    pub(super) async fn fetch(&self) -> Result<Token, UpstreamError> {
        let asked_at = Instant::now();
        let request = self.request().map_err(|reason| UpstreamError {
            upstream: self.upstream.clone(),
            reason: UpstreamReason::AuthInvalid,
            detail: format!("no token from auth.token_url: auth.private_key {reason}"),
            retry_after: None,
        })?;
        let reply = client::exchange(&self.upstream, request, self.bounds)
            .await
            .map_err(|mut error| {
                error.detail = format!("no token from auth.token_url: {}", error.detail);
                error
            })?;
        let (header, lifetime) = self.read_token(&reply)?;
        Ok(Token {
            header,
            until: asked_at + usable_for(lifetime),
        })
    }

    fn request(&self) -> Result<RequestBuilder, String> {
        let request = self.client.post(&self.token_url);
        let with_form = |request: RequestBuilder, form: String| {
            request
                .header(ACCEPT, "application/json")
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form)
        };
        Ok(match &self.grant {
            Grant::ClientCredentials { form, basic } => {
                let request = with_form(request, form.expose().to_owned());
                match basic {
                    Some((id, secret)) => request.basic_auth(id.expose(), Some(secret.expose())),
                    None => request,
                }
            }
            Grant::PrivateKeyJwt { form, assertion } => {
                let mut form = form.clone();
                add(&mut form, "client_assertion", &assertion.sign()?);
                with_form(request, form)
            }
            Grant::ApiKey { key, .. } => {
                let mut headers = self.headers.clone();
                headers.insert(AUTHORIZATION, key.clone());
                request.headers(headers)
            }
        })
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
        let (token, lifetime) = if let Grant::ApiKey { token, lifetime, .. } = &self.grant {
            let found = token.query(&answer).all();
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

/// Where a token is asked for, and what is shown for it; `None` where nothing is fetched.
fn grant(auth: &HttpAuth) -> Result<Option<(String, Grant)>, String> {
    let form_for = |scope: &Option<String>| {
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = scope {
            add(&mut form, "scope", scope);
        }
        form
    };
    Ok(match auth {
        HttpAuth::None | HttpAuth::Bearer(_) => None,
        HttpAuth::ClientCredentials {
            token_url,
            client_id,
            client_secret,
            scope,
            in_body,
        } => {
            let mut form = form_for(scope);
            let mut basic = None;
            if *in_body {
                add(&mut form, "client_id", client_id.expose());
                add(&mut form, "client_secret", client_secret.expose());
            } else {
                // Both are encoded before they are joined: RFC 6749, section 2.3.1.
                let encoded = |secret: &Secret| Secret::new(percent::encode(secret.expose()));
                basic = Some((encoded(client_id), encoded(client_secret)));
            }
            let form = Secret::new(form);
            Some((token_url.clone(), Grant::ClientCredentials { form, basic }))
        }
        HttpAuth::PrivateKeyJwt {
            token_url,
            client_id,
            private_key,
            key_id,
            audience,
            scope,
        } => {
            let assertion = Assertion::new(private_key.expose(), key_id.as_deref(), client_id, audience);
            let assertion = assertion.map_err(|reason| format!("auth.private_key {reason}"))?;
            let mut form = form_for(scope);
            add(&mut form, "client_assertion_type", JWT_BEARER);
            Some((token_url.clone(), Grant::PrivateKeyJwt { form, assertion }))
        }
        HttpAuth::ApiKey {
            token_url,
            api_key,
            token,
            lifetime,
        } => {
            let mut key = HeaderValue::from_str(api_key.expose()).map_err(|_| UNSENDABLE)?;
            key.set_sensitive(true);
            let token = JsonPath::parse(token).map_err(|error| format!("auth.token: {error}"))?;
            let lifetime = *lifetime;
            Some((token_url.clone(), Grant::ApiKey { key, token, lifetime }))
        }
    })
}

/// One more value of a form.
fn add(form: &mut String, name: &str, value: &str) {
    for part in ["&", name, "=", &percent::encode(value)] {
        form.push_str(part);
    }
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
