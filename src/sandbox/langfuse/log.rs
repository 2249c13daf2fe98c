//! What was asked of the server, for tests: never a body, never a header.

use super::route::Endpoint;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `POST`, …
    pub method: String,
    /// Which read or write it was.
    pub endpoint: Endpoint,
    /// The path below `/api/public`, encoded as it came.
    pub path: String,
    /// The parameters, encoded as they came.
    pub query: String,
    /// What it was answered with; 0 for one that was left hanging.
    pub status: u16,
}
