//! Enqueue is part of the change.

use std::sync::Arc;

use aftercall::queue::{self, EnqueueOptions, Enqueued, inspect};

use super::world::{
    Plain, Probe as _, Serial, What, World, ends_as, enqueue, one_worker, prepare, row, settings, start_with,
};
use crate::{on_each_database, support::TestDb};

on_each_database! {
    i3_a_rolled_back_transaction_leaves_no_job,
    i3_a_jobs_effects_follow_ups_and_completion_commit_together,
    i3_what_a_failed_run_wrote_is_gone,
    i3_a_long_job_keeps_what_its_progress_committed,
    a_live_twin_is_found_and_does_not_spoil_the_transaction,
    a_unique_key_is_free_again_once_its_job_ended,
    higher_priority_runs_first_then_the_older,
    a_job_for_later_waits_for_its_time,
}

async fn i3_a_rolled_back_transaction_leaves_no_job(database: TestDb) {
    let db = &database.db;
    let mut tx = db.begin().await.unwrap();
    queue::enqueue(&mut tx, &Plain::of("a", What::Done)).await.unwrap();
    drop(tx);
    assert!(
        inspect::jobs(db, &inspect::JobFilter::default(), None, 10)
            .await
            .unwrap()
            .jobs
            .is_empty()
    );
}

async fn i3_a_jobs_effects_follow_ups_and_completion_commit_together(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::FollowUp)).await.id();
    ends_as(db, id, "completed").await;
    world.started("a-next", 1).await;
    assert_eq!(super::world::marks(db).await, [("a".to_owned(), "done".to_owned())]);
    running.shutdown().await;
}

async fn i3_what_a_failed_run_wrote_is_gone(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::MarkThenRetry)).await.id();
    ends_as(db, id, "retryable").await;
    assert!(super::world::marks(db).await.is_empty());
    running.shutdown().await;
}

async fn i3_a_long_job_keeps_what_its_progress_committed(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Progress)).await.id();
    world.is_ready("a").await;
    running.abort().await;
    assert_eq!(row(db, id).await.progress, Some(serde_json::json!({"half": 1})));

    db.advance_clock(queue::seconds(13)).await.unwrap();
    let second = Arc::new(World::default());
    let running = start_with(db, &second, settings()).await;
    // The second run sees the progress of the first and does not repeat it.
    ends_as(db, id, "completed").await;
    assert_eq!(
        super::world::marks(db).await,
        [("a".to_owned(), "first half".to_owned())]
    );
    running.shutdown().await;
}

async fn a_live_twin_is_found_and_does_not_spoil_the_transaction(database: TestDb) {
    let db = &database.db;
    let first = enqueue(db, &Plain::of("a", What::Done).unique("k")).await;
    assert!(first.is_new());
    let mut tx = db.begin().await.unwrap();
    let twin = queue::enqueue(&mut tx, &Plain::of("b", What::Done).unique("k"))
        .await
        .unwrap();
    assert_eq!(twin, Enqueued::Twin(first.id()));
    let other = queue::enqueue(&mut tx, &Plain::of("c", What::Done).unique("other"))
        .await
        .unwrap();
    let same_key_elsewhere = queue::enqueue(&mut tx, &Serial::of("d", What::Done).unique("k"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert!(other.is_new() && same_key_elsewhere.is_new());
    assert_eq!(
        queue::live_among(db, "plain", &["k", "other", "free"].map(str::to_owned))
            .await
            .unwrap()
            .into_iter()
            .collect::<Vec<_>>(),
        ["k", "other"]
    );
}

async fn a_unique_key_is_free_again_once_its_job_ended(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let first = enqueue(db, &Plain::of("a", What::Done).unique("k")).await;
    ends_as(db, first.id(), "completed").await;
    let second = enqueue(db, &Plain::of("a", What::Fail).unique("k")).await;
    assert!(second.is_new());
    ends_as(db, second.id(), "discarded").await;
    assert!(enqueue(db, &Plain::of("a", What::Done).unique("k")).await.is_new());
    running.shutdown().await;
}

async fn higher_priority_runs_first_then_the_older(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let mut tx = db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    for (key, priority, age) in [("low", -1, 50), ("old", 0, 20), ("new", 0, 10), ("high", 9, 0)] {
        let options = EnqueueOptions {
            run_at: Some(now - queue::seconds(age)),
            priority: Some(priority),
        };
        queue::enqueue_with(&mut tx, &Serial::of(key, What::Done), options)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let world = Arc::new(World::default());
    let running = start_with(db, &world, settings()).await;
    world.started("low", 1).await;
    assert_eq!(world.starts(), ["high", "old", "new", "low"]);
    running.shutdown().await;
}

async fn a_job_for_later_waits_for_its_time(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let mut tx = db.begin().await.unwrap();
    let run_at = tx.now().await.unwrap() + queue::hours(2);
    let options = EnqueueOptions {
        run_at: Some(run_at),
        priority: None,
    };
    let id = queue::enqueue_with(&mut tx, &Plain::of("a", What::Done), options)
        .await
        .unwrap()
        .id();
    tx.commit().await.unwrap();
    super::world::looked_again(db).await;
    assert_eq!(row(db, id).await.state, "scheduled");
    let pending = inspect::pending_work(db).await.unwrap();
    assert_eq!(
        (pending.due_now, pending.running, pending.next_due()),
        (0, 0, Some(row(db, id).await.run_at))
    );

    db.advance_clock(queue::hours(2)).await.unwrap();
    ends_as(db, id, "completed").await;
    assert_eq!(world.starts_of("a"), 1);
    assert!(inspect::pending_work(db).await.unwrap().is_empty());
    running.shutdown().await;
}
