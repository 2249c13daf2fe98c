//! Limits are exact in the whole fleet, and one partition does not delay another.

use std::{sync::Arc, time::Duration};

use aftercall::queue::{self, EnqueueOptions, LimitSetting, WorkerSettings, control, inspect};

use super::world::{
    Plain, Probe as _, Rated, Serial, Three, What, World, ends_as, enqueue, enqueue_all, looked_again, one_worker,
    prepare, row, settings, start, start_with,
};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    i5_no_more_than_the_limit_runs_with_two_workers,
    i5_a_lowered_limit_drains,
    i5_the_database_refuses_a_second_job_in_one_slot,
    i5_a_rate_window_is_exact,
    i5_a_rate_window_survives_the_loss_of_the_jobs_table,
    i5_a_retry_is_a_new_start,
    i6_a_partitions_backlog_does_not_delay_another,
    the_configuration_sets_limits_and_an_operator_overrules_it,
}

async fn i5_no_more_than_the_limit_runs_with_two_workers(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let other_db = database.seen_from_outside().await;
    let workers = [start(db, &world).await, start(&other_db, &world).await];
    let mut jobs = Vec::new();
    for n in 0..40 {
        jobs.push(Three::of(&format!("t{n}"), What::Done));
    }
    let mut ids = enqueue_all(db, &jobs).await;
    let serial: Vec<_> = (0..20)
        .map(|n| Serial::of(&format!("s{n}"), What::Done).part(["x", "y"][n % 2]))
        .collect();
    ids.extend(enqueue_all(db, &serial).await);
    for id in ids {
        let job = ends_as(db, id, "completed").await;
        assert_eq!(job.attempt, 1);
    }
    assert!(world.most_running("three/") <= 3);
    assert_eq!((world.most_running("serial/x"), world.most_running("serial/y")), (1, 1));
    for worker in workers {
        worker.shutdown().await;
    }
}

async fn i5_a_lowered_limit_drains(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let jobs: Vec<_> = ["a", "b", "c", "d"].map(|key| Three::of(key, What::Hold)).into();
    let ids = enqueue_all(db, &jobs).await;
    until("three run", async || world.starts().len() == 3).await;
    let mut tx = db.begin().await.unwrap();
    assert!(control::set_limit(&mut tx, "three", 1, "me").await.unwrap());
    tx.commit().await.unwrap();
    let depths = inspect::queue_depths(db).await.unwrap();
    let limit = &depths.iter().find(|depth| depth.queue == "three").unwrap().limits[0];
    assert_eq!((limit.running, limit.max_running, limit.pinned), (3, Some(1), true));

    for key in ["a", "b"] {
        world.let_go(key);
    }
    ends_as(db, ids[0], "completed").await;
    ends_as(db, ids[1], "completed").await;
    looked_again(db).await;
    assert_eq!(
        row(db, ids[3]).await.state,
        "available",
        "one still runs, and one is all that may"
    );
    world.let_go("c");
    world.let_go("d");
    ends_as(db, ids[3], "completed").await;
    running.shutdown().await;
}

async fn i5_the_database_refuses_a_second_job_in_one_slot(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let ids = enqueue_all(db, &[Serial::of("a", What::Hold), Serial::of("b", What::Hold)]).await;
    world.started("a", 1).await;
    let mut tx = db.begin().await.unwrap();
    let refused = tx
        .execute(
            "-- steal_slot\nUPDATE jobs SET state = 'running', slot = 0 WHERE id = $1",
            &aftercall::params![ids[1]],
        )
        .await
        .unwrap_err();
    assert_eq!(refused.kind, aftercall::db::DbErrorKind::Constraint);
    drop(tx);
    running.abort().await;
}

async fn started_of(db: &aftercall::db::Db, ids: &[uuid::Uuid]) -> usize {
    let mut started = 0;
    for id in ids {
        started += usize::from(row(db, *id).await.attempt > 0);
    }
    started
}

