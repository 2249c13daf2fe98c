//! A worker that lost its lease changes nothing.

use std::sync::Arc;

use aftercall::queue::{self, JobError};

use super::world::{Plain, What, World, ends_as, enqueue, marks, one_worker, outcomes, settings, start_with};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    i4_a_run_that_lost_its_lease_writes_nothing,
    i4_a_run_that_lost_its_lease_is_told_so,
    i4_every_claim_has_a_lease_of_its_own,
}

/// Gives the job to nobody, as a rescuer does that thinks the worker is dead.
async fn take_lease_away(database: &TestDb, id: uuid::Uuid) {
    let mut tx = database.db.begin().await.unwrap();
    let later = tx.now().await.unwrap() + queue::hours(1);
    tx.execute(
        "-- take_away\nUPDATE jobs SET state = 'scheduled', run_at = $2, lease = NULL, slot = NULL WHERE id = $1",
        &aftercall::params![id, later],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn i4_a_run_that_lost_its_lease_writes_nothing(database: TestDb) {
    let db = &database.db;
    super::world::prepare(db).await;
    let world = Arc::new(World::default());
    // No heartbeat notices: only the fence in the statements is left.
    let running = start_with(
        db,
        &world,
        queue::WorkerSettings {
            heartbeat: queue::minutes(5),
            ..settings()
        },
    )
    .await;
    let id = enqueue(db, &Plain::of("a", What::HoldThenWrite)).await.id();
    world.started("a", 1).await;
    take_lease_away(&database, id).await;
    world.let_go("a");
    until("the run ends", async || running.is_idle()).await;
    assert_eq!(world.result_of("a"), Some(Err(JobError::LostLease)));
    assert!(marks(db).await.is_empty());
    assert_eq!(super::world::row(db, id).await.state, "scheduled");
    running.shutdown().await;
}

async fn i4_a_run_that_lost_its_lease_is_told_so(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Stuck)).await.id();
    world.started("a", 1).await;
    take_lease_away(&database, id).await;
    until("the run is ended by the heartbeat", async || running.is_idle()).await;
    assert_eq!(super::world::row(db, id).await.state, "scheduled");
    running.shutdown().await;
}

async fn i4_every_claim_has_a_lease_of_its_own(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("a", What::Snooze { seconds: 60, times: 2 }))
        .await
        .id();
    for _ in 0..2 {
        ends_as(db, id, "scheduled").await;
        db.advance_clock(queue::seconds(61)).await.unwrap();
        until("it is claimed again", async || {
            super::world::row(db, id).await.state != "scheduled" || outcomes(db, id).await.len() > 1
        })
        .await;
    }
    ends_as(db, id, "completed").await;
    let attempts = queue::inspect::attempts(db, id).await.unwrap();
    let mut leases: Vec<_> = attempts.iter().map(|attempt| attempt.lease).collect();
    leases.dedup();
    assert_eq!(leases.len(), 3);
    assert!(
        attempts.iter().all(|attempt| attempt.attempt == 1),
        "a snooze refunds the attempt"
    );
    running.shutdown().await;
}
