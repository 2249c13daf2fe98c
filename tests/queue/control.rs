//! What an operator may change.

use aftercall::queue::{
    self,
    control::{self, Cancelled, Retried},
    inspect,
};

use super::world::{
    Plain, Probe as _, What, ends_as, enqueue, enqueue_all, looked_again, one_worker, outcomes, registry, row, start,
};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    a_paused_queue_starts_nothing_and_says_who_and_why,
    a_waiting_job_is_cancelled_at_once,
    a_running_job_is_cancelled_by_its_token,
    a_job_that_does_not_hear_its_token_is_cancelled_as_well,
    a_cancelled_job_cannot_write_any_more,
    a_job_that_ended_is_retried_with_all_its_attempts,
    i5_a_job_that_is_cancelled_or_retried_while_it_is_claimed_does_one_thing_or_the_other,
    everything_an_operator_does_is_in_the_audit_log,
    jobs_that_could_start_are_counted_by_queue,
}

async fn cancel(database: &TestDb, id: uuid::Uuid) -> Cancelled {
    let mut tx = database.db.begin().await.unwrap();
    let cancelled = control::cancel(&mut tx, id, "me").await.unwrap();
    tx.commit().await.unwrap();
    cancelled
}

async fn a_paused_queue_starts_nothing_and_says_who_and_why(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let mut tx = db.begin().await.unwrap();
    control::pause(&mut tx, "serial", "me", "the records server is moved")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let id = enqueue(db, &super::world::Serial::of("a", What::Done)).await.id();
    looked_again(db).await;
    assert_eq!(row(db, id).await.state, "available");
    let depths = inspect::queue_depths(db).await.unwrap();
    let pause = depths
        .iter()
        .find(|depth| depth.queue == "serial")
        .unwrap()
        .paused
        .clone()
        .unwrap();
    assert_eq!(
        (pause.by.as_str(), pause.reason.as_str()),
        ("me", "the records server is moved")
    );

    let mut tx = db.begin().await.unwrap();
    control::resume(&mut tx, "serial", "me").await.unwrap();
    tx.commit().await.unwrap();
    ends_as(db, id, "completed").await;
    assert_eq!(world.starts_of("a"), 1);
    running.shutdown().await;
}

async fn a_waiting_job_is_cancelled_at_once(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Snooze { seconds: 60, times: 9 }))
        .await
        .id();
    ends_as(db, id, "scheduled").await;
    assert_eq!(cancel(&database, id).await, Cancelled::AtOnce);
    assert_eq!(row(db, id).await.state, "cancelled");
    assert_eq!(cancel(&database, id).await, Cancelled::AlreadyEnded);
    assert_eq!(cancel(&database, uuid::Uuid::now_v7()).await, Cancelled::Unknown);
    db.advance_clock(queue::minutes(2)).await.unwrap();
    looked_again(db).await;
    assert_eq!(world.starts_of("a"), 1);
    running.shutdown().await;
}

async fn a_running_job_is_cancelled_by_its_token(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Hold)).await.id();
    world.started("a", 1).await;
    assert_eq!(cancel(&database, id).await, Cancelled::Requested);
    ends_as(db, id, "cancelled").await;
    assert_eq!(outcomes(db, id).await, ["cancelled"]);
    assert_eq!(world.result_of("a"), Some(Err(queue::JobError::Cancelled)));
    running.shutdown().await;
}

async fn a_job_that_does_not_hear_its_token_is_cancelled_as_well(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Stuck)).await.id();
    world.started("a", 1).await;
    cancel(&database, id).await;
    ends_as(db, id, "cancelled").await;
    running.shutdown().await;
}

async fn a_cancelled_job_cannot_write_any_more(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::HoldThenWrite)).await.id();
    world.started("a", 1).await;
    cancel(&database, id).await;
    world.let_go("a");
    ends_as(db, id, "cancelled").await;
    assert!(super::world::marks(db).await.is_empty());
    running.shutdown().await;
}

