//! What a run may end as, and what the row says then.

use std::sync::Arc;

use aftercall::{
    params,
    queue::{self, inspect},
};

use super::world::{
    Plain, Short, What, World, ends_as, enqueue, looked_again, marks, one_worker, outcomes, prepare, row, start,
};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    a_failed_job_waits_longer_each_time_and_is_discarded_after_its_last_attempt,
    a_retry_waits_at_least_as_long_as_the_other_side_said,
    a_job_that_will_not_work_is_discarded_at_once,
    a_snooze_refunds_the_attempt_and_keeps_the_reason,
    a_panic_is_a_failed_attempt,
    a_timeout_is_a_failed_attempt,
    undecodable_arguments_are_discarded_with_the_reason,
    an_unknown_job_name_is_left_alone,
    a_row_that_cannot_be_read_does_not_block_the_others,
    a_discard_that_cannot_be_written_is_not_lost,
}

async fn a_failed_job_waits_longer_each_time_and_is_discarded_after_its_last_attempt(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Retry)).await.id();
    for (attempt, most) in [(1, 10), (2, 20)] {
        until("it waits", async || {
            let job = row(db, id).await;
            job.state == "retryable" && job.attempt == attempt
        })
        .await;
        let wait = row(db, id).await.run_at - db.now().await.unwrap();
        assert!(wait <= chrono::TimeDelta::seconds(most), "{wait}");
        let failed_at = inspect::attempts(db, id)
            .await
            .unwrap()
            .pop()
            .unwrap()
            .finished_at
            .unwrap();
        assert!(row(db, id).await.run_at - failed_at >= chrono::TimeDelta::seconds(most / 2));
        db.advance_clock(queue::seconds(u64::try_from(most).unwrap()))
            .await
            .unwrap();
    }
    let job = ends_as(db, id, "discarded").await;
    assert_eq!(job.attempt, 3);
    assert_eq!(outcomes(db, id).await, ["retried", "retried", "discarded"]);
    assert_eq!(job.last_error.as_deref(), Some("not today (attempt 3, the last one)"));
    assert_eq!(
        marks(db).await,
        [(
            "a".to_owned(),
            "discarded: not today (attempt 3, the last one)".to_owned()
        )]
    );
    running.shutdown().await;
}

async fn a_retry_waits_at_least_as_long_as_the_other_side_said(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::RetryAfter(1800))).await.id();
    let job = ends_as(db, id, "retryable").await;
    let failed_at = inspect::attempts(db, id).await.unwrap()[0].finished_at.unwrap();
    assert_eq!(job.run_at - failed_at, chrono::TimeDelta::minutes(30));
    running.shutdown().await;
}

async fn a_job_that_will_not_work_is_discarded_at_once(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Fail)).await.id();
    let job = ends_as(db, id, "discarded").await;
    assert_eq!((job.attempt, job.last_error.as_deref()), (1, Some("never")));
    assert_eq!(marks(db).await, [("a".to_owned(), "discarded: never".to_owned())]);
    running.shutdown().await;
}

async fn a_snooze_refunds_the_attempt_and_keeps_the_reason(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    // More snoozes than attempts.
    let id = enqueue(db, &Plain::of("a", What::Snooze { seconds: 60, times: 5 }))
        .await
        .id();
    for snoozes in 1..=5 {
        until("it is snoozed", async || row(db, id).await.snoozes == snoozes).await;
        let job = row(db, id).await;
        assert_eq!((job.state.as_str(), job.attempt), ("scheduled", 0));
        assert_eq!(job.wait_reason.as_deref(), Some("waits for the test"));
        let pending = inspect::pending_work(db).await.unwrap();
        assert_eq!(pending.later[0].reason.as_deref(), Some("waits for the test"));
        db.advance_clock(queue::seconds(60)).await.unwrap();
    }
    let job = ends_as(db, id, "completed").await;
    assert_eq!((job.attempt, job.snoozes), (1, 5));
    assert_eq!(
        outcomes(db, id).await,
        ["snoozed", "snoozed", "snoozed", "snoozed", "snoozed", "completed"]
    );
    running.shutdown().await;
}

async fn a_panic_is_a_failed_attempt(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Panic)).await.id();
    let job = ends_as(db, id, "retryable").await;
    assert_eq!(
        (job.attempt, job.last_error.as_deref()),
        (1, Some("panicked: of nothing"))
    );
    looked_again(db).await;
    running.shutdown().await;
}

async fn a_timeout_is_a_failed_attempt(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Short::of("a", What::Stuck)).await.id();
    let job = ends_as(db, id, "retryable").await;
    assert_eq!(
        (job.attempt, job.last_error.as_deref()),
        (1, Some("timed out after 50ms"))
    );
    db.advance_clock(queue::seconds(11)).await.unwrap();
    ends_as(db, id, "discarded").await;
    running.shutdown().await;
}

async fn undecodable_arguments_are_discarded_with_the_reason(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let id = enqueue(db, &Plain::of("a", What::Done)).await.id();
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        "-- spoil\nUPDATE jobs SET args = $2 WHERE id = $1",
        &params![id, serde_json::json!({"key": 7})],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let world = Arc::new(World::default());
    let running = start(db, &world).await;
    let job = ends_as(db, id, "discarded").await;
    assert!(job.last_error.unwrap().starts_with("its arguments cannot be read: "));
    assert!(world.starts_of("a") == 0);
    looked_again(db).await;
    running.shutdown().await;
}

async fn an_unknown_job_name_is_left_alone(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let id = enqueue(db, &Plain::of("a", What::Done)).await.id();
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        "-- rename\nUPDATE jobs SET queue = 'of_tomorrow', limit_key = 'of_tomorrow' WHERE id = $1",
        &params![id],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let before = row(db, id).await;
    let running = start(db, &Arc::new(World::default())).await;
    looked_again(db).await;
    assert_eq!(row(db, id).await, before);
    running.shutdown().await;
}

async fn a_row_that_cannot_be_read_does_not_block_the_others(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let id = enqueue(db, &Plain::of("a", What::Done)).await.id();
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        "-- spoil\nUPDATE jobs SET snoozes = -1, priority = 100 WHERE id = $1",
        &params![id],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let running = start(db, &Arc::new(World::default())).await;
    looked_again(db).await;
    let state = db
        .fetch_optional(
            "-- state\nSELECT state, last_error FROM jobs WHERE id = $1",
            &params![id],
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(state.get::<String>("state").unwrap(), "discarded");
    assert!(state.get::<String>("last_error").unwrap().contains("snoozes"));
    running.shutdown().await;
}

async fn a_discard_that_cannot_be_written_is_not_lost(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let mut tx = db.begin().await.unwrap();
    tx.execute("ALTER TABLE test_marks RENAME TO hidden_marks", &[])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let id = enqueue(db, &Plain::of("a", What::Fail)).await.id();
    let job = ends_as(db, id, "retryable").await;
    assert!(
        job.last_error
            .unwrap()
            .starts_with("never; its end could not be written")
    );
    let mut tx = db.begin().await.unwrap();
    tx.execute("ALTER TABLE hidden_marks RENAME TO test_marks", &[])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    db.advance_clock(queue::minutes(10)).await.unwrap();
    ends_as(db, id, "discarded").await;
    assert_eq!(marks(db).await.len(), 1);
    running.shutdown().await;
}