async fn i5_a_rate_window_is_exact(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let jobs: Vec<_> = (0..7).map(|n| Rated::of(&format!("r{n}"), What::Done)).collect();
    let ids = enqueue_all(db, &jobs).await;
    for expected in [3, 6, 7] {
        until("the window's starts happen", async || {
            started_of(db, &ids).await == expected
        })
        .await;
        db.advance_clock(queue::seconds(270)).await.unwrap();
        looked_again(db).await;
        assert_eq!(
            started_of(db, &ids).await,
            expected,
            "half a minute before the window opens"
        );
        db.advance_clock(queue::seconds(30)).await.unwrap();
    }
    // No window of five minutes, wherever it begins, holds a fourth start.
    let starts = db
        .fetch_all("-- starts\nSELECT started_at FROM rate_starts ORDER BY started_at", &[])
        .await
        .unwrap();
    let starts: Vec<chrono::DateTime<chrono::Utc>> = starts.iter().map(|row| row.get("started_at").unwrap()).collect();
    assert_eq!(starts.len(), 7);
    for four in starts.windows(4) {
        assert!(four[3] - four[0] >= chrono::TimeDelta::minutes(5));
    }
    running.shutdown().await;
}

async fn i5_a_rate_window_survives_the_loss_of_the_jobs_table(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let jobs: Vec<_> = (0..3).map(|n| Rated::of(&format!("r{n}"), What::Done)).collect();
    for id in enqueue_all(db, &jobs).await {
        ends_as(db, id, "completed").await;
    }
    let mut tx = db.begin().await.unwrap();
    tx.execute("-- lose\nDELETE FROM jobs", &[]).await.unwrap();
    tx.execute("-- lose\nDELETE FROM job_attempts", &[]).await.unwrap();
    tx.commit().await.unwrap();
    let id = enqueue(db, &Rated::of("again", What::Done)).await.id();
    looked_again(db).await;
    assert_eq!(row(db, id).await.state, "available");
    db.advance_clock(queue::minutes(5)).await.unwrap();
    ends_as(db, id, "completed").await;
    running.shutdown().await;
}

async fn i5_a_retry_is_a_new_start(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let id = enqueue(db, &Rated::of("r", What::Retry)).await.id();
    for attempt in 1..=3 {
        until("it is tried", async || {
            let job = row(db, id).await;
            job.attempt == attempt && job.state == "retryable"
        })
        .await;
        db.advance_clock(queue::seconds(41)).await.unwrap();
    }
    looked_again(db).await;
    assert_eq!(
        row(db, id).await.attempt,
        3,
        "three starts are all that the window holds"
    );
    db.advance_clock(queue::minutes(5)).await.unwrap();
    until("it is tried once the window opens", async || {
        row(db, id).await.attempt == 4
    })
    .await;
    running.shutdown().await;
}

async fn i6_a_partitions_backlog_does_not_delay_another(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let mut tx = db.begin().await.unwrap();
    for n in 0..300 {
        let options = EnqueueOptions {
            run_at: None,
            priority: Some(9),
        };
        queue::enqueue_with(
            &mut tx,
            &Serial::of(&format!("slow{n}"), What::Hold).part("slow"),
            options,
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    until("the slow partition is at its limit", async || {
        !world.starts().is_empty()
    })
    .await;
    let quick: Vec<_> = (0..10)
        .map(|n| Serial::of(&format!("quick{n}"), What::Done).part("quick"))
        .collect();
    for id in enqueue_all(db, &quick).await {
        ends_as(db, id, "completed").await;
    }
    assert_eq!(world.most_running("serial/slow"), 1);
    running.abort().await;
}

async fn the_configuration_sets_limits_and_an_operator_overrules_it(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let configured = || {
        let setting = LimitSetting {
            max_running: Some(2),
            rate: Some(Some((10, Duration::from_mins(1)))),
        };
        WorkerSettings {
            limits: [("serial".to_owned(), setting)].into(),
            ..settings()
        }
    };
    let limit_of = async |key: &str| {
        let depths = inspect::queue_depths(db).await.unwrap();
        let limit = depths
            .into_iter()
            .flat_map(|depth| depth.limits)
            .find(|limit| limit.key == key)
            .unwrap();
        (limit.max_running, limit.rate_max)
    };
    start_with(db, &world, configured()).await.shutdown().await;
    // A partition that appears later is made from what is configured.
    enqueue(db, &Serial::of("a", What::Done).part("x")).await;
    assert_eq!(limit_of("serial/x").await, (Some(2), Some(10)));
    assert_eq!(limit_of("plain").await, (Some(8), None));

    let mut tx = db.begin().await.unwrap();
    assert!(control::set_limit(&mut tx, "serial/x", 5, "me").await.unwrap());
    assert!(!control::set_limit(&mut tx, "nothing", 5, "me").await.unwrap());
    tx.commit().await.unwrap();
    start_with(db, &world, configured()).await.shutdown().await;
    assert_eq!(limit_of("serial/x").await, (Some(5), Some(10)));
    let _ = Plain::of("", What::Done);
}
