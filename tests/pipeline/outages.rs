//! Outages of every upstream, however long: afterwards every session has the verdict that it would have had.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aftercall::{
    db::Db,
    sandbox::{
        language_model::{Reply, ScriptedModel},
        records::Fault,
    },
};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, ordered, ordered_and_paid, question, vanished},
        state::{broken_promises, count, verdicts, waiting},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    i9_an_outage_of_a_day_and_an_hour_of_each_upstream_changes_no_verdict,
    i9_a_process_that_starts_tries_credentials_that_were_refused_at_once,
}

fn sessions() -> Vec<Session> {
    let mut sessions = vec![vanished("s-gone"), ordered_and_paid("s-paid"), question("s-question")];
    sessions.extend((0..9).map(|number| ordered(&format!("s-{number}"))));
    sessions
}

/// A world in which the model is down as long as the flag says so.
async fn world(down: &Arc<AtomicBool>) -> World {
    let script = sessions();
    let down = Arc::clone(down);
    let model = ScriptedModel::new(move |asked| {
        if down.load(Ordering::SeqCst) {
            return Reply::Error(402, "insufficient_quota".to_owned(), "pay".to_owned());
        }
        bakery::answer(&script, asked)
    });
    Plan::of(&sessions()).model(model).start().await
}

async fn without_outage() -> Vec<(String, String, String)> {
    let world = world(&Arc::default()).await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    verdicts(&db).await
}

async fn assert_nothing_burnt(db: &Db) {
    assert_eq!(count(db, "SELECT MAX(attempt) AS n FROM jobs").await, 1);
    let others = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome NOT IN ('snoozed', 'completed')";
    assert_eq!(count(db, others).await, 0);
    assert_eq!(
        count(db, "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'error'").await,
        0
    );
    assert_eq!(
        count(db, "SELECT COUNT(*) AS n FROM jobs WHERE held_by IS NOT NULL").await,
        0
    );
    assert_eq!(
        count(db, "SELECT COUNT(*) AS n FROM gates WHERE state <> 'open'").await,
        0
    );
    assert_eq!(broken_promises(db).await, Vec::<String>::new());
    assert_eq!(waiting(db).await, []);
}

/// All of these sessions show this upstream's trouble, tried or not.
async fn all_wait_for(db: &Db, sessions: usize, gate: &str) {
    until(&format!("{sessions} sessions wait for {gate}"), async || {
        let waits = waiting(db).await;
        let of_gate = waits
            .iter()
            .filter(|(_, why)| why.starts_with(&format!("{gate} is not available")));
        of_gate.count() == sessions
    })
    .await;
}

async fn i9_an_outage_of_a_day_and_an_hour_of_each_upstream_changes_no_verdict() {
    let expected = without_outage().await;
    let model_down = Arc::new(AtomicBool::new(true));
    let world = world(&model_down).await;
    let db = world.db().await;
    let (here, away) = (world.path("bundle.jsonl"), world.path("away.jsonl"));
    let pipeline = world.pipeline(&db).await;
    // Read, and then the model wants money.
    all_wait_for(&db, sessions().len(), "llm:default").await;
    until("all are read", async || {
        count(&db, "SELECT COUNT(*) AS n FROM snapshots").await == sessions().len() as u64
            && count(&db, "SELECT COUNT(*) AS n FROM jobs WHERE held_by = 'llm:default'").await > 0
    })
    .await;
    db.advance_clock(Duration::from_hours(25)).await.unwrap();
    std::fs::rename(&here, &away).unwrap();
    world.records.fail("", Fault::Status(503), u64::MAX);
    model_down.store(false, Ordering::SeqCst);
    // Both systems of record are down; the till is asked by nobody before the kitchen has answered.
    let asking = expected.iter().filter(|(session, ..)| session != "s-question").count();
    all_wait_for(&db, asking, "records:kitchen").await;
    pipeline.look_now().await.unwrap();
    until("the source is known to be down", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM gates WHERE key = 'source:calls' AND state <> 'open'",
        )
        .await
            == 1
    })
    .await;
    db.advance_clock(Duration::from_hours(25)).await.unwrap();
    std::fs::rename(&away, &here).unwrap();
    // Back, with a page of its proxy first: the day that is over does not make it the last word.
    world.records.fail("", Fault::Html, 3);
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdicts(&db).await, expected);
    assert_nothing_burnt(&db).await;
}

async fn i9_a_process_that_starts_tries_credentials_that_were_refused_at_once() {
    let world = Plan::of(&[ordered("s-1"), ordered("s-2")])
        .set("verification", "outage_wait", "'1h'")
        .set("verification", "outage_wait_most", "'1h'")
        .start()
        .await;
    world.records.fail("", Fault::Status(401), u64::MAX);
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    all_wait_for(&db, 2, "records:kitchen").await;
    pipeline.shutdown().await;
    world.records.fail("", Fault::Html, 0);
    let pipeline = world.pipeline(&db).await;
    until("the other session has its verdict", async || {
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await >= 1
    })
    .await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM gates WHERE state <> 'open'").await,
        0
    );
    pipeline.shutdown().await;
}
