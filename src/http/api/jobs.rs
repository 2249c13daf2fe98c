//! Jobs: which there are, every attempt of one, retrying and cancelling it.

use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Api,
    ask::{Asked, Nothing, Place, Posted},
    change::{Change, ok},
    cursor::{self, Page},
    problem::{Code, Problem},
};
use crate::{
    operate::jobs::{self, JobDetail},
    queue::{
        control::{self, Cancelled, Retried},
        inspect::{self, ArgIs, JobFilter, JobRow},
    },
};

const KIND: &str = "jobs";

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobState {
    Available,
    Scheduled,
    Running,
    Retryable,
    Completed,
    Cancelled,
    Discarded,
}

impl JobState {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }
}

/// Which jobs.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this queue.
    queue: Option<String>,
    /// In this state.
    #[param(inline)]
    state: Option<JobState>,
    /// In this partition.
    partition: Option<String>,
    /// Whose unique key contains this (a session's id).
    key: Option<String>,
    /// Whose last error contains this.
    error: Option<String>,
    /// Whose arguments hold this value: `PATH=VALUE`, such as `session_id=call-7`.
    #[param(pattern = r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*=")]
    arg: Option<String>,
    /// With so many attempts, or more.
    #[param(minimum = 0, maximum = 1_000_000)]
    attempts: Option<u32>,
    /// Enqueued at this instant or later.
    since: Option<DateTime<Utc>>,
    /// Enqueued at this instant or before.
    until: Option<DateTime<Utc>>,
    /// At most this many.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// What became of one job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct JobChanged {
    job: Uuid,
    result: JobResult,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobResult {
    /// It runs as soon as its limit allows, with all its attempts.
    RunsNow,
    /// It stays as it is: the session that had ended with it is analysed anew.
    CalledAnew,
    /// It waited: it is cancelled.
    Cancelled,
    /// It runs: it ends as cancelled.
    CancelRequested,
}

/// Jobs, newest first
#[utoipa::path(
    get,
    path = "/api/v1/jobs",
    tag = "jobs",
    security(("token" = ["read"])),
    params(Which),
    responses((status = 200, description = "A page of them", body = Page<JobRow>))
)]
pub(super) async fn list(State(api): State<Api>, Asked(which): Asked<Which>) -> Result<Response, Problem> {
    let limit = cursor::limit(which.limit)?;
    let after: Option<Uuid> = cursor::decode(KIND, which.after.as_deref())?;
    let arg = which.arg.map(|arg| arg.parse()).transpose();
    let arg: Option<ArgIs> = arg.map_err(|why| Problem::new(Code::BadQuery, format!("`arg`: {why}")))?;
    if which.attempts.is_some_and(|attempts| attempts > 1_000_000) {
        return Err(Problem::new(Code::BadQuery, "`attempts` is 0 to 1000000"));
    }
    let filter = JobFilter {
        queue: which.queue,
        state: which.state.map(|state| state.as_str().to_owned()),
        partition: which.partition,
        key_contains: which.key,
        error_contains: which.error,
        arg,
        attempts: which.attempts,
        created_since: which.since,
        created_until: which.until,
        ids: Vec::new(),
    };
    // What one question looks at is bounded: a page may hold fewer jobs than were asked for, and still say where to go on.
    let page = inspect::job_page(api.db().await?, &filter, after, limit).await?;
    Ok(ok(&Page::going_on(KIND, page.jobs, page.next)))
}

/// One job with every attempt
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    security(("token" = ["read"])),
    params(("id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "It", body = JobDetail))
)]
pub(super) async fn show(State(api): State<Api>, Place(id): Place<Uuid>) -> Result<Response, Problem> {
    let detail = jobs::detail(api.db().await?, id).await?;
    detail.map(|detail| ok(&detail)).ok_or_else(|| unknown(id))
}

/// Let a job that ended or waits run now, with all its attempts
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/retry",
    tag = "jobs",
    security(("token" = ["operate"])),
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Nothing,
    responses((status = 200, description = "It runs as soon as its limit allows, or its work is called for anew", body = JobChanged))
)]
pub(super) async fn retry(
    State(api): State<Api>,
    Place(job): Place<Uuid>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let mut tx = api.db().await?.begin().await?;
    let result = match jobs::retry(&mut tx, job, change.actor()).await? {
        Retried::Now => JobResult::RunsNow,
        Retried::CalledAnew => JobResult::CalledAnew,
        Retried::Running => return Err(Problem::new(Code::JobRunning, format!("job {job} runs"))),
        Retried::Twin(twin) => {
            return Err(Problem::new(
                Code::JobHasTwin,
                format!("job {twin} does the same as {job}"),
            ));
        }
        Retried::Unknown => return Err(unknown(job)),
    };
    change.commit(tx, StatusCode::OK, &JobChanged { job, result }).await
}

/// Cancel a job: one that waits at once, one that runs by its cancellation token
#[utoipa::path(
    post,
    path = "/api/v1/jobs/{id}/cancel",
    tag = "jobs",
    security(("token" = ["operate"])),
    params(("id" = Uuid, Path, description = "Its id")),
    request_body = Nothing,
    responses((status = 200, description = "It is cancelled, or ends as cancelled", body = JobChanged))
)]
pub(super) async fn cancel(
    State(api): State<Api>,
    Place(job): Place<Uuid>,
    change: Change,
    Posted(Nothing {}): Posted<Nothing>,
) -> Result<Response, Problem> {
    let mut tx = api.db().await?.begin().await?;
    let result = match control::cancel(&mut tx, job, change.actor()).await? {
        Cancelled::AtOnce => JobResult::Cancelled,
        Cancelled::Requested => JobResult::CancelRequested,
        Cancelled::AlreadyEnded => return Err(Problem::new(Code::JobEnded, format!("job {job} has ended"))),
        Cancelled::Unknown => return Err(unknown(job)),
    };
    change.commit(tx, StatusCode::OK, &JobChanged { job, result }).await
}

fn unknown(id: Uuid) -> Problem {
    Problem::new(Code::UnknownJob, format!("there is no job {id}"))
}
