//! Jobs that do what the test says, and the place where they say what they saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use aftercall::{
    db::{Db, DbError, Tx},
    params,
    queue::{
        self, Enqueued, Job, JobContext, JobError, Limit, Outcome, Policy, Registry, Running, WorkerSettings,
        gate::{Outage, Waits},
        inspect::{self, JobRow},
        minutes, seconds,
    },
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::until;

/// What a test job does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum What {
    /// Finishes.
    Done,
    /// Waits until the test lets it go or its token is cancelled, then finishes; cancelled, it says so.
    Hold,
    /// Waits for the test and for nothing else.
    HoldDeaf,
    /// As `Hold`, and has nothing else to write than that it is done.
    HoldThenDone,
    /// Waits for the test, then begins a transaction and finishes, whatever its token says.
    HoldThenWrite,
    /// The same, with its transaction open while it is held.
    HoldInsideThenWrite,
    Retry,
    RetryAfter(u64),
    Fail,
    Panic,
    /// Snoozes this many seconds as often as said, then finishes.
    Snooze {
        seconds: u64,
        times: u32,
    },
    /// Finishes, then waits for the test before it says so, unless it is stopped.
    Linger,
    /// Marks, enqueues a follow-up, finishes.
    FollowUp,
    /// Marks, and fails before it finishes.
    MarkThenRetry,
    /// Marks in an intermediate transaction, then waits for the test.
    Progress,
    /// Never ends, without looking at anything.
    Stuck,
    /// Blocks its thread until the test lets it go.
    Block,
    /// Calls the upstream behind this gate, which is up or down as the test says.
    Call(String),
    /// The same, and the call hangs until the test lets it go.
    CallSlowly(String),
    /// Calls it, and brings it down each time.
    Poison(String),
    /// Needs it, and ends without a call.
    NoCall(String),
}

impl What {
    fn gate(&self) -> Option<String> {
        match self {
            Self::Call(gate) | Self::CallSlowly(gate) | Self::Poison(gate) | Self::NoCall(gate) => Some(gate.clone()),
            _ => None,
        }
    }
}

/// How long the tests' gates stay closed: 10 s, 20 s, 40 s … 10 min.
pub(crate) const WAITS: Waits = Waits {
    first: Duration::from_secs(10),
    most: Duration::from_mins(10),
};

#[derive(Debug, Default)]
struct Seen {
    starts: Vec<String>,
    let_go: BTreeSet<String>,
    running: BTreeMap<String, usize>,
    most_running: BTreeMap<String, usize>,
    results: Vec<(String, Result<(), JobError>)>,
    ready: BTreeSet<String>,
    /// Upstreams that are down, and what they ask for.
    down: BTreeMap<String, Option<Duration>>,
    calls: Vec<String>,
}

/// What the jobs share with the test.
#[derive(Debug, Default)]
pub(crate) struct World {
    seen: Mutex<Seen>,
}

struct Inside<'a>(&'a World, String);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        *self.0.seen.lock().unwrap().running.get_mut(&self.1).unwrap() -= 1;
    }
}

impl World {
    pub(crate) fn let_go(&self, key: &str) {
        self.seen.lock().unwrap().let_go.insert(key.to_owned());
    }

    /// From now on the upstream is down.
    pub(crate) fn down(&self, gate: &str, retry_after: Option<Duration>) {
        self.seen.lock().unwrap().down.insert(gate.to_owned(), retry_after);
    }

    /// From now on it answers.
    pub(crate) fn up(&self, gate: &str) {
        self.seen.lock().unwrap().down.remove(gate);
    }

