//! What operators ask: the queues at a glance, a page of jobs, why something does not move.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;

use super::{
    Plan,
    fill::{DONE, FAILED, HELD, LATER, WAITING},
};
use crate::{
    bench::{distribution::Distribution, queue::Database},
    db::Db,
    operate, params,
    queue::{
        WorkerSettings,
        inspect::{self, ArgIs, JobFilter},
    },
    why::{self, Found},
};

/// Goals in milliseconds.
const QUEUES: f64 = 100.0;
const PAGE: f64 = 200.0;
const WHY: f64 = 50.0;
/// Times that do not count. A server plans a statement anew some times before it keeps a plan.
const FIRST: u32 = 8;
/// Jobs of a page, as `jobs list` shows them.
const MOST: u32 = 50;

/// One question.
#[derive(Debug, Clone, Serialize)]
pub struct Look {
    /// Where.
    pub database: Database,
    /// What is asked.
    pub what: String,
    /// Milliseconds until it is answered.
    pub ms: Distribution,
    /// What 95 % of the answers should take at most.
    pub goal_ms: f64,
}

impl Look {
    /// Whether 95 % of the answers came in time.
    pub fn is_met(&self) -> bool {
        self.ms.p95 <= self.goal_ms
    }
}

/// Asks all of them.
pub(super) async fn run(db: &Db, database: Database, plan: &Plan) -> anyhow::Result<Vec<Look>> {
    let mut looks = Vec::new();
    let mut add = |what: String, goal_ms, ms| {
        looks.push(Look {
            database,
            what,
            ms,
            goal_ms,
        });
    };
    let queues = async || {
        operate::queues::all(db).await?;
        Ok(())
    };
    add("queues".to_owned(), QUEUES, timed(plan.repetitions, queues).await?);
    for (what, filter) in filters(db, plan).await? {
        let page = async || {
            inspect::job_page(db, &filter, None, MOST).await?;
            Ok(())
        };
        let ms = timed(plan.repetitions, page).await?;
        add(format!("jobs list: {what}"), PAGE, ms);
    }
    let lease = WorkerSettings::default().lease;
    for queue in [WAITING, HELD, LATER, FAILED] {
        let ms = timed(plan.repetitions, async || answered(db, lease, queue).await).await?;
        add(format!("why {queue}"), WHY, ms);
    }
    for queue in [WAITING, HELD, LATER, FAILED] {
        let Some(job) = last(db, queue).await? else { continue };
        let job = job.to_string();
        let ms = timed(plan.repetitions, async || answered(db, lease, &job).await).await?;
        add(format!("why the last job of {queue}"), WHY, ms);
    }
    Ok(looks)
}

async fn timed(repetitions: u32, ask: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Distribution> {
    let mut times = Vec::new();
    for round in 0..FIRST + repetitions {
        let asked = Instant::now();
        ask().await?;
        if round >= FIRST {
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(Distribution::of(times))
}

async fn answered(db: &Db, lease: Duration, name: &str) -> anyhow::Result<()> {
    let found = why::why(db, lease, name, None).await?;
    ensure!(matches!(found, Found::One(_)), "`why {name}` has no answer");
    Ok(())
}

/// One page each: what is found early, late, and not at all.
async fn filters(db: &Db, plan: &Plan) -> anyhow::Result<Vec<(&'static str, JobFilter)>> {
    let now = db.now().await?;
    let all = JobFilter::default;
    let state = |state: &str| JobFilter {
        state: Some(state.to_owned()),
        ..all()
    };
    let error = |text: &str| JobFilter {
        error_contains: Some(text.to_owned()),
        ..state("discarded")
    };
    let arg = |path, value: &str| ArgIs::new(path, value).map_err(anyhow::Error::msg);
    let early = format!("call-{}", plan.jobs / 2);
    Ok(vec![
        ("all", all()),
        (
            "a queue",
            JobFilter {
                queue: Some(DONE.to_owned()),
                ..all()
            },
        ),
        (
            "a queue that is not there",
            JobFilter {
                queue: Some("nothing".to_owned()),
                ..all()
            },
        ),
        ("given up", state("discarded")),
        ("could start", state("available")),
        ("cancelled, of which there is none", state("cancelled")),
        ("an error that few have", error("is locked by another user")),
        ("an error that nobody has", error("of which nobody heard")),
        (
            "the same, in any state",
            JobFilter {
                state: None,
                ..error("of which nobody heard")
            },
        ),
        (
            "an argument",
            JobFilter {
                arg: Some(arg("session_id", &early)?),
                ..all()
            },
        ),
        (
            "an argument inside another",
            JobFilter {
                arg: Some(arg("about.practice", "practice-7")?),
                ..all()
            },
        ),
        (
            "a partition",
            JobFilter {
                partition: Some("practice-7".to_owned()),
                ..all()
            },
        ),
        (
            "a key",
            JobFilter {
                key_contains: Some(early),
                ..all()
            },
        ),
        (
            "older than a week",
            JobFilter {
                created_until: Some(now - TimeDelta::days(7)),
                ..all()
            },
        ),
        (
            "seven attempts or more",
            JobFilter {
                attempts: Some(7),
                ..all()
            },
        ),
        (
            "nine attempts, which none has",
            JobFilter {
                attempts: Some(9),
                ..all()
            },
        ),
    ])
}

/// The youngest job of a queue that does not run.
async fn last(db: &Db, queue: &str) -> anyhow::Result<Option<Uuid>> {
    let row = db
        .fetch_optional(
            "-- last_to_inspect\nSELECT id FROM jobs WHERE queue = $1 AND state <> 'running' ORDER BY id DESC LIMIT 1",
            &params![queue],
        )
        .await?;
    row.map(|row| row.get("id")).transpose().context("a job has no id")
}
