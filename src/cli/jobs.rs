//! `aftercall jobs`: list, show, retry and cancel jobs.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use uuid::Uuid;

use super::{
    context::{self, Context},
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    db::Db,
    operate::jobs::{self, JobDetail},
    queue::{
        control::{self, Cancelled, Retried},
        inspect::{self, JobFilter, JobRow},
    },
};

const STATES: [&str; 7] = [
    "available",
    "scheduled",
    "running",
    "retryable",
    "completed",
    "cancelled",
    "discarded",
];

/// Lists, shows, retries and cancels jobs
#[derive(Debug, Args)]
pub(super) struct Jobs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Show(ShowJob),
    Retry(Retry),
    Cancel(Cancel),
}

const LIST_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs list --state discarded
  $ aftercall jobs list --queue verify_session --key airline-00-0";

/// Lists jobs, newest first
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLE)]
struct List {
    #[command(flatten)]
    which: Which,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

const SHOW_EXAMPLE: &str = "\
Example:
  $ aftercall jobs show 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80";

/// Shows a job with every attempt
#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLE)]
struct ShowJob {
    /// Its id, as `jobs list` shows it
    #[arg(value_name = "JOB")]
    id: Uuid,
}

const RETRY_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs retry 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80
  $ aftercall jobs retry --state discarded --queue verify_session        # shows how many
  $ aftercall jobs retry --state discarded --queue verify_session --yes  # does it";

/// Lets jobs that ended or wait run now, with all their attempts
#[derive(Debug, Args)]
#[command(after_help = RETRY_EXAMPLE)]
struct Retry {
    #[command(flatten)]
    target: Target,
}

const CANCEL_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs cancel 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80
  $ aftercall jobs cancel --queue diagnose_session --state available        # shows how many
  $ aftercall jobs cancel --queue diagnose_session --state available --yes  # does it";

/// Cancels jobs: those that wait at once, those that run by their cancellation token
#[derive(Debug, Args)]
#[command(after_help = CANCEL_EXAMPLE)]
struct Cancel {
    #[command(flatten)]
    target: Target,
}

/// Jobs by filter.
#[derive(Debug, Clone, Args)]
struct Which {
    /// Of this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    state: Option<String>,
    /// Whose unique key contains this (a session's id)
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
}

/// Jobs to act on: by id, or by filter.
#[derive(Debug, Args)]
struct Target {
    /// Ids of jobs
    #[arg(value_name = "JOB", conflicts_with_all = ["queue", "state", "key"])]
    ids: Vec<Uuid>,
    #[command(flatten)]
    which: Which,
    /// With a filter: act, after its count was shown
    #[arg(long)]
    yes: bool,
}

impl Which {
    fn filter(&self, limit: u32) -> JobFilter {
        JobFilter {
            queue: self.queue.clone(),
            state: self.state.clone(),
            key_contains: self.key.clone(),
            limit,
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.is_none() && self.state.is_none() && self.key.is_none()
    }
}

impl Jobs {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let db = context.open_existing().await?;
        match self.verb {
            Verb::List(list) => {
                let jobs = inspect::jobs(&db, &list.which.filter(list.limit)).await?;
                let now = db.now().await?;
                context.out.print(&jobs, |out| table(out, &jobs, now))
            }
            Verb::Show(show) => show_job(context, &db, show.id).await,
            Verb::Retry(retry) => retry.target.act(context, &db, Action::Retry).await,
            Verb::Cancel(cancel) => cancel.target.act(context, &db, Action::Cancel).await,
        }
    }
}

fn table(out: &Output, jobs: &[JobRow], now: DateTime<Utc>) -> String {
    if jobs.is_empty() {
        return "no such jobs".to_owned();
    }
    let mut grid = Grid::new(["job", "queue", "key", "state", "attempt", "age", "runs", "why"]);
    for job in jobs {
        let waits = matches!(job.state.as_str(), "available" | "scheduled" | "retryable");
        let runs = match (&job.worker, waits) {
            _ if job.held_by.is_some() => held_until(job, now),
            (Some(worker), false) => worker.clone(),
            (_, true) => when::until(now, job.run_at),
            (None, false) => String::new(),
        };
        let why = job
            .wait_reason
            .as_ref()
            .or(job.last_error.as_ref())
            .cloned()
            .unwrap_or_default();
        grid.row([
            Cell::from(job.id.to_string()),
            Cell::from(&job.queue),
            Cell::from(job.unique_key.clone().unwrap_or_default()),
            Cell::toned(&job.state, tone(&job.state)),
            Cell::from(format!("{}/{}", job.attempt, job.max_attempts)),
            Cell::from(when::age(now, job.created_at)),
            Cell::from(runs),
            Cell::from(why),
        ]);
    }
    out.table(&grid)
}

/// When the gate that holds it is tried next.
fn held_until(job: &JobRow, now: DateTime<Utc>) -> String {
    match job.held_until {
        Some(until) => format!("held, tried {}", when::until(now, until)),
        None => "held".to_owned(),
    }
}

fn tone(state: &str) -> Tone {
    match state {
        "completed" => Tone::Good,
        "discarded" => Tone::Bad,
        "retryable" => Tone::Warn,
        "cancelled" => Tone::Dim,
        _ => Tone::Plain,
    }
}

async fn show_job(context: &Context, db: &Db, id: Uuid) -> Result<(), Failure> {
    let detail = jobs::detail(db, id).await?.ok_or_else(|| {
        Failure::Fault(format!(
            "there is no job {id}; finished jobs are deleted after `retention.finished_jobs`"
        ))
    })?;
    let now = db.now().await?;
    context.out.print(&detail, |out| page(out, &detail, now))
}

fn page(out: &Output, detail: &JobDetail, now: DateTime<Utc>) -> String {
    let job = &detail.job;
    let mut facts = Grid::new(["", ""]);
    let mut fact = |name: &'static str, value: String| {
        if !value.is_empty() {
            facts.row([Cell::toned(name, Tone::Dim), Cell::from(value)]);
        }
    };
    fact("job", job.id.to_string());
    fact("queue", job.queue.clone());
    fact("partition", job.partition.clone());
    fact("state", job.state.clone());
    fact("args", job.args.to_string());
    fact("unique key", job.unique_key.clone().unwrap_or_default());
    fact("attempt", format!("{} of {}", job.attempt, job.max_attempts));
    fact(
        "rescues",
        if job.rescues == 0 {
            String::new()
        } else {
            job.rescues.to_string()
        },
    );
    fact("created", when::instant(job.created_at));
    fact("needs", job.gate.clone().unwrap_or_default());
    match &job.held_by {
        Some(gate) => fact("held by", format!("{gate}: {}", held_until(job, now))),
        None => fact(
            "runs",
            format!("{} ({})", when::instant(job.run_at), when::until(now, job.run_at)),
        ),
    }
    fact("waits for", job.wait_reason.clone().unwrap_or_default());
    fact("last error", job.last_error.clone().unwrap_or_default());
    fact(
        "progress",
        job.progress.as_ref().map(ToString::to_string).unwrap_or_default(),
    );
    fact(
        "cancel asked",
        job.cancel_requested_at.map(when::instant).unwrap_or_default(),
    );
    fact("finished", job.finished_at.map(when::instant).unwrap_or_default());
    let mut attempts = Grid::new(["attempt", "started", "took", "worker", "outcome", "error"]);
    for attempt in &detail.attempts {
        let took = attempt
            .duration_us
            .map(|micros| when::rough(std::time::Duration::from_micros(micros.unsigned_abs())));
        attempts.row([
            Cell::from(attempt.attempt.to_string()),
            Cell::from(when::instant(attempt.started_at)),
            Cell::from(took.unwrap_or_else(|| "runs".to_owned())),
            Cell::from(&attempt.worker),
            Cell::from(attempt.outcome.clone().unwrap_or_default()),
            Cell::from(attempt.error.clone().unwrap_or_default()),
        ]);
    }
    if attempts.is_empty() {
        return format!("{}\n\nnever started", out.table(&facts));
    }
    format!("{}\n\n{}", out.table(&facts), out.table(&attempts))
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Retry,
    Cancel,
}

