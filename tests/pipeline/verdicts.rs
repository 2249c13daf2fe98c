//! One verdict per session and generation, whatever calls for another.

use aftercall::{
    db::Db,
    domain::session::SessionKey,
    jobs::{AnalyzeSession, DiagnoseSession, VerifySession},
    queue, reprocess,
};
use serde_json::{Value, json};

use crate::{
    on_each_engine,
    support::{
        Engine,
        bakery::{self, Session, late, ordered, vanished},
        engine,
        state::{broken_promises, count, difference, document, final_state, verdict, verdicts},
        until,
        world::{Plan, SOURCE, idle},
    },
};

on_each_engine! {
    every_way_that_a_call_can_go_ends_in_its_verdict,
    two_runs_of_the_same_world_end_alike,
    i1_one_verdict_per_session_and_generation_whoever_calls_for_it_again,
    i1_reprocessing_opens_the_next_generation_and_the_old_verdict_stays_with_a_diff,
    i1_a_superseded_job_writes_nothing,
    i1_whoever_reprocesses_while_verdicts_are_written_no_generation_is_lost,
    i1_new_activity_after_the_verdict_is_judged_as_the_next_generation,
    new_activity_after_the_verdict_is_left_alone_where_the_policy_says_never,
    a_record_that_appears_only_later_is_looked_for_again_and_passes,
    each_system_has_its_own_looks,
}

const EXPECTED: [(&str, &str, &str); 8] = [
    ("s-half", "partial", "said_done_not_there"),
    ("s-hidden", "fail", "said_done_not_there"),
    ("s-ordered", "pass", "all_confirmed"),
    ("s-other", "fail", "fields_wrong"),
    ("s-paid", "pass", "all_confirmed"),
    ("s-question", "skipped", "nothing_to_verify"),
    ("s-unclear", "skipped", "unknown_intent"),
    ("s-vanished", "fail", "said_done_not_there"),
];

fn expected() -> Vec<(String, String, String)> {
    EXPECTED
        .map(|(session, status, reason)| (session.to_owned(), status.to_owned(), reason.to_owned()))
        .to_vec()
}

async fn every_way_that_a_call_can_go_ends_in_its_verdict() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(verdicts(&db).await, expected());
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let undiagnosed = "SELECT COUNT(*) AS n FROM monitoring_results
        WHERE (verification_status IN ('fail', 'partial')) <> (diagnostic_status IS NOT DISTINCT FROM 'complete')";
    assert_eq!(count(&db, undiagnosed).await, 0);
}

/// Told by everything that a user can see, down to the byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i13_the_same_world_ends_alike_on_both_databases() {
    let end = |engine| async move {
        let mut end = String::new();
        engine::on(engine, async {
            let sessions = bakery::every_way();
            let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
            let db = world.db().await;
            world.run_until_idle(&db).await;
            end = final_state(&db).await;
        })
        .await;
        end
    };
    let (file, server) = (end(Engine::Sqlite).await, end(Engine::Postgres).await);
    assert!(file.lines().count() > 50, "{file}");
    assert_eq!(difference(&file, &server), "");
}

async fn two_runs_of_the_same_world_end_alike() {
    let mut ends = Vec::new();
    for _ in 0..2 {
        let sessions = bakery::every_way();
        let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
        let db = world.db().await;
        world.run_until_idle(&db).await;
        ends.push(final_state(&db).await);
    }
    assert_eq!(difference(&ends[0], &ends[1]), "");
}

