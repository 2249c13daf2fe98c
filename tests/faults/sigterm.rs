//! A process that is told to stop ends within its grace and hands back what it holds; the next one finishes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use aftercall::{
    db::Db,
    sandbox::{
        language_model::{Reply, ScriptedModel},
        records::Fault,
    },
};
use rustix::process::Signal;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered},
        child::Ended,
        state::{broken_promises, count, difference, final_state},
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    a_process_that_is_told_to_stop_ends_and_the_next_one_finishes,
    calls_that_outlast_the_grace_are_dropped_and_their_jobs_handed_back,
    a_process_that_waits_for_a_system_in_trouble_can_be_stopped_at_once,
    a_second_signal_ends_it_at_once_and_the_lease_does_the_rest,
}

fn sessions() -> Vec<Session> {
    (0..20).map(|number| ordered(&format!("s-{number}"))).collect()
}

async fn assert_handed_back(db: &Db, ended: &Ended) {
    assert_eq!(
        count(db, "SELECT COUNT(*) AS n FROM jobs WHERE state = 'running'").await,
        0,
        "{ended}"
    );
    let burnt = "SELECT COUNT(*) AS n FROM jobs WHERE state IN ('available', 'scheduled') AND attempt > 0";
    assert_eq!(count(db, burnt).await, 0, "no attempt is burnt: {ended}");
    assert_eq!(
        count(db, "SELECT COUNT(*) AS n FROM workers WHERE stopped_at IS NULL").await,
        0,
        "it says goodbye"
    );
    assert_eq!(broken_promises(db).await, Vec::<String>::new(), "{ended}");
}

/// Waits for the end of a process that was told to stop.
async fn stop(world: &World, child: crate::support::child::Child, within: Duration) -> (Db, Ended) {
    let told = Instant::now();
    child.signal(Signal::TERM);
    let ended = child.ended().await;
    assert!(told.elapsed() < within, "it took {:?}: {ended}", told.elapsed());
    assert_eq!(ended.status.code(), Some(1), "it says that work is left: {ended}");
    (world.db().await, ended)
}

async fn a_process_that_is_told_to_stop_ends_and_the_next_one_finishes() {
    let sessions = sessions();
    let plan = || Plan::of(&sessions).set("records", "pace", "'100ms'");
    let undisturbed = plan().start().await;
    undisturbed.run_child_until_idle().await;

    let world = plan().start().await;
    let db = world.db().await;
    let child = world.child(&[]);
    until("it is at work", async || {
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await >= 3
    })
    .await;
    let (db, ended) = stop(&world, child, Duration::from_secs(15)).await;
    assert!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await < 20,
        "it was all over before"
    );
    assert_handed_back(&db, &ended).await;

    world.run_child_until_idle().await;
    let expected = undisturbed.db().await;
    assert_eq!(difference(&final_state(&expected).await, &final_state(&db).await), "");
}

async fn calls_that_outlast_the_grace_are_dropped_and_their_jobs_handed_back() {
    let sessions = sessions();
    let model = ScriptedModel::new(|_| Reply::Hang);
    let world = Plan::of(&sessions)
        .model(model)
        .set("queue", "grace", "'300ms'")
        .set("llm", "timeout", "'60s'")
        .start()
        .await;
    let child = world.child(&[]);
    until("calls are in flight", async || world.model().requests() >= 8).await;
    let (db, ended) = stop(&world, child, Duration::from_secs(15)).await;
    assert_handed_back(&db, &ended).await;
    assert_eq!(
        count(
            &db,
            "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'handed_back'"
        )
        .await,
        8
    );
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'started'").await,
        0,
        "the ledger knows"
    );
}

async fn a_process_that_waits_for_a_system_in_trouble_can_be_stopped_at_once() {
    let sessions = sessions();
    let world = Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .set("records", "timeout", "'60s'")
        .start()
        .await;
    world.records.fail("", Fault::Hang, u64::MAX);
    let db = world.db().await;
    let child = world.child(&[]);
    until("it waits for the kitchen", async || world.records.requests() >= 1).await;
    until("everything is read", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'verifying'").await == 20
    })
    .await;
    let (db, ended) = stop(&world, child, Duration::from_secs(20)).await;
    assert_handed_back(&db, &ended).await;
    world.records.fail("", Fault::Hang, 0);
    world.run_child_until_idle().await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'").await,
        20
    );
}

async fn a_second_signal_ends_it_at_once_and_the_lease_does_the_rest() {
    let sessions = sessions();
    let hangs = Arc::new(AtomicBool::new(true));
    let (script, hanging) = (sessions.clone(), Arc::clone(&hangs));
    let model = ScriptedModel::new(move |asked| {
        if hanging.load(Ordering::SeqCst) {
            Reply::Hang
        } else {
            bakery::answer(&script, asked)
        }
    });
    let world = Plan::of(&sessions)
        .model(model)
        .set("queue", "grace", "'1h'")
        .set("llm", "timeout", "'1h'")
        .start()
        .await;
    let mut child = world.child(&[]);
    until("calls are in flight", async || world.model().requests() >= 8).await;
    // Two signals at once may count as one: somebody impatient sends another.
    until("it ends", || {
        child.signal(Signal::TERM);
        let ended = !child.runs();
        async move { ended }
    })
    .await;
    let ended = child.ended().await;
    assert_eq!(ended.status.code(), Some(130), "{ended}");
    hangs.store(false, Ordering::SeqCst);
    world.run_child_until_idle().await;
    let db = world.db().await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'").await,
        20
    );
    // Whatever else it held goes the same way as the calls.
    assert!(count(&db, "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'rescued'").await >= 8);
}