/// What became of one job.
#[derive(Serialize)]
struct Acted {
    job: Uuid,
    result: &'static str,
    detail: String,
}

impl Target {
    async fn act(self, context: &Context, db: &Db, action: Action) -> Result<(), Failure> {
        let ids = if self.ids.is_empty() {
            match self.by_filter(context, db, action).await? {
                Some(ids) => ids,
                None => return Ok(()),
            }
        } else {
            self.ids
        };
        let actor = context::actor();
        let mut done = Vec::new();
        for id in ids {
            let before = inspect::job(db, id).await?;
            // One transaction each: a worker must never wait for a long list.
            let mut tx = db.begin().await?;
            let (result, mut detail) = match action {
                Action::Retry => retried(control::retry(&mut tx, id, &actor).await?),
                Action::Cancel => cancelled(control::cancel(&mut tx, id, &actor).await?),
            };
            tx.commit().await?;
            let meaning = before.map(|job| what_it_means(action, &job)).unwrap_or_default();
            if matches!(result, "retried" | "cancelled") && !meaning.is_empty() {
                meaning.clone_into(&mut detail);
            }
            done.push(Acted {
                job: id,
                result,
                detail,
            });
        }
        context.out.print(&done, |out| {
            let mut grid = Grid::new(["job", "result", ""]);
            for acted in &done {
                grid.row([
                    Cell::from(acted.job.to_string()),
                    Cell::from(acted.result),
                    Cell::from(&acted.detail),
                ]);
            }
            out.table(&grid)
        })?;
        match done.iter().filter(|acted| acted.result == "unknown").count() {
            0 => Ok(()),
            unknown => Err(Failure::Fault(format!("{unknown} of these jobs are not known"))),
        }
    }

