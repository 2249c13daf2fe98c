//! Roles one by one: what each needs, refuses, leaves alone, and how it ends.

use aftercall::sandbox::language_model::{Reply, ScriptedModel};
use rustix::process::Signal;

use super::program::Program;
use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered},
        child::Child,
        state::count,
        until,
        world::Plan,
    },
};

on_each_engine! {
    a_scheduler_needs_no_secret_and_leaves_the_limits_alone,
    every_role_that_is_told_to_stop_hands_back_what_it_holds_and_ends_well,
}

#[test]
fn a_queue_that_there_is_not_is_refused_with_those_that_there_are() {
    let program = Program::new();
    let unknown = program.run(&["worker", "--queues", "nosuch"]).exits(2).stderr;
    for named in ["`nosuch`", "analyze_session", "prune_history"] {
        assert!(unknown.contains(named), "{named} is not in {unknown}");
    }
    let misspelt = program.run(&["worker", "--queues", "verify_session,analyse_session=2"]);
    let misspelt = misspelt.exits(2).stderr;
    assert!(misspelt.contains("did you mean `analyze_session`?"), "{misspelt}");
    let twice = program
        .run(&["worker", "--queues", "reconcile,reconcile=2"])
        .exits(2)
        .stderr;
    assert!(twice.contains("named twice"), "{twice}");
    for broken in ["analyze_session=0", "analyze_session=x", "", "a,,b"] {
        program.run(&["worker", "--queues", broken]).exits(2);
    }
    assert!(!program.path().join("aftercall-data").exists(), "nothing was started");
}

#[test]
fn without_a_source_a_worker_and_a_scheduler_say_what_is_missing() {
    let program = Program::new();
    for role in ["worker", "scheduler"] {
        let said = program.run(&[role]).exits(2).stderr;
        assert!(said.contains("[[source]]"), "{role}: {said}");
    }
}

async fn a_scheduler_needs_no_secret_and_leaves_the_limits_alone() {
    let sessions = [ordered("s-1")];
    let world = Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .files(&[("llm_key", "key")])
        .set("llm", "api_key", "'file:llm_key'")
        .set("limits", "analyze_session", "5")
        .start()
        .await;
    let (key, elsewhere) = (world.path("llm_key"), world.path("elsewhere"));
    std::fs::rename(&key, &elsewhere).unwrap();
    let refused = Child::start(&world, &["worker"], &[]).ended().await;
    assert_eq!(refused.status.code(), Some(2), "{refused}");
    assert!(refused.err.contains("llm_key"), "{refused}");

    let db = world.db().await;
    std::fs::rename(&elsewhere, &key).unwrap();
    let worker = Child::start(&world, &["worker", "--queues", "verify_session"], &[]);
    let introduced = "SELECT COUNT(*) AS n FROM workers";
    until("the worker is there", async || count(&db, introduced).await == 1).await;
    let limit = "SELECT max_running AS n FROM limits WHERE key = 'analyze_session'";
    assert_eq!(count(&db, limit).await, 5, "also of queues that it does not serve");
    let queues = "SELECT COUNT(DISTINCT queue) AS n FROM limits";
    assert_eq!(
        count(&db, queues).await,
        aftercall::jobs::registry().names().len() as u64
    );

    std::fs::rename(&key, &elsewhere).unwrap();
    let other = [("AFTERCALL_LIMITS_ANALYZE_SESSION", "1")];
    let scheduler = Child::start(&world, &["scheduler"], &other);
    let ticks = "SELECT COUNT(*) AS n FROM cron_ticks";
    until("every schedule has fired", async || count(&db, ticks).await >= 4).await;
    let scan = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND unique_key = 'calls'";
    assert_eq!(count(&db, scan).await, 1);
    assert_eq!(count(&db, limit).await, 5);
    for child in [worker, scheduler] {
        child.signal(Signal::TERM);
        let ended = child.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
}

fn many() -> Vec<Session> {
    (0..4).map(|number| ordered(&format!("s-{number}"))).collect()
}

async fn every_role_that_is_told_to_stop_hands_back_what_it_holds_and_ends_well() {
    let sessions = many();
    let world = Plan::of(&sessions)
        .model(ScriptedModel::new(|_| Reply::Hang))
        .set("queue", "grace", "'300ms'")
        .set("llm", "timeout", "'60s'")
        .start()
        .await;
    let db = world.db().await;
    let fleet = [
        Child::start(&world, &["worker"], &[]),
        Child::start(&world, &["scheduler"], &[]),
        Child::start(&world, &["api", "--listen", "127.0.0.1:0"], &[]),
        Child::start(&world, &["run"], &[]),
    ];
    until("calls are in flight", async || world.model().requests() >= 4).await;
    let there = "SELECT COUNT(*) AS n FROM workers";
    until("all are there", async || count(&db, there).await == 4).await;
    for child in fleet {
        child.signal(Signal::TERM);
        let ended = child.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
    let running = "SELECT COUNT(*) AS n FROM jobs WHERE state = 'running'";
    assert_eq!(count(&db, running).await, 0);
    let handed_back =
        "SELECT COUNT(*) AS n FROM job_attempts WHERE queue = 'analyze_session' AND outcome = 'handed_back'";
    assert!(count(&db, handed_back).await >= 4);
    let roles = "SELECT COUNT(DISTINCT role) AS n FROM workers WHERE stopped_at IS NOT NULL";
    assert_eq!(count(&db, roles).await, 4, "each says goodbye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_worker_at_once() {
    let sessions = many();
    let world = Plan::of(&sessions)
        .model(ScriptedModel::new(|_| Reply::Hang))
        .set("queue", "grace", "'1h'")
        .set("llm", "timeout", "'1h'")
        .start()
        .await;
    let db = world.db().await;
    let mut worker = Child::start(&world, &["worker"], &[]);
    let mut tx = db.begin().await.unwrap();
    aftercall::queue::enqueue(
        &mut tx,
        &aftercall::jobs::DiscoverSessions {
            source: "calls".to_owned(),
        },
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    until("calls are in flight", async || world.model().requests() >= 4).await;
    // Two signals at once may count as one: somebody impatient sends another.
    until("it ends", || {
        worker.signal(Signal::TERM);
        let ended = !worker.runs();
        async move { ended }
    })
    .await;
    let ended = worker.ended().await;
    assert_eq!(ended.status.code(), Some(130), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cannot_start_yet_can_be_stopped() {
    let world = Plan::of(&many()).start().await;
    let db = world.db().await;
    // Nobody can write, so that no process gets to write that it is there.
    let held = db.begin().await.unwrap();
    for role in ["run", "worker", "scheduler"] {
        let address = format!("127.0.0.1:{}", aftercall::sandbox::postgres::port::free().unwrap());
        let child = Child::start(&world, &[role, "--health", &address], &[]);
        // The port is taken once signals are heard.
        until("it takes its port", async || {
            tokio::net::TcpStream::connect(&address).await.is_ok()
        })
        .await;
        child.signal(Signal::TERM);
        let ended = child.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{role}: {ended}");
    }
    drop(held);
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM workers").await, 0);
}
