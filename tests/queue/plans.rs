//! However many jobs wait and have ended, no statement of a worker reads all of them.

use std::sync::Arc;

use aftercall::{
    db::{Db, Location},
    queue::{self, control, counters, inspect},
};

use super::world::{
    Plain, Probe as _, Rated, Serial, Three, What, World, ends_as, enqueue, enqueue_all, row, settings, start,
    start_with,
};
use crate::support::{Engine, database::Place, plans::Plans, until};

/// Waiting behind a full limit and a closed rate, waiting for a time, held by a gate, and long ended.
const JOBS: &str = "INSERT INTO jobs (id, queue, limit_key, unique_key, args, state, run_at, max_attempts, created_at, held_by,
                      gate, finished_at)
    SELECT gen_random_uuid(), queue, queue, queue || n, jsonb_build_object('key', 'w', 'part', '', 'what', 'Done'), state,
           now() + CASE state WHEN 'scheduled' THEN interval '1 day' ELSE interval '-1 hour' END + n * interval '1 ms', 8,
           now() - interval '1 day', CASE WHEN held THEN 'source:shut' END, CASE WHEN held THEN 'source:shut' END,
           CASE state WHEN 'completed' THEN now() - n * interval '1 minute' END
    FROM generate_series(1, 40000) n,
         LATERAL (SELECT CASE n % 4 WHEN 0 THEN 'three' WHEN 1 THEN 'rated' ELSE 'plain' END AS queue,
                         CASE WHEN n % 4 < 2 THEN 'available' WHEN n % 10 IN (2, 3) THEN 'scheduled' ELSE 'completed' END AS state,
                         n % 20 IN (2, 3) AS held) AS kind";
const LATER: &str =
    "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at, wait_reason)
    SELECT gen_random_uuid(), 'plain', 'plain', '{}', 'scheduled', now() + interval '1 hour' + n * interval '1 s', 8, now(), 'later'
    FROM generate_series(1, 4000) n";
const RUNNING: &str =
    "UPDATE jobs SET state = 'running', started_at = now(), lease = gen_random_uuid(), lease_expires_at = now(), worker = 'w'
    WHERE id IN (SELECT id FROM jobs WHERE queue = 'plain' AND state = 'completed' LIMIT 5)";
const GATES: &str = "INSERT INTO gates (key, state, reason, detail, closed_at, updated_at)
    VALUES ('source:shut', 'closed', 'closed_by_hand', 'by a test', now(), now())";
const ATTEMPTS: &str =
    "INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at,
                          outcome, duration_us)
    SELECT gen_random_uuid(), id, queue, limit_key, 1, 'w', finished_at, finished_at, 'completed', 0 FROM jobs
    WHERE state = 'completed'";
const STARTS: &str = "INSERT INTO rate_starts (limit_key, job_id, started_at)
    SELECT limit_key, job_id, now() - interval '1 day' FROM job_attempts";

