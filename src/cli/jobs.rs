//! `aftercall jobs`: lists and shows jobs, and changes them one by one or many at once.

mod change;
mod which;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use uuid::Uuid;

use self::which::Which;
use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    desk::Desk,
    operate::jobs::JobDetail,
    queue::inspect::{AttemptRow, JobPage, JobRow},
};

/// Lists, shows and changes jobs
#[derive(Debug, Args)]
pub(super) struct Jobs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Show(ShowJob),
    Retry(change::Retry),
    Cancel(change::Cancel),
    Discard(change::Discard),
    Delete(change::Delete),
    Reprioritise(change::Reprioritise),
    Move(change::Move),
}

const LIST_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs list --state discarded
  $ aftercall jobs list --queue verify_session --key airline-00-0
  $ aftercall jobs list --state retryable --error \"status 503\" --newer-than 1h
  $ aftercall jobs list --arg session_id=airline-00-0 --json | jq -r '.jobs[].id'
  $ aftercall jobs list --after 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80     # the next page";

/// Lists jobs, newest first
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLE)]
struct List {
    #[command(flatten)]
    which: Which,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Those that are older than this job: the last line of the page before says which
    #[arg(long, value_name = "JOB")]
    after: Option<Uuid>,
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

impl Jobs {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        match self.verb {
            Verb::List(list) => {
                let filter = list.which.filter(desk.now().await?);
                let page = desk.jobs(&filter, list.after, list.limit).await?;
                let now = desk.now().await?;
                context.out.print(&page, |out| list_page(out, &page, now))
            }
            Verb::Show(show) => show_job(context, &desk, show.id).await,
            Verb::Retry(command) => command.execute(context, &desk).await,
            Verb::Cancel(command) => command.execute(context, &desk).await,
            Verb::Discard(command) => command.execute(context, &desk).await,
            Verb::Delete(command) => command.execute(context, &desk).await,
            Verb::Reprioritise(command) => command.execute(context, &desk).await,
            Verb::Move(command) => command.execute(context, &desk).await,
        }
    }
}

fn list_page(out: &Output, page: &JobPage, now: DateTime<Utc>) -> String {
    let text = table(out, &page.jobs, now);
    match page.next {
        Some(next) => format!("{text}\n\nthere are older ones: --after {next}"),
        None => text,
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

async fn show_job(context: &Context, desk: &Desk, id: Uuid) -> Result<(), Failure> {
    let detail = desk.job(id).await?.ok_or_else(|| {
        Failure::Fault(format!(
            "there is no job {id}; finished jobs are deleted after `retention.finished_jobs`"
        ))
    })?;
    let now = desk.now().await?;
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
    fact("trace", job.trace_id().unwrap_or_default().to_owned());
    let mut attempts = Grid::new(["attempt", "started", "took", "outcome", "worker", "on", "error"]);
    for attempt in &detail.attempts {
        let took = attempt
            .duration_us
            .map(|micros| when::rough(std::time::Duration::from_micros(micros.unsigned_abs())));
        attempts.row([
            Cell::from(attempt.attempt.to_string()),
            Cell::from(when::instant(attempt.started_at)),
            Cell::from(took.unwrap_or_else(|| format!("{} so far", when::age(now, attempt.started_at)))),
            Cell::from(attempt.outcome.as_deref().unwrap_or("runs")),
            Cell::from(&attempt.worker),
            Cell::from(place(attempt)),
            Cell::from(attempt.error.clone().unwrap_or_default()),
        ]);
    }
    if attempts.is_empty() {
        return format!("{}\n\nnever started", out.table(&facts));
    }
    format!("{}\n\n{}", out.table(&facts), out.table(&attempts))
}

/// The machine and the process, while `workers` knows it.
fn place(attempt: &AttemptRow) -> String {
    match (&attempt.host, attempt.pid) {
        (Some(host), Some(pid)) => format!("{host} {pid}"),
        _ => String::new(),
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
            rate_charged: false,
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
            trace_context: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            created_at: at,
            started_at: None,
            finished_at: None,
        }
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
            host: Some("box".to_owned()),
            pid: Some(4711),
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
            "box 4711",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "bad \\x1b[31manswer",
            "s\\u{202e}",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }
}
