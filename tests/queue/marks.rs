//! Claims begin where the last one ended, and still leave no job behind. On PostgreSQL: an embedded file cleans up by itself.

use std::sync::Arc;

use aftercall::{
    params,
    queue::{self, EnqueueOptions, WorkerSettings, minutes},
};
use tokio::time::Instant;

use super::world::{Plain, Serial, What, Wide, World, ends_as, enqueue, prepare, settings, start_with};
use crate::support::{Engine, TestDb, until};

/// One worker that has claimed a job of this key a moment ago.
async fn under_way(database: &TestDb) -> (Arc<World>, queue::Running) {
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let settings = WorkerSettings {
        concurrency: [("wide".to_owned(), 1)].into(),
        ..settings()
    };
    let running = start_with(db, &world, settings).await;
    let id = enqueue(db, &Wide::of("first", What::Done)).await.id();
    ends_as(db, id, "completed").await;
    (world, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_higher_priority_goes_first_and_a_lower_one_last_wherever_the_claims_have_come() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    let (world, running) = under_way(&database).await;
    enqueue(db, &Wide::of("holder", What::Hold)).await;
    world.started("holder", 1).await;
    let mut tx = db.begin().await.unwrap();
    for (key, priority) in [("low", -5), ("usual", 0), ("high", 9)] {
        let options = EnqueueOptions {
            priority: Some(priority),
            ..EnqueueOptions::default()
        };
        queue::enqueue_with(&mut tx, &Wide::of(key, What::Done), options)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    world.let_go("holder");
    world.started("low", 1).await;
    assert_eq!(world.starts(), ["first", "holder", "high", "usual", "low"]);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_due_long_before_the_last_one_is_found() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    let (world, running) = under_way(&database).await;
    // As one is that was tried before, or whose transaction took minutes.
    let mut tx = db.begin().await.unwrap();
    let id = queue::enqueue(&mut tx, &Wide::of("old", What::Done))
        .await
        .unwrap()
        .id();
    let before = tx.now().await.unwrap() - minutes(5);
    tx.execute(
        "-- old\nUPDATE jobs SET run_at = $2 WHERE id = $1",
        &params![id, before],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let asked = Instant::now();
    world.started("old", 1).await;
    println!("found after {:?}", asked.elapsed());
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_key_that_rests_are_seen_from_its_beginning_again() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    let (world, running) = under_way(&database).await;
    let held = enqueue(db, &Plain::of("held", What::Retry)).await.id();
    ends_as(db, held, "retryable").await;
    db.advance_clock(minutes(30)).await.unwrap();
    ends_as(db, held, "discarded").await;
    enqueue(db, &Serial::of("serial", What::Done)).await;
    until("everything has run", async || {
        world.starts_of("held") == 3 && world.starts_of("serial") == 1
    })
    .await;
    running.shutdown().await;
}
