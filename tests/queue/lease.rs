//! A dead worker's job runs elsewhere; a live worker's job does not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aftercall::queue::{self, WorkerSettings, control, inspect};

use super::world::{
    Plain, Rated, What, World, ends_as, enqueue, marks, one_worker, outcomes, row, settings, start, start_with,
};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    i7_a_dead_workers_job_runs_elsewhere,
    i7_a_live_workers_job_is_not_rescued_while_its_runtime_is_blocked,
    a_rescue_keeps_the_charged_start_and_counts_the_attempt,
    i5_a_rescue_frees_the_slot,
    after_three_dead_workers_a_job_is_discarded_with_its_last_words,
    a_cancelled_job_of_a_dead_worker_ends_cancelled,
    a_clock_set_forward_does_not_rescue_what_runs_here,
    a_rescue_that_is_refused_does_not_hold_up_the_others,
    i4_a_heartbeat_does_not_take_a_run_that_has_just_finished_for_lost,
}

async fn i4_a_heartbeat_does_not_take_a_run_that_has_just_finished_for_lost(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Linger)).await.id();
    world.is_ready("a").await;
    let seen = async || inspect::workers(db).await.unwrap()[0].last_seen_at;
    let first = seen().await;
    until("two heartbeats have passed", async || {
        seen().await > first + settings().heartbeat + settings().heartbeat / 2
    })
    .await;
    world.let_go("a");
    until("the run says how it ended", async || world.result_of("a").is_some()).await;
    assert_eq!(world.result_of("a"), Some(Ok(())));
    assert_eq!(outcomes(db, id).await, ["completed"]);
    running.shutdown().await;
}

async fn i7_a_dead_workers_job_runs_elsewhere(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let dead = running.worker_id().to_owned();
    let id = enqueue(db, &Plain::of("a", What::Hold)).await.id();
    world.started("a", 1).await;
    running.abort().await;
    assert_eq!(row(db, id).await.state, "running");

    let running = start(db, &world).await;
    db.advance_clock(queue::seconds(13)).await.unwrap();
    world.started("a", 2).await;
    world.let_go("a");
    let job = ends_as(db, id, "completed").await;
    assert_eq!((job.rescues, job.attempt), (1, 2));
    let attempts = inspect::attempts(db, id).await.unwrap();
    assert_eq!(attempts[0].worker, dead);
    assert_eq!(attempts[1].worker, running.worker_id());
    assert_eq!(outcomes(db, id).await, ["rescued", "completed"]);
    running.shutdown().await;
}

async fn i7_a_live_workers_job_is_not_rescued_while_its_runtime_is_blocked(database: TestDb) {
    let db = &database.db;
    super::world::prepare(db).await;
    let world = Arc::new(World::default());
    // A runtime of its own, all of whose threads the jobs block.
    let blocked_db = database.seen_from_outside().await;
    let lease = std::time::Duration::from_secs(2);
    let stop = Arc::new(AtomicBool::new(false));
    let thread = std::thread::spawn({
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let db = blocked_db.reopen(lease).await.unwrap();
                let running = start_with(&db, &world, WorkerSettings { lease, ..settings() }).await;
                until("the test ends", async || stop.load(Ordering::Acquire)).await;
                running.shutdown().await;
            });
        }
    });
    let ids = super::world::enqueue_all(db, &[Plain::of("a", What::Block), Plain::of("b", What::Block)]).await;
    world.started("a", 1).await;
    world.started("b", 1).await;
    let claimed_until = row(db, ids[0]).await.lease_expires_at.unwrap();
    // A second worker looks for dead ones all the time.
    let other = start_with(db, &world, WorkerSettings { lease, ..settings() }).await;
    until("the lease is renewed well past its first term", async || {
        row(db, ids[0])
            .await
            .lease_expires_at
            .is_some_and(|now| now > claimed_until + lease)
    })
    .await;
    world.let_go("a");
    world.let_go("b");
    for id in ids {
        let job = ends_as(db, id, "completed").await;
        assert_eq!((job.rescues, job.attempt), (0, 1));
    }
    other.shutdown().await;
    stop.store(true, Ordering::Release);
    thread.join().unwrap();
}

