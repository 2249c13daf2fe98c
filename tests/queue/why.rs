//! `why` names what holds a job or a queue, from live state.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::Db,
    params,
    queue::{
        self, control,
        inspect::why::{self, Code, Fleet, Reason},
        seconds,
    },
};
use uuid::Uuid;

use super::world::{
    Plain, Probe as _, Rated, Serial, Three, What, World, ends_as, enqueue, enqueue_all, one_worker, prepare, row,
    start,
};
use crate::{
    on_each_database,
    support::{Engine, TestDb, database::Place, plans::Plans, until},
};

on_each_database! {
    a_limit_is_named_with_the_jobs_that_hold_it,
    a_rate_says_when_its_window_opens,
    a_shut_gate_a_pause_and_a_missing_process_are_all_named_in_order,
    what_waits_for_a_time_says_until_when_and_why,
    what_ended_says_how_and_names_its_twin,
    what_runs_says_where_and_that_its_process_is_silent,
    of_jobs_in_line_the_number_before_it_is_said,
    a_queue_that_nobody_knows_has_no_answer_and_one_without_work_is_idle,
}

const LEASE: Duration = Duration::from_secs(12);

/// As it is, seen by somebody to whom the database answered at once: else that is one more reason.
async fn fleet(db: &Db) -> Fleet {
    loop {
        let fleet = Fleet::read(db, LEASE).await.unwrap();
        if fleet.slow().is_none() {
            return fleet;
        }
    }
}

async fn of_job(db: &Db, id: Uuid) -> Vec<Reason> {
    let fleet = fleet(db).await;
    why::of_job(db, &fleet, &row(db, id).await).await.unwrap()
}

async fn of_queue(db: &Db, queue: &str) -> Vec<Reason> {
    let fleet = fleet(db).await;
    why::of_queue(db, &fleet, queue).await.unwrap().unwrap()
}

fn codes(reasons: &[Reason]) -> Vec<Code> {
    reasons.iter().map(|reason| reason.code).collect()
}

async fn a_limit_is_named_with_the_jobs_that_hold_it(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let jobs: Vec<Three> = ["a", "b", "c", "d"].map(|key| Three::of(key, What::Hold)).into();
    let ids = enqueue_all(db, &jobs).await;
    until("three run", async || world.starts().len() == 3).await;
    let reasons = of_job(db, ids[3]).await;
    assert_eq!(codes(&reasons), [Code::LimitReached]);
    assert_eq!(reasons[0].text, "the limit of three is reached: 3/3 run");
    let by: Vec<Uuid> = reasons[0].by.iter().map(|holder| holder.job).collect();
    let mut holders = ids[..3].to_vec();
    holders.sort();
    let mut named = by.clone();
    named.sort();
    assert_eq!(named, holders);
    assert!(
        reasons[0]
            .by
            .iter()
            .all(|holder| holder.worker.is_some() && holder.since.is_some())
    );
    // A lowered limit drains.
    let mut tx = db.begin().await.unwrap();
    control::set_limit(&mut tx, "three", 1, "me").await.unwrap();
    tx.commit().await.unwrap();
    let reasons = of_queue(db, "three").await;
    assert_eq!(codes(&reasons), [Code::LimitReached, Code::Ready]);
    assert_eq!(reasons[0].text, "the limit of three is reached: 3/1 run");
    assert_eq!(reasons[1].text, "jobs of three whose time has come: 1");
    // A partition's own limit is its own business.
    let ids = enqueue_all(
        db,
        &[
            Serial::of("x1", What::Hold).part("x"),
            Serial::of("x2", What::Hold).part("x"),
            Serial::of("y", What::Hold).part("y"),
        ],
    )
    .await;
    world.started("x1", 1).await;
    world.started("y", 1).await;
    let reasons = of_job(db, ids[1]).await;
    assert_eq!(reasons[0].text, "the limit of serial/x is reached: 1/1 run");
    assert_eq!(reasons[0].by[0].job, ids[0]);
    running.abort().await;
}

async fn a_rate_says_when_its_window_opens(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let jobs: Vec<Rated> = (0..4).map(|n| Rated::of(&format!("r{n}"), What::Done)).collect();
    let ids = enqueue_all(db, &jobs).await;
    until("three have started", async || world.starts().len() == 3).await;
    let waiting = {
        let mut waiting = None;
        for id in ids {
            if row(db, id).await.attempt == 0 {
                waiting = Some(id);
            }
        }
        waiting.unwrap()
    };
    let first = db
        .fetch_optional(
            "-- first_start\nSELECT min(started_at) AS at FROM rate_starts",
            &params![],
        )
        .await
        .unwrap()
        .unwrap()
        .get::<chrono::DateTime<chrono::Utc>>("at")
        .unwrap();
    for reasons in [of_job(db, waiting).await, of_queue(db, "rated").await] {
        assert_eq!(reasons[0].code, Code::RateReached, "{reasons:?}");
        assert_eq!(reasons[0].until, Some(first + chrono::TimeDelta::minutes(5)));
        assert_eq!(reasons[0].text, "3 jobs of rated started within 300 s, and no more may");
    }
    running.shutdown().await;
}

