//! Sources: which there are, and scanning one now.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{
    Api,
    ask::{Nothing, Place, Posted},
    change::{Change, ok},
    cursor::Page,
    problem::{Code, Problem},
};
use crate::operate::{
    sources::{self, SourceLine},
    work::{self, CalledFor},
};

/// Every source that the configuration or the database knows, and its latest scan
#[utoipa::path(
    get,
    path = "/api/v1/sources",
    tag = "sources",
    security(("token" = ["read"])),
    responses((status = 200, description = "All of them", body = Page<SourceLine>))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&Page::whole(sources::all(api.db().await?, &api.config).await?)))
}

/// Scan a source now, without waiting for the next tick
#[utoipa::path(
    post,
    path = "/api/v1/sources/{source}/discover",
    tag = "sources",
    security(("token" = ["operate"])),
    params(("source" = String, Path, description = "Its name")),
    request_body = Nothing,
    responses((status = 202, description = "It is scanned as soon as a worker runs", body = CalledFor))
)]
pub(super) async fn discover(
    State(api): State<Api>,
    Place(source): Place<String>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    if api.config.source(&source).is_none() {
        return Err(Problem::new(
            Code::UnknownSource,
            format!("no source `{source}` is configured"),
        ));
    }
    let mut tx = api.db().await?.begin().await?;
    let called_for = work::discover(&mut tx, &source, change.actor()).await?;
    change.commit(tx, StatusCode::ACCEPTED, &called_for).await
}