async fn i1_one_verdict_per_session_and_generation_whoever_calls_for_it_again() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let before = final_state(&db).await;
    let asked = world.model().requests();

    // Everything once more: discovery finds nothing new, and jobs that were lost or doubled find their verdict there.
    let mut tx = db.begin().await.unwrap();
    for session in &sessions {
        let (source, session_id) = (SOURCE.to_owned(), session.id.clone());
        queue::enqueue(
            &mut tx,
            &AnalyzeSession {
                source: source.clone(),
                session_id: session_id.clone(),
                generation: 1,
            },
        )
        .await
        .unwrap();
        let system = "kitchen".to_owned();
        queue::enqueue(
            &mut tx,
            &VerifySession {
                source: source.clone(),
                session_id: session_id.clone(),
                generation: 1,
                system,
            },
        )
        .await
        .unwrap();
        queue::enqueue(
            &mut tx,
            &DiagnoseSession {
                source,
                session_id,
                generation: 1,
            },
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    world.run_until_idle(&db).await;

    let difference = difference(&before, &final_state(&db).await);
    let differing: Vec<&str> = difference
        .lines()
        .filter(|line| !line[2..].starts_with("jobs:"))
        .collect();
    assert_eq!(differing, Vec::<&str>::new());
    assert_eq!(world.model().requests(), asked, "nothing was paid for again");
}

async fn i1_reprocessing_opens_the_next_generation_and_the_old_verdict_stays_with_a_diff() {
    let sessions = [vanished("s-1"), ordered("s-2")];
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let first = document(&db, "s-1").await;
    assert_eq!(first["status"], "fail");

    // The kitchen has found the order.
    let found = Plan::of(&[ordered("s-1")]);
    let later = found.on_database_of(&world).start().await;
    reprocess(&db, "s-1").await;
    later.run_until_idle(&db).await;

    let second = document(&db, "s-1").await;
    assert_eq!(
        (&second["status"], &second["reason"]),
        (&"pass".into(), &"all_confirmed".into())
    );
    let rows = db
        .fetch_all(
            "SELECT generation, document, diff FROM verdicts WHERE session_id = 's-1' ORDER BY generation",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0].get::<Value>("document").unwrap(),
        first,
        "the old verdict stays as it was"
    );
    assert_eq!(rows[0].get::<Option<Value>>("diff").unwrap(), None);
    let diff: Value = rows[1].get("diff").unwrap();
    assert_eq!(diff["against_generation"], 1);
    let status = diff["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|change| change["what"] == "status")
        .unwrap();
    assert_eq!((&status["before"], &status["after"]), (&"fail".into(), &"pass".into()));
    let because: Vec<&str> = diff["because"]
        .as_array()
        .unwrap()
        .iter()
        .map(|why| why.as_str().unwrap())
        .collect();
    assert_eq!(
        because,
        [
            "a system of record holds something else",
            "looked 1 time(s) instead of 4"
        ]
    );
    // The report shows the latest, and nothing of the old diagnosis.
    let latest = "SELECT COUNT(*) AS n FROM monitoring_results WHERE session_id = 's-1' AND generation = 2
        AND verification_status = 'pass' AND diagnostic_status IS NULL AND diagnostic_report_json IS NULL";
    assert_eq!(count(&db, latest).await, 1);
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE session_id = 's-2'").await,
        1
    );
}

/// Two programs reprocess all sessions again and again, while a worker judges them.
async fn i1_whoever_reprocesses_while_verdicts_are_written_no_generation_is_lost() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions)
        .set("verification", "look_again", "['10ms']")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("there is something to reprocess", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions").await == sessions.len() as u64
    })
    .await;
    let again = async |order: Vec<&Session>| {
        let mine = world.db().await;
        for _ in 0..6 {
            for session in &order {
                let mut tx = mine.begin().await.unwrap();
                let key = SessionKey::new(SOURCE, &session.id);
                assert!(reprocess::reprocess(&mut tx, &key).await.unwrap().is_some());
                tx.commit().await.unwrap();
            }
        }
    };
    tokio::join!(again(sessions.iter().collect()), again(sessions.iter().rev().collect()));
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let generations = "SELECT COUNT(*) AS n FROM sessions WHERE generation = 13 AND state = 'done'";
    assert_eq!(
        count(&db, generations).await,
        sessions.len() as u64,
        "each call opened the next"
    );
    assert_eq!(verdicts(&db).await, expected());
    // Nobody stood in another's way for so long that the server chose whom to stop.
    let stopped = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome NOT IN ('completed', 'snoozed', 'cancelled')";
    assert_eq!(count(&db, stopped).await, 0);
}

