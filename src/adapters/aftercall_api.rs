//! Another aftercall's HTTP API, as a client: who asks a fleet from elsewhere needs neither its database nor its configuration.
//!
//! A question is asked again when it was not answered. So is a change: each carries an `Idempotency-Key` of its own, under
//! which the server does it once, however often it is sent. The answers are hostile like all others: bounded, and never shown as
//! they came where they are not what was asked for.

mod refused;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use reqwest::{
    Client, Method, RequestBuilder, Url,
    header::{AUTHORIZATION, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

pub use self::refused::{ApiError, Fault};
use super::{
    client::{self, Bounds, ClientSettings, Reply},
    plain_text::one_line,
    secret::Secret,
};
use crate::ports::UpstreamReason;

/// From sending a request to the last byte of its answer: more than the server itself takes at most.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(30),
    max_bytes: 64 << 20,
};
const CONNECT: Duration = Duration::from_secs(5);
/// How often something is sent, at most, when it is not answered.
const TRIES: u32 = 4;
/// After this long nothing is sent again, whatever the server asks for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where the API is, and who asks.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// `https://host`, with a path before `/api/v1` where a proxy has one.
    pub url: String,
    /// The token; none: a server on this machine answers reads without one as long as it has none.
    pub token: Option<Secret>,
    /// Send the token over `http` to another machine, too: whoever is on the way can read it.
    pub allow_plain_http: bool,
}

/// A client of one API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    client: Client,
    /// Without `/` at its end.
    base: Url,
    /// Marked as sensitive: it is never printed.
    authorization: Option<HeaderValue>,
}

/// Who answers: only what every version of the answer has.
#[derive(Deserialize)]
struct About {
    version: String,
}

impl ApiClient {
    /// A client that has asked nothing yet.
    ///
    /// # Errors
    /// An address that is none, a token that cannot stand in a header, or one that others on the way could read.
    pub fn of(settings: &ApiSettings) -> Result<Self, String> {
        let base = base(&settings.url)?;
        let authorization = settings.token.as_ref().map(bearer).transpose()?;
        if authorization.is_some() && base.scheme() == "http" && !is_this_machine(&base) && !settings.allow_plain_http {
            return Err(format!(
                "{} is another machine, and over http:// everybody on the way can read the token: use https://, or say \
                 --insecure-http where the way is safe (a tunnel, a network of your own)",
                base.host_str().unwrap_or_default()
            ));
        }
        let client = client::build(&ClientSettings {
            connect_timeout: CONNECT,
            redirects: 0,
        });
        Ok(Self {
            client: client.map_err(|error| format!("cannot set up TLS: {}", error.without_url()))?,
            base,
            authorization,
        })
    }

