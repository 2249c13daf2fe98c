//! A scheduler and workers, each a process of its own, on one database.

use std::sync::{Arc, Condvar, Mutex};

use aftercall::{db::Db, params, sandbox::language_model::ScriptedModel};
use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered},
        child::Child,
        history::{History, MILLISECOND},
        state::{broken_promises, count, difference, final_state},
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    schedulers_and_workers_that_share_the_queues_judge_every_session_once,
    a_worker_runs_at_most_as_many_at_once_as_it_was_told,
    pauses_gates_and_limits_reach_a_running_worker_within_two_seconds,
    a_rate_that_was_set_for_the_fleet_holds_for_every_worker,
}

/// What a change by an operator may take to reach the fleet.
const PROMISED: TimeDelta = TimeDelta::seconds(2);

/// Tells a process to stop, and expects that it ends well.
async fn stop(child: Child) {
    child.signal(Signal::TERM);
    let ended = child.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
}

/// Runs a command to its end.
async fn command(world: &World, arguments: &[&str]) {
    let ended = Child::start(world, arguments, &[]).ended().await;
    assert!(ended.status.success(), "{arguments:?}: {ended}");
}

async fn done(db: &Db) -> u64 {
    count(db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'done'").await
}

async fn schedulers_and_workers_that_share_the_queues_judge_every_session_once() {
    let sessions = bakery::every_way();
    let plan = || Plan::of(&sessions).model(bakery::model(&sessions));
    let undisturbed = plan().start().await;
    undisturbed.run_child_until_idle().await;
    let expected = undisturbed.db().await;

    let world = plan().start().await;
    let db = world.db().await;
    let rest = "discover_sessions,analyze_session=2,diagnose_session,evaluate_alerts,reconcile,prune_history";
    let fleet = [
        Child::start(&world, &["scheduler"], &[]),
        Child::start(&world, &["scheduler"], &[]),
        Child::start(&world, &["worker", "--queues", "verify_session"], &[]),
        Child::start(&world, &["worker", "--queues", rest], &[]),
    ];
    until("every session is judged", async || {
        done(&db).await == sessions.len() as u64
    })
    .await;
    let live = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('available', 'scheduled', 'running', 'retryable')";
    until("nothing is left to do", async || count(&db, live).await == 0).await;
    for (role, queues, number) in [("scheduler", json!([]), 2), ("worker", json!(["verify_session"]), 1)] {
        let rows = db
            .fetch_optional(
                "SELECT COUNT(*) AS n FROM workers WHERE role = $1 AND queues = $2",
                &params![role, queues],
            )
            .await
            .unwrap()
            .unwrap();
        assert_eq!(rows.get::<u64>("n").unwrap(), number, "{role} says what it is");
    }
    for child in fleet {
        stop(child).await;
    }

    assert_eq!(difference(&final_state(&expected).await, &final_state(&db).await), "");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(History::read(&db).await.violations(MILLISECOND), Vec::<String>::new());
    let strayed = "SELECT COUNT(*) AS n FROM job_attempts AS a JOIN workers AS w ON w.id = a.worker
        WHERE (a.queue = 'verify_session') <> (w.queues = '[\"verify_session\"]') OR w.role <> 'worker'";
    assert_eq!(count(&db, strayed).await, 0, "each serves its queues only");
    for name in ["discover_sessions", "evaluate_alerts", "reconcile", "prune_history"] {
        let row = db
            .fetch_optional(
                "SELECT (SELECT COUNT(*) FROM cron_ticks WHERE name = $1) AS ticks,
                        (SELECT COUNT(*) FROM jobs WHERE queue = $1) AS jobs",
                &params![name],
            )
            .await
            .unwrap()
            .unwrap();
        let (ticks, jobs): (u64, u64) = (row.get("ticks").unwrap(), row.get("jobs").unwrap());
        assert!(ticks >= 1 && ticks == jobs, "{name}: {ticks} ticks, {jobs} jobs");
    }
    let stopped = "SELECT COUNT(*) AS n FROM workers WHERE stopped_at IS NOT NULL";
    assert_eq!(count(&db, stopped).await, 4, "each says goodbye");
}

/// Lets the model's answers through, or holds them back.
#[derive(Clone, Default)]
struct Valve(Arc<(Mutex<bool>, Condvar)>);

impl Valve {
    fn set(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |shut| *shut).unwrap());
    }

    fn model(&self, sessions: &[Session]) -> ScriptedModel {
        let (valve, sessions) = (self.clone(), sessions.to_vec());
        ScriptedModel::new(move |asked| {
            // Whatever this thread of the runtime was about to do next is done by another.
            tokio::task::block_in_place(|| valve.pass());
            bakery::answer(&sessions, asked)
        })
    }
}