async fn i1_a_superseded_job_writes_nothing() {
    let sessions = [vanished("s-1")];
    // It waits between its looks for the test.
    let world = Plan::of(&sessions)
        .set("verification", "look_again", "['1h']")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("the first look was in vain", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions WHERE look_round = 1").await == 1
    })
    .await;

    // A job that was already claimed when the next generation was opened finds out at its end.
    reprocess(&db, "s-1").await;
    let mut tx = db.begin().await.unwrap();
    let old = VerifySession {
        source: SOURCE.to_owned(),
        session_id: "s-1".to_owned(),
        generation: 1,
        system: "kitchen".to_owned(),
    };
    queue::enqueue(&mut tx, &old).await.unwrap();
    let again = AnalyzeSession {
        source: SOURCE.to_owned(),
        session_id: "s-1".to_owned(),
        generation: 1,
    };
    queue::enqueue(&mut tx, &again).await.unwrap();
    tx.commit().await.unwrap();
    until("the second generation's first look was in vain", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM sessions WHERE generation = 2 AND look_round = 1",
        )
        .await
            == 1
    })
    .await;
    until("the old jobs have ended", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM jobs WHERE unique_key LIKE '%#1%' AND finished_at IS NULL",
        )
        .await
            == 0
    })
    .await;
    pipeline.shutdown().await;

    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 0);
    let old_job_was_cancelled =
        "SELECT COUNT(*) AS n FROM jobs WHERE unique_key LIKE '%s-1#1@kitchen' AND state = 'cancelled'";
    assert_eq!(count(&db, old_job_was_cancelled).await, 1);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

async fn i1_new_activity_after_the_verdict_is_judged_as_the_next_generation() {
    let sessions = [ordered("s-1"), ordered("s-2")];
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");

    // The caller comes back and orders another cake, which the kitchen never gets.
    let resumed = ordered("s-1")
        .turn("And I would like to order a nut cake.", "Your nut cake is ordered.")
        .call(
            "order_cake",
            json!({"action": "place", "cake": "nut"}),
            json!({"orderId": "o-lost"}),
        );
    world.append(&resumed.lines()[sessions[0].lines().len()..]);
    world.run_until_idle(&db).await;

    assert_eq!(verdict(&db, "s-1").await.0, "partial");
    assert_eq!(
        count(
            &db,
            "SELECT COUNT(*) AS n FROM verdicts WHERE session_id = 's-1' AND generation = 1 AND status = 'pass'"
        )
        .await,
        1
    );
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await,
        3,
        "the other session is left alone"
    );
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

async fn new_activity_after_the_verdict_is_left_alone_where_the_policy_says_never() {
    let sessions = [ordered("s-1")];
    let world = Plan::of(&sessions).set("source", "reanalyze", "'never'").start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let resumed = ordered("s-1").turn("And I would like to order a nut cake.", "We are out of nuts.");
    world.append(&resumed.lines()[sessions[0].lines().len()..]);
    world.run_until_idle(&db).await;
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 1);
    let seen = "SELECT COUNT(*) AS n FROM sessions WHERE state = 'done' AND generation = 1 AND observation_count = 4";
    assert_eq!(count(&db, seen).await, 1, "the activity is seen all the same");
}

async fn a_record_that_appears_only_later_is_looked_for_again_and_passes() {
    let world = Plan::of(&[late("s-1", 2)]).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let verdict = document(&db, "s-1").await;
    assert_eq!((&verdict["status"], &verdict["looks"]), (&"pass".into(), &3.into()));
    // Waiting is no attempt.
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs WHERE queue = 'verify_session'").await,
        1
    );
}

async fn each_system_has_its_own_looks() {
    let world = Plan::of(&[bakery::late_at_both("s-1", 2)]).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let verdict = document(&db, "s-1").await;
    assert_eq!(
        (&verdict["status"], &verdict["looks"]),
        (&"pass".into(), &3.into()),
        "{verdict:#}"
    );
}

async fn reprocess(db: &Db, session: &str) {
    let mut tx = db.begin().await.unwrap();
    let generation = reprocess::reprocess(&mut tx, &SessionKey::new(SOURCE, session))
        .await
        .unwrap();
    assert_eq!(generation, Some(2));
    tx.commit().await.unwrap();
}
