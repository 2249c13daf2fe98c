//! What is done to many jobs or sessions at once. Without `act` it is only shown how many match; with it, a worker does it, in
//! batches that leave room for the queue's own work.

use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    Api,
    ask::{Posted, given, has_letters, integer, reason_or_none},
    change::{Change as Changing, ok},
    operations::CalledFor,
    problem::{Code, Problem},
    which,
};
use crate::{
    operate::many::{self, Preview},
    operation::{self, Task},
    queue::{bulk::Change, inspect::JobRow},
    store::inspect::sessions::SessionLine,
};

/// Jobs, and whether to act.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobsToChange)]
pub(super) struct Jobs {
    filter: which::Jobs,
    /// Why, for the audit log and for those that are given up.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 500)]
    reason: Option<String>,
    /// Do it; otherwise it is shown how many match, and some of them.
    #[serde(default)]
    act: bool,
}

/// Jobs that run in another order, and whether to act.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobsToReprioritise)]
pub(super) struct Reprioritised {
    filter: which::Jobs,
    /// Their new priority: higher first; most jobs have 0.
    #[serde(deserialize_with = "integer")]
    #[schema(minimum = -2_147_483_648_i64, maximum = 2_147_483_647)]
    priority: i32,
    /// Why, for the audit log.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 500)]
    reason: Option<String>,
    /// Do it; otherwise it is shown how many match, and some of them.
    #[serde(default)]
    act: bool,
}

/// Jobs that run at another time or place, and whether to act.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobsToMove)]
pub(super) struct Moved {
    filter: which::Jobs,
    to: To,
    /// Why, for the audit log.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 500)]
    reason: Option<String>,
    /// Do it; otherwise it is shown how many match, and some of them.
    #[serde(default)]
    act: bool,
}

/// A time, a partition, or both.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MoveTo)]
struct To {
    /// Not before this.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    run_at: Option<DateTime<Utc>>,
    /// Into this partition, where the queue has one limit per partition.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    partition: Option<String>,
}

/// Sessions, and whether to act.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SessionsToReprocess)]
pub(super) struct Sessions {
    filter: which::Sessions,
    /// Why, for the audit log.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 500)]
    reason: Option<String>,
    /// Do it; otherwise it is shown how many match, and some of them.
    #[serde(default)]
    act: bool,
}

/// Let jobs that ended without success or wait for a time run now, with all their attempts
#[utoipa::path(
    post,
    path = "/api/v1/operations/retry",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Jobs,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<JobRow>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn retry(api: State<Api>, change: Changing, Posted(jobs): Posted<Jobs>) -> Result<Response, Problem> {
    jobs.call_for(&api, change, Change::Retry).await
}

/// Cancel jobs: those that wait at once, those that run by their cancellation token
#[utoipa::path(
    post,
    path = "/api/v1/operations/cancel",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Jobs,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<JobRow>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn cancel(api: State<Api>, change: Changing, Posted(jobs): Posted<Jobs>) -> Result<Response, Problem> {
    jobs.call_for(&api, change, Change::Cancel).await
}

/// Give up jobs that wait; `undo` gives them back
#[utoipa::path(
    post,
    path = "/api/v1/operations/discard",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Jobs,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<JobRow>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn discard(
    api: State<Api>,
    change: Changing,
    Posted(jobs): Posted<Jobs>,
) -> Result<Response, Problem> {
    jobs.call_for(&api, change, Change::Discard).await
}

/// Delete jobs that ended, with their attempts; cannot be undone
#[utoipa::path(
    post,
    path = "/api/v1/operations/delete",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Jobs,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<JobRow>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn delete(api: State<Api>, change: Changing, Posted(jobs): Posted<Jobs>) -> Result<Response, Problem> {
    jobs.call_for(&api, change, Change::Delete).await
}

/// Let jobs that wait run in another order
#[utoipa::path(
    post,
    path = "/api/v1/operations/reprioritise",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Reprioritised,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<JobRow>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn reprioritise(
    api: State<Api>,
    change: Changing,
    Posted(jobs): Posted<Reprioritised>,
) -> Result<Response, Problem> {
    let Reprioritised {
        filter,
        priority,
        reason,
        act,
    } = jobs;
    let jobs = Jobs { filter, reason, act };
    jobs.call_for(&api, change, Change::Reprioritise { priority }).await
}

/// Let jobs that wait run at another time, or in another partition of their queue
#[utoipa::path(
    post,
    path = "/api/v1/operations/move",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Moved,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<JobRow>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn move_to(
    api: State<Api>,
    change: Changing,
    Posted(jobs): Posted<Moved>,
) -> Result<Response, Problem> {
    let Moved {
        filter,
        to: To { run_at, partition },
        reason,
        act,
    } = jobs;
    if run_at.is_none() && partition.is_none() {
        return Err(Problem::new(
            Code::BadBody,
            "`to` says neither `run_at` nor `partition`",
        ));
    }
    if let Some(partition) = &partition {
        has_letters("partition", partition, LONGEST_PARTITION)?;
    }
    let jobs = Jobs { filter, reason, act };
    jobs.call_for(&api, change, Change::Move { run_at, partition }).await
}

/// Judge sessions again, each as its next generation; old verdicts stay beside the new ones
#[utoipa::path(
    post,
    path = "/api/v1/operations/reprocess",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = Sessions,
    responses(
        (status = 200, description = "How many match, and some", body = Preview<SessionLine>),
        (status = 202, description = "A worker does it", body = CalledFor),
    )
)]
pub(super) async fn reprocess(
    State(api): State<Api>,
    change: Changing,
    Posted(sessions): Posted<Sessions>,
) -> Result<Response, Problem> {
    let filter = sessions.filter.filter()?;
    let reason = reason_or_none(sessions.reason)?;
    if !sessions.act {
        return Ok(ok(&many::sessions(api.db().await?, &filter).await?));
    }
    call_for(&api, change, &Task::Sessions { filter }, reason.as_deref()).await
}

/// Letters of a partition, at most.
const LONGEST_PARTITION: usize = 200;

impl Jobs {
    async fn call_for(self, api: &Api, changing: Changing, change: Change) -> Result<Response, Problem> {
        let filter = self.filter.filter()?;
        let reason = reason_or_none(self.reason)?;
        let task = Task::Jobs { change, filter };
        if !self.act {
            return Ok(ok(&many::jobs(api.db().await?, &task).await?));
        }
        call_for(api, changing, &task, reason.as_deref()).await
    }
}

async fn call_for(api: &Api, change: Changing, task: &Task, reason: Option<&str>) -> Result<Response, Problem> {
    let db = api.db().await?;
    let matched = task.count(db).await?;
    let mut tx = db.begin().await?;
    let operation = operation::begin(&mut tx, task, change.actor(), reason, matched).await?;
    change
        .commit(tx, StatusCode::ACCEPTED, &CalledFor { matched, operation })
        .await
}