    /// The jobs of the filter once `--yes` is given; before that only their number is shown.
    async fn by_filter(&self, context: &Context, db: &Db, action: Action) -> Result<Option<Vec<Uuid>>, Failure> {
        if self.which.is_empty() {
            return Err(Failure::Usage(
                "name jobs by id, or filter them with --queue, --state or --key".to_owned(),
            ));
        }
        let filter = self.which.filter(u32::MAX);
        if self.yes {
            let jobs = inspect::jobs(db, &filter).await?;
            return Ok(Some(jobs.into_iter().map(|job| job.id).collect()));
        }
        let count = inspect::count_jobs(db, &filter).await?;
        let verb = match action {
            Action::Retry => "retried",
            Action::Cancel => "cancelled",
        };
        context
            .out
            .print(&serde_json::json!({ "matches": count, "acted": false }), |_| {
                format!("{count} job(s) match: with --yes they are {verb}")
            })?;
        Ok(None)
    }
}

fn retried(retried: Retried) -> (&'static str, String) {
    match retried {
        Retried::Now => ("retried", "runs as soon as its limit allows".to_owned()),
        Retried::Running => ("running", "it runs already".to_owned()),
        Retried::Twin(twin) => ("twin", format!("{twin} does the same work")),
        Retried::Unknown => ("unknown", String::new()),
    }
}

/// A session's job is called for by its session's state: what is done to the job alone does not last.
fn what_it_means(action: Action, job: &JobRow) -> &'static str {
    let of_session = ["analyze_session", "verify_session", "diagnose_session"].contains(&job.queue.as_str());
    match action {
        Action::Cancel if of_session => {
            "its session still calls for it: reconcile enqueues it again; to hold it, pause its queue"
        }
        Action::Retry if of_session && job.state == "discarded" => {
            "its session has ended with an error: to judge it again, use `aftercall reprocess`"
        }
        Action::Cancel | Action::Retry => "",
    }
}

