//! `aftercall workers`: the processes of the fleet, whether they live, and what each one runs.

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    jobs,
    queue::{
        Role,
        inspect::processes::{Process, ProcessState},
    },
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall workers
  $ aftercall workers --all                                   # those that stopped, too
  $ aftercall workers --json | jq -r '.[] | select(.state == \"dead\") | .host'

A process is dead when it was silent for longer than queue.lease and never said that it stops: its
jobs are taken up elsewhere. It is outdated when a live process has a newer version.";

/// Shows the processes of the fleet: host, version, role, sign of life, and what each one runs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Workers {
    /// Those that stopped, too: they are kept for `retention.finished_jobs`
    #[arg(long)]
    all: bool,
}

impl Workers {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        let processes = desk.processes(self.all).await?;
        let now = desk.now().await?;
        context.out.print(&processes, |out| page(out, &processes, now))
    }
}

fn page(out: &Output, processes: &[Process], now: DateTime<Utc>) -> String {
    if processes.is_empty() {
        return "no process is there: `aftercall run` starts one, `aftercall workers --all` shows those that stopped"
            .to_owned();
    }
    let mut grid = Grid::new([
        "process", "state", "host", "pid", "version", "role", "since", "seen", "leases", "queues",
    ]);
    for process in processes {
        let Process { row, state, .. } = process;
        let version = if process.outdated {
            Cell::toned(format!("{} (outdated)", row.version), Tone::Warn)
        } else {
            Cell::from(&row.version)
        };
        let seen = row.stopped_at.unwrap_or(row.last_seen_at);
        grid.row([
            Cell::from(&row.id),
            Cell::toned(state.as_str(), tone(*state)),
            Cell::from(&row.host),
            Cell::from(row.pid.to_string()),
            version,
            Cell::from(role(row.role.as_deref())),
            Cell::from(when::instant(row.started_at)),
            Cell::from(format!("{} ago", when::age(now, seen))),
            Cell::count(process.leases),
            Cell::from(queues(&row.queues)),
        ]);
    }
    let mut text = out.table(&grid);
    let mut running = Grid::new(["job", "queue", "partition", "attempt", "for", "process"]);
    for process in processes {
        for held in &process.running {
            running.row([
                Cell::from(held.job.to_string()),
                Cell::from(&held.queue),
                Cell::from(&held.partition),
                Cell::from(held.attempt.to_string()),
                Cell::from(when::age(now, held.started_at)),
                Cell::toned(&process.row.id, tone(process.state)),
            ]);
        }
    }
    if !running.is_empty() {
        text.push_str("\n\n");
        text.push_str(&out.table(&running));
    }
    text
}

fn tone(state: ProcessState) -> Tone {
    match state {
        ProcessState::Live => Tone::Good,
        ProcessState::Dead => Tone::Bad,
        ProcessState::Stopped => Tone::Dim,
    }
}

/// Versions that knew no roles wrote none, and did everything.
fn role(stored: Option<&str>) -> &str {
    stored.unwrap_or(Role::Run.as_str())
}

/// By name, unless it is all of them.
fn queues(served: &[String]) -> String {
    let known = jobs::registry().names();
    if served.is_empty() {
        "none".to_owned()
    } else if known.iter().all(|name| served.iter().any(|queue| queue == name)) {
        "all".to_owned()
    } else {
        served.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::queue::inspect::{WorkerRow, processes::Held};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn process(state: ProcessState) -> Process {
        Process {
            row: WorkerRow {
                id: "0199".to_owned(),
                host: "box\u{1b}[2J".to_owned(),
                pid: 4711,
                version: "0.9.0".to_owned(),
                role: None,
                queues: vec!["verify_session".to_owned(), "diagnose_session".to_owned()],
                started_at: at(0),
                last_seen_at: at(40),
                clock_at: None,
                stopped_at: None,
            },
            state,
            outdated: true,
            leases: 1,
            running: vec![Held {
                job: Uuid::nil(),
                queue: "verify_session".to_owned(),
                partition: "practice".to_owned(),
                attempt: 3,
                started_at: at(10),
                lease_expires_at: None,
            }],
        }
    }

    #[test]
    fn a_dead_process_shows_since_when_it_is_silent_and_what_it_left() {
        let text = page(&Output::plain(), &[process(ProcessState::Dead)], at(100));
        for shown in [
            "dead",
            "box\\x1b[2J",
            "4711",
            "0.9.0 (outdated)",
            "run",
            "1m ago",
            "verify_session, diagnose_session",
            "practice",
            "1m30s",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn who_serves_every_queue_serves_all() {
        let all: Vec<String> = jobs::registry().names().iter().map(ToString::to_string).collect();
        assert_eq!(queues(&all), "all");
        assert_eq!(queues(&all[..1]), all[0]);
        assert_eq!(queues(&[]), "none");
    }
}
