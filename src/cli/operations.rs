//! `aftercall operations`: what is done to many jobs or sessions at once, how far it is, and how to stop or undo it.

use std::io::IsTerminal as _;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use uuid::Uuid;

use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    desk::Desk,
    operation::{Operation, Task},
};

/// How a change of many is done.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct How {
    /// Act, after what matches was shown
    #[arg(long)]
    pub(super) yes: bool,
    /// Leave it to the workers and do not wait: `operations` shows how far it is
    #[arg(long)]
    pub(super) background: bool,
}

/// Shows, stops and undoes what is done to many jobs or sessions at once
#[derive(Debug, Args)]
pub(super) struct Operations {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Stop(Stop),
    Undo(Undo),
}

const LIST_EXAMPLE: &str = "\
Example:
  $ aftercall operations list";

/// Lists operations, newest first, with how far each is
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLE)]
struct List {
    /// At most this many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
}

const STOP_EXAMPLE: &str = "\
Example:
  $ aftercall operations stop 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80

What it did stays done.";

/// Ends an operation where it is
#[derive(Debug, Args)]
#[command(after_help = STOP_EXAMPLE)]
struct Stop {
    /// Which
    #[arg(value_name = "OPERATION")]
    id: Uuid,
}

const UNDO_EXAMPLE: &str = "\
Example:
  $ aftercall operations undo 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80

Its jobs run again; where a session had ended with its job, a new analysis of it is called for.";

/// Gives back what a discard gave up
#[derive(Debug, Args)]
#[command(after_help = UNDO_EXAMPLE)]
struct Undo {
    /// Which
    #[arg(value_name = "OPERATION")]
    id: Uuid,
    /// Leave it to the workers and do not wait
    #[arg(long)]
    background: bool,
}

impl Operations {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        match self.verb {
            Verb::List(list) => {
                let operations = desk.operations(list.limit).await?;
                let now = desk.now().await?;
                context.out.print(&operations, |out| table(out, &operations, now))
            }
            Verb::Stop(stop) => {
                let stopped = desk.stop_operation(stop.id).await?.unwrap_or_default();
                let operation = known(&desk, stop.id).await?;
                context.out.print(&operation, |_| {
                    let Operation { done, state, .. } = &operation;
                    if stopped {
                        format!("stopped; jobs or sessions changed before: {done}")
                    } else {
                        format!("it had ended before ({state}); jobs or sessions changed: {done}")
                    }
                })
            }
            Verb::Undo(undo) => {
                let operation = known(&desk, undo.id).await?;
                let task = operation.undone_by().map_err(Failure::Fault)?;
                let matched = desk.preview_jobs(&task).await?.matched;
                perform(context, &desk, &task, matched, None, undo.background).await?;
                Ok(())
            }
        }
    }
}

async fn known(desk: &Desk, id: Uuid) -> Result<Operation, Failure> {
    desk.operation(id).await?.ok_or_else(|| {
        Failure::Fault(format!(
            "there is no operation {id}; `aftercall operations list` lists them"
        ))
    })
}

/// Calls for an operation, and works on it until it has ended; workers do so as well, and go on when this process ends.
pub(super) async fn perform(
    context: &Context,
    desk: &Desk,
    task: &Task,
    matched: u64,
    reason: Option<&str>,
    background: bool,
) -> Result<Operation, Failure> {
    let id = desk.begin(task, reason, matched).await?;
    let followed = async {
        if !background {
            work(desk, id, matched, context.out.is_json()).await?;
        }
        known(desk, id).await
    };
    let operation = followed.await.map_err(|failure| {
        failure.also(&format!(
            "operation {id} was called for and goes on: `aftercall operations list` shows how far it is; called for again, it would \
             be done twice"
        ))
    })?;
    context.out.print(&operation, |_| {
        if background {
            format!("operation {id}: the workers do it; `aftercall operations list` shows how far it is")
        } else {
            said(&operation)
        }
    })?;
    Ok(operation)
}

async fn work(desk: &Desk, id: Uuid, matched: u64, is_json: bool) -> Result<(), Failure> {
    let shown = std::io::stderr().is_terminal() && !is_json;
    let target = if shown {
        ProgressDrawTarget::stderr_with_hz(8)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(matched), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left; Ctrl-C leaves it to the workers")
    {
        bar.set_style(style);
    }
    loop {
        let Some(pause) = desk.advance(id).await? else {
            bar.finish_and_clear();
            return Ok(());
        };
        if shown && let Some(operation) = desk.operation(id).await? {
            bar.set_position(operation.done + operation.skipped.values().sum::<u64>());
        }
        tokio::time::sleep(pause).await;
    }
}

/// What an operation came to.
fn said(operation: &Operation) -> String {
    let mut parts = vec![format!("{}: {} changed", operation.task.verb(), operation.done)];
    for (why, count) in &operation.skipped {
        parts.push(format!("{count} left alone ({})", why.replace('_', " ")));
    }
    let text = parts.join("; ");
    if operation.task.verb() == "discard" && operation.done > 0 {
        return format!("{text}\n`aftercall operations undo {}` gives them back", operation.id);
    }
    text
}

fn table(out: &Output, operations: &[Operation], now: DateTime<Utc>) -> String {
    if operations.is_empty() {
        return "no operation yet".to_owned();
    }
    let mut grid = Grid::new([
        "operation",
        "what",
        "by",
        "age",
        "state",
        "matched",
        "changed",
        "left alone",
        "reason",
    ]);
    for operation in operations {
        let tone = match operation.state.as_str() {
            "running" => Tone::Warn,
            "done" => Tone::Good,
            _ => Tone::Dim,
        };
        let skipped = operation.skipped.iter().map(|(why, count)| format!("{count} {why}"));
        grid.row([
            Cell::from(operation.id.to_string()),
            Cell::from(operation.task.verb()),
            Cell::from(&operation.actor),
            Cell::from(when::age(now, operation.created_at)),
            Cell::toned(&operation.state, tone),
            Cell::count(operation.matched),
            Cell::count(operation.done),
            Cell::from(skipped.collect::<Vec<_>>().join(", ")),
            Cell::from(operation.reason.clone().unwrap_or_default()),
        ]);
    }
    out.table(&grid)
}
