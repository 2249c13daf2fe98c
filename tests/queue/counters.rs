//! Counters say at every moment what a count says, whoever changes jobs, adds up, dies or tampers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aftercall::{
    db::{Db, Sql},
    params,
    queue::{
        self, control,
        counters::{self, Comparison, Difference},
        inspect::{self, QueueDepth, pace::Trend},
        seconds,
    },
};
use uuid::Uuid;

use super::world::{Plain, Three, What, World, ends_as, enqueue, enqueue_all, one_worker, prepare, start};
use crate::{
    on_each_database,
    support::{Engine, TestDb, until},
};

on_each_database! {
    what_is_rolled_back_is_not_counted,
    several_that_add_up_at_once_add_up_everything_once,
    a_process_adds_up_what_it_did_and_nothing_once_it_is_idle,
    a_lost_table_of_jobs_counts_nothing,
    a_counter_that_somebody_changed_is_named_and_set_right,
    a_recount_is_exact_while_everybody_goes_on,
    what_a_gate_holds_is_counted_by_gate,
    a_job_that_changes_its_queue_is_counted_there,
    waits_rates_and_the_trend_come_from_what_was_noted,
    what_happened_in_a_minute_is_kept_for_two_days,
}

async fn differences(db: &Db) -> Vec<Difference> {
    match counters::compare(db, None).await.unwrap() {
        Comparison::Counted { differences, .. } => differences,
        Comparison::TooMany => unreachable!("as many as there are were to be counted"),
    }
}

async fn notes(db: &Db) -> u64 {
    let row = db
        .fetch_optional("-- notes\nSELECT count(*) AS n FROM queue_transitions", &[])
        .await
        .unwrap();
    row.unwrap().get("n").unwrap()
}

async fn depth(db: &Db, queue: &str) -> QueueDepth {
    let depths = inspect::queue_depths(db).await.unwrap();
    depths.into_iter().find(|depth| depth.queue == queue).unwrap()
}

/// What the counters say that were added up, without what is only noted.
async fn added_up(db: &Db) -> Vec<(String, String, i64)> {
    db.fetch_all(
        "-- added_up\nSELECT queue, state, n FROM queue_counts WHERE n <> 0 ORDER BY queue, state",
        &[],
    )
    .await
    .unwrap()
    .iter()
    .map(|row| {
        (
            row.get("queue").unwrap(),
            row.get("state").unwrap(),
            row.get("n").unwrap(),
        )
    })
    .collect()
}

fn jobs(count: usize, what: &What) -> Vec<Plain> {
    (0..count)
        .map(|n| Plain::of(&format!("job-{n}"), what.clone()))
        .collect()
}

async fn what_is_rolled_back_is_not_counted(database: TestDb) {
    let db = &database.db;
    enqueue_all(db, &jobs(2, &What::Done)).await;
    let before = notes(db).await;
    let mut tx = db.begin().await.unwrap();
    for job in jobs(5, &What::Done) {
        queue::enqueue(&mut tx, &job).await.unwrap();
    }
    drop(tx);
    assert_eq!(depth(db, "plain").await.by_state["available"], 2);
    assert_eq!(notes(db).await, before);
    assert_eq!(differences(db).await, []);
}

