//! Which paths there are.

use super::version::Version;

/// One thing that can be asked of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `GET /health`
    Health,
    /// `GET /projects`
    Projects,
    /// `GET /v2/observations`
    ObservationsV2,
    /// `GET /traces`
    Traces,
    /// `GET /traces/{id}`
    Trace,
    /// `GET /sessions`
    Sessions,
    /// `GET /sessions/{id}`
    Session,
    /// `GET /observations`
    Observations,
    /// `GET /observations/{id}`
    Observation,
    /// `POST /scores`
    PostScore,
    /// `GET /scores`
    Scores,
    /// `GET /scores/{id}`
    Score,
    /// `DELETE /scores/{id}`
    DeleteScore,
    /// `GET /v2/scores`
    ScoresV2,
    /// `GET /v3/scores`
    ScoresV3,
    /// Anything else.
    Unknown,
}

/// A path that some release has, and what it names.
pub(super) struct Route {
    pub(super) endpoint: Endpoint,
    pub(super) id: String,
    pub(super) method_allowed: bool,
}

impl Endpoint {
    /// This release has no such route at all: its web application answers.
    pub(super) fn is_missing_in(self, version: Version) -> bool {
        match self {
            Self::Unknown => true,
            Self::ObservationsV2 | Self::ScoresV2 | Self::ScoresV3 => version.is_v2(),
            _ => false,
        }
    }

    /// A read that v4 took away.
    pub(super) fn is_old_read(self) -> bool {
        matches!(
            self,
            Self::Traces
                | Self::Trace
                | Self::Sessions
                | Self::Session
                | Self::Observations
                | Self::Observation
                | Self::Scores
                | Self::Score
                | Self::ScoresV2
        )
    }
}

/// Finds the route of a path below `/api/public`. Segments are split before they are decoded: an id may hold an encoded `/`.
pub(super) fn find(method: &str, path: &str) -> Route {
    let segments: Vec<String> = path
        .trim_start_matches('/')
        .split('/')
        .map(|segment| crate::adapters::percent_decode(segment).unwrap_or_default())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (endpoint, id) = match segments[..] {
        ["health"] => (Endpoint::Health, ""),
        ["projects"] => (Endpoint::Projects, ""),
        ["v2", "observations"] => (Endpoint::ObservationsV2, ""),
        ["traces"] => (Endpoint::Traces, ""),
        ["traces", id] => (Endpoint::Trace, id),
        ["sessions"] => (Endpoint::Sessions, ""),
        ["sessions", id] => (Endpoint::Session, id),
        ["observations"] => (Endpoint::Observations, ""),
        ["observations", id] => (Endpoint::Observation, id),
        ["scores"] if method == "POST" => (Endpoint::PostScore, ""),
        ["scores"] => (Endpoint::Scores, ""),
        ["scores", id] if method == "DELETE" => (Endpoint::DeleteScore, id),
        ["scores", id] => (Endpoint::Score, id),
        ["v2", "scores"] => (Endpoint::ScoresV2, ""),
        ["v3", "scores"] => (Endpoint::ScoresV3, ""),
        _ => (Endpoint::Unknown, ""),
    };
    let method_allowed = match endpoint {
        Endpoint::PostScore | Endpoint::DeleteScore | Endpoint::Unknown => true,
        _ => method == "GET",
    };
    Route {
        endpoint,
        id: id.to_owned(),
        method_allowed,
    }
}
