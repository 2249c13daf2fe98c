//! What an operator does to many jobs or sessions at once: shown first, done, resumed after a `kill -9`, undone.

use aftercall::{
    db::{Db, Tx},
    operation::{self, Step},
    params,
    queue::{self, EnqueueOptions},
};
use serde_json::Value;

use crate::{
    on_each_engine,
    support::{
        Engine,
        bakery::{ordered, vanished},
        child::Child,
        engine,
        state::{broken_promises, count},
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    a_change_is_shown_before_it_is_made_and_written_down,
    a_discard_ends_sessions_with_the_reason_and_is_undone,
    sessions_are_judged_again_by_filter,
    an_operation_goes_on_in_a_worker_after_its_process_was_killed,
    an_operation_whose_job_was_cancelled_is_taken_up_again,
    the_diagnosis_of_an_older_verdict_is_not_taken_for_that_of_the_latest,
}

async fn said(world: &World, arguments: &[&str]) -> String {
    let ended = Child::start(world, arguments, &[]).ended().await;
    assert!(ended.status.success(), "{arguments:?}: {ended}");
    ended.out
}

async fn json(world: &World, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&said(world, &arguments).await).unwrap()
}

/// Scans that are due tomorrow: nobody does them, and nothing calls for them.
async fn scans(db: &Db, count: usize) {
    let mut tx = db.begin().await.unwrap();
    let tomorrow = tx.now().await.unwrap() + chrono::TimeDelta::days(1);
    for number in 0..count {
        let scan = aftercall::jobs::DiscoverSessions {
            source: format!("elsewhere-{number}"),
        };
        let options = EnqueueOptions {
            run_at: Some(tomorrow),
            ..EnqueueOptions::default()
        };
        queue::enqueue_with(&mut tx, &scan, options).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn scheduled(db: &Db) -> u64 {
    count(
        db,
        "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND state = 'scheduled'",
    )
    .await
}

async fn a_change_is_shown_before_it_is_made_and_written_down() {
    let world = Plan::of(&[]).start().await;
    let db = world.db().await;
    scans(&db, 3).await;
    let filter = ["jobs", "cancel", "--queue", "discover_sessions", "--key", "elsewhere"];
    let shown = said(&world, &filter).await;
    assert!(
        shown.contains("3 job(s) match") && shown.contains("elsewhere-2"),
        "{shown}"
    );
    assert_eq!(scheduled(&db).await, 3, "nothing is done yet");
    // A variable of a shell that is not set: it must not mean all.
    for empty in ["--key", "--error"] {
        let ended = Child::start(&world, &["jobs", "cancel", empty, "", "--yes"], &[])
            .ended()
            .await;
        assert_eq!(ended.status.code(), Some(2), "{ended}");
    }
    assert_eq!(scheduled(&db).await, 3);
    let preview = json(&world, &filter).await;
    assert_eq!((&preview["matches"], &preview["acted"]), (&3.into(), &false.into()));
    assert_eq!(preview["sample"].as_array().unwrap().len(), 3);
    let done = said(&world, &[&filter[..], &["--yes", "--reason", "not ours"]].concat()).await;
    assert!(done.contains("cancel: 3 changed"), "{done}");
    assert_eq!(scheduled(&db).await, 0);
    let listed = json(&world, &["operations", "list"]).await;
    assert_eq!((&listed[0]["state"], &listed[0]["done"]), (&"done".into(), &3.into()));
    let rows = db
        .fetch_all("SELECT action, detail FROM audit_log ORDER BY id", &[])
        .await
        .unwrap();
    let actions: Vec<String> = rows.iter().map(|row| row.get("action").unwrap()).collect();
    assert_eq!(actions, ["cancel", "cancel_done"]);
    let detail: String = rows[0].get("detail").unwrap();
    assert!(detail.contains("not ours") && detail.contains("elsewhere"), "{detail}");
    let unknown = "0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80";
    let ended = Child::start(&world, &["jobs", "cancel", unknown], &[]).ended().await;
    assert!(ended.err.contains("1 of these jobs are not known"), "{ended}");
    // A filter that says nothing would match everything there is.
    let ended = Child::start(&world, &["jobs", "delete", "--yes"], &[]).ended().await;
    assert_eq!(ended.status.code(), Some(2), "{ended}");
    assert!(ended.err.contains("--queue"), "{ended}");
}

async fn a_discard_ends_sessions_with_the_reason_and_is_undone() {
    let sessions = [ordered("s-1"), ordered("s-2")];
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    said(&world, &["pause", "verify_session", "--reason", "a test"]).await;
    let pipeline = world.pipeline(&db).await;
    until("both wait for their verification", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'verify_session' AND state = 'available'",
        )
        .await
            == 2
    })
    .await;
    let act = [
        "jobs",
        "discard",
        "--queue",
        "verify_session",
        "--reason",
        "incident 7",
        "--yes",
    ];
    let done = json(&world, &act).await;
    assert_eq!((&done["done"], &done["state"]), (&2.into(), &"done".into()), "{done}");
    let given_up = count(
        &db,
        "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'error'",
    )
    .await;
    assert_eq!(given_up, 2);
    let shown = said(&world, &["show", "s-1"]).await;
    assert!(shown.contains("incident 7"), "{shown}");
    let operation = done["id"].as_str().unwrap();
    let undone = said(&world, &["operations", "undo", operation]).await;
    assert!(undone.contains("restore: 2 changed"), "{undone}");
    said(&world, &["resume", "verify_session"]).await;
    until("both have their verdict after all", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'pass'",
        )
        .await
            == 2
    })
    .await;
    pipeline.shutdown().await;
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    // What still discards would discard again.
    scans(&db, 3).await;
    let act = [
        "jobs",
        "discard",
        "--key",
        "elsewhere",
        "--reason",
        "x",
        "--yes",
        "--background",
    ];
    said(&world, &act).await;
    let running = json(&world, &["operations", "list"]).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let early = Child::start(&world, &["operations", "undo", &running], &[])
        .ended()
        .await;
    assert!(early.err.contains("still discards"), "{early}");
    said(&world, &["operations", "stop", &running]).await;
    let stopped = said(&world, &["operations", "undo", &running, "--background"]).await;
    assert!(!stopped.is_empty());
    // Only a discard takes something away that can be given back.
    let undo = json(&world, &["operations", "list"]).await[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let ended = Child::start(&world, &["operations", "undo", &undo], &[]).ended().await;
    assert!(ended.err.contains("only a discard can be undone"), "{ended}");
}