/// Whoever fails must not leave the model's threads waiting.
struct OpenAtEnd(Valve);

impl Drop for OpenAtEnd {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

async fn a_worker_runs_at_most_as_many_at_once_as_it_was_told() {
    let sessions: Vec<Session> = (0..10).map(|number| ordered(&format!("s-{number}"))).collect();
    let valve = Valve::default();
    let _open = OpenAtEnd(valve.clone());
    valve.set(true);
    let world = Plan::of(&sessions)
        .model(valve.model(&sessions))
        .set("llm", "timeout", "'60s'")
        .start()
        .await;
    let db = world.db().await;
    let queues = "discover_sessions,analyze_session=2,verify_session";
    let worker = Child::start(&world, &["worker", "--queues", queues], &[]);
    command(&world, &["enqueue", "discover"]).await;
    let waiting = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND state = 'available'";
    until("two are read and the others wait", async || {
        world.model().requests() == 2 && count(&db, waiting).await == 8
    })
    .await;
    valve.set(false);
    until("every session is judged", async || done(&db).await == 10).await;
    stop(worker).await;
    let together = "SELECT MAX(n) AS n FROM (SELECT (SELECT COUNT(*) FROM job_attempts AS other
            WHERE other.queue = one.queue AND other.started_at <= one.started_at AND one.started_at < other.finished_at) AS n
        FROM job_attempts AS one WHERE one.queue = 'analyze_session') AS runs";
    assert_eq!(count(&db, together).await, 2);
    assert_eq!(
        count(&db, "SELECT max_running AS n FROM limits WHERE key = 'analyze_session'").await,
        8,
        "the fleet's limit is another"
    );
}

/// When an operator's latest change of this kind was committed, at the latest.
async fn changed_at(db: &Db, action: &str) -> DateTime<Utc> {
    let sql = "SELECT MAX(at) AS at FROM audit_log WHERE action = $1";
    let row = db.fetch_optional(sql, &params![action]).await.unwrap().unwrap();
    row.get::<Option<DateTime<Utc>>>("at").unwrap().unwrap()
}

/// The first start of a job of the queue after an instant.
async fn first_start(db: &Db, queue: &str, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // An attempt is written once it has ended; until then its job says when it began.
    let sql = "SELECT MIN(at) AS at FROM (
            SELECT started_at AS at FROM job_attempts WHERE queue = $1
            UNION ALL SELECT started_at FROM jobs WHERE queue = $1 AND started_at IS NOT NULL
        ) AS starts WHERE at >= $2";
    let row = db.fetch_optional(sql, &params![queue, after]).await.unwrap().unwrap();
    row.get("at").unwrap()
}

/// Waits until a job of the queue starts, and expects it in the time that is promised after the operator's change.
async fn starts_in_time(db: &Db, queue: &str, action: &str) {
    let at = changed_at(db, action).await;
    until("a job starts", async || first_start(db, queue, at).await.is_some()).await;
    let waited = first_start(db, queue, at).await.unwrap() - at;
    assert!(waited <= PROMISED, "{action} reached {queue} after {waited}");
}

