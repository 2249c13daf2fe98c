//! What an operator does to jobs: to one at once, to many after a look at how many and which.

use std::time::Duration;

use clap::Args;
use uuid::Uuid;

use super::{table, which::Which};
use crate::{
    cli::{context::Context, failure::Failure, operations, output::Output},
    config::duration,
    desk::Desk,
    operate::many::Preview,
    operation::Task,
    queue::{bulk::Change, inspect::JobFilter},
};

const RETRY_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs retry 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80
  $ aftercall jobs retry --state discarded --queue verify_session        # shows how many, and some
  $ aftercall jobs retry --state discarded --queue verify_session --yes  # does it

The job of a session that ended with it calls for a new analysis of the session instead.";

/// Lets jobs that ended without success or wait for a time run now, with all their attempts
#[derive(Debug, Args)]
#[command(after_help = RETRY_EXAMPLE)]
pub(super) struct Retry {
    #[command(flatten)]
    target: Target,
}

const CANCEL_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs cancel 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80
  $ aftercall jobs cancel --queue diagnose_session --state available        # shows how many, and some
  $ aftercall jobs cancel --queue diagnose_session --state available --yes  # does it

A session that still calls for its job gets another one from `reconcile`: to hold its work, pause the queue.";

/// Cancels jobs: those that wait at once, those that run by their cancellation token
#[derive(Debug, Args)]
#[command(after_help = CANCEL_EXAMPLE)]
pub(super) struct Cancel {
    #[command(flatten)]
    target: Target,
}

const DISCARD_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs discard 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80 --reason \"bad tenant\"
  $ aftercall jobs discard --partition bad-tenant --reason \"incident 7\" --yes
  $ aftercall operations undo 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80

Their sessions end with an error that names you and the reason. `operations undo` gives them back.";

/// Gives up jobs that wait; can be undone
#[derive(Debug, Args)]
#[command(after_help = DISCARD_EXAMPLE)]
pub(super) struct Discard {
    #[command(flatten)]
    target: Target,
}

const DELETE_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs delete --state completed --older-than 7d        # shows how many, and some
  $ aftercall jobs delete --state completed --older-than 7d --yes  # does it";

/// Deletes jobs that ended, with their attempts; cannot be undone
#[derive(Debug, Args)]
#[command(after_help = DELETE_EXAMPLE)]
pub(super) struct Delete {
    #[command(flatten)]
    target: Target,
}

const REPRIORITISE_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs reprioritise --to 10 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80
  $ aftercall jobs reprioritise --to -10 --queue analyze_session --older-than 24h --yes";

/// Lets jobs that wait run in another order: higher first
#[derive(Debug, Args)]
#[command(after_help = REPRIORITISE_EXAMPLE)]
pub(super) struct Reprioritise {
    #[command(flatten)]
    target: Target,
    /// Their new priority; most jobs have 0
    #[arg(long, value_name = "PRIORITY", allow_negative_numbers = true)]
    to: i32,
}

const MOVE_EXAMPLE: &str = "\
Examples:
  $ aftercall jobs move --in 2h --queue diagnose_session --yes     # not before two hours from now
  $ aftercall jobs move --in 0s 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80   # now, with the attempts it has left
  $ aftercall jobs move --to-partition practice-b --queue verify_session --partition practice-a --yes

What a shut gate holds keeps its time: it runs when the gate opens.";

/// Lets jobs that wait run at another time, or in another partition of their queue
#[derive(Debug, Args)]
#[command(after_help = MOVE_EXAMPLE)]
pub(super) struct Move {
    #[command(flatten)]
    target: Target,
    /// Not before so long from now
    #[arg(long = "in", value_name = "DURATION", value_parser = duration::parse, required_unless_present = "to_partition")]
    after: Option<Duration>,
    /// Into this partition, where the queue has one limit per partition
    #[arg(long, value_name = "NAME")]
    to_partition: Option<String>,
}

/// Jobs to act on: by id at once, or by filter after a look.
#[derive(Debug, Args)]
struct Target {
    /// Ids of jobs
    #[arg(value_name = "JOB")]
    ids: Vec<Uuid>,
    #[command(flatten)]
    which: Which,
    /// Why, for the audit log and for those that are given up
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    how: operations::How,
}

impl Retry {
    pub(super) async fn execute(self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        self.target.change(context, desk, Change::Retry).await
    }
}

impl Cancel {
    pub(super) async fn execute(self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        self.target.change(context, desk, Change::Cancel).await
    }
}

impl Discard {
    pub(super) async fn execute(self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        self.target.change(context, desk, Change::Discard).await
    }
}

impl Delete {
    pub(super) async fn execute(self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        self.target.change(context, desk, Change::Delete).await
    }
}

impl Reprioritise {
    pub(super) async fn execute(self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        let priority = self.to;
        self.target
            .change(context, desk, Change::Reprioritise { priority })
            .await
    }
}

impl Move {
    pub(super) async fn execute(self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        let now = desk.now().await?;
        let run_at = self
            .after
            .and_then(|after| chrono::Duration::from_std(after).ok())
            .map(|after| now + after);
        let partition = self.to_partition;
        self.target
            .change(context, desk, Change::Move { run_at, partition })
            .await
    }
}

impl Target {
    async fn change(self, context: &Context, desk: &Desk, change: Change) -> Result<(), Failure> {
        let by_id = !self.ids.is_empty();
        let filter = JobFilter {
            ids: self.ids,
            ..self.which.filter(desk.now().await?)
        };
        if filter.is_empty() {
            return Err(Failure::Usage(
                "name jobs by id, or filter them: --queue, --state, --partition, --key, --error, --arg, --older-than, \
                 --newer-than, --attempts"
                    .to_owned(),
            ));
        }
        let task = Task::Jobs { change, filter };
        let Preview { matched, sample, .. } = desk.preview_jobs(&task).await?;
        if !by_id && !self.how.yes {
            let now = desk.now().await?;
            let verb = task.verb();
            return context.out.print(
                &serde_json::json!({ "matches": matched, "acted": false, "sample": &sample }),
                |out: &Output| match matched {
                    0 => "no job matches".to_owned(),
                    _ => format!(
                        "{}\n\n{matched} job(s) match; these are the newest. With --yes: {verb}",
                        table(out, &sample, now)
                    ),
                },
            );
        }
        let reason = self.reason.as_deref();
        let operation = operations::perform(context, desk, &task, matched, reason, self.how.background).await?;
        let seen = operation.done + operation.skipped.values().sum::<u64>();
        if by_id && !self.how.background && seen < matched {
            return Err(Failure::Fault(format!(
                "{} of these jobs are not known; `aftercall jobs list` lists what is",
                matched - seen
            )));
        }
        Ok(())
    }
}
