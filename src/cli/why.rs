//! `aftercall why`: what holds a queue, a job or a session.

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    output::{Output, Tone},
    show, when,
};
use crate::{
    queue::inspect::why::{Code, Reason},
    why::{Found, Subject, Why as Answer},
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall why verify_session
  $ aftercall why airline-12-0
  $ aftercall why 0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80 --json | jq -r '.reasons[].code'

Reasons come in the order in which they have to give way. Their codes are stable: gate_shut,
scheduled, backing_off, look_again, settling, not_in_traces, paused, no_worker, no_scheduler,
limit_reached, rate_reached, behind_others, unique_twin, worker_silent, cancel_requested, no_job,
database_slow;
and where nothing holds it: running, ready, idle, ended, judged.";

/// Says what holds a queue, a job or a session, and what to do about it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Why {
    /// A queue's name, a job's id or a session's id
    #[arg(value_name = "QUEUE|JOB|SESSION")]
    name: String,
    /// The session's source, where several sources have a session of this id
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl Why {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        let answer = match desk.why(&self.name, self.source.as_deref()).await? {
            Found::One(answer) => answer,
            Found::Several(found) => return Err(show::not_one(&self.name, &found)),
            Found::Nothing => {
                return Err(Failure::Fault(format!(
                    "`{}` is no queue, no job and no session that is known: `aftercall queues`, `aftercall jobs list` and \
                     `aftercall sessions` list them",
                    self.name
                )));
            }
        };
        let now = desk.now().await?;
        context.out.print(&answer, |out| text(out, &answer, now))
    }
}

fn text(out: &Output, answer: &Answer, now: DateTime<Utc>) -> String {
    let mut lines = vec![out.paint(&title(&answer.subject), Tone::Plain)];
    lines.extend(answer.reasons.iter().flat_map(|reason| reason_lines(out, reason, now)));
    lines.join("\n")
}

fn title(subject: &Subject) -> String {
    match subject {
        Subject::Queue { queue } => format!("queue {queue}"),
        Subject::Job { job, queue, state } => format!("job {job} of {queue}: {state}"),
        Subject::Session {
            source,
            session_id,
            state,
            job,
        } => {
            let job = job.map(|job| format!(", job {job}")).unwrap_or_default();
            format!("session {session_id} of {source}: {state}{job}")
        }
    }
}

fn reason_lines(out: &Output, reason: &Reason, now: DateTime<Utc>) -> Vec<String> {
    let mut times = Vec::new();
    if let Some(since) = reason.since {
        times.push(format!("for {}", when::age(now, since)));
    }
    if let Some(until) = reason.until {
        times.push(when::until(now, until));
    }
    let times = if times.is_empty() {
        String::new()
    } else {
        format!(" ({})", times.join(", "))
    };
    let tone = match reason.code {
        Code::Ended | Code::Judged | Code::Idle => Tone::Dim,
        code if code.holds() => Tone::Warn,
        _ => Tone::Good,
    };
    let mut lines = vec![format!(
        "  {}  {}{times}",
        out.paint(reason.code.as_str(), tone),
        out.paint(&reason.text, Tone::Plain)
    )];
    for holder in &reason.by {
        let since = holder.since.map(|since| format!(" for {}", when::age(now, since)));
        let worker = holder.worker.as_deref().map(|worker| format!(" on {worker}"));
        lines.push(out.paint(
            &format!(
                "      job {}{}{}",
                holder.job,
                worker.unwrap_or_default(),
                since.unwrap_or_default()
            ),
            Tone::Plain,
        ));
    }
    if let Some(act) = &reason.act {
        lines.push(out.paint(&format!("      → {act}"), Tone::Dim));
    }
    lines
}
