//! Any program enqueues in its own transaction, by a function in SQL.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::Db,
    queue::{WorkerSettings, inspect},
};
use serde_json::json;
use uuid::Uuid;

use super::world::{Plain, Serial, What, World, ends_as, enqueue, prepare, row, settings, start_with};
use crate::support::{Engine, TestDb};

/// One worker that hears announcements, and does not look by itself for an hour.
async fn listening(db: &Db) -> (Arc<World>, aftercall::queue::Running) {
    prepare(db).await;
    let world = Arc::new(World::default());
    let settings = WorkerSettings {
        poll: Some(Duration::from_hours(1)),
        ..settings()
    };
    let running = start_with(db, &world, settings).await;
    // Whoever hears this one listens.
    enqueue(db, &Plain::of("first", What::Done)).await;
    world.started("first", 1).await;
    (world, running)
}

fn args(key: &str) -> serde_json::Value {
    json!({"key": key, "part": "", "unique": null, "what": "Done", "gate": null})
}

async fn called(db: &Db, sql: &'static str, args: serde_json::Value) -> Result<Uuid, String> {
    let mut tx = db.begin().await.unwrap();
    let row = tx
        .fetch_optional(sql, &aftercall::params![args])
        .await
        .map_err(|error| error.to_string())?
        .unwrap();
    tx.commit().await.unwrap();
    Ok(row.get("id").unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_a_job_of_another_program_is_there_once_its_transaction_commits() {
    let database = TestDb::new(Engine::Postgres).await;
    let other = TestDb::seen_from_outside(&database).await;
    let (world, running) = listening(&database.db).await;
    let mut tx = other.begin().await.unwrap();
    tx.fetch_all(
        "SELECT aftercall_enqueue('plain', $1) AS id",
        &aftercall::params![args("never")],
    )
    .await
    .unwrap();
    drop(tx);
    let id = called(&other, "SELECT aftercall_enqueue('plain', $1) AS id", args("a"))
        .await
        .unwrap();
    // Told by the function itself: nobody looks for an hour.
    world.started("a", 1).await;
    let job = ends_as(&database.db, id, "completed").await;
    assert_eq!((job.max_attempts, job.limit_key.as_str()), (3, "plain"));
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(world.starts_of("never"), 0, "what was rolled back is not there");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_another_program_carries_on_its_trace() {
    let database = TestDb::new(Engine::Postgres).await;
    let other = TestDb::seen_from_outside(&database).await;
    let (_world, running) = listening(&database.db).await;
    let trace_of = async |set: Option<&'static str>| {
        let mut tx = other.begin().await.unwrap();
        if let Some(set) = set {
            tx.fetch_all(set, &[]).await.unwrap();
        }
        let sql = "SELECT aftercall_enqueue('plain', $1) AS id";
        let row = tx
            .fetch_optional(sql, &aftercall::params![args("t")])
            .await
            .unwrap()
            .unwrap();
        let id: Uuid = row.get("id").unwrap();
        let sql = "SELECT trace_context FROM jobs WHERE id = $1";
        let row = tx.fetch_optional(sql, &aftercall::params![id]).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        row.get::<Option<String>>("trace_context").unwrap()
    };
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(trace_of(None).await, None);
    let set =
        "SELECT set_config('aftercall.traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', true)";
    assert_eq!(trace_of(Some(set)).await.as_deref(), Some(traceparent));
    // It was the transaction's; on a connection that once had it, it is empty.
    assert_eq!(trace_of(None).await, None);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_another_program_obeys_the_queues_rules() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    let (world, running) = listening(db).await;
    let later = "SELECT aftercall_enqueue('serial', $1, unique_key => 'k', partition => 'p', priority => 7,
        run_at => clock_timestamp() + interval '1 hour', gate => 'records:practice') AS id";
    let id = called(db, later, args("later")).await.unwrap();
    let job = row(db, id).await;
    assert_eq!(
        (
            job.state.as_str(),
            job.limit_key.as_str(),
            job.partition.as_str(),
            job.priority
        ),
        ("scheduled", "serial/p", "p", 7)
    );
    assert_eq!(job.gate.as_deref(), Some("records:practice"));
    assert_eq!(called(db, later, args("twin")).await, Ok(id), "a live twin does it");
    let depths = inspect::queue_depths(db).await.unwrap();
    let serial = depths.iter().find(|depth| depth.queue == "serial").unwrap();
    assert_eq!(
        serial
            .limits
            .iter()
            .find(|limit| limit.key == "serial/p")
            .unwrap()
            .max_running,
        Some(1)
    );
    // The same job by our own way is its twin, and the other way round.
    let mut twin = Serial::of("later", What::Done);
    twin.unique = Some("k".to_owned());
    assert_eq!(enqueue(db, &twin).await.id(), id);
    assert_eq!(world.starts_of("later"), 0);

    let unknown = called(db, "SELECT aftercall_enqueue('nosuch', $1) AS id", args("a"))
        .await
        .unwrap_err();
    assert!(unknown.contains("aftercall has no queue 'nosuch'"), "{unknown}");
    let broken = called(db, "SELECT aftercall_enqueue('plain', $1) AS id", json!([1]))
        .await
        .unwrap_err();
    assert!(broken.contains("JSON object"), "{broken}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_another_program_put_off_for_ever_stops_nobody() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    let (_, running) = listening(db).await;
    let never = "SELECT aftercall_enqueue('plain', $1, run_at => 'infinity') AS id";
    let never = called(db, never, args("never")).await.unwrap();
    let other = enqueue(db, &Plain::of("other", What::Done)).await.id();
    ends_as(db, other, "completed").await;
    assert_eq!(row(db, never).await.state, "scheduled");
    assert_eq!(inspect::pending_work(db).await.unwrap().later.len(), 1);
    running.shutdown().await;
}