fn cancelled(cancelled: Cancelled) -> (&'static str, String) {
    match cancelled {
        Cancelled::AtOnce => ("cancelled", String::new()),
        Cancelled::Requested => ("requested", "it runs: its worker was asked to stop it".to_owned()),
        Cancelled::AlreadyEnded => ("ended", "it had ended before".to_owned()),
        Cancelled::Unknown => ("unknown", String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::inspect::AttemptRow;

    fn job(state: &str) -> JobRow {
        let at = DateTime::from_timestamp(1_000, 0).unwrap();
        JobRow {
            id: Uuid::nil(),
            queue: "verify_session".to_owned(),
            partition: "practice".to_owned(),
            limit_key: "verify_session/practice".to_owned(),
            unique_key: Some("calls/s\u{1b}[2J/1".to_owned()),
            args: serde_json::json!({"session_id": "s\u{202e}"}),
            priority: 0,
            state: state.to_owned(),
            run_at: at + chrono::Duration::seconds(300),
            attempt: 1,
            max_attempts: 8,
            rescues: 2,
            snoozes: 0,
            outages: 0,
            gate: Some("records:practice".to_owned()),
            held_by: None,
            held_until: None,
            worker: Some("host-1".to_owned()),
            slot: None,
            lease_expires_at: None,
            cancel_requested_at: None,
            wait_reason: Some("look again: not found yet".to_owned()),
            last_error: None,
            progress: None,
            created_at: at,
            started_at: None,
            finished_at: None,
        }
    }

    #[test]
    fn what_is_done_to_a_sessions_job_alone_says_that_it_does_not_last() {
        assert!(what_it_means(Action::Cancel, &job("available")).contains("reconcile enqueues it again"));
        assert!(what_it_means(Action::Retry, &job("discarded")).contains("aftercall reprocess"));
        assert_eq!(what_it_means(Action::Retry, &job("retryable")), "");
        let alerts = JobRow {
            queue: "evaluate_alerts".to_owned(),
            ..job("available")
        };
        assert_eq!(what_it_means(Action::Cancel, &alerts), "");
    }

    #[test]
    fn a_waiting_job_shows_when_it_runs_and_why_it_waits() {
        let now = DateTime::from_timestamp(1_060, 0).unwrap();
        let text = table(&Output::plain(), &[job("scheduled")], now);
        for shown in [
            "verify_session",
            "scheduled",
            "1/8",
            "in 4m",
            "look again: not found yet",
            "calls/s\\x1b[2J/1",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
    }

    #[test]
    fn a_held_job_shows_what_holds_it_and_when_that_is_tried() {
        let now = DateTime::from_timestamp(1_060, 0).unwrap();
        let held = JobRow {
            worker: None,
            held_by: Some("records:practice".to_owned()),
            held_until: Some(now + chrono::Duration::seconds(60)),
            wait_reason: Some("records:practice is not available (closed_hours): opens at 8".to_owned()),
            ..job("scheduled")
        };
        let text = table(&Output::plain(), std::slice::from_ref(&held), now);
        assert!(
            text.contains("held, tried in 1m") && text.contains("opens at 8"),
            "{text}"
        );
        let detail = JobDetail {
            job: held,
            attempts: Vec::new(),
        };
        let text = page(&Output::plain(), &detail, now);
        assert!(text.contains("records:practice: held, tried in 1m"), "{text}");
        assert!(text.contains("opens at 8"), "{text}");
    }

    #[test]
    fn a_job_shows_every_attempt() {
        let at = DateTime::from_timestamp(1_000, 0).unwrap();
        let attempt = AttemptRow {
            lease: Uuid::nil(),
            job_id: Uuid::nil(),
            attempt: 1,
            worker: "host-1".to_owned(),
            slot: Some(0),
            started_at: at,
            finished_at: Some(at),
            outcome: Some("retried".to_owned()),
            error: Some("bad \u{1b}[31manswer".to_owned()),
            duration_us: Some(2_500_000),
        };
        let detail = JobDetail {
            job: job("retryable"),
            attempts: vec![attempt],
        };
        let text = page(&Output::plain(), &detail, at);
        for shown in [
            "rescues",
            "2",
            "1970-01-01 00:16:40Z",
            "2s",
            "retried",
            "bad \\x1b[31manswer",
            "s\\u{202e}",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }
}