/// What counts all that waits, for `run --until-idle`.
const COUNTS: [&str; 1] = ["pending_work"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_no_statement_of_a_worker_reads_all_jobs_of_a_server() {
    let place = Place::new(Engine::Postgres).await;
    let db = filled(&place.location).await;
    let world = Arc::new(World::default());
    // Its limit is full, and thousands wait behind it.
    let full: Vec<Three> = ["a", "b", "c"].map(|key| Three::of(key, What::Hold)).into();
    let mut tx = db.begin().await.unwrap();
    for job in &full {
        let first = queue::EnqueueOptions {
            priority: Some(100),
            ..queue::EnqueueOptions::default()
        };
        queue::enqueue_with(&mut tx, job, first).await.unwrap();
    }
    tx.commit().await.unwrap();
    let plans = Plans::watch(&db).await;
    let db = Db::open(&place.location).await.unwrap();
    let other = Db::open(&place.location).await.unwrap();
    let running = [start(&db, &world).await, start(&other, &world).await];
    until("the limit is full and the rate is closed", async || {
        world.starts().len() >= 6
    })
    .await;

    for round in 0..12 {
        let jobs: Vec<Plain> = (0..3)
            .map(|number| Plain::of(&format!("{round}-{number}"), What::Done))
            .collect();
        for id in enqueue_all(&db, &jobs).await {
            ends_as(&db, id, "completed").await;
        }
    }
    db.write_alone(GATES, &[]).await.unwrap();
    work(&db, &world).await;
    // A worker dies, and the other does its work.
    let [first, second] = running;
    let lost = enqueue(&db, &Plain::of("lost", What::Hold)).await.id();
    world.started("lost", 1).await;
    first.abort().await;
    second.abort().await;
    db.advance_clock(queue::seconds(13)).await.unwrap();
    let third = start_with(&db, &world, settings()).await;
    world.let_go("lost");
    until("the lost job is done", async || {
        row(&db, lost).await.state == "completed"
    })
    .await;
    third.shutdown().await;

    let (mut reads, names) = plans.whole_reads(&["jobs", "job_attempts", "rate_starts"]);
    reads.retain(|name, _| !COUNTS.contains(&name.as_str()));
    for name in [
        "glance",
        "next_due",
        "promote_due",
        "lock_limits",
        "claim_plan",
        "next_of_key",
        "claim_jobs",
        "renew_all_leases",
        "expired_jobs",
        "rescue_job",
        "enqueue_job",
        "lock_by_lease",
        "gates_at_work",
        "park",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(
        reads.is_empty(),
        "{}",
        reads.into_values().collect::<Vec<_>>().join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shows_the_queues_reads_all_of_no_table_of_a_server() {
    let place = Place::new(Engine::Postgres).await;
    let db = Db::open(&place.location).await.unwrap();
    super::world::prepare(&db).await;
    // The limits of all queues are known once a process was there.
    start(&db, &Arc::new(World::default())).await.shutdown().await;
    for sql in [JOBS, ATTEMPTS, STARTS, GATES, LATER, RUNNING] {
        db.write_alone(sql, &[]).await.unwrap();
    }
    counters::add_up(&db).await.unwrap();
    // Some is only noted.
    enqueue(&db, &Plain::of("noted", What::Done)).await;
    let plans = Plans::watch(&db).await;
    let db = Db::open(&place.location).await.unwrap();
    // More often than it takes for a connection to plan a statement for good.
    for _ in 0..7 {
        let depths = inspect::queue_depths(&db).await.unwrap();
        let later = inspect::later(&db, &depths).await.unwrap();
        let plain = depths.iter().find(|depth| depth.queue == "plain").unwrap();
        assert_eq!(plain.held["source:shut"], 4_000);
        assert_eq!(plain.running.len(), 5);
        assert!(plain.oldest_waiting.is_some() && plain.pace.came > 0);
        // The first ones, how many more there are, and what is held.
        assert_eq!(later["plain"].len(), 3);
        assert_eq!(later["plain"].iter().map(|group| group.count).sum::<u64>(), 8_000);
        assert_eq!(inspect::gates::all(&db).await.unwrap()[0].held_jobs(), 4_000);
        assert!(inspect::service::ready(&db).await.unwrap()["three"] > 5_000);
    }
    let (reads, names) = plans.whole_reads(&["jobs", "job_attempts", "rate_starts"]);
    for name in [
        "depth_by_state",
        "oldest_waiting",
        "running_jobs",
        "rate_used",
        "queue_pace",
        "first_later",
        "held_jobs",
        "ready_jobs",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(
        reads.is_empty(),
        "{}",
        reads.into_values().collect::<Vec<_>>().join("\n")
    );
}

async fn filled(location: &Location) -> Db {
    let db = Db::open(location).await.unwrap();
    super::world::prepare(&db).await;
    for sql in [JOBS, ATTEMPTS, STARTS] {
        db.write_alone(sql, &[]).await.unwrap();
    }
    db
}

/// Every arrow of the state machine, more often than it takes for a connection to plan a statement for good.
async fn work(db: &Db, world: &World) {
    for round in 0..12 {
        let key = |name: &str| format!("{name}-{round}");
        let mut ids = enqueue_all(
            db,
            &[
                Plain::of(&key("done"), What::Done).unique(&key("done")),
                Plain::of(&key("follow"), What::FollowUp),
                Plain::of(&key("fail"), What::Fail),
                Plain::of(&key("call"), What::Call("records:up".to_owned())),
            ],
        )
        .await;
        ids.extend(enqueue_all(db, &[Serial::of(&key("serial"), What::Done).part("x")]).await);
        for id in ids {
            until("the job has ended", async || {
                ["completed", "discarded"].contains(&row(db, id).await.state.as_str())
            })
            .await;
        }
        let later = [
            Plain::of(&key("snooze"), What::Snooze { seconds: 5, times: 1 }),
            Plain::of(&key("retry"), What::Retry),
            Plain::of(&key("down"), What::Poison("records:down".to_owned())),
        ];
        let later = enqueue_all(db, &later).await;
        for (id, state) in [
            (later[0], "scheduled"),
            (later[1], "retryable"),
            (later[2], "scheduled"),
        ] {
            ends_as(db, id, state).await;
        }
        let mut tx = db.begin().await.unwrap();
        control::cancel(&mut tx, later[1], "me").await.unwrap();
        control::cancel(&mut tx, later[2], "me").await.unwrap();
        queue::cancel_live(&mut tx, "plain", &key("done"), "test")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        db.advance_clock(queue::seconds(6)).await.unwrap();
        ends_as(db, later[0], "completed").await;
    }
    let rated = enqueue(db, &Rated::of("rated", What::Done)).await.id();
    assert_eq!(row(db, rated).await.state, "available");
    assert!(inspect::pending_work(db).await.unwrap().due_now > 10_000);
    let mut tx = db.begin().await.unwrap();
    control::open_gate(&mut tx, "records:down", "me").await.unwrap();
    tx.commit().await.unwrap();
    assert!(world.starts().len() > 12 * 8);
}
