//! Random histories against a model of the queue in memory: whatever happens in whatever order, both agree.

use std::{collections::BTreeMap, sync::Arc};

use aftercall::{
    db::Tx,
    queue::{
        self, Enqueued, control,
        counters::{self, Comparison},
        inspect,
    },
};
use proptest::{
    prelude::*,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use uuid::Uuid;

use super::world::{Plain, Probe as _, What, World, prepare, registry, start};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    i13_random_histories_end_as_the_model_says,
}

const HISTORIES: usize = 8;
/// Longer than any wait of the jobs below: whatever waits is due after it.
const STEP: u64 = 1000;

#[derive(Debug, Clone)]
enum Op {
    Enqueue { what: Kind, key: Option<u8>, behind: bool },
    Advance,
    Pause,
    Resume,
    CloseGate,
    OpenGate,
    Cancel(prop::sample::Index),
    Retry(prop::sample::Index),
    RestartWorker,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Done,
    Fail,
    Retry,
    Snooze(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        Just(Kind::Done),
        Just(Kind::Fail),
        Just(Kind::Retry),
        (1..4_u32).prop_map(Kind::Snooze),
    ];
    prop_oneof![
        6 => (kind, prop::option::of(0..3_u8), any::<bool>())
            .prop_map(|(what, key, behind)| Op::Enqueue { what, key, behind }),
        4 => Just(Op::Advance),
        1 => Just(Op::Pause),
        1 => Just(Op::Resume),
        1 => Just(Op::CloseGate),
        1 => Just(Op::OpenGate),
        2 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        1 => any::<prop::sample::Index>().prop_map(Op::Retry),
        1 => Just(Op::RestartWorker),
    ]
}

/// What the model knows of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    state: &'static str,
    starts: usize,
    attempt: u32,
    snoozes: u32,
    /// Behind the gate that the history opens and closes.
    behind: bool,
    held: bool,
}

/// That gate.
const GATE: &str = "model";

#[derive(Debug, Default)]
struct Model {
    jobs: BTreeMap<Uuid, (Kind, Option<u8>, Job)>,
    order: Vec<Uuid>,
    paused: bool,
    shut: bool,
}

impl Model {
    fn is_live(state: &str) -> bool {
        matches!(state, "available" | "scheduled" | "retryable")
    }

    fn live_twin(&self, key: Option<u8>, except: Option<Uuid>) -> Option<Uuid> {
        let key = key?;
        self.jobs
            .iter()
            .find(|(id, (_, of, job))| *of == Some(key) && Self::is_live(job.state) && Some(**id) != except)
            .map(|(id, _)| *id)
    }

    /// Everything that may start runs to where it waits or ends.
    fn run(&mut self) {
        if self.paused {
            return;
        }
        for (kind, _, job) in self.jobs.values_mut() {
            if job.state != "available" {
                continue;
            }
            if self.shut && job.behind {
                job.state = "scheduled";
                job.held = true;
                continue;
            }
            job.starts += 1;
            job.attempt += 1;
            job.state = match *kind {
                Kind::Retry if job.attempt < 3 => {
                    job.snoozes = 0;
                    "retryable"
                }
                Kind::Fail | Kind::Retry => "discarded",
                Kind::Snooze(times) if job.snoozes < times => {
                    job.snoozes += 1;
                    job.attempt -= 1;
                    "scheduled"
                }
                Kind::Done | Kind::Snooze(_) => "completed",
            };
        }
    }

    fn advance(&mut self) {
        for (_, _, job) in self.jobs.values_mut() {
            if Self::is_live(job.state) && !job.held {
                job.state = "available";
            }
        }
    }

    fn open(&mut self) {
        self.shut = false;
        for (_, _, job) in self.jobs.values_mut() {
            if job.held {
                job.held = false;
                job.state = "available";
            }
        }
    }
}

async fn i13_random_histories_end_as_the_model_says(database: TestDb) {
    prepare(&database.db).await;
    let mut runner = TestRunner::default();
    for _ in 0..HISTORIES {
        let history = prop::collection::vec(op(), 1..25)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        follow(&database, &history).await;
        let mut tx = database.db.begin().await.unwrap();
        for table in [
            "-- x\nDELETE FROM jobs",
            "-- x\nDELETE FROM job_attempts",
            "-- x\nDELETE FROM queues",
            "-- x\nDELETE FROM gates",
        ] {
            tx.execute(table, &[]).await.unwrap();
        }
        tx.commit().await.unwrap();
    }
}