async fn a_rescue_keeps_the_charged_start_and_counts_the_attempt(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let jobs: Vec<_> = ["a", "b", "c"].map(|key| Rated::of(key, What::Hold)).into();
    super::world::enqueue_all(db, &jobs).await;
    for key in ["a", "b", "c"] {
        world.started(key, 1).await;
    }
    running.abort().await;
    db.advance_clock(queue::seconds(13)).await.unwrap();
    // The rate is used up, but these starts stand in it already.
    let running = start(db, &world).await;
    for key in ["a", "b", "c"] {
        world.started(key, 2).await;
        world.let_go(key);
    }
    let late = enqueue(db, &Rated::of("d", What::Done)).await.id();
    super::world::looked_again(db).await;
    assert_eq!(row(db, late).await.state, "available");
    running.shutdown().await;
}

async fn i5_a_rescue_frees_the_slot(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let jobs: Vec<_> = ["a", "b", "c", "d"]
        .map(|key| super::world::Three::of(key, What::Hold))
        .into();
    let ids = super::world::enqueue_all(db, &jobs).await;
    until("three run", async || world.starts().len() == 3).await;
    running.abort().await;
    let running = start(db, &world).await;
    super::world::looked_again(db).await;
    assert_eq!(
        world.starts_of("d"),
        0,
        "the dead worker's jobs hold their slots until they are rescued"
    );
    db.advance_clock(queue::seconds(13)).await.unwrap();
    for (key, id) in ["a", "b", "c", "d"].iter().zip(ids) {
        world.let_go(key);
        ends_as(db, id, "completed").await;
    }
    assert_eq!(world.most_running("three/"), 3);
    running.shutdown().await;
}

async fn after_three_dead_workers_a_job_is_discarded_with_its_last_words(database: TestDb) {
    let db = &database.db;
    super::world::prepare(db).await;
    let world = Arc::new(World::default());
    let id = enqueue(db, &Plain::of("killer", What::Hold)).await.id();
    for death in 1..=3 {
        let running = start(db, &world).await;
        world.started("killer", death).await;
        running.abort().await;
        db.advance_clock(queue::seconds(13)).await.unwrap();
    }
    let running = start(db, &world).await;
    let job = ends_as(db, id, "discarded").await;
    assert_eq!(job.rescues, 3);
    assert!(job.last_error.unwrap().starts_with("worker_died: "));
    assert_eq!(world.starts_of("killer"), 3);
    let marks = marks(db).await;
    assert_eq!(marks.len(), 1);
    assert!(marks[0].1.starts_with("discarded: worker_died"));
    running.shutdown().await;
}

async fn a_cancelled_job_of_a_dead_worker_ends_cancelled(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Hold)).await.id();
    world.started("a", 1).await;
    running.abort().await;
    let mut tx = db.begin().await.unwrap();
    assert_eq!(
        control::cancel(&mut tx, id, "me").await.unwrap(),
        control::Cancelled::Requested
    );
    tx.commit().await.unwrap();
    db.advance_clock(queue::seconds(13)).await.unwrap();
    let running = start(db, &world).await;
    ends_as(db, id, "cancelled").await;
    assert_eq!(world.starts_of("a"), 1);
    running.shutdown().await;
}

async fn a_clock_set_forward_does_not_rescue_what_runs_here(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Hold)).await.id();
    world.started("a", 1).await;
    let before = row(db, id).await.lease_expires_at;
    db.advance_clock(queue::hours(1)).await.unwrap();
    until("the lease is renewed by the new clock", async || {
        row(db, id).await.lease_expires_at > before
    })
    .await;
    super::world::looked_again(db).await;
    world.let_go("a");
    let job = ends_as(db, id, "completed").await;
    assert_eq!((job.rescues, world.starts_of("a")), (0, 1));
    running.shutdown().await;
}

async fn a_rescue_that_is_refused_does_not_hold_up_the_others(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let killer = enqueue(db, &Plain::of("killer", What::Hold)).await.id();
    let other = enqueue(db, &Plain::of("other", What::Hold)).await.id();
    world.started("killer", 1).await;
    world.started("other", 1).await;
    running.abort().await;
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        "-- twice\nUPDATE jobs SET rescues = 2 WHERE id = $1",
        &aftercall::params![killer],
    )
    .await
    .unwrap();
    tx.execute("ALTER TABLE test_marks RENAME TO hidden_marks", &[])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    db.advance_clock(queue::seconds(13)).await.unwrap();

    let running = start(db, &world).await;
    world.let_go("other");
    ends_as(db, other, "completed").await;
    assert_eq!(row(db, killer).await.state, "running");
    let mut tx = db.begin().await.unwrap();
    tx.execute("ALTER TABLE hidden_marks RENAME TO test_marks", &[])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    ends_as(db, killer, "discarded").await;
    assert_eq!(marks(db).await.len(), 1);
    running.shutdown().await;
}