async fn a_shut_gate_a_pause_and_a_missing_process_are_all_named_in_order(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down("source:a", None);
    let id = enqueue(db, &Plain::of("c", What::Call("source:a".to_owned())))
        .await
        .id();
    until("it is held", async || row(db, id).await.held_by.is_some()).await;
    let reasons = of_job(db, id).await;
    assert_eq!(codes(&reasons), [Code::GateShut]);
    assert!(
        reasons[0].text.contains("unreachable") && reasons[0].text.contains("no answer to c"),
        "{reasons:?}"
    );
    assert!(
        reasons[0].since.is_some() && reasons[0].until.is_some(),
        "since when, and when it is tried"
    );
    assert_eq!(
        reasons[0].act.as_deref(),
        Some("`aftercall gate open source:a` tries it at once")
    );
    let mut tx = db.begin().await.unwrap();
    control::pause(&mut tx, "plain", "ops", "incident 7").await.unwrap();
    tx.commit().await.unwrap();
    running.shutdown().await;
    let reasons = of_job(db, id).await;
    assert_eq!(codes(&reasons), [Code::GateShut, Code::Paused, Code::NoWorker]);
    assert_eq!(reasons[1].text, "plain is paused by ops: incident 7");
    assert!(reasons[2].text.ends_with("which stopped"), "{}", reasons[2].text);
    let reasons = of_queue(db, "plain").await;
    assert_eq!(
        codes(&reasons),
        [Code::Paused, Code::NoWorker, Code::GateShut, Code::Idle]
    );
    assert!(reasons[2].text.contains("jobs held: 1"), "{}", reasons[2].text);
}

async fn what_waits_for_a_time_says_until_when_and_why(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let snoozed = enqueue(db, &Plain::of("s", What::Snooze { seconds: 60, times: 1 }))
        .await
        .id();
    let failed = enqueue(db, &Plain::of("f", What::Retry)).await.id();
    let snoozed_row = ends_as(db, snoozed, "scheduled").await;
    let failed_row = ends_as(db, failed, "retryable").await;
    let reasons = of_job(db, snoozed).await;
    assert_eq!(codes(&reasons), [Code::Scheduled]);
    assert_eq!(
        (reasons[0].text.as_str(), reasons[0].until),
        ("waits for the test", Some(snoozed_row.run_at))
    );
    let reasons = of_job(db, failed).await;
    assert_eq!(codes(&reasons), [Code::BackingOff]);
    assert_eq!(reasons[0].text, "attempt 1 of 3 failed: not today");
    assert_eq!(reasons[0].until, Some(failed_row.run_at));
    let reasons = of_queue(db, "plain").await;
    assert_eq!(codes(&reasons), [Code::BackingOff, Code::Scheduled, Code::Idle]);
    assert_eq!(reasons[1].text, "jobs that wait: 1 (waits for the test); the first");
    running.shutdown().await;
}

async fn what_ended_says_how_and_names_its_twin(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let given_up = enqueue(db, &Plain::of("f", What::Fail).unique("u")).await.id();
    ends_as(db, given_up, "discarded").await;
    let reasons = of_job(db, given_up).await;
    assert_eq!(codes(&reasons), [Code::Ended]);
    assert_eq!(reasons[0].text, "it was given up after attempt 1 of 3: never");
    assert_eq!(
        reasons[0].act,
        Some(format!("`aftercall jobs retry {given_up}` runs it once more"))
    );
    let twin = enqueue(db, &Plain::of("h", What::Hold).unique("u")).await.id();
    world.started("h", 1).await;
    let reasons = of_job(db, given_up).await;
    assert_eq!(codes(&reasons), [Code::Ended, Code::UniqueTwin]);
    assert_eq!(reasons[1].by[0].job, twin);
    running.abort().await;
}

async fn what_runs_says_where_and_that_its_process_is_silent(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let id = enqueue(db, &Plain::of("h", What::HoldDeaf)).await.id();
    world.started("h", 1).await;
    let reasons = of_job(db, id).await;
    assert_eq!(codes(&reasons), [Code::Running]);
    // It hears of nothing any more, and is still taken for alive.
    running.abort().await;
    world.let_go("h");
    let mut tx = db.begin().await.unwrap();
    control::cancel(&mut tx, id, "me").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(codes(&of_job(db, id).await), [Code::CancelRequested]);
    db.advance_clock(seconds(13)).await.unwrap();
    let reasons = of_job(db, id).await;
    assert_eq!(codes(&reasons), [Code::WorkerSilent]);
    assert_eq!(reasons[0].until, row(db, id).await.lease_expires_at);
    let reasons = of_queue(db, "plain").await;
    assert_eq!(reasons[0].code, Code::NoWorker);
    assert!(
        reasons[0].text.ends_with("which gave its last sign of life"),
        "{}",
        reasons[0].text
    );
}

