//! A process that stops takes nothing more and gives back what it has.

use std::{sync::Arc, time::Duration};

use aftercall::queue::{WorkerSettings, inspect};

use super::world::{
    Plain, What, World, ends_as, enqueue, one_worker, outcomes, prepare, row, settings, start, start_with,
};
use crate::{on_each_database, support::TestDb};

on_each_database! {
    a_graceful_shutdown_lets_running_jobs_finish_and_starts_no_more,
    what_does_not_finish_in_the_grace_is_handed_back_untried,
    a_worker_leaves_its_row_behind,
}

async fn a_graceful_shutdown_lets_running_jobs_finish_and_starts_no_more(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::HoldDeaf)).await.id();
    world.started("a", 1).await;
    let stopping = tokio::spawn(running.shutdown());
    world.let_go("a");
    stopping.await.unwrap();
    assert_eq!(row(db, id).await.state, "completed");
    let late = enqueue(db, &Plain::of("b", What::Done)).await.id();
    assert_eq!(row(db, late).await.state, "available");
    assert_eq!(world.starts_of("b"), 0);
}

async fn what_does_not_finish_in_the_grace_is_handed_back_untried(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let impatient = WorkerSettings {
        grace: Duration::ZERO,
        ..settings()
    };
    let running = start_with(db, &world, impatient).await;
    let hears = enqueue(db, &Plain::of("hears", What::Hold)).await.id();
    let deaf = enqueue(db, &Plain::of("deaf", What::Stuck)).await.id();
    world.started("hears", 1).await;
    world.started("deaf", 1).await;
    running.shutdown().await;
    for id in [hears, deaf] {
        let job = row(db, id).await;
        assert_eq!((job.state.as_str(), job.attempt, job.rescues), ("available", 0, 0));
        assert_eq!(outcomes(db, id).await, ["handed_back"]);
    }
    // Somebody else takes them at once, without waiting for a lease to end.
    let running = start(db, &world).await;
    world.started("hears", 2).await;
    world.let_go("hears");
    ends_as(db, hears, "completed").await;
    running.abort().await;
}

async fn a_worker_leaves_its_row_behind(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = running.worker_id().to_owned();
    let workers = inspect::workers(db).await.unwrap();
    assert_eq!(workers[0].id, id);
    assert_eq!(workers[0].pid, std::process::id());
    assert!(workers[0].queues.contains(&"plain".to_owned()) && workers[0].stopped_at.is_none());
    running.shutdown().await;
    assert!(inspect::workers(db).await.unwrap()[0].stopped_at.is_some());
}
