//! Who changed what.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use super::{
    Api,
    ask::Asked,
    change::ok,
    cursor::{self, Page},
    problem::Problem,
};
use crate::queue::inspect::page::{self, AuditFilter, AuditLine};

const KIND: &str = "audit";

/// Which changes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// By this actor: a token's name, or `NAME (command line)`.
    actor: Option<String>,
    /// Of this kind: `pause`, `retry_job`, …
    action: Option<String>,
    /// At most this many.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Everything that somebody changed, newest first
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    security(("token" = ["read"])),
    params(Which),
    responses((status = 200, description = "A page of it", body = Page<AuditLine>))
)]
pub(super) async fn list(State(api): State<Api>, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let limit = cursor::limit(which.limit)?;
    let filter = AuditFilter {
        actor: which.actor,
        action: which.action,
        before: cursor::decode(KIND, which.after.as_deref())?,
        limit: limit + 1,
    };
    let lines = page::audit(api.db().await?, &filter).await?;
    Ok(ok(&Page::of(KIND, lines, limit, |line| line.id)))
}