    /// Jobs that called an upstream, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.seen.lock().unwrap().calls.clone()
    }

    /// `Some`: how the job ended behind the gate.
    async fn call(&self, key: &str, gate: &str, what: &What, ctx: &JobContext) -> Result<Option<Outcome>, JobError> {
        if let Some(shut) = ctx.admit(gate).await? {
            return ctx.hold(ctx.begin().await?, &shut, gate, WAITS).await.map(Some);
        }
        self.seen.lock().unwrap().calls.push(key.to_owned());
        let down = self.seen.lock().unwrap().down.get(gate).copied();
        if matches!(what, What::CallSlowly(_)) {
            self.held(key).await;
        }
        let retry_after = match (what, down) {
            (What::Poison(_), down) => down.flatten(),
            (_, Some(retry_after)) => retry_after,
            (_, None) => {
                ctx.answered(gate).await;
                return Ok(None);
            }
        };
        let outage = Outage {
            gate: gate.to_owned(),
            reason: "unreachable".to_owned(),
            detail: format!("no answer to {key}"),
            retry_after,
        };
        ctx.hold(ctx.begin().await?, &outage, gate, WAITS).await.map(Some)
    }

    pub(crate) fn starts(&self) -> Vec<String> {
        self.seen.lock().unwrap().starts.clone()
    }

    pub(crate) fn starts_of(&self, key: &str) -> usize {
        self.starts().iter().filter(|start| *start == key).count()
    }

    pub(crate) fn most_running(&self, group: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .most_running
            .get(group)
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn result_of(&self, key: &str) -> Option<Result<(), JobError>> {
        let seen = self.seen.lock().unwrap();
        seen.results
            .iter()
            .rev()
            .find(|(of, _)| of == key)
            .map(|(_, result)| result.clone())
    }

    pub(crate) fn results_of(&self, key: &str) -> Vec<Result<(), JobError>> {
        let seen = self.seen.lock().unwrap();
        let of_key = seen.results.iter().filter(|(of, _)| of == key);
        of_key.map(|(_, result)| result.clone()).collect()
    }

    pub(crate) async fn started(&self, key: &str, times: usize) {
        until(&format!("{key} starts for time {times}"), async || {
            self.starts_of(key) >= times
        })
        .await;
    }

    pub(crate) async fn is_ready(&self, key: &str) {
        until(&format!("{key} is ready"), async || {
            self.seen.lock().unwrap().ready.contains(key)
        })
        .await;
    }

    fn enter(&self, key: &str, group: String) -> Inside<'_> {
        let mut seen = self.seen.lock().unwrap();
        seen.starts.push(key.to_owned());
        let running = seen.running.entry(group.clone()).or_default();
        *running += 1;
        let running = *running;
        let most = seen.most_running.entry(group.clone()).or_default();
        *most = running.max(*most);
        drop(seen);
        Inside(self, group)
    }

    fn may_go(&self, key: &str) -> bool {
        self.seen.lock().unwrap().let_go.contains(key)
    }

    async fn held(&self, key: &str) {
        until(&format!("{key} is let go"), async || self.may_go(key)).await;
    }

    async fn act(&self, key: &str, group: String, what: &What, ctx: &JobContext) -> Result<Outcome, JobError> {
        let inside = self.enter(key, group);
        let result = self.acted(key, what, ctx, inside).await;
        let told = result.as_ref().map(|_| ()).map_err(Clone::clone);
        self.seen.lock().unwrap().results.push((key.to_owned(), told));
        result
    }

    async fn acted(&self, key: &str, what: &What, ctx: &JobContext, inside: Inside<'_>) -> Result<Outcome, JobError> {
        if let What::Call(gate) | What::CallSlowly(gate) | What::Poison(gate) = what
            && let Some(outcome) = self.call(key, gate, what, ctx).await?
        {
            return Ok(outcome);
        }
        match what {
            What::Done | What::Call(_) | What::CallSlowly(_) | What::Poison(_) | What::NoCall(_) => {}
            What::Hold | What::HoldThenDone => {
                tokio::select! {
                    () = self.held(key) => {}
                    () = ctx.cancelled().cancelled() => return Err(JobError::Cancelled),
                }
            }
            What::HoldDeaf | What::HoldThenWrite => self.held(key).await,
            What::Retry => return Err(JobError::retry("not today")),
            What::RetryAfter(after) => return Err(JobError::retry_after("not today", seconds(*after))),
            What::Fail => return Err(JobError::fail("never")),
            What::Panic => panic!("of nothing"),
            What::Snooze {
                seconds: for_seconds,
                times,
            } => {
                if ctx.snoozes() < *times {
                    let tx = ctx.begin().await?;
                    return ctx.snooze(tx, seconds(*for_seconds), "waits for the test").await;
                }
            }
            What::FollowUp => {
                let mut tx = ctx.begin().await?;
                mark(&mut tx, key, "done").await?;
                queue::enqueue(&mut tx, &Plain::of(&format!("{key}-next"), What::Done)).await?;
                return ctx.finish(tx).await;
            }
            What::HoldInsideThenWrite => {
                let mut tx = ctx.begin().await?;
                self.seen.lock().unwrap().ready.insert(key.to_owned());
                self.held(key).await;
                mark(&mut tx, key, "written").await?;
                return ctx.finish(tx).await;
            }
            What::MarkThenRetry => {
                let mut tx = ctx.begin().await?;
                mark(&mut tx, key, "half").await?;
                return Err(JobError::retry("after half of it"));
            }
            What::Progress => {
                if ctx.last_progress().is_none() {
                    let mut tx = ctx.begin().await?;
                    mark(&mut tx, key, "first half").await?;
                    tx.set_progress(serde_json::json!({"half": 1}));
                    ctx.progress(tx).await?;
                    self.seen.lock().unwrap().ready.insert(key.to_owned());
                    self.held(key).await;
                }
            }
            What::Linger => {
                let tx = ctx.begin().await?;
                drop(inside);
                let outcome = ctx.finish(tx).await?;
                self.seen.lock().unwrap().ready.insert(key.to_owned());
                tokio::select! {
                    () = self.held(key) => {}
                    () = ctx.cancelled().cancelled() => return Err(JobError::Cancelled),
                }
                return Ok(outcome);
            }
            What::Stuck => std::future::pending::<()>().await,
            What::Block => {
                while !self.may_go(key) {
                    std::thread::yield_now();
                }
            }
        }
        if matches!(what, What::HoldThenDone) {
            let outcome = ctx.done().await;
            drop(inside);
            return outcome;
        }
        let mut tx = ctx.begin().await?;
        if matches!(what, What::HoldThenWrite) {
            mark(&mut tx, key, "written").await?;
        }
        // Counted until just before the commit: from the commit on, the next one may start.
        drop(inside);
        ctx.finish(tx).await
    }
}

