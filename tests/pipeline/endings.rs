//! Sessions that cannot be judged end with a reason and can be called for again; sessions that are not over wait with one.

use std::time::Duration;

use aftercall::{
    db::{Db, Sql},
    domain::session::SessionKey,
    queue::control,
    reprocess,
    sandbox::{
        language_model::{Reply, ScriptedModel},
        records::Fault,
    },
};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, ordered, question, vanished},
        state::{broken_promises, count, document, verdict, waiting},
        until,
        world::{Plan, SOURCE, World, idle},
    },
};

on_each_engine! {
    a_session_that_its_source_no_longer_holds_ends_as_an_error_that_says_so,
    a_system_whose_answers_cannot_be_read_is_given_up_only_after_the_deadline,
    a_system_that_is_down_is_never_given_up,
    a_model_whose_server_answers_pages_for_ever_does_not_hold_a_session_for_ever,
    a_model_that_is_down_is_never_a_completed_diagnosis,
    i10_reprocessing_the_same_content_buys_nothing,
    a_session_of_a_file_that_still_grows_waits_with_a_reason_until_it_rests,
    a_playbook_with_a_fault_is_refused_with_its_place,
    a_source_that_is_no_longer_configured_leaves_its_sessions_waiting_with_a_reason,
}

async fn reprocess(db: &Db, session: &str) {
    let mut tx = db.begin().await.unwrap();
    reprocess::reprocess(&mut tx, &SessionKey::new(SOURCE, session))
        .await
        .unwrap()
        .unwrap();
    tx.commit().await.unwrap();
}

async fn pause(db: &Db, queue: &str) {
    let mut tx = db.begin().await.unwrap();
    control::pause(&mut tx, queue, "test", "not yet").await.unwrap();
    tx.commit().await.unwrap();
}

async fn resume(db: &Db, queue: &str) {
    let mut tx = db.begin().await.unwrap();
    control::resume(&mut tx, queue, "test").await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_session_that_its_source_no_longer_holds_ends_as_an_error_that_says_so() {
    let world = Plan::of(&[ordered("s-1"), question("s-2")]).start().await;
    let db = world.db().await;
    pause(&db, "analyze_session").await;
    let pipeline = world.pipeline(&db).await;
    until("both are settled", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'settled'").await == 2
    })
    .await;
    std::fs::write(world.path("bundle.jsonl"), question("s-2").lines()).unwrap();
    resume(&db, "analyze_session").await;
    idle(&pipeline).await;
    assert_eq!(verdict(&db, "s-1").await, ("error".to_owned(), "gave_up".to_owned()));
    let summary = document(&db, "s-1").await["summary"].as_str().unwrap().to_owned();
    assert!(
        summary.contains("no longer holds session calls/s-1") && summary.contains("aftercall reprocess"),
        "{summary}"
    );
    assert_eq!(verdict(&db, "s-2").await.0, "skipped");

    // Reconcile does not call for it for ever.
    let jobs = count(&db, "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session'").await;
    pipeline.look_now().await.unwrap();
    idle(&pipeline).await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session'").await,
        jobs
    );

    // Restored and called for again, it is judged.
    world.append(&ordered("s-1").lines());
    pipeline.look_now().await.unwrap();
    idle(&pipeline).await;
    reprocess(&db, "s-1").await;
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

async fn a_system_whose_answers_cannot_be_read_is_given_up_only_after_the_deadline() {
    let world = Plan::of(&[ordered("s-1")])
        .set("verification", "give_up_after", "'1h'")
        .start()
        .await;
    world.records.fail("", Fault::Html, u64::MAX);
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("it waits", async || {
        count(&db, "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'snoozed'").await >= 2
    })
    .await;
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 0);
    db.advance_clock(Duration::from_hours(2)).await.unwrap();
    idle(&pipeline).await;
    assert_eq!(
        verdict(&db, "s-1").await,
        ("error".to_owned(), "records_unreadable".to_owned())
    );
    world.records.fail("", Fault::Html, 0);
    reprocess(&db, "s-1").await;
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
}

async fn a_system_that_is_down_is_never_given_up() {
    let world = Plan::of(&[ordered("s-1")])
        .set("verification", "give_up_after", "'1h'")
        .start()
        .await;
    world.records.fail("", Fault::Status(503), u64::MAX);
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    for _ in 0..3 {
        let snoozed = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'snoozed'";
        let before = count(&db, snoozed).await;
        db.advance_clock(Duration::from_hours(26)).await.unwrap();
        until("it was tried again", async || count(&db, snoozed).await > before + 1).await;
    }
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 0);
    world.records.fail("", Fault::Html, 0);
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
}

