//! Queues: what they hold, pausing and resuming them.

use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;

use super::{
    Api,
    ask::{Nothing, Place, Posted, Why},
    change::{Change, ok},
    cursor::Page,
    problem::{Code, Problem},
};
use crate::{
    db::Db,
    operate::queues::{self, QueueLine},
    queue::control,
};

/// Whether a queue is paused.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = QueuePaused)]
pub(super) struct Paused {
    queue: String,
    paused: bool,
}

/// Every queue: depth by state, oldest age, what runs, limits and pauses
#[utoipa::path(
    get,
    path = "/api/v1/queues",
    tag = "queues",
    security(("token" = ["read"])),
    responses((status = 200, description = "All of them", body = Page<QueueLine>))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&Page::whole(queues::all(api.db().await?).await?)))
}

/// One queue
#[utoipa::path(
    get,
    path = "/api/v1/queues/{queue}",
    tag = "queues",
    security(("token" = ["read"])),
    params(("queue" = String, Path, description = "Its name")),
    responses((status = 200, description = "It", body = QueueLine))
)]
pub(super) async fn show(State(api): State<Api>, Place(queue): Place<String>) -> Result<Response, Problem> {
    let all = queues::all(api.db().await?).await?;
    match all.into_iter().find(|line| line.depth.queue == queue) {
        Some(line) => Ok(ok(&line)),
        None => Err(Problem::new(
            Code::UnknownQueue,
            format!("no queue `{queue}` has a job, a limit or a pause"),
        )),
    }
}

/// Start no more jobs of a queue, in the whole fleet; those that run go on
#[utoipa::path(
    post,
    path = "/api/v1/queues/{queue}/pause",
    tag = "queues",
    security(("token" = ["operate"])),
    params(("queue" = String, Path, description = "Its name")),
    request_body = Why,
    responses((status = 200, description = "It is paused", body = Paused))
)]
pub(super) async fn pause(
    State(api): State<Api>,
    Place(queue): Place<String>,
    change: Change,
    Posted(why): Posted<Why>,
) -> Result<Response, Problem> {
    let (db, reason) = (api.db().await?, why.reason()?);
    check(db, &queue).await?;
    let mut tx = db.begin().await?;
    control::pause(&mut tx, &queue, change.actor(), &reason).await?;
    change.commit(tx, StatusCode::OK, &Paused { queue, paused: true }).await
}

/// Start jobs of a paused queue again
#[utoipa::path(
    post,
    path = "/api/v1/queues/{queue}/resume",
    tag = "queues",
    security(("token" = ["operate"])),
    params(("queue" = String, Path, description = "Its name")),
    request_body = Nothing,
    responses((status = 200, description = "It runs", body = Paused))
)]
pub(super) async fn resume(
    State(api): State<Api>,
    Place(queue): Place<String>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let db = api.db().await?;
    check(db, &queue).await?;
    let mut tx = db.begin().await?;
    control::resume(&mut tx, &queue, change.actor()).await?;
    change
        .commit(tx, StatusCode::OK, &Paused { queue, paused: false })
        .await
}

async fn check(db: &Db, queue: &str) -> Result<(), Problem> {
    let known = queues::check(db, queue).await?;
    known.map_err(|why| Problem::new(Code::UnknownQueue, why))
}
