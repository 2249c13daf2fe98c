//! What is done to many jobs or sessions at once: followed, stopped, undone. What calls for it is in [`bulk`](super::bulk).

use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Api,
    ask::{Asked, Nothing, Place, Posted},
    change::{Change as Changing, ok},
    cursor::{self, Page},
    problem::{Code, Problem},
};
use crate::operation::{self, Operation};

/// Operations that are listed, unless asked for more or fewer.
const LISTED: u32 = 100;

/// How many of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Listed {
    /// At most this many.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
}

/// What was called for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CalledFor {
    /// How many match now.
    pub(super) matched: u64,
    /// The operation that a worker does.
    pub(super) operation: Uuid,
}

/// An operation that was asked to end.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Stopped {
    operation: Uuid,
    /// Whether it ran until now.
    stopped: bool,
}

/// The latest operations, with how far each is
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    tag = "operations",
    security(("token" = ["read"])),
    params(Listed),
    responses((status = 200, description = "Newest first", body = Page<Operation>))
)]
pub(super) async fn list(State(api): State<Api>, Asked(listed): Asked<Listed>) -> Result<Response, Problem> {
    let limit = cursor::limit(listed.limit.or(Some(LISTED)))?;
    Ok(ok(&Page::whole(operation::list(api.db().await?, limit).await?)))
}

/// One operation, with how far it is
#[utoipa::path(
    get,
    path = "/api/v1/operations/{id}",
    tag = "operations",
    security(("token" = ["read"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = Operation))
)]
pub(super) async fn show(State(api): State<Api>, Place(id): Place<Uuid>) -> Result<Response, Problem> {
    let operation = operation::load(api.db().await?, id).await?;
    operation.map(|operation| ok(&operation)).ok_or_else(|| unknown(id))
}

/// End an operation where it is; what it did stays done
#[utoipa::path(
    post,
    path = "/api/v1/operations/{id}/stop",
    tag = "operations",
    security(("token" = ["operate"])),
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Nothing,
    responses((status = 200, description = "It has ended", body = Stopped))
)]
pub(super) async fn stop(
    State(api): State<Api>,
    Place(id): Place<Uuid>,
    change: Changing,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let db = api.db().await?;
    if operation::load(db, id).await?.is_none() {
        return Err(unknown(id));
    }
    let mut tx = db.begin().await?;
    let stopped = operation::stop(&mut tx, id, change.actor()).await?;
    change
        .commit(tx, StatusCode::OK, &Stopped { operation: id, stopped })
        .await
}

/// Give back what a discard gave up
#[utoipa::path(
    post,
    path = "/api/v1/operations/{id}/undo",
    tag = "operations",
    security(("token" = ["operate"])),
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Nothing,
    responses((status = 202, description = "A worker does it", body = CalledFor))
)]
pub(super) async fn undo(
    State(api): State<Api>,
    Place(id): Place<Uuid>,
    change: Changing,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let Some(operation) = operation::load(api.db().await?, id).await? else {
        return Err(unknown(id));
    };
    let task = operation
        .undone_by()
        .map_err(|why| Problem::new(Code::NotUndoable, why))?;
    let db = api.db().await?;
    let matched = task.count(db).await?;
    let mut tx = db.begin().await?;
    let operation = operation::begin(&mut tx, &task, change.actor(), None, matched).await?;
    change
        .commit(tx, StatusCode::ACCEPTED, &CalledFor { matched, operation })
        .await
}

fn unknown(id: Uuid) -> Problem {
    Problem::new(Code::UnknownOperation, format!("there is no operation {id}"))
}