async fn a_model_whose_server_answers_pages_for_ever_does_not_hold_a_session_for_ever() {
    let model = ScriptedModel::new(|_| Reply::Raw(200, "text/html", "<html>Please log in</html>".to_owned()));
    let world = Plan::of(&[question("s-1")]).model(model).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let verdict = document(&db, "s-1").await;
    assert_eq!(
        (&verdict["status"], &verdict["reader"]["kind"]),
        (&"skipped".into(), &"offline".into())
    );
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM llm_calls WHERE state = 'failed'").await,
        world.model().requests()
    );
}

async fn a_model_that_is_down_is_never_a_completed_diagnosis() {
    let sessions = [vanished("s-1")];
    let script = sessions.clone();
    let model = ScriptedModel::new(move |asked| {
        if asked.schema.as_deref() == Some("root_cause") && asked.before < 5 {
            return Reply::Error(503, "overloaded".to_owned(), "later".to_owned());
        }
        bakery::answer(&script, asked)
    });
    let world = Plan::of(&sessions)
        .model(model)
        .set("verification", "look_again", "[]")
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let row = db
        .fetch_optional(
            "SELECT diagnostic_status, diagnostic_report_json AS report FROM monitoring_results",
            &[],
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get::<String>("diagnostic_status").unwrap(), "complete");
    let report: serde_json::Value = row.get("report").unwrap();
    assert_eq!(report["basis"], "experts", "{report}");
    let snoozed = "SELECT COUNT(*) AS n FROM job_attempts WHERE queue = 'diagnose_session' AND outcome = 'snoozed'";
    assert!(count(&db, snoozed).await >= 3);
    assert_eq!(
        count(
            &db,
            "SELECT MAX(attempt) AS n FROM jobs WHERE queue = 'diagnose_session'"
        )
        .await,
        1
    );
}

async fn i10_reprocessing_the_same_content_buys_nothing() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let asked = world.model().requests();
    for session in &sessions {
        reprocess(&db, &session.id).await;
    }
    world.run_until_idle(&db).await;
    assert_eq!(world.model().requests(), asked);
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE generation = 2").await,
        sessions.len() as u64
    );
    let pending = "SELECT COUNT(*) AS n FROM monitoring_results WHERE diagnostic_status = 'pending'";
    assert_eq!(count(&db, pending).await, 0);
}

async fn a_session_of_a_file_that_still_grows_waits_with_a_reason_until_it_rests() {
    let world = Plan::of(&[ordered("s-1")])
        .set("source", "settle", "'idle'")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("it waits to settle", async || {
        let waits = "SELECT COUNT(*) AS n FROM sessions WHERE state = 'open' AND waiting_until IS NOT NULL
            AND waiting_reason LIKE '%waiting for two equal scans%'";
        count(&db, waits).await == 1
    })
    .await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session'").await,
        0
    );
    db.advance_clock(Duration::from_secs(61)).await.unwrap();
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
}

async fn a_playbook_with_a_fault_is_refused_with_its_place() {
    let broken = include_str!("../support/bakery.toml").replace("version = 1", "version = 'one'");
    let line = broken.lines().position(|line| line.contains("'one'")).unwrap() + 1;
    let world: World = Plan::of(&[ordered("s-1")])
        .files(&[("broken.toml", &broken)])
        .set("source", "playbook", "'./broken.toml'")
        .start()
        .await;
    let ended = world.child(&[]).ended().await;
    assert_eq!(ended.status.code(), Some(2), "{ended}");
    assert!(
        ended.err.contains(&format!("broken.toml:{line}: ")) && ended.err.contains("whole number"),
        "{ended}"
    );
}

async fn a_source_that_is_no_longer_configured_leaves_its_sessions_waiting_with_a_reason() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let db = world.db().await;
    pause(&db, "analyze_session").await;
    let pipeline = world.pipeline(&db).await;
    until("it is settled", async || {
        count(&db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'settled'").await == 1
    })
    .await;
    pipeline.shutdown().await;
    resume(&db, "analyze_session").await;

    let other = Plan::of(&[])
        .set("source", "name", "'others'")
        .on_database_of(&world)
        .start()
        .await;
    let pipeline = other.pipeline(&db).await;
    until("the job waits for its source", async || {
        let waits =
            "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND attempt = 0 AND held_by = 'source:calls'";
        count(&db, waits).await == 1
    })
    .await;
    pipeline.shutdown().await;
    let why = &waiting(&db).await[0].1;
    assert!(
        why.contains("(not_configured): source calls is not in the configuration"),
        "{why}"
    );
    // Long before its gate would be tried by itself.
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        Sql::each(
            "UPDATE gates SET probe_at = probe_at + 86400000000",
            "UPDATE gates SET probe_at = probe_at + interval '1 day'",
        ),
        &[],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    world.run_until_idle(&db).await;
    assert_eq!(waiting(&db).await, []);
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
}