/// Leaves a mark in the domain's table.
pub(crate) async fn mark(tx: &mut Tx, key: &str, text: &str) -> Result<(), DbError> {
    tx.execute(
        "-- mark\nINSERT INTO test_marks (key, text) VALUES ($1, $2)",
        &params![key, text],
    )
    .await
    .map(|_| ())
}

pub(crate) async fn marks(db: &Db) -> Vec<(String, String)> {
    db.fetch_all("-- marks\nSELECT key, text FROM test_marks ORDER BY key, text", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get("key").unwrap(), row.get("text").unwrap()))
        .collect()
}

/// A test job in the making.
pub(crate) trait Probe {
    fn part(self, part: &str) -> Self;
    fn unique(self, unique: &str) -> Self;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal: $policy:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub(crate) struct $kind {
                pub(crate) key: String,
                pub(crate) part: String,
                pub(crate) unique: Option<String>,
                pub(crate) what: What,
                /// Its gate, whatever it does.
                pub(crate) gate: Option<String>,
            }

            impl $kind {
                pub(crate) fn of(key: &str, what: What) -> Self {
                    Self { key: key.to_owned(), part: String::new(), unique: None, what, gate: None }
                }
            }

            impl Probe for $kind {
                fn part(mut self, part: &str) -> Self {
                    self.part = part.to_owned();
                    self
                }

                fn unique(mut self, unique: &str) -> Self {
                    self.unique = Some(unique.to_owned());
                    self
                }
            }

            impl Job for $kind {
                type Env = World;
                const NAME: &'static str = $name;
                const POLICY: Policy = $policy;

                fn partition(&self) -> String { self.part.clone() }
                fn unique_key(&self) -> Option<String> { self.unique.clone() }
                fn gate(&self) -> Option<String> { self.gate.clone().or_else(|| self.what.gate()) }