async fn a_job_that_ended_is_retried_with_all_its_attempts(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Fail).unique("k")).await.id();
    ends_as(db, id, "discarded").await;
    let retry = async || {
        let mut tx = db.begin().await.unwrap();
        let retried = control::retry(&mut tx, &registry(), id, "me").await.unwrap();
        tx.commit().await.unwrap();
        retried
    };
    assert_eq!(retry().await, Retried::Now);
    until("it ran again", async || {
        outcomes(db, id).await == ["discarded", "discarded"]
    })
    .await;
    assert_eq!(row(db, id).await.attempt, 1);

    let twin = enqueue(db, &Plain::of("b", What::Hold).unique("k")).await.id();
    assert_eq!(retry().await, Retried::Twin(twin));
    world.let_go("b");
    ends_as(db, twin, "completed").await;
    running.shutdown().await;
}

async fn i5_a_job_that_is_cancelled_or_retried_while_it_is_claimed_does_one_thing_or_the_other(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let other_db = database.seen_from_outside().await;
    let other = start(&other_db, &world).await;
    for round in 0..12 {
        let jobs: Vec<Plain> = (0..10)
            .map(|number| format!("{round}-{number}"))
            .map(|key| Plain::of(&key, What::Done).part(&key))
            .collect();
        let ids = enqueue_all(db, &jobs).await;
        let (some, others) = ids.split_at(5);
        let cancelled = async {
            let mut at_once = Vec::new();
            for id in some {
                if cancel(&database, *id).await == Cancelled::AtOnce {
                    at_once.push(*id);
                }
            }
            at_once
        };
        let retried = async {
            for id in others {
                let mut tx = other_db.begin().await.unwrap();
                control::retry(&mut tx, &registry(), *id, "me").await.unwrap();
                tx.commit().await.unwrap();
            }
        };
        let (at_once, ()) = tokio::join!(cancelled, retried);
        for (id, job) in ids.iter().zip(&jobs) {
            until("it has ended", async || {
                ["cancelled", "completed"].contains(&row(db, *id).await.state.as_str())
            })
            .await;
            assert!(
                world.most_running(&format!("plain/{}", job.key)) <= 1,
                "{}: twice at once",
                job.key
            );
            if at_once.contains(id) {
                assert_eq!(
                    world.starts_of(&job.key),
                    0,
                    "{}: it was cancelled before it began",
                    job.key
                );
            }
        }
    }
    running.shutdown().await;
    other.shutdown().await;
}

async fn everything_an_operator_does_is_in_the_audit_log(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Snooze { seconds: 60, times: 9 }))
        .await
        .id();
    ends_as(db, id, "scheduled").await;
    let mut tx = db.begin().await.unwrap();
    control::pause(&mut tx, "plain", "ann", "r").await.unwrap();
    control::resume(&mut tx, "plain", "bob").await.unwrap();
    control::set_limit(&mut tx, "plain", 2, "cid").await.unwrap();
    control::cancel(&mut tx, id, "dan").await.unwrap();
    control::retry(&mut tx, &registry(), id, "eve").await.unwrap();
    tx.commit().await.unwrap();
    let log: Vec<(String, String)> = db
        .fetch_all("-- audit\nSELECT actor, action FROM audit_log ORDER BY id", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get("actor").unwrap(), row.get("action").unwrap()))
        .collect();
    let expected = [
        ("ann", "pause"),
        ("bob", "resume"),
        ("cid", "set_limit"),
        ("dan", "cancel_job"),
        ("eve", "retry_job"),
    ];
    assert_eq!(
        log,
        expected.map(|(actor, action)| (actor.to_owned(), action.to_owned()))
    );
    running.shutdown().await;
}

async fn jobs_that_could_start_are_counted_by_queue(database: TestDb) {
    let db = &database.db;
    super::world::prepare(db).await;
    assert!(inspect::service::ready(db).await.unwrap().is_empty());
    for key in ["a", "b"] {
        enqueue(db, &Plain::of(key, What::Done)).await;
    }
    enqueue(db, &super::world::Serial::of("c", What::Done)).await;
    let ready = inspect::service::ready(db).await.unwrap();
    assert_eq!(ready, [("plain".to_owned(), 2), ("serial".to_owned(), 1)].into());
}
