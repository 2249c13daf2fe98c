//! Takes spans to an OTLP receiver over HTTP, by the one bounded client.
//!
//! The exporter's thread is no thread of the runtime, and must go on while jobs block every thread of that: so this has a runtime
//! of its own. A receiver that is down is said once, and every ten minutes while it lasts.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Runtime;

use super::client::{self, Bounds, ClientSettings};

/// A receiver answers with a few bytes, or with an error's words.
const BOUNDS: Bounds = Bounds {
    timeout: Duration::from_secs(10),
    max_bytes: 1 << 20,
};

/// While it is down, it is said again after this.
const REPEAT: Duration = Duration::from_mins(10);

/// The way to the receiver.
#[derive(Debug)]
pub struct OtlpClient {
    client: reqwest::Client,
    runtime: Runtime,
    down: Mutex<Option<Instant>>,
}

impl OtlpClient {
    /// Makes it.
    ///
    /// # Errors
    /// When the machine has no thread for it, or TLS cannot be set up.
    pub fn build() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("aftercall-spans")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let settings = ClientSettings {
            connect_timeout: Duration::from_secs(5),
            redirects: 0,
        };
        Ok(Self {
            client: client::build(&settings).map_err(|error| error.to_string())?,
            runtime,
            down: Mutex::default(),
        })
    }

    /// Says that it is down, or that it is back.
    fn note(&self, trouble: Option<&str>) {
        let mut down = self.down.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(trouble) if down.is_none_or(|said| said.elapsed() >= REPEAT) => {
                *down = Some(Instant::now());
                tracing::warn!(
                    trouble,
                    "spans cannot be sent, and are dropped once too many wait; jobs go on"
                );
            }
            None if down.take().is_some() => tracing::info!("spans are sent again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = self
            .client
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(body);
        let sent = self.runtime.spawn(client::exchange("otlp", request, BOUNDS));
        let reply = match sent.await.map_err(|error| error.to_string())? {
            Ok(reply) => reply,
            Err(error) => {
                self.note(Some(&error.detail));
                return Err(error.into());
            }
        };
        let trouble = (!reply.is_success()).then(|| format!("status {}", client::status_name(reply.status)));
        self.note(trouble.as_deref());
        let mut response = Response::new(Bytes::from(reply.body));
        *response.headers_mut() = reply.headers;
        *response.status_mut() = reply.status.try_into()?;
        Ok(response)
    }
}