async fn follow(database: &TestDb, history: &[Op]) {
    let db = &database.db;
    let world = Arc::new(World::default());
    let mut running = start(db, &world).await;
    let mut model = Model::default();
    for (step, op) in history.iter().enumerate() {
        let mut tx = db.begin().await.unwrap();
        match op {
            Op::Enqueue { what, key, behind } => {
                let does = match *what {
                    Kind::Done => What::Done,
                    Kind::Fail => What::Fail,
                    // Longer than the test takes: only an advance makes them due.
                    Kind::Retry => What::RetryAfter(600),
                    Kind::Snooze(times) => What::Snooze { seconds: 600, times },
                };
                let mut job = Plain::of("model", does);
                job.gate = behind.then(|| GATE.to_owned());
                if let Some(key) = key {
                    job = job.unique(&format!("k{key}"));
                }
                let enqueued = queue::enqueue(&mut tx, &job).await.unwrap();
                match model.live_twin(*key, None) {
                    Some(twin) => assert_eq!(enqueued, Enqueued::Twin(twin), "{history:?} step {step}"),
                    None => assert!(enqueued.is_new(), "{history:?} step {step}"),
                }
                if let Enqueued::New(id) = enqueued {
                    let job = Job {
                        state: "available",
                        starts: 0,
                        attempt: 0,
                        snoozes: 0,
                        behind: *behind,
                        held: false,
                    };
                    model.jobs.insert(id, (*what, *key, job));
                    model.order.push(id);
                }
            }
            Op::Pause | Op::Resume | Op::CloseGate | Op::OpenGate => steer(&mut tx, op, &mut model).await,
            Op::Cancel(which) if !model.order.is_empty() => {
                let id = *which.get(&model.order);
                control::cancel(&mut tx, id, "test").await.unwrap();
                if let Some((_, _, job)) = model.jobs.get_mut(&id)
                    && Model::is_live(job.state)
                {
                    job.state = "cancelled";
                    job.held = false;
                }
            }
            Op::Retry(which) if !model.order.is_empty() => {
                let id = *which.get(&model.order);
                let retried = control::retry(&mut tx, &registry(), id, "test").await.unwrap();
                let key = model.jobs[&id].1;
                if let Some(twin) = model.live_twin(key, Some(id)) {
                    assert_eq!(retried, control::Retried::Twin(twin), "{history:?} step {step}");
                } else {
                    let (_, _, job) = model.jobs.get_mut(&id).unwrap();
                    *job = Job {
                        state: "available",
                        starts: job.starts,
                        attempt: 0,
                        snoozes: 0,
                        behind: job.behind,
                        held: false,
                    };
                }
            }
            Op::Advance | Op::RestartWorker | Op::Cancel(_) | Op::Retry(_) => {}
        }
        tx.commit().await.unwrap();
        assert_counters(database, history, step).await;
        match op {
            Op::Advance => {
                db.advance_clock(queue::seconds(STEP)).await.unwrap();
                model.advance();
            }
            Op::RestartWorker => {
                running.shutdown().await;
                running = start(db, &world).await;
            }
            _ => {}
        }
        model.run();
        let expected: BTreeMap<Uuid, Job> = model.jobs.iter().map(|(id, (_, _, job))| (*id, job.clone())).collect();
        until(
            &format!("step {step} of {history:?} ends as {expected:?}"),
            async || seen(database).await == expected,
        )
        .await;
        assert_counters(database, history, step).await;
    }
    running.shutdown().await;
    counters::add_up(db).await.unwrap();
    assert_counters(database, history, history.len()).await;
}

/// At every moment, also while workers change something, the counters say what a count says.
async fn assert_counters(database: &TestDb, history: &[Op], step: usize) {
    match counters::compare(&database.db, None).await.unwrap() {
        Comparison::Counted { differences, .. } => {
            assert!(differences.is_empty(), "{differences:?} at step {step} of {history:?}");
        }
        Comparison::TooMany => unreachable!("as many as there are were to be counted"),
    }
}

/// What an operator does to all jobs at once.
async fn steer(tx: &mut Tx, op: &Op, model: &mut Model) {
    match op {
        Op::Pause => {
            control::pause(tx, "plain", "test", "model").await.unwrap();
            model.paused = true;
        }
        Op::Resume => {
            control::resume(tx, "plain", "test").await.unwrap();
            model.paused = false;
        }
        Op::CloseGate => {
            control::close_gate(tx, GATE, "test", "model").await.unwrap();
            model.shut = true;
        }
        _ => {
            control::open_gate(tx, GATE, "test").await.unwrap();
            model.open();
        }
    }
}

async fn seen(database: &TestDb) -> BTreeMap<Uuid, Job> {
    let filter = inspect::JobFilter::default();
    let mut seen = BTreeMap::new();
    for job in inspect::jobs(&database.db, &filter, None, 1_000).await.unwrap().jobs {
        let starts = inspect::attempts(&database.db, job.id).await.unwrap().len();
        let state = [
            "available",
            "scheduled",
            "running",
            "retryable",
            "completed",
            "cancelled",
            "discarded",
        ]
        .into_iter()
        .find(|state| *state == job.state)
        .unwrap();
        seen.insert(
            job.id,
            Job {
                state,
                starts,
                attempt: job.attempt,
                snoozes: job.snoozes,
                behind: job.gate.is_some(),
                held: job.held_by.is_some(),
            },
        );
    }
    seen
}