async fn sessions_are_judged_again_by_filter() {
    let sessions = [ordered("s-1"), vanished("s-2"), vanished("s-3")];
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let preview = said(&world, &["reprocess", "--status", "fail"]).await;
    assert!(preview.contains("2 session(s) would be judged again"), "{preview}");
    assert!(preview.contains("s-3") && !preview.contains("s-1"), "{preview}");
    let done = said(&world, &["reprocess", "--status", "fail", "--yes"]).await;
    assert!(done.contains("reprocess: 2 changed"), "{done}");
    world.run_until_idle(&db).await;
    let second = "SELECT COUNT(*) AS n FROM verdicts WHERE generation = 2";
    assert_eq!(count(&db, second).await, 2);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

async fn an_operation_goes_on_in_a_worker_after_its_process_was_killed() {
    const MANY: usize = 6_000;
    let world = Plan::of(&[]).start().await;
    let db = world.db().await;
    scans(&db, MANY).await;
    let act = [
        "jobs",
        "cancel",
        "--queue",
        "discover_sessions",
        "--key",
        "elsewhere",
        "--yes",
    ];
    let acting = Child::start(&world, &act, &[]);
    until("it has begun", async || scheduled(&db).await < MANY as u64).await;
    acting.signal(rustix::process::Signal::KILL);
    drop(acting.ended().await);
    assert!(scheduled(&db).await > 0, "it was killed in the middle of it");
    let worker = Child::start(&world, &["worker", "--queues", "apply_operation"], &[]);
    until("a worker has done the rest", async || scheduled(&db).await == 0).await;
    until("and says so", async || {
        count(&db, "SELECT COUNT(*) AS n FROM operations WHERE state = 'done'").await == 1
    })
    .await;
    let operations = json(&world, &["operations", "list"]).await;
    assert_eq!(operations[0]["done"], MANY, "each was counted once: {operations}");
    drop(worker);
}

/// Has the row of one of the scans until its end.
async fn holds_one(db: &Db) -> Tx {
    const HOLD: &str = "SELECT id FROM jobs WHERE unique_key LIKE '%elsewhere-1%' FOR UPDATE";
    let mut holder = db.begin().await.unwrap();
    assert!(holder.fetch_optional(HOLD, &params![]).await.unwrap().is_some());
    holder
}

/// In a file nobody has a row while another one writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_another_transaction_has_is_changed_once_it_is_free() {
    engine::on(Engine::Postgres, async {
        let world = Plan::of(&[]).start().await;
        let db = world.db().await;
        scans(&db, 3).await;
        let holder = holds_one(&db).await;
        let acting = Child::start(&world, &["jobs", "cancel", "--key", "elsewhere", "--yes"], &[]);
        let done = "SELECT COUNT(*) AS n FROM operations WHERE done = 2 AND state = 'running'";
        until("the others are cancelled", async || count(&db, done).await == 1).await;
        assert_eq!(scheduled(&db).await, 1);
        drop(holder);
        let ended = acting.ended().await;
        assert!(ended.out.contains("cancel: 3 changed"), "{ended}");
        assert_eq!(scheduled(&db).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_another_transaction_keeps_is_left_alone_and_said() {
    engine::on(Engine::Postgres, async {
        let world = Plan::of(&[]).start().await;
        let db = world.db().await;
        scans(&db, 3).await;
        said(
            &world,
            &["jobs", "cancel", "--key", "elsewhere", "--yes", "--background"],
        )
        .await;
        let operation = operation::list(&db, 1).await.unwrap()[0].id;
        let holder = holds_one(&db).await;
        let step = async || {
            let mut tx = db.begin().await.unwrap();
            let step = operation::step(&mut tx, operation).await.unwrap();
            tx.commit().await.unwrap();
            step
        };
        until("the others are changed", async || step().await == Step::Waits).await;
        let early = operation::load(&db, operation).await.unwrap().unwrap();
        assert_eq!((early.done, early.state.as_str()), (2, "running"));
        db.advance_clock(std::time::Duration::from_secs(31)).await.unwrap();
        assert_eq!(step().await, Step::Ended);
        let operation = operation::load(&db, operation).await.unwrap().unwrap();
        assert_eq!((operation.done, operation.skipped["busy"]), (2, 1));
        drop(holder);
        assert_eq!(scheduled(&db).await, 1);
    })
    .await;
}

async fn an_operation_whose_job_was_cancelled_is_taken_up_again() {
    let world = Plan::of(&[]).start().await;
    let db = world.db().await;
    scans(&db, 3).await;
    let act = ["jobs", "cancel", "--key", "elsewhere", "--yes", "--background"];
    said(&world, &act).await;
    let gone = ["jobs", "cancel", "--queue", "apply_operation", "--yes"];
    let gone = json(&world, &gone).await;
    assert_eq!(gone["done"], 1, "{gone}");
    let lost = "SELECT COUNT(*) AS n FROM operations o WHERE o.state = 'running' AND NOT EXISTS (SELECT 1 FROM jobs j
        WHERE j.unique_key = CAST(o.id AS TEXT) AND j.state IN ('available', 'scheduled', 'running', 'retryable'))";
    assert_eq!((count(&db, lost).await, scheduled(&db).await), (1, 3));

    let pipeline = world.pipeline(&db).await;
    db.advance_clock(std::time::Duration::from_mins(5)).await.unwrap();
    until("its jobs are cancelled", async || scheduled(&db).await == 0).await;
    pipeline.shutdown().await;
    let done = "SELECT COUNT(*) AS n FROM operations WHERE state = 'done'";
    until("both say so", async || count(&db, done).await == 2).await;
}

async fn the_diagnosis_of_an_older_verdict_is_not_taken_for_that_of_the_latest() {
    let world = Plan::of(&[vanished("s-1")]).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let jobs = json(&world, &["jobs", "list", "--queue", "diagnose_session"]).await;
    let first = jobs["jobs"][0]["id"]
        .as_str()
        .unwrap_or_else(|| panic!("{jobs}"))
        .to_owned();
    said(&world, &["reprocess", "s-1"]).await;
    world.run_until_idle(&db).await;
    let pending = "SELECT COUNT(*) AS n FROM monitoring_results WHERE generation = 2 AND diagnostic_status = 'pending'";
    assert_eq!(count(&db, pending).await, 0);

    said(&world, &["jobs", "retry", &first, "--state", "completed"]).await;
    assert_eq!(count(&db, pending).await, 0);
    let second = json(&world, &["jobs", "list", "--queue", "diagnose_session", "--key", "#2"]).await;
    let second = second["jobs"][0]["id"].as_str().unwrap_or_else(|| panic!("{second}"));
    assert_ne!(second, first);
    said(&world, &["jobs", "retry", second, "--state", "completed"]).await;
    assert_eq!(count(&db, pending).await, 1, "its own is asked for again");
    world.run_until_idle(&db).await;
    assert_eq!(count(&db, pending).await, 0);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}
