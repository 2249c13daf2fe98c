//! What happens to the database's file while processes work on it: it is locked for long, or taken away.

use std::fs;

use crate::support::{
    bakery::{self, Session},
    state::{broken_promises, count},
    until,
    world::{Plan, World},
};

fn orders() -> Vec<Session> {
    (0..20).map(|number| bakery::ordered(&format!("s-{number}"))).collect()
}

async fn world() -> World {
    Plan::of(&orders()).set("records", "pace", "'30ms'").start().await
}

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
const PASSED: &str = "SELECT COUNT(*) AS n FROM verdicts WHERE status = 'pass'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_lock_that_another_program_keeps_past_a_lease_costs_only_time() {
    let world = world().await;
    let db = world.db().await;
    let child = world.child(&[("AFTERCALL_LOG", "warn")]);
    until("it is at work", async || count(&db, VERDICTS).await >= 3).await;
    // Between two jobs no lease is held: until one is cut off.
    let lock = db.begin().await.unwrap();
    until("the process gives up its leases or waits for the lock", || {
        let said = child.err();
        let waits =
            said.contains("could not be renewed in time") || said.contains("another process holds the write lock");
        async move { waits }
    })
    .await;
    drop(lock);
    let ended = child.ended().await;
    assert!(ended.status.success(), "{ended}");
    assert_eq!(count(&db, PASSED).await, 20);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_moved_away_is_named_and_the_work_goes_on_when_it_is_back() {
    let world = world().await;
    let db = world.db().await;
    let mut child = world.child(&[("AFTERCALL_LOG", "warn")]);
    until("it is at work", async || count(&db, VERDICTS).await >= 3).await;
    fs::rename(world.path("aftercall.db"), world.path("elsewhere.db")).unwrap();
    until("the process says that its file is gone", || {
        let said = child.err().contains("is gone or was replaced while in use");
        async move { said }
    })
    .await;
    assert!(child.runs(), "it stays up");
    let error = db.begin().await.unwrap_err();
    assert!(
        error.is_passing() && error.to_string().contains("put it back"),
        "{error}"
    );
    fs::rename(world.path("elsewhere.db"), world.path("aftercall.db")).unwrap();
    let ended = child.ended().await;
    assert!(ended.status.success(), "{ended}");
    assert_eq!(count(&db, PASSED).await, 20);
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_to_a_database_that_was_replaced() {
    let world = world().await;
    let db = world.db().await;
    fs::remove_file(world.path("aftercall.db")).unwrap();
    fs::write(world.path("aftercall.db"), "another file").unwrap();
    assert!(db.begin().await.unwrap_err().to_string().contains("was replaced"));
    drop(db);
    assert_eq!(fs::read_to_string(world.path("aftercall.db")).unwrap(), "another file");
}