async fn pauses_gates_and_limits_reach_a_running_worker_within_two_seconds() {
    let sessions: Vec<Session> = (0..8).map(|number| ordered(&format!("s-{number}"))).collect();
    let lines = |range: std::ops::Range<usize>| sessions[range].iter().map(Session::lines).collect::<String>();
    let valve = Valve::default();
    let _open = OpenAtEnd(valve.clone());
    let world = Plan::of(&sessions)
        .bundle(lines(0..2))
        .model(valve.model(&sessions))
        .set("llm", "timeout", "'60s'")
        .start()
        .await;
    let db = world.db().await;
    let worker = Child::start(&world, &["worker"], &[]);
    let scheduler = Child::start(&world, &["scheduler"], &[]);
    until("the first sessions are judged", async || done(&db).await == 2).await;
    let scan = async |range| {
        world.append(&lines(range));
        command(&world, &["enqueue", "discover"]).await;
    };

    // A pause: nothing starts, though the worker has looked since.
    command(&world, &["pause", "analyze_session", "--reason", "test"]).await;
    scan(2..4).await;
    let waiting = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND state = 'available'";
    until("what was found waits", async || count(&db, waiting).await == 2).await;
    let paused = changed_at(&db, "pause").await;
    let reconciled = async || {
        let sql = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND state = 'completed' AND created_at > $1";
        let row = db.fetch_optional(sql, &params![paused]).await.unwrap().unwrap();
        row.get::<u64>("n").unwrap() > 0
    };
    until("the scan ends", reconciled).await;
    assert_eq!(first_start(&db, "analyze_session", paused).await, None);
    command(&world, &["resume", "analyze_session"]).await;
    starts_in_time(&db, "analyze_session", "resume").await;
    until("they are judged", async || done(&db).await == 4).await;

    // A gate.
    command(&world, &["gate", "close", "records:kitchen", "--reason", "test"]).await;
    scan(4..5).await;
    let held = "SELECT COUNT(*) AS n FROM jobs WHERE held_by = 'records:kitchen'";
    until("its job is held", async || count(&db, held).await == 1).await;
    assert_eq!(
        first_start(&db, "verify_session", changed_at(&db, "close_gate").await).await,
        None
    );
    command(&world, &["gate", "open", "records:kitchen"]).await;
    starts_in_time(&db, "verify_session", "open_gate").await;
    until("it is judged", async || done(&db).await == 5).await;

    // A limit, lowered and raised.
    command(&world, &["limit", "analyze_session", "1"]).await;
    valve.set(true);
    scan(5..8).await;
    let running = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND state = 'running'";
    until("one runs and two wait", async || {
        count(&db, running).await == 1 && count(&db, waiting).await == 2
    })
    .await;
    command(&world, &["limit", "analyze_session", "3"]).await;
    starts_in_time(&db, "analyze_session", "set_limit").await;
    until("all three run", async || count(&db, running).await == 3).await;
    valve.set(false);
    until("all are judged", async || done(&db).await == 8).await;
    for child in [worker, scheduler] {
        stop(child).await;
    }
}

async fn a_rate_that_was_set_for_the_fleet_holds_for_every_worker() {
    let sessions: Vec<Session> = (0..6).map(|number| bakery::vanished(&format!("s-{number}"))).collect();
    let world = Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .set("limits", "diagnose_starts", "2")
        .set("limits", "diagnose_window", "'1h'")
        .start()
        .await;
    let db = world.db().await;
    let fleet = [
        Child::start(&world, &["worker"], &[]),
        Child::start(&world, &["worker"], &[]),
        Child::start(&world, &["scheduler"], &[]),
    ];
    until("every session is judged", async || done(&db).await == 6).await;
    let diagnosed = "SELECT COUNT(*) AS n FROM monitoring_results WHERE diagnostic_status = 'complete'";
    until("two are diagnosed", async || count(&db, diagnosed).await == 2).await;
    for child in fleet {
        stop(child).await;
    }
    let started = "SELECT COUNT(*) AS n FROM job_attempts WHERE queue = 'diagnose_session'";
    assert_eq!(count(&db, started).await, 2);
}
