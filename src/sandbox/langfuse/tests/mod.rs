//! The server against the answers of real ones, and its own promises.

mod behaviour;
mod recorded;
mod seed;

use serde_json::Value;

use super::{FakeLangfuse, PUBLIC_KEY, SECRET_KEY, start};
use crate::{
    adapters::client::{Bounds, ClientSettings, Reply, build, exchange},
    ports::UpstreamError,
    sandbox::Server,
};

const BOUNDS: Bounds = Bounds {
    timeout: std::time::Duration::from_secs(10),
    max_bytes: 10_000_000,
};

/// A client with the right keys.
struct Client {
    server: Server,
    client: reqwest::Client,
}

impl Client {
    async fn of(langfuse: &std::sync::Arc<FakeLangfuse>) -> Self {
        Self {
            server: start(langfuse.clone()).await.unwrap(),
            client: build(&ClientSettings::default()).unwrap(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/public{path}", self.server.url())
    }

    async fn ask(&self, path: &str) -> Result<Reply, UpstreamError> {
        let request = self.client.get(self.url(path)).basic_auth(PUBLIC_KEY, Some(SECRET_KEY));
        exchange("langfuse", request, BOUNDS).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let reply = self.ask(path).await.unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self
            .client
            .post(self.url(path))
            .basic_auth(PUBLIC_KEY, Some(SECRET_KEY))
            .json(body);
        let reply = exchange("langfuse", request, BOUNDS).await.unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }
}
