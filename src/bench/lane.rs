//! `aftercall bench lane`: how well a system of record's pace is kept under a backlog, measured at its server from the start of
//! one call to the start of the next, with one process and with two that share the lane.

use std::{
    ffi::OsString,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;

use super::{
    child::Spawned,
    distribution::Distribution,
    sessions::{reservation, session_id, write_bundle},
};
use crate::{
    config::RecordsConfig,
    sandbox::records::{self, Records},
};

/// Goals for gap / pace: the middle, and 99 % of the gaps. The least is never below 1.
const GOALS: (f64, f64) = (1.03, 1.25);
/// What a clock that counts milliseconds can be wrong by.
const CLOCK: Duration = Duration::from_millis(1);
/// How long the server takes for an answer. The last is longer than the pace: then the answer is what is waited for.
const LATENCIES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(30),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

/// One server and one fleet.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// Processes on the lane.
    pub processes: usize,
    /// Milliseconds that the server takes for an answer.
    pub latency_ms: f64,
    /// Gaps between two calls, by what they should be: the pace, or the latency where that is longer.
    pub gaps: Distribution,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Milliseconds between two calls at least.
    pub pace_ms: f64,
    /// All of them.
    pub cases: Vec<Case>,
}

impl Report {
    /// The figures beside their goals.
    pub fn lines(&self) -> Vec<String> {
        let mark = |met: bool| if met { "met" } else { "MISSED" };
        let mut lines = vec![format!(
            "{:<34}{:>7}{:>9}{:>9}{:>9}{:>9}   goals {} and {}, never below 1",
            "gap by what it should be", "calls", "min", "p50", "p99", "max", GOALS.0, GOALS.1
        )];
        for case in &self.cases {
            let gaps = case.gaps;
            let below = 1.0 - CLOCK.as_secs_f64() * 1e3 / self.pace_ms;
            let verdict = if case.latency_ms > self.pace_ms {
                let over = (gaps.p50 - 1.0) * case.latency_ms;
                format!("{over:.1} ms more than the answer takes")
            } else {
                mark(gaps.p50 <= GOALS.0 && gaps.p99 <= GOALS.1 && gaps.min >= below).to_owned()
            };
            lines.push(format!(
                "{:<34}{:>7}{:>9.4}{:>9.4}{:>9.4}{:>9.4}   {verdict}",
                format!(
                    "{} ms pace, {} ms answer, {}",
                    self.pace_ms,
                    case.latency_ms,
                    if case.processes == 1 {
                        "1 process"
                    } else {
                        "2 processes"
                    }
                ),
                gaps.count + 1,
                gaps.min,
                gaps.p50,
                gaps.p99,
                gaps.max
            ));
        }
        lines
    }
}

/// Runs it in a directory of its own, which the caller removes: a backlog of so many sessions for each case.
///
/// # Errors
/// When a process or the server cannot be started, or a session got no verdict.
pub async fn run(directory: &Path, sessions: u64) -> anyhow::Result<Report> {
    let bundle = directory.join("sessions.jsonl");
    write_bundle(&bundle, sessions)?;
    let pace = RecordsConfig::http("", "").pace;
    let mut cases = Vec::new();
    for latency in LATENCIES {
        for processes in [1, 2] {
            let name = format!("lane-{}-{processes}.db", latency.as_millis());
            let arrivals = backlog(directory, &name, sessions, latency, processes).await?;
            let should_be = pace.max(latency).as_secs_f64();
            let gaps = arrivals
                .windows(2)
                .map(|two| (two[1] - two[0]).as_secs_f64() / should_be)
                .collect();
            cases.push(Case {
                processes,
                latency_ms: latency.as_secs_f64() * 1e3,
                gaps: Distribution::of(gaps),
            });
        }
    }
    Ok(Report {
        pace_ms: pace.as_secs_f64() * 1e3,
        cases,
    })
}

/// When each call came in.
async fn backlog(
    directory: &Path,
    name: &str,
    sessions: u64,
    latency: Duration,
    processes: usize,
) -> anyhow::Result<Vec<Instant>> {
    let held = (0..sessions).fold(Records::new(), |records, n| {
        let id = reservation(n);
        let record = json!({ "reservation_id": id, "status": "cancelled" });
        records.with(&session_id(n), "reservations", &id, record)
    });
    let held = Arc::new(held.slow(latency));
    let server = records::start(Arc::clone(&held)).await?;
    let mut arguments: Vec<OsString> = [
        "--db",
        name,
        "run",
        "--until-idle",
        "--max-wait",
        "30m",
        "--look-again",
        "none",
    ]
    .map(OsString::from)
    .to_vec();
    for argument in ["--bundle", "sessions.jsonl", "--playbook", "airline", "--records"] {
        arguments.push(argument.into());
    }
    arguments.push(server.url().into());
    let mut children = Vec::new();
    for _ in 0..processes {
        children.push(Spawned::start(directory, &arguments)?);
    }
    for child in children {
        child.end().await.context("a process of the lane")?;
    }
    server.stop().await;
    let arrivals = held.arrivals();
    let calls = u64::try_from(arrivals.len())?;
    ensure!(calls == sessions, "{sessions} sessions took {calls} calls");
    Ok(arrivals)
}
