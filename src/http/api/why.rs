//! What holds a queue, a job or a session.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{
    Api,
    ask::{Asked, Place},
    change::ok,
    problem::{Code, Problem},
};
use crate::why::{self, Found, Why};

/// Which of several sessions of one id.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// The session's source, where several have a session of this id.
    source: Option<String>,
}

/// Everything that holds a queue, a job or a session, in the order in which it has to give way, and what to do about it
#[utoipa::path(
    get,
    path = "/api/v1/why/{name}",
    tag = "why",
    security(("token" = ["read"])),
    params(
        ("name" = String, Path, description = "A queue's name, a job's id or a session's id, percent-encoded: a `/` in it is `%2F`"),
        Which
    ),
    responses((status = 200, description = "The reasons, each with a stable code", body = Why))
)]
pub(super) async fn show(
    State(api): State<Api>,
    Place(name): Place<String>,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    match why::why(api.db().await?, api.pulse.lease(), &name, which.source.as_deref()).await? {
        Found::One(answer) => Ok(ok(&answer)),
        Found::Nothing => Err(Problem::new(
            Code::UnknownSession,
            format!("`{name}` is no queue, no job and no session that is known"),
        )),
        Found::Several(found) => {
            let sources: Vec<&str> = found.iter().map(|line| line.key.source.as_str()).collect();
            Err(Problem::new(
                Code::BadQuery,
                format!(
                    "several sources have a session `{name}`: say which as `source` ({})",
                    sources.join(", ")
                ),
            ))
        }
    }
}
