//! What is done to many jobs or sessions at once: counted first, called for, followed, stopped, undone.

use axum::{extract::State, http::StatusCode, response::Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Api,
    ask::{Nothing, Place, Posted, whole_or_none},
    change::{Change as Changing, ok},
    cursor::Page,
    jobs::JobState,
    problem::{Code, Problem},
    sessions::SessionStatus,
};
use crate::{
    operation::{self, Operation, Task},
    queue::{bulk::Change, inspect::JobFilter},
    store::inspect::sessions::SessionFilter,
};

/// Operations that are listed.
const LISTED: u32 = 100;
/// Letters of a reason, at most.
const LONGEST: usize = 500;

/// What is done to jobs.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum JobVerb {
    /// Those that ended without success, or wait for a time, run now, with all their attempts.
    Retry,
    /// Those that wait are cancelled; those that run are asked to stop.
    Cancel,
    /// Those that wait are given up; can be undone.
    Discard,
    /// Those that ended are deleted.
    Delete,
    /// Those that wait run in another order: needs `priority`.
    Reprioritise,
    /// Those that wait run at another time or in another partition: needs `run_at` or `to_partition`.
    Move,
}

/// Which jobs: at least one of these.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhichJobs {
    /// Of this queue.
    queue: Option<String>,
    /// In this state.
    state: Option<JobState>,
    /// In this partition.
    partition: Option<String>,
    /// Whose unique key contains this.
    key: Option<String>,
    /// Whose last error contains this.
    error: Option<String>,
    /// Enqueued at this instant or later.
    since: Option<DateTime<Utc>>,
    /// Enqueued at this instant or before.
    until: Option<DateTime<Utc>>,
    /// With so many attempts, or more.
    #[serde(default, deserialize_with = "whole_or_none")]
    attempts: Option<u32>,
    /// Just these.
    #[serde(default)]
    #[schema(max_items = 1_000)]
    ids: Vec<Uuid>,
}

/// What to do to which jobs.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobOrder {
    verb: JobVerb,
    filter: WhichJobs,
    /// Higher runs first; most jobs have 0.
    priority: Option<i32>,
    /// Not before this.
    run_at: Option<DateTime<Utc>>,
    /// Into this partition, where the queue has one limit per partition.
    to_partition: Option<String>,
    /// Why, for the audit log and for those that are given up.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// Only count what matches.
    #[serde(default)]
    dry_run: bool,
}

/// Which sessions to judge again: at least one of these.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionOrder {
    /// Of this source.
    source: Option<String>,
    /// With one of these statuses.
    #[serde(default)]
    #[schema(max_items = 6)]
    status: Vec<SessionStatus>,
    /// With this intent.
    intent: Option<String>,
    /// With activity at or after this.
    since: Option<DateTime<Utc>>,
    /// Why, for the audit log.
    #[schema(max_length = 500)]
    reason: Option<String>,
    /// Only count what matches.
    #[serde(default)]
    dry_run: bool,
}

/// What was called for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CalledFor {
    /// How many match now.
    matched: u64,
    /// The operation that a worker does; null: this was a dry run.
    operation: Option<Uuid>,
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
    responses((status = 200, description = "The latest 100", body = Page<Operation>))
)]
pub(super) async fn list(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(ok(&Page::whole(operation::list(api.db().await?, LISTED).await?)))
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

/// Retry, cancel, discard, delete, reprioritise or move jobs by filter, in the background
#[utoipa::path(
    post,
    path = "/api/v1/operations/jobs",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = JobOrder,
    responses((status = 202, description = "A worker does it, or what it would be done to was counted", body = CalledFor))
)]
pub(super) async fn change_jobs(
    State(api): State<Api>,
    change: Changing,
    Posted(order): Posted<JobOrder>,
) -> Result<Response, Problem> {
    let (reason, dry_run) = (order.reason.clone(), order.dry_run);
    call_for(&api, change, order.task()?, reason, dry_run).await
}

/// Judge sessions again by filter, each as its next generation, in the background
#[utoipa::path(
    post,
    path = "/api/v1/operations/sessions",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body = SessionOrder,
    responses((status = 202, description = "A worker does it, or what it would be done to was counted", body = CalledFor))
)]
pub(super) async fn reprocess_sessions(
    State(api): State<Api>,
    change: Changing,
    Posted(order): Posted<SessionOrder>,
) -> Result<Response, Problem> {
    let says_nothing =
        order.source.is_none() && order.status.is_empty() && order.intent.is_none() && order.since.is_none();
    if says_nothing {
        return Err(everything("source, status, intent or since"));
    }
    let filter = SessionFilter {
        source: order.source,
        statuses: order
            .status
            .into_iter()
            .map(|status| status.as_str().to_owned())
            .collect(),
        intent: order.intent,
        since: order.since,
        ..SessionFilter::default()
    };
    call_for(&api, change, Task::Sessions { filter }, order.reason, order.dry_run).await
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
    let verb = operation.task.verb();
    if verb != "discard" {
        return Err(Problem::new(
            Code::NotUndoable,
            format!("operation {id} is a {verb}: only a discard can be undone"),
        ));
    }
    call_for(&api, change, Task::Discarded { operation: id }, None, false).await
}

async fn call_for(
    api: &Api,
    change: Changing,
    task: Task,
    reason: Option<String>,
    dry_run: bool,
) -> Result<Response, Problem> {
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST) {
        return Err(Problem::new(
            Code::BadBody,
            format!("`reason` has at most {LONGEST} letters"),
        ));
    }
    let db = api.db().await?;
    let matched = task.count(db).await?;
    let mut tx = db.begin().await?;
    let operation = if dry_run {
        None
    } else {
        Some(operation::begin(&mut tx, &task, change.actor(), reason.as_deref(), matched).await?)
    };
    change
        .commit(tx, StatusCode::ACCEPTED, &CalledFor { matched, operation })
        .await
}

impl JobOrder {
    fn task(self) -> Result<Task, Problem> {
        let lacks = |what: &str| Err(Problem::new(Code::BadBody, format!("this verb needs {what}")));
        let change = match self.verb {
            JobVerb::Retry => Change::Retry,
            JobVerb::Cancel => Change::Cancel,
            JobVerb::Discard => Change::Discard,
            JobVerb::Delete => Change::Delete,
            JobVerb::Reprioritise => match self.priority {
                Some(priority) => Change::Reprioritise { priority },
                None => return lacks("`priority`"),
            },
            JobVerb::Move if self.run_at.is_none() && self.to_partition.is_none() => {
                return lacks("`run_at` or `to_partition`");
            }
            JobVerb::Move => Change::Move {
                run_at: self.run_at,
                partition: self.to_partition,
            },
        };
        let filter = JobFilter {
            queue: self.filter.queue,
            state: self.filter.state.map(|state| state.as_str().to_owned()),
            partition: self.filter.partition,
            key_contains: self.filter.key,
            error_contains: self.filter.error,
            arg: None,
            created_since: self.filter.since,
            created_until: self.filter.until,
            attempts: self.filter.attempts,
            ids: self.filter.ids,
        };
        if filter.is_empty() {
            return Err(everything(
                "queue, state, partition, key, error, since, until, attempts or ids",
            ));
        }
        Ok(Task::Jobs { change, filter })
    }
}

fn everything(names: &str) -> Problem {
    Problem::new(
        Code::BadBody,
        format!("the filter says nothing, and would match everything there is: name one of {names}"),
    )
}

fn unknown(id: Uuid) -> Problem {
    Problem::new(Code::UnknownOperation, format!("there is no operation {id}"))
}