                async fn run(&self, ctx: &JobContext, world: &World) -> Result<Outcome, JobError> {
                    world.act(&self.key, format!("{}/{}", $name, self.part), &self.what, ctx).await
                }

                async fn on_discard(&self, tx: &mut Tx, reason: &str) -> Result<(), DbError> {
                    mark(tx, &self.key, &format!("discarded: {reason}")).await
                }
            }
        )+

        pub(crate) fn registry() -> Arc<Registry<World>> {
            Arc::new(Registry::new()$(.register::<$kind>())+)
        }
    };
}

kinds! {
    Plain = "plain": Policy::new().attempts(3).limit(Limit::queue(8));
    /// One at a time in each partition.
    Serial = "serial": Policy::new().limit(Limit::partition(1));
    /// Three at a time.
    Three = "three": Policy::new().limit(Limit::queue(3));
    /// Three starts in any five minutes, eight at a time.
    Rated = "rated": Policy::new().attempts(8).limit(Limit::queue(8)).rate(3, minutes(5));
    /// Without a limit.
    Wide = "wide": Policy::new().limit(Limit::none());
    /// May take a twentieth of a second.
    Short = "short": Policy::new().attempts(2).timeout(Duration::from_millis(50));
}

/// A worker process as fast as tests want it: the real lease, since its clock is the test's.
pub(crate) fn settings() -> WorkerSettings {
    WorkerSettings {
        heartbeat: Duration::from_millis(50),
        poll: Some(Duration::from_millis(20)),
        newcomer: Some(Duration::ZERO),
        grace: Duration::from_secs(20),
        ..WorkerSettings::default()
    }
}

pub(crate) async fn prepare(db: &Db) {
    let mut tx = db.begin().await.unwrap();
    tx.execute("CREATE TABLE test_marks (key TEXT NOT NULL, text TEXT NOT NULL)", &[])
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn start(db: &Db, world: &Arc<World>) -> Running {
    start_with(db, world, settings()).await
}

pub(crate) async fn start_with(db: &Db, world: &Arc<World>, settings: WorkerSettings) -> Running {
    queue::start(db, registry(), Arc::clone(world), Vec::new(), settings)
        .await
        .unwrap()
}

/// A prepared database with one worker on it.
pub(crate) async fn one_worker(db: &Db) -> (Arc<World>, Running) {
    prepare(db).await;
    let world = Arc::new(World::default());
    let running = start(db, &world).await;
    (world, running)
}

pub(crate) async fn enqueue<J: Job>(db: &Db, job: &J) -> Enqueued {
    let mut tx = db.begin().await.unwrap();
    let enqueued = queue::enqueue(&mut tx, job).await.unwrap();
    tx.commit().await.unwrap();
    enqueued
}

pub(crate) async fn enqueue_all<J: Job>(db: &Db, jobs: &[J]) -> Vec<Uuid> {
    let mut tx = db.begin().await.unwrap();
    let mut ids = Vec::new();
    for job in jobs {
        ids.push(queue::enqueue(&mut tx, job).await.unwrap().id());
    }
    tx.commit().await.unwrap();
    ids
}

pub(crate) async fn row(db: &Db, id: Uuid) -> JobRow {
    inspect::job(db, id).await.unwrap().expect("the job is there")
}

pub(crate) async fn ends_as(db: &Db, id: Uuid, state: &str) -> JobRow {
    until(&format!("job {id} is {state}"), async || {
        row(db, id).await.state == state
    })
    .await;
    row(db, id).await
}

pub(crate) async fn outcomes(db: &Db, id: Uuid) -> Vec<String> {
    inspect::attempts(db, id)
        .await
        .unwrap()
        .into_iter()
        .map(|attempt| attempt.outcome.unwrap_or_else(|| "open".to_owned()))
        .collect()
}

/// What the two workers' loops see once they have looked at the database again: a job enqueued now has run through.
pub(crate) async fn looked_again(db: &Db) {
    let id = enqueue(db, &Plain::of("looked-again", What::Done)).await.id();
    ends_as(db, id, "completed").await;
}