async fn several_that_add_up_at_once_add_up_everything_once(database: TestDb) {
    let db = &database.db;
    let ends = Arc::new(AtomicBool::new(false));
    let mut adders = Vec::new();
    for _ in 0..3 {
        let db = database.seen_from_outside().await;
        let ends = Arc::clone(&ends);
        adders.push(tokio::spawn(async move {
            let mut rounds = 0;
            while !ends.load(Ordering::Acquire) {
                counters::add_up(&db).await.unwrap();
                rounds += 1;
            }
            rounds
        }));
    }
    let mut writers = Vec::new();
    for writer in 0..2 {
        let db = database.seen_from_outside().await;
        writers.push(tokio::spawn(async move {
            for round in 0..40 {
                let mut tx = db.begin().await.unwrap();
                let mut ids: Vec<Uuid> = Vec::new();
                for n in 0..5 {
                    let job = Three::of(&format!("{writer}-{round}-{n}"), What::Done);
                    ids.push(queue::enqueue(&mut tx, &job).await.unwrap().id());
                }
                control::cancel(&mut tx, ids[0], "test").await.unwrap();
                tx.commit().await.unwrap();
            }
        }));
    }
    while writers.iter().any(|writer| !writer.is_finished()) {
        assert_eq!(differences(db).await, []);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    ends.store(true, Ordering::Release);
    for adder in adders {
        assert!(adder.await.unwrap() > 0);
    }
    counters::add_up(db).await.unwrap();
    assert_eq!(notes(db).await, 0);
    let expected = [
        ("three".to_owned(), "available".to_owned(), 320),
        ("three".to_owned(), "cancelled".to_owned(), 80),
    ];
    assert_eq!(added_up(db).await, expected);
    let pace = depth(db, "three").await.pace;
    assert_eq!((pace.came, pace.went, pace.before), (400, 80, 0));
}

async fn a_process_adds_up_what_it_did_and_nothing_once_it_is_idle(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    for id in enqueue_all(db, &jobs(3, &What::Done)).await {
        ends_as(db, id, "completed").await;
    }
    until("what it did is added up", async || notes(db).await == 0).await;
    assert_eq!(added_up(db).await, [("plain".to_owned(), "completed".to_owned(), 3)]);
    // It is idle: what others note is no business of its own, until it is there to be claimed.
    let mut tx = db.begin().await.unwrap();
    let later = queue::EnqueueOptions {
        run_at: Some(tx.now().await.unwrap() + seconds(600)),
        ..queue::EnqueueOptions::default()
    };
    let waits = Plain::of("later", What::Done);
    let id = queue::enqueue_with(&mut tx, &waits, later).await.unwrap().id();
    tx.commit().await.unwrap();
    assert_eq!(depth(db, "plain").await.by_state["scheduled"], 1);
    db.advance_clock(seconds(601)).await.unwrap();
    ends_as(db, id, "completed").await;
    until("that is added up as well", async || notes(db).await == 0).await;
    assert_eq!(differences(db).await, []);
    running.shutdown().await;
}

async fn a_lost_table_of_jobs_counts_nothing(database: TestDb) {
    const ALL_AT_ONCE: Sql = Sql::each("-- lose\nDELETE FROM jobs", "-- lose\nTRUNCATE jobs");
    let db = &database.db;
    for (lose, added_up_before) in [
        (Sql::from("-- lose\nDELETE FROM jobs"), false),
        (Sql::from("-- lose\nDELETE FROM jobs"), true),
        (ALL_AT_ONCE, false),
        (ALL_AT_ONCE, true),
    ] {
        let ids = enqueue_all(db, &jobs(3, &What::Done)).await;
        let mut tx = db.begin().await.unwrap();
        control::cancel(&mut tx, ids[1], "test").await.unwrap();
        tx.commit().await.unwrap();
        if added_up_before {
            counters::add_up(db).await.unwrap();
        }
        assert_eq!(depth(db, "plain").await.live(), 2);
        db.write_alone(lose, &[]).await.unwrap();
        assert!(
            inspect::queue_depths(db)
                .await
                .unwrap()
                .iter()
                .all(|depth| depth.by_state.is_empty())
        );
        assert_eq!(differences(db).await, []);
        counters::add_up(db).await.unwrap();
        assert_eq!(added_up(db).await, []);
    }
}

async fn a_counter_that_somebody_changed_is_named_and_set_right(database: TestDb) {
    let db = &database.db;
    enqueue_all(db, &jobs(4, &What::Done)).await;
    counters::add_up(db).await.unwrap();
    enqueue(db, &Plain::of("noted", What::Done)).await;
    db.write_alone(
        "-- tamper\nUPDATE queue_counts SET n = n - 3 WHERE queue = 'plain'",
        &[],
    )
    .await
    .unwrap();
    db.write_alone(
        "-- tamper\nINSERT INTO queue_counts (queue, state, held_by, n) VALUES ('gone', 'running', 'source:a', 7)",
        &[],
    )
    .await
    .unwrap();
    let difference = |queue: &str, state: &str, held_by: Option<&str>, counter, jobs| Difference {
        queue: queue.to_owned(),
        state: state.to_owned(),
        held_by: held_by.map(str::to_owned),
        counter,
        jobs,
    };
    assert_eq!(
        differences(db).await,
        [
            difference("gone", "running", Some("source:a"), 7, 0),
            difference("plain", "available", None, 2, 5),
        ]
    );
    let jobs = counters::recount(db).await.unwrap();
    assert_eq!(jobs.into_iter().collect::<Vec<_>>(), [("available".to_owned(), 5)]);
    assert_eq!(differences(db).await, []);
    counters::add_up(db).await.unwrap();
    assert_eq!(differences(db).await, []);
    assert_eq!(counters::compare(db, Some(4)).await.unwrap(), Comparison::TooMany);
    let all = Comparison::Counted {
        jobs: 5,
        differences: Vec::new(),
    };
    assert_eq!(counters::compare(db, Some(5)).await.unwrap(), all);
}

async fn a_recount_is_exact_while_everybody_goes_on(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let (first, second) = (database.seen_from_outside().await, database.seen_from_outside().await);
    let writer = tokio::spawn(async move {
        for round in 0..60 {
            enqueue(&first, &Plain::of(&format!("job-{round}"), What::Done)).await;
        }
    });
    let ends = Arc::new(AtomicBool::new(false));
    let adder = tokio::spawn({
        let ends = Arc::clone(&ends);
        async move {
            while !ends.load(Ordering::Acquire) {
                counters::add_up(&second).await.unwrap();
            }
        }
    });
    let mut recounts = 0;
    while !writer.is_finished() || recounts == 0 {
        db.write_alone("-- tamper\nUPDATE queue_counts SET n = n + 1000", &[])
            .await
            .unwrap();
        counters::recount(db).await.unwrap();
        assert_eq!(differences(db).await, []);
        recounts += 1;
    }
    writer.await.unwrap();
    ends.store(true, Ordering::Release);
    adder.await.unwrap();
    counters::add_up(db).await.unwrap();
    assert_eq!(added_up(db).await, [("plain".to_owned(), "available".to_owned(), 60)]);
}

async fn what_a_gate_holds_is_counted_by_gate(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down("source:a", None);
    let calls: Vec<Plain> = (0..3)
        .map(|n| Plain::of(&format!("c{n}"), What::Call("source:a".to_owned())))
        .collect();
    enqueue_all(db, &calls).await;
    until("all of them are held", async || {
        depth(db, "plain").await.held.get("source:a") == Some(&3)
    })
    .await;
    let shown = depth(db, "plain").await;
    assert_eq!(shown.by_state["scheduled"], 3);
    let gates = inspect::gates::all(db).await.unwrap();
    assert_eq!(gates[0].held_jobs(), 3);
    let later = inspect::later(db, &[shown]).await.unwrap();
    assert_eq!((later["plain"].len(), later["plain"][0].count), (1, 3));
    world.up("source:a");
    let mut tx = db.begin().await.unwrap();
    control::open_gate(&mut tx, "source:a", "test").await.unwrap();
    tx.commit().await.unwrap();
    until("all of them are done", async || {
        depth(db, "plain").await.by_state.get("completed") == Some(&3)
    })
    .await;
    assert!(depth(db, "plain").await.held.is_empty());
    assert_eq!(differences(db).await, []);
    running.shutdown().await;
}

async fn a_job_that_changes_its_queue_is_counted_there(database: TestDb) {
    let db = &database.db;
    enqueue_all(db, &jobs(2, &What::Done)).await;
    db.write_alone(
        "-- rename\nUPDATE jobs SET queue = 'three', limit_key = 'three', state = 'scheduled' WHERE id IN (SELECT id FROM jobs LIMIT 1)",
        &[],
    )
    .await
    .unwrap();
    assert_eq!(
        depth(db, "plain").await.by_state.into_iter().collect::<Vec<_>>(),
        [("available".to_owned(), 1)]
    );
    assert_eq!(
        depth(db, "three").await.by_state.into_iter().collect::<Vec<_>>(),
        [("scheduled".to_owned(), 1)]
    );
    assert_eq!(differences(db).await, []);
}

async fn waits_rates_and_the_trend_come_from_what_was_noted(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    enqueue_all(db, &jobs(19, &What::Done)).await;
    db.advance_clock(seconds(60)).await.unwrap();
    let world = Arc::new(World::default());
    let running = start(db, &world).await;
    until("they are done", async || {
        depth(db, "plain").await.by_state.get("completed") == Some(&19)
    })
    .await;
    until("all of it is added up", async || notes(db).await == 0).await;
    db.advance_clock(seconds(60)).await.unwrap();
    for key in ["a", "b", "c"] {
        enqueue(db, &Plain::of(key, What::Hold)).await;
        world.started(key, 1).await;
    }
    for is_added_up in [false, true] {
        if is_added_up {
            counters::add_up(db).await.unwrap();
        }
        let pace = depth(db, "plain").await.pace;
        assert_eq!((pace.came, pace.went, pace.started), (22, 19, 22));
        assert_eq!((pace.before, pace.now, pace.trend), (0, 3, Trend::Growing));
        // Due for a minute and a little, and told as at most a quarter more.
        let minute = 60_000_000;
        for wait in [pace.wait_p50_us, pace.wait_p95_us] {
            let wait = wait.unwrap();
            assert!((minute..minute * 5 / 4 + 20_000_000).contains(&wait), "{wait}");
        }
        assert!(
            pace.seconds > 14.0 * 60.0 && pace.seconds <= 15.0 * 60.0,
            "{}",
            pace.seconds
        );
        assert!((pace.in_per_minute - 22.0 * 60.0 / pace.seconds).abs() < 1e-6);
    }
    // A quarter of an hour later it is forgotten, and what runs is still there.
    db.advance_clock(Duration::from_mins(16)).await.unwrap();
    let pace = depth(db, "plain").await.pace;
    assert_eq!((pace.came, pace.went, pace.wait_p50_us, pace.now), (0, 0, None, 3));
    running.abort().await;
}

async fn what_happened_in_a_minute_is_kept_for_two_days(database: TestDb) {
    let db = &database.db;
    enqueue(db, &Plain::of("old", What::Done)).await;
    counters::add_up(db).await.unwrap();
    db.advance_clock(Duration::from_hours(47)).await.unwrap();
    enqueue(db, &Plain::of("young", What::Done)).await;
    counters::add_up(db).await.unwrap();
    let ages = aftercall::store::retention::Ages {
        finished_jobs: Duration::from_hours(24 * 30),
        snapshots: Duration::from_hours(24 * 30),
    };
    let minutes = async || {
        let row = db
            .fetch_optional("-- minutes\nSELECT count(*) AS n FROM queue_minutes", &params![])
            .await
            .unwrap();
        row.unwrap().get::<u64>("n").unwrap()
    };
    aftercall::store::retention::prune_batch(db, &ages).await.unwrap();
    assert_eq!(minutes().await, 2);
    db.advance_clock(Duration::from_hours(2)).await.unwrap();
    aftercall::store::retention::prune_batch(db, &ages).await.unwrap();
    assert_eq!(minutes().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_at_any_time_whatever_can_be_noted() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    enqueue_all(db, &jobs(4, &What::Done)).await;
    for run_at in ["'-infinity'", "'infinity'", "'4713-01-01 BC'", "'294276-01-01'"] {
        let start = format!(
            "-- start\nUPDATE jobs SET state = 'running', started_at = now(), slot = random() * 1000000, run_at = {run_at}
             WHERE id IN (SELECT id FROM jobs WHERE state = 'available' LIMIT 1)"
        );
        db.write_alone(&*start.leak(), &[]).await.unwrap();
    }
    assert_eq!(differences(db).await, []);
    counters::add_up(db).await.unwrap();
    assert_eq!(added_up(db).await, [("plain".to_owned(), "running".to_owned(), 4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_other_programs_are_counted_in_their_transactions() {
    let database = TestDb::new(Engine::Postgres).await;
    let db = &database.db;
    // Their queues are known once a process was there.
    let (_, running) = one_worker(db).await;
    running.shutdown().await;
    let other = database.seen_from_outside().await;
    let mut tx = other.begin().await.unwrap();
    let ours = "SELECT aftercall_enqueue('three', '{\"n\": 1}', unique_key => $1) AS id";
    for key in ["a", "b", "a"] {
        tx.fetch_all(ours, &params![key]).await.unwrap();
    }
    assert!(depth(db, "three").await.by_state.is_empty());
    tx.commit().await.unwrap();
    assert_eq!(depth(db, "three").await.by_state["available"], 2);
    assert_eq!(depth(db, "three").await.pace.came, 2);
    assert_eq!(differences(db).await, []);
}
