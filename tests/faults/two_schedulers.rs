//! Several schedulers on one database: each tick of the clock fires once.

use std::time::Duration;

use aftercall::{db::Db, pipeline::Pipeline};

use crate::{
    on_each_engine,
    support::{
        bakery::ordered,
        state::count,
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    i12_a_tick_fires_once_however_many_schedulers_run,
    i12_ticks_missed_while_everything_was_down_are_made_up_once_and_reported,
}

const MINUTE: Duration = Duration::from_mins(1);

async fn schedulers(world: &World, number: usize) -> Vec<(Pipeline, Db)> {
    let mut running = Vec::new();
    for _ in 0..number {
        let db = world.db().await;
        running.push((Pipeline::start(&world.config, &db).await.unwrap(), db));
    }
    running
}

async fn minutes_fired(db: &Db) -> u64 {
    count(
        db,
        "SELECT COUNT(*) AS n FROM cron_ticks WHERE name = 'evaluate_alerts'",
    )
    .await
}

async fn i12_a_tick_fires_once_however_many_schedulers_run() {
    // A minute at once must not end the lease of what runs just then.
    let world = Plan::of(&[ordered("s-1")]).set("queue", "lease", "'1h'").start().await;
    let running = schedulers(&world, 3).await;
    let db = world.db().await;
    until("the tick at the start has fired", async || {
        minutes_fired(&db).await >= 1
    })
    .await;
    let before = minutes_fired(&db).await;
    let minutes = 6;
    for minute in 1..=minutes {
        for (_, other) in &running {
            other.wake();
        }
        db.advance_clock(MINUTE).await.unwrap();
        until("the next minute has fired", async || {
            minutes_fired(&db).await >= before + minute
        })
        .await;
    }
    until("the session is judged", async || {
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await == 1
    })
    .await;
    for (pipeline, _) in running {
        pipeline.shutdown().await;
    }
    let fired = minutes_fired(&db).await;
    // The machine's own clock may have passed one minute meanwhile.
    assert!((before + minutes..=before + minutes + 1).contains(&fired), "{fired}");
    let jobs = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'evaluate_alerts'";
    assert_eq!(count(&db, jobs).await, fired, "one job for each tick");
    let ticks = "SELECT COUNT(*) AS n FROM cron_ticks WHERE name = 'reconcile'";
    let jobs = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'reconcile'";
    assert_eq!(count(&db, ticks).await, count(&db, jobs).await);
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await,
        1,
        "and the work is done once"
    );
    assert_eq!(
        count(
            &db,
            "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome <> 'completed'"
        )
        .await,
        0
    );
}

async fn i12_ticks_missed_while_everything_was_down_are_made_up_once_and_reported() {
    let world = Plan::of(&[ordered("s-1")]).start().await;
    let db = world.db().await;
    for (pipeline, _) in schedulers(&world, 1).await {
        until("the tick at the start has fired", async || {
            minutes_fired(&db).await >= 1
        })
        .await;
        pipeline.shutdown().await;
    }
    let before = minutes_fired(&db).await;
    db.advance_clock(90 * MINUTE).await.unwrap();
    let running = schedulers(&world, 2).await;
    until("the latest minute has fired", async || {
        minutes_fired(&db).await > before
    })
    .await;
    for (pipeline, _) in running {
        pipeline.shutdown().await;
    }
    let fired = minutes_fired(&db).await - before;
    assert!((1..=2).contains(&fired), "{fired}");
    let missed = "SELECT MAX(missed) AS n FROM cron_ticks WHERE name = 'evaluate_alerts'";
    assert!(
        (88..=90).contains(&count(&db, missed).await),
        "{}",
        count(&db, missed).await
    );
}
