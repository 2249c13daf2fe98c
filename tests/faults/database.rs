//! Databases that are full, newer, unwritable: a clear word, nothing lost, and on it goes.

use std::sync::{Mutex, mpsc};

use aftercall::{
    db::{Db, DbErrorKind, Location, applied_version, latest_version},
    params,
    sandbox::language_model::{Reply, ScriptedModel},
};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, ordered},
        child::Child,
        state::{broken_promises, count, difference, document, final_state, verdict},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    a_database_of_a_newer_version_is_refused_and_left_as_it_is,
    a_database_of_a_newer_version_that_ours_may_work_beside_is_worked_on,
    processes_that_begin_at_the_same_time_make_one_database,
}

async fn run_sql(db: &Db, sql: &'static str) {
    let mut tx = db.begin().await.unwrap();
    tx.fetch_all(sql, &[]).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_stops_the_work_and_not_the_process_and_goes_on_when_there_is_room() {
    let sessions = bakery::every_way();
    let plan = || Plan::of(&sessions).model(bakery::model(&sessions));
    let undisturbed = plan().start().await;
    let expected = undisturbed.db().await;
    undisturbed.run_until_idle(&expected).await;

    let world = plan().start().await;
    let db = world.db().await;
    // The limit holds for the connection that writes, as a full disk does.
    run_sql(&db, "PRAGMA max_page_count = 1").await;
    let mut refused = db.begin().await.unwrap();
    let error = loop {
        let insert = "-- fill
            INSERT INTO audit_log (at, actor, action, subject, detail) SELECT 0, '', '', '', hex(zeroblob(100000))";
        match refused.execute(insert, &[]).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    drop(refused);
    assert_eq!(error.kind, DbErrorKind::DiskFull);
    assert!(
        error
            .to_string()
            .contains("the disk is full: make room; the work goes on from where it was"),
        "{error}"
    );

    run_sql(&db, "PRAGMA max_page_count = 1").await;
    let pipeline = world.pipeline(&db).await;
    let finished = pipeline
        .until_idle(Some(std::time::Duration::from_secs(3)), |_| {})
        .await;
    assert!(finished.is_ok_and(|state| !state.is_idle()), "there was no room for it");
    run_sql(&db, "PRAGMA max_page_count = 1000000").await;
    idle(&pipeline).await;
    pipeline.shutdown().await;

    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(difference(&final_state(&expected).await, &final_state(&db).await), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i10_an_answer_that_a_full_database_cannot_take_is_kept_and_not_bought_again() {
    // Too large for what is left of any page, and it does not compress.
    let reading = serde_json::json!({
        "intent": "question", "confidence": 0.9, "summary": bakery::noise(40_000), "details": [], "requests": [], "statements": [],
    });
    let (answer_now, may_answer) = mpsc::channel();
    let may_answer = Mutex::new(may_answer);
    let model = ScriptedModel::new(move |_| {
        let _ = may_answer.lock().unwrap().recv();
        Reply::json(reading.clone())
    });
    let world = Plan::of(&[bakery::question("s-1")])
        .model(model)
        .set("llm", "timeout", "'1m'")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("the question is asked", async || world.model().requests() == 1).await;
    run_sql(&db, "PRAGMA max_page_count = 1").await;
    answer_now.send(()).unwrap();
    let finished = pipeline
        .until_idle(Some(std::time::Duration::from_secs(1)), |_| {})
        .await;
    assert!(finished.is_ok_and(|state| !state.is_idle()), "there was no room for it");
    run_sql(&db, "PRAGMA max_page_count = 1000000").await;
    // Nobody waits for a second question.
    drop(answer_now);
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(world.model().requests(), 1);
    assert_eq!(document(&db, "s-1").await["reader"]["kind"], "llm");
}

/// A folder on a small file system of its own, where this user may mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: std::path::PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(&folder)
            .output();
        mounted
            .is_ok_and(|mounted| mounted.status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_named_and_the_process_goes_on_by_itself_once_there_is_room() {
    let world = Plan::of(&[ordered("s-1")])
        .set("database", "path", "'disk/aftercall.db'")
        .start()
        .await;
    let Some(disk) = SmallDisk::mount(world.path("disk")) else {
        println!(
            "SKIPPED a_full_disk_is_named_and_the_process_goes_on_by_itself_once_there_is_room: this user may not mount a file system"
        );
        return;
    };
    // The database is made while there is room; then somebody else takes all of it.
    world.db().await.close().await;
    let ballast = disk.0.join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 24 << 20]);
    let child = world.child(&[("AFTERCALL_LOG", "warn")]);
    until("the process says that the disk is full", || {
        let said = child.err().contains("the disk is full");
        async move { said }
    })
    .await;
    std::fs::remove_file(&ballast).unwrap();
    let ended = child.ended().await;
    if !ended.status.success() {
        // Nothing could even be begun: it said so and left, and can be started again.
        assert_eq!(ended.status.code(), Some(3), "{ended}");
        world.run_child_until_idle().await;
    }
    let db = world.db().await;
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_while_it_runs_stops_the_work_and_not_the_process() {
    // What was written once is written over: the rest must need more than that.
    let sessions: Vec<_> = (0..30)
        .map(|number| ordered(&format!("s-{number}")).turn(&bakery::noise(300_000), "Pardon?"))
        .collect();
    let world = Plan::of(&sessions)
        .set("database", "path", "'disk/aftercall.db'")
        .set("records", "pace", "'50ms'")
        .start()
        .await;
    let Some(disk) = SmallDisk::mount(world.path("disk")) else {
        println!(
            "SKIPPED a_disk_that_fills_up_while_it_runs_stops_the_work_and_not_the_process: this user may not mount a file system"
        );
        return;
    };
    let db = world.db().await;
    let mut child = world.child(&[("AFTERCALL_LOG", "warn")]);
    until("it is at work", async || {
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await >= 3
    })
    .await;
    let ballast = disk.0.join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 24 << 20]);
    until("the process says that the disk is full", || {
        let said = child.err().contains("the disk is full");
        async move { said }
    })
    .await;
    assert!(child.runs(), "it stays up");
    std::fs::remove_file(&ballast).unwrap();
    let ended = child.ended().await;
    assert!(ended.status.success(), "{ended}");
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'").await,
        30
    );
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    db.close().await;
}

/// `run` ends at once with exit code 3 and these words.
async fn refuses(world: &World, words: &[&str]) {
    let ended = world.child(&[]).ended().await;
    assert_eq!(ended.status.code(), Some(3), "{ended}");
    for word in words {
        assert!(ended.err.contains(word), "`{word}` is missing: {ended}");
    }
}

/// A later version was here, which others may work beside from that one on.
async fn migrate_to_9999(db: &Db, oldest_beside: i64) {
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', $1, $2, 1)",
        &params![true, vec![0_u8]],
    )
    .await
    .unwrap();
    tx.execute("UPDATE schema_info SET oldest_beside = $1", &params![oldest_beside])
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let db = world.db().await;
    migrate_to_9999(&db, 9_999).await;
    let before = final_state(&db).await;
    let error = Db::open(&world.config.database.location()).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Newer);
    refuses(&world, &["newer version", "9999", "--db"]).await;
    assert_eq!(before, final_state(&db).await);
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM workers").await,
        0,
        "nothing was written"
    );
}