    /// The address, as it was given.
    pub fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether it has a token.
    pub fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// Asks. `path` is in parts, as they are behind `/api/v1`.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that cannot be read.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, ApiError> {
        let url = self.url(path, query)?;
        let reply = self
            .send(&Method::GET, path, || self.request(Method::GET, &url))
            .await?;
        self.read(&Method::GET, path, &reply).await
    }

    /// Changes something, once.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that cannot be read.
    pub async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> Result<T, ApiError> {
        self.change(Method::POST, path, body).await
    }

    /// Sets something, once.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that cannot be read.
    pub async fn put<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> Result<T, ApiError> {
        self.change(Method::PUT, path, body).await
    }

    /// Ends something, once.
    ///
    /// # Errors
    /// No answer, a refusal, or an answer that cannot be read.
    pub async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ApiError> {
        self.change(Method::DELETE, path, &Value::Null).await
    }

    async fn change<T: DeserializeOwned>(&self, method: Method, path: &[&str], body: &Value) -> Result<T, ApiError> {
        let url = self.url(path, &[])?;
        let key = Uuid::now_v7().to_string();
        let request = || {
            let request = self.request(method.clone(), &url).header("Idempotency-Key", &key);
            match method {
                Method::DELETE => request,
                _ => request.json(body),
            }
        };
        let reply = self.send(&method, path, request).await?;
        self.read(&method, path, &reply).await
    }

    /// The version of the server; `None` where it does not say.
    pub async fn version(&self) -> Option<String> {
        let url = self.url(&["about"], &[]).ok()?;
        let reply = client::exchange("api", self.request(Method::GET, &url), BOUNDS).await;
        let about: About = serde_json::from_slice(&reply.ok().filter(Reply::is_success)?.body).ok()?;
        Some(about.version)
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.client.request(method, url.clone());
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    /// The address of a question. What stands in a path is percent-encoded whole.
    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        // An address takes the first for steps between folders, however they are written, and drops the letters.
        let is_lost = |part: &&&str| matches!(**part, "" | "." | "..") || part.contains(['\t', '\n', '\r']);
        if let Some(part) = path.iter().find(is_lost) {
            return Err(ApiError::new(
                Fault::Usage,
                format!(
                    "`{}` cannot be asked for over HTTP: use the database itself (--db)",
                    part.escape_debug()
                ),
            ));
        }
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Sends it until it is answered, or there is no point any more.
    async fn send(
        &self,
        method: &Method,
        path: &[&str],
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Reply, ApiError> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let answered = client::exchange("api", request(), BOUNDS).await;
            // 200 ms, 400 ms, 800 ms.
            let pause = Duration::from_millis(100) * 2_u32.pow(tries.min(8));
            let (wait, why, counts) = match &answered {
                Ok(reply) => match reply.status {
                    429 => (
                        reply.retry_after.unwrap_or(pause),
                        "answers that this token asks too often",
                        false,
                    ),
                    409 if refused::code(reply).as_deref() == Some("request_under_way") => {
                        (reply.retry_after.unwrap_or(pause), "still does what was sent", false)
                    }
                    // A server that says when to come back is there: only its patience counts.
                    502..=504 => (
                        reply.retry_after.unwrap_or(pause),
                        "cannot answer now",
                        reply.retry_after.is_none(),
                    ),
                    _ => return self.check(method, path, answered).await,
                },
                Err(error) if error.reason == UpstreamReason::Unreachable => (pause, "did not answer", true),
                Err(_) => return self.check(method, path, answered).await,
            };
            let is_last = (counts && tries >= TRIES) || began.elapsed() + wait > PATIENCE;
            if is_last {
                return self.check(method, path, answered).await;
            }
            // A proxy that says "at once" is not asked without end in between.
            let wait = wait.max(pause);
            let seconds = wait.as_secs_f64();
            if answered.is_err() || *method == Method::GET {
                // Soon over, or said as the error that it ends in: a screen that is drawn on stays as it is.
                tracing::info!("{} {why}: sent again in {seconds:.1} s", self.address());
            } else {
                tracing::warn!("{} {why}: sent again in {seconds:.1} s", self.address());
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn check(
        &self,
        method: &Method,
        path: &[&str],
        answered: Result<Reply, crate::ports::UpstreamError>,
    ) -> Result<Reply, ApiError> {
        let reply = answered.map_err(|error| refused::unanswered(self.address(), &error))?;
        if reply.is_success() {
            return Ok(reply);
        }
        let error = refused::read(self, &reply);
        if error.code.as_deref() == Some("unknown_route") {
            return Err(self
                .skewed(method, path, "the server does not know this question")
                .await);
        }
        Err(error)
    }

    async fn read<T: DeserializeOwned>(&self, method: &Method, path: &[&str], reply: &Reply) -> Result<T, ApiError> {
        if reply.is_html() {
            return Err(refused::page(self, reply));
        }
        match serde_json::from_slice(&reply.body) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.skewed(method, path, &one_line(&error.to_string(), 200)).await),
        }
    }

    /// Two versions that do not understand each other, or something else at this address.
    async fn skewed(&self, method: &Method, path: &[&str], why: &str) -> ApiError {
        let ours = env!("CARGO_PKG_VERSION");
        let asked = format!("{method} /api/v1/{}", path.first().unwrap_or(&""));
        let theirs = self.version().await.map(|version| one_line(&version, 40));
        let advice = match theirs {
            Some(theirs) if theirs == ours => format!("both are aftercall {ours}: please report it"),
            Some(theirs) => format!(
                "the server is aftercall {theirs}, this is {ours}: use the same version here, or update the server"
            ),
            None => format!(
                "the server does not say its version, this is aftercall {ours}: is an older aftercall at this address, or \
                 something else?"
            ),
        };
        ApiError::new(
            Fault::Away,
            format!(
                "{}: the answer to {asked} cannot be read ({why}): {advice}",
                self.address()
            ),
        )
    }
}

/// The address without the path of the API.
fn base(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|_| SHAPE.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(SHAPE.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "the address holds no user or password: the token comes from AFTERCALL_TOKEN or --token-file".to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the address holds neither `?` nor `#`".to_owned());
    }
    let path = url.path().trim_end_matches('/');
    let path = path
        .strip_suffix("/api/v1")
        .unwrap_or(path)
        .trim_end_matches('/')
        .to_owned();
    url.set_path(&path);
    Ok(url)
}

const SHAPE: &str = "the address of an API is such as https://aftercall.example or http://127.0.0.1:7700";

fn bearer(token: &Secret) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| "the token holds letters that no token has: was it cut or pasted with a line break?".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