async fn of_jobs_in_line_the_number_before_it_is_said(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    running.shutdown().await;
    let jobs: Vec<Plain> = (0..5).map(|n| Plain::of(&format!("p{n}"), What::Done)).collect();
    let ids = enqueue_all(db, &jobs).await;
    let fleet = Fleet::read(db, LEASE).await.unwrap();
    let last = why::of_job(db, &fleet, &row(db, ids[4]).await).await.unwrap();
    assert_eq!(codes(&last), [Code::NoWorker, Code::BehindOthers]);
    assert_eq!(last[1].text, "jobs of plain that come first: 4");
    let first = why::of_job(db, &fleet, &row(db, ids[0]).await).await.unwrap();
    assert_eq!(codes(&first), [Code::NoWorker]);
    let reasons = of_queue(db, "plain").await;
    assert_eq!(codes(&reasons), [Code::NoWorker, Code::Ready]);
    assert_eq!(reasons[1].text, "jobs of plain whose time has come: 5");
}

async fn a_queue_that_nobody_knows_has_no_answer_and_one_without_work_is_idle(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let fleet = Fleet::read(db, LEASE).await.unwrap();
    assert_eq!(why::of_queue(db, &fleet, "nobody").await.unwrap(), None);
    let running = start(db, &Arc::new(World::default())).await;
    assert_eq!(codes(&of_queue(db, "plain").await), [Code::Idle]);
    running.shutdown().await;
}

/// As many as a bad night leaves behind: held, waiting for a time, waiting behind a full limit, ended.
const JOBS: &str = "INSERT INTO jobs (id, queue, limit_key, unique_key, args, state, run_at, max_attempts, created_at, held_by,
                      gate, finished_at, wait_reason)
    SELECT gen_random_uuid(), queue, queue, queue || n, jsonb_build_object('key', 'w', 'part', '', 'what', 'Done'), state,
           now() + CASE state WHEN 'scheduled' THEN interval '1 day' ELSE interval '-1 hour' END + n * interval '1 ms', 8,
           now() - interval '1 day', CASE WHEN held THEN 'source:shut' END, CASE WHEN held THEN 'source:shut' END,
           CASE state WHEN 'completed' THEN now() - n * interval '1 minute' END, 'later'
    FROM generate_series(1, 40000) n,
         LATERAL (SELECT CASE n % 4 WHEN 0 THEN 'three' WHEN 1 THEN 'rated' ELSE 'plain' END AS queue,
                         CASE WHEN n % 4 < 2 THEN 'available' WHEN n % 10 IN (2, 3) THEN 'scheduled' ELSE 'completed' END AS state,
                         n % 40 IN (2, 3) AS held) AS kind";
const GATES: &str = "INSERT INTO gates (key, state, reason, detail, closed_at, updated_at)
    VALUES ('source:shut', 'closed', 'closed_by_hand', 'by a test', now(), now())";

const STARTS: &str = "INSERT INTO rate_starts (limit_key, job_id, started_at)
    SELECT limit_key, id, now() - interval '1 day' FROM jobs";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_reads_no_more_where_there_are_many_jobs() {
    let place = Place::new(Engine::Postgres).await;
    let db = Db::open(&place.location).await.unwrap();
    let (_, running) = one_worker(&db).await;
    let mut tx = db.begin().await.unwrap();
    for queue in ["plain", "three", "rated"] {
        control::pause(&mut tx, queue, "me", "so that nothing starts")
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    running.shutdown().await;
    for sql in [JOBS, GATES, STARTS] {
        db.write_alone(sql, &[]).await.unwrap();
    }
    let plans = Plans::watch(&db).await;
    let db = Db::open(&place.location).await.unwrap();
    let ids: Vec<Uuid> = db
        .fetch_all(
            "-- some_jobs\nSELECT DISTINCT ON (queue, state, held_by) id FROM jobs",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get("id").unwrap())
        .collect();
    assert!(ids.len() >= 5, "of each kind one");
    let fleet = Fleet::read(&db, LEASE).await.unwrap();
    for _ in 0..6 {
        for id in &ids {
            let job = queue::inspect::job(&db, *id).await.unwrap().unwrap();
            why::of_job(&db, &fleet, &job).await.unwrap();
        }
        for queue in ["plain", "three", "rated", "serial"] {
            why::of_queue(&db, &fleet, queue).await.unwrap();
        }
    }
    let reasons = why::of_queue(&db, &fleet, "plain").await.unwrap().unwrap();
    assert!(
        reasons
            .iter()
            .any(|reason| reason.text.contains("jobs held: more than 1,000")),
        "{reasons:?}"
    );
    let reasons = why::of_queue(&db, &fleet, "three").await.unwrap().unwrap();
    assert!(
        reasons.iter().any(|reason| reason.text.ends_with("more than 1,000")),
        "{reasons:?}"
    );
    let (mut reads, names) = plans.whole_reads(&["jobs", "job_attempts", "rate_starts"]);
    reads.retain(|name, _| name != "some_jobs");
    for name in [
        "later_of_queue",
        "held_of_queue",
        "keys_with_work",
        "first_of_key",
        "ready_of_key",
        "running_of_key",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(
        reads.is_empty(),
        "{}",
        reads.into_values().collect::<Vec<_>>().join("\n")
    );
}
