//! A tick fires once in the whole fleet, and a missed one is made up once.

use std::sync::Arc;

use aftercall::{
    db::Db,
    queue::{self, Cron, Running, inspect, parse_schedule},
};

use super::world::{Plain, What, World, prepare, registry, settings};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    i12_a_tick_fires_once_with_two_schedulers,
    i12_missed_ticks_are_made_up_once_and_reported,
    i12_a_tick_whose_enqueue_fails_is_not_counted_as_fired,
}

fn every_five_minutes() -> Cron {
    Cron {
        name: "every_five".to_owned(),
        schedule: parse_schedule("*/5 * * * *").unwrap(),
        enqueue: Arc::new(|tx, tick| {
            Box::pin(async move {
                queue::enqueue(tx, &Plain::of(&tick.to_rfc3339(), What::Done))
                    .await
                    .map(|_| ())
            })
        }),
    }
}

async fn scheduler(db: &Db, world: &Arc<World>, cron: Cron) -> Running {
    queue::start(db, registry(), Arc::clone(world), vec![cron], settings())
        .await
        .unwrap()
}

/// To the middle of a period, so that no tick comes by itself: tests take seconds.
async fn between_two_ticks(db: &Db) {
    let period = 5 * 60;
    let into = db.now().await.unwrap().timestamp().rem_euclid(period);
    let seconds = u64::try_from(period - into + period / 2).unwrap();
    db.advance_clock(queue::seconds(seconds)).await.unwrap();
}

/// Every tick's job has ended, and nobody has it any more: its lease is not to run out with the clock.
async fn all_have_run(db: &Db, world: &World, so_many: usize) {
    until("the tick's job has run", async || {
        world.starts().len() >= so_many && inspect::pending_work(db).await.unwrap().running == 0
    })
    .await;
}

async fn ticks(db: &Db) -> Vec<(i64, i64)> {
    db.fetch_all("-- ticks\nSELECT late_us, missed FROM cron_ticks ORDER BY tick", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get("late_us").unwrap(), row.get("missed").unwrap()))
        .collect()
}

async fn i12_a_tick_fires_once_with_two_schedulers(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    between_two_ticks(db).await;
    let world = Arc::new(World::default());
    let other_db = database.seen_from_outside().await;
    let workers = [
        scheduler(db, &world, every_five_minutes()).await,
        scheduler(&other_db, &world, every_five_minutes()).await,
    ];
    for n in 1..=4 {
        all_have_run(db, &world, n).await;
        db.advance_clock(queue::minutes(5)).await.unwrap();
    }
    all_have_run(db, &world, 5).await;
    for worker in workers {
        worker.shutdown().await;
    }
    let ticks = ticks(db).await;
    assert_eq!(ticks.len(), 5, "{ticks:?}");
    assert_eq!(world.starts().len(), ticks.len(), "each has run once");
    assert!(ticks.iter().all(|(_, missed)| *missed == 0));
}

async fn i12_missed_ticks_are_made_up_once_and_reported(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    between_two_ticks(db).await;
    let world = Arc::new(World::default());
    let running = scheduler(db, &world, every_five_minutes()).await;
    until("the first tick's job runs", async || world.starts().len() == 1).await;
    running.shutdown().await;
    // Everything is down for an hour: twelve ticks.
    db.advance_clock(queue::hours(1)).await.unwrap();
    let running = scheduler(db, &world, every_five_minutes()).await;
    until("the missed tick's job runs", async || world.starts().len() == 2).await;
    super::world::looked_again(db).await;
    assert_eq!(
        world.starts().len(),
        3,
        "the made-up tick and the job that showed that everything was looked at"
    );
    let ticks = ticks(db).await;
    assert_eq!(ticks.len(), 2);
    assert_eq!(ticks[1].1, 11);
    assert!(ticks[1].0 < 5 * 60 * 1_000_000, "late by less than a period");
    running.shutdown().await;
}

async fn i12_a_tick_whose_enqueue_fails_is_not_counted_as_fired(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let cron = Cron {
        enqueue: Arc::new(|tx, _| {
            Box::pin(async move {
                queue::enqueue(tx, &Plain::of("lost", What::Done)).await?;
                Err(aftercall::db::DbError::other("no"))
            })
        }),
        ..every_five_minutes()
    };
    let running = scheduler(db, &world, cron).await;
    super::world::looked_again(db).await;
    assert!(ticks(db).await.is_empty());
    assert_eq!(world.starts_of("lost"), 0);
    running.shutdown().await;
    let running = scheduler(db, &world, every_five_minutes()).await;
    until("the tick fires after all", async || ticks(db).await.len() == 1).await;
    running.shutdown().await;
}
