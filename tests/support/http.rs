//! Questions to a server on loopback.

use std::time::Duration;

use aftercall::adapters::client::{Bounds, ClientSettings, build, exchange};

/// Status and body of a `GET`; status 0 when nobody answers.
pub(crate) async fn get(url: &str) -> (u16, String) {
    let client = build(&ClientSettings::default()).unwrap();
    let bounds = Bounds {
        timeout: Duration::from_secs(20),
        max_bytes: 1_000_000,
    };
    match exchange("test", client.get(url), bounds).await {
        Ok(reply) => (reply.status, String::from_utf8(reply.body).unwrap()),
        Err(error) => (0, error.to_string()),
    }
}