async fn a_database_of_a_newer_version_that_ours_may_work_beside_is_worked_on() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let db = world.db().await;
    migrate_to_9999(&db, latest_version()).await;
    let ended = world.child(&[("AFTERCALL_LOG", "warn")]).ended().await;
    assert!(ended.status.success(), "{ended}");
    assert!(ended.err.contains("of a newer version"), "it says so: {ended}");
    assert_eq!(verdict(&db, "s-1").await.0, "pass");
    let newest = "SELECT MAX(version) AS n FROM _sqlx_migrations";
    assert_eq!(count(&db, newest).await, 9_999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_where_nothing_can_be_written_is_named_with_what_to_do() {
    // Below a file, and where not even root may write.
    for path in [
        "bundle.jsonl/data/aftercall.db",
        "/proc/aftercall/aftercall.db",
        "/proc/aftercall.db",
    ] {
        let world = Plan::of(&[ordered("s-1")])
            .set("database", "path", &format!("'{path}'"))
            .start()
            .await;
        refuses(&world, &[path.rsplit_once('/').unwrap().0, "database"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_database_is_left_alone() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let text = "This is somebody's diary. ".repeat(100);
    std::fs::write(world.path("aftercall.db"), &text).unwrap();
    let error = Db::open(&Location::sqlite(world.path("aftercall.db")))
        .await
        .unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Damaged, "{error}");
    refuses(&world, &["not a database"]).await;
    assert_eq!(std::fs::read_to_string(world.path("aftercall.db")).unwrap(), text);
}

async fn processes_that_begin_at_the_same_time_make_one_database() {
    for _ in 0..10 {
        let world = Plan::of(&[]).on_empty_database().start().await;
        let children: Vec<Child> = (0..6).map(|_| Child::start(&world, &["migrate"], &[])).collect();
        for child in children {
            let ended = child.ended().await;
            assert!(ended.status.success(), "{ended}");
        }
        let db = world.db().await;
        assert_eq!(applied_version(&db).await.unwrap(), latest_version());
        assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM schema_info").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_process_is_just_making_is_waited_for() {
    use sqlx::{ConnectOptions as _, Connection as _};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aftercall.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let location = Location::sqlite(&path);
    let open = Db::open(&location);
    tokio::pin!(open);
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut open).await;
    assert!(
        early.is_err(),
        "it did not wait: {:?}",
        early.map(|opened| opened.map(drop))
    );
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    open.await.unwrap().close().await;
}
