//! Runs the demo: the pipeline on one side, on the other what happens to its world meanwhile.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::{failure::Failure, output::Output, progress::Progress, wiring};
use crate::{
    config::Config,
    db::Db,
    pipeline::{Pipeline, State},
    queue::inspect::gates::{self, GateLine},
    sandbox::demo::{DemoSession, stage::Stage},
    store::inspect::sessions::{SessionFilter, SessionLine, list},
};

/// How often the state is looked at. Only watching: jobs wake each other.
const WATCH: Duration = Duration::from_millis(100);
/// The gate of the LLM.
const GATE: &str = "llm:default";
/// How long the outage goes on once the gate was seen shut.
const OUTAGE: Duration = Duration::from_secs(2);

/// What was seen while it ran.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Everything came to its end in time.
    pub(super) ended: bool,
    /// The outage, once the LLM's gate was shut.
    pub(super) outage: Option<OutageSeen>,
}

/// The LLM's outage as its gate showed it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct OutageSeen {
    /// The gate.
    pub(super) gate: String,
    /// Why it was shut, as a code.
    pub(super) reason: String,
    /// Most jobs that it held at once.
    pub(super) held: u64,
    /// Tries that found the LLM down, the first included.
    pub(super) failures: u32,
    /// How long it was shut.
    pub(super) seconds: f64,
    /// It opened again.
    pub(super) reopened: bool,
    #[serde(skip)]
    shut_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    seen_at: Instant,
}

/// Runs everything to its end, for at most `most`; looks at the sources every `look_every`.
pub(super) async fn run(
    out: &Output,
    config: &Config,
    db: &Db,
    stage: &mut Stage,
    sessions: &[DemoSession],
    look_every: Duration,
    most: Duration,
) -> Result<Course, Failure> {
    let pipeline = wiring::start(config, db).await?;
    let mut progress = Progress::start(out.is_json());
    let mut director = Director {
        db,
        pipeline: &pipeline,
        stage,
        sessions,
        look_every,
        looked: None,
        course: Course::default(),
    };
    let directed = director.direct(&mut progress, most).await;
    let course = director.course;
    progress.finish();
    pipeline.shutdown().await;
    directed?;
    Ok(course)
}

/// Every session that was seen.
pub(super) async fn lines(db: &Db) -> Result<Vec<SessionLine>, Failure> {
    let filter = SessionFilter {
        limit: 1_000,
        ..SessionFilter::default()
    };
    Ok(list(db, &filter).await?)
}

struct Director<'a> {
    db: &'a Db,
    pipeline: &'a Pipeline,
    stage: &'a mut Stage,
    sessions: &'a [DemoSession],
    look_every: Duration,
    looked: Option<Instant>,
    course: Course,
}

impl Director<'_> {
    async fn direct(&mut self, progress: &mut Progress, most: Duration) -> Result<(), Failure> {
        let started = Instant::now();
        while started.elapsed() < most {
            if self.looked.is_none_or(|at| at.elapsed() >= self.look_every) {
                self.pipeline.look_now().await?;
                self.looked = Some(Instant::now());
            }
            progress.update(&State::read(self.db).await?);
            self.watch_outage().await?;
            if self.resume_and_count().await? {
                self.course.ended = true;
                return Ok(());
            }
            tokio::time::sleep(WATCH).await;
        }
        Ok(())
    }

    /// The outage ends once the gate has held for a while: it has to be seen, however slow the machine.
    async fn watch_outage(&mut self) -> Result<(), Failure> {
        let Some(gate) = gates::all(self.db).await?.into_iter().find(|gate| gate.key == GATE) else {
            return Ok(());
        };
        if gate.state == "open" {
            if let Some(seen) = &mut self.course.outage {
                seen.opened(&gate);
            }
            return Ok(());
        }
        let seen = self.course.outage.get_or_insert_with(|| OutageSeen::of(&gate));
        seen.held = seen.held.max(gate.held_jobs());
        seen.failures = seen.failures.max(gate.failures);
        if seen.seen_at.elapsed() >= OUTAGE {
            self.stage.outage.end();
        }
        Ok(())
    }

    /// Lets come what comes after a verdict. True when every session that ends has ended.
    async fn resume_and_count(&mut self) -> Result<bool, Failure> {
        let lines = lines(self.db).await?;
        let mut over = true;
        for session in self.sessions.iter().filter(|session| !session.going_on) {
            let line = lines.iter().find(|line| line.key.session_id == session.id);
            let Some(judged) = line.and_then(judged_generation) else {
                over = false;
                continue;
            };
            if !session.later.is_empty() && judged < 2 {
                self.stage.resume(session);
                over = false;
            }
        }
        Ok(over)
    }
}

/// The generation whose verdict stands, with its diagnosis where one is called for.
fn judged_generation(line: &SessionLine) -> Option<u32> {
    let verdict = line.verdict.as_ref()?;
    let explained = verdict.diagnosis.as_deref() != Some("pending");
    let stands = line.status != "waiting" && verdict.generation == line.generation;
    (stands && explained).then_some(verdict.generation)
}

impl OutageSeen {
    fn of(gate: &GateLine) -> Self {
        Self {
            gate: gate.key.clone(),
            reason: gate.reason.clone().unwrap_or_default(),
            held: gate.held_jobs(),
            failures: gate.failures,
            seconds: 0.0,
            reopened: false,
            shut_at: gate.closed_at,
            seen_at: Instant::now(),
        }
    }

    fn opened(&mut self, gate: &GateLine) {
        self.reopened = true;
        if let (Some(shut), Some(opened)) = (self.shut_at, gate.opened_at) {
            self.seconds = (opened - shut).num_milliseconds() as f64 / 1000.0;
        }
    }
}
