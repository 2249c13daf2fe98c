//! A partition with a hundred thousand jobs before its limit does not delay another one.

use std::{sync::Arc, time::Duration};

use aftercall::{
    params,
    queue::{WorkerSettings, inspect},
};
use tokio::time::Instant;

use crate::{
    queue::world::{Probe as _, Serial, What, World, enqueue, prepare, settings, start_with},
    support::{Engine, TestDb},
};

/// How long each of so many jobs of the other partition waits, one after the other.
async fn waits(database: &TestDb, world: &World, name: &str) -> Vec<Duration> {
    let mut waits = Vec::new();
    for number in 0..60 {
        let key = format!("{name}-{number}");
        let asked = Instant::now();
        enqueue(&database.db, &Serial::of(&key, What::Done).part("free")).await;
        world.started(&key, 1).await;
        waits.push(asked.elapsed());
    }
    waits.sort();
    waits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_hundred_thousand_jobs_before_a_limit_do_not_delay_another_partition() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let running = start_with(
        db,
        &world,
        WorkerSettings {
            poll: None,
            ..settings()
        },
    )
    .await;
    enqueue(db, &Serial::of("holder", What::Hold).part("full")).await;
    world.started("holder", 1).await;
    let idle = waits(&database, &world, "idle").await;

    let mut tx = db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    let args = serde_json::to_value(Serial::of("many", What::Done).part("full")).unwrap();
    tx.execute(
        "-- many
         INSERT INTO jobs (id, queue, partition, limit_key, args, state, run_at, max_attempts, created_at)
         SELECT aftercall_uuid(), 'serial', 'full', 'serial/full', $1, 'available', $2::timestamptz, 8, $2::timestamptz
         FROM generate_series(1, 100000)",
        &params![args, now],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let busy = waits(&database, &world, "busy").await;

    let p95 = |waits: &[Duration]| waits[waits.len() * 95 / 100];
    println!(
        "pick-up p95: {:?} idle, {:?} beside 100,000 waiting",
        p95(&idle),
        p95(&busy)
    );
    // What two cores do beside us is not the queue's doing.
    let floor = Duration::from_millis(15);
    assert!(
        p95(&busy) <= 2 * p95(&idle).max(floor),
        "{:?} beside {:?}",
        p95(&busy),
        p95(&idle)
    );
    let row = inspect::queue_depths(db).await.unwrap();
    let depth = row.iter().find(|depth| depth.queue == "serial").unwrap();
    assert_eq!(depth.by_state.get("available"), Some(&100_000));
    world.let_go("holder");
    running.abort().await;
}
