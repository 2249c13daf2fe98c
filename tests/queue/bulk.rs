//! What is done to many jobs at once leaves alone what it would break.

use std::{collections::BTreeMap, sync::Arc};

use aftercall::{
    db::Db,
    params,
    queue::{
        bulk::{self, Batch, Change, Order},
        inspect::{self, ArgIs, JobFilter},
        seconds,
    },
};
use uuid::Uuid;

use super::world::{
    Plain, Probe as _, Serial, What, World, ends_as, enqueue, enqueue_all, marks, one_worker, prepare, registry, row,
    start,
};
use crate::{
    on_each_database,
    support::{Engine, PATIENCE, TestDb, database::Place, plans::Plans},
};

on_each_database! {
    ended_jobs_live_again_unless_a_twin_does_or_they_run,
    waiting_jobs_are_cancelled_and_running_ones_asked_to_stop,
    a_discard_tells_what_the_jobs_worked_for_and_is_undone,
    only_what_ended_is_deleted_with_its_attempts,
    waiting_jobs_run_in_another_order_at_another_time_and_in_another_partition,
    a_change_of_many_goes_on_where_it_was_and_leaves_alone_what_came_later,
    jobs_are_found_by_everything_that_a_filter_says,
    pages_follow_each_other_while_new_jobs_come_in,
}

async fn apply(db: &Db, change: &Change, filter: &JobFilter, after: Uuid, upto: Uuid) -> Batch {
    let mut tx = db.begin().await.unwrap();
    let order = Order {
        operation: upto,
        change,
        filter,
        reason: "by a test",
    };
    let batch = bulk::apply(&mut tx, &registry(), &order, after, upto).await.unwrap();
    tx.commit().await.unwrap();
    batch
}

fn add(all: &mut Batch, batch: Batch) {
    all.done += batch.done;
    for (why, count) in batch.skipped {
        *all.skipped.entry(why).or_default() += count;
    }
    all.locked.extend(batch.locked);
}

/// To all that match, batch by batch, and then to those whose rows a worker had at that moment: its heartbeat renews them.
async fn to_all(db: &Db, change: &Change, filter: &JobFilter) -> Batch {
    let upto = Uuid::now_v7();
    let mut all = Batch::default();
    while all.position < upto {
        let batch = apply(db, change, filter, all.position, upto).await;
        all.position = batch.position;
        add(&mut all, batch);
    }
    let until_free = async {
        while !all.locked.is_empty() {
            let again = JobFilter {
                ids: std::mem::take(&mut all.locked),
                ..filter.clone()
            };
            let batch = apply(db, change, &again, Uuid::nil(), Uuid::max()).await;
            add(&mut all, batch);
        }
    };
    tokio::time::timeout(PATIENCE, until_free).await.unwrap();
    all
}

fn of_plain() -> JobFilter {
    JobFilter {
        queue: Some("plain".to_owned()),
        ..JobFilter::default()
    }
}

fn in_state(state: &str) -> JobFilter {
    JobFilter {
        state: Some(state.to_owned()),
        ..of_plain()
    }
}

fn skipped(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect()
}

async fn ended_jobs_live_again_unless_a_twin_does_or_they_run(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let alone = enqueue(db, &Plain::of("alone", What::Fail).unique("alone")).await.id();
    let older = enqueue(db, &Plain::of("older", What::Fail).unique("u")).await.id();
    ends_as(db, older, "discarded").await;
    let younger = enqueue(db, &Plain::of("younger", What::Fail).unique("u")).await.id();
    let had_twin = enqueue(db, &Plain::of("had", What::Fail).unique("t")).await.id();
    for id in [alone, younger, had_twin] {
        ends_as(db, id, "discarded").await;
    }
    let done = enqueue(db, &Plain::of("done", What::Done)).await.id();
    ends_as(db, done, "completed").await;
    let twin = enqueue(db, &Plain::of("twin", What::Hold).unique("t")).await.id();
    world.started("twin", 1).await;
    running.shutdown().await;
    ends_as(db, twin, "available").await;
    // All that ran has ended: what is revived stays as it is.
    let batch = to_all(db, &Change::Retry, &of_plain()).await;
    assert_eq!(batch.done, 2);
    assert_eq!(
        batch.skipped,
        skipped(&[("completed", 1), ("due_already", 1), ("twin", 2)])
    );
    for (id, state) in [
        (alone, "available"),
        (younger, "available"),
        (older, "discarded"),
        (had_twin, "discarded"),
        (done, "completed"),
    ] {
        assert_eq!(row(db, id).await.state, state);
    }
    let revived = row(db, alone).await;
    assert_eq!((revived.attempt, revived.finished_at, revived.worker), (0, None, None));
    assert_eq!(
        revived.last_error.as_deref(),
        Some("never"),
        "what happened stays known"
    );
    // What is asked for by its state is done again.
    assert_eq!(to_all(db, &Change::Retry, &in_state("completed")).await.done, 1);
    let running = start(db, &world).await;
    ends_as(db, alone, "discarded").await;
    running.abort().await;
}

async fn waiting_jobs_are_cancelled_and_running_ones_asked_to_stop(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let held = enqueue(db, &Plain::of("held", What::Hold)).await.id();
    let snoozed = enqueue(db, &Plain::of("later", What::Snooze { seconds: 60, times: 1 }))
        .await
        .id();
    let done = enqueue(db, &Plain::of("done", What::Done)).await.id();
    world.started("held", 1).await;
    ends_as(db, snoozed, "scheduled").await;
    ends_as(db, done, "completed").await;
    let batch = to_all(db, &Change::Cancel, &of_plain()).await;
    assert_eq!((batch.done, batch.skipped), (2, skipped(&[("ended", 1)])));
    assert_eq!(row(db, snoozed).await.state, "cancelled");
    ends_as(db, held, "cancelled").await;
    assert_eq!(row(db, done).await.state, "completed");
    running.shutdown().await;
}

async fn a_discard_tells_what_the_jobs_worked_for_and_is_undone(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let jobs: Vec<Plain> = ["a", "b", "c", "d"]
        .map(|key| Plain::of(key, What::Done).unique(key))
        .into();
    let ids = enqueue_all(db, &jobs).await;
    let operation = Uuid::now_v7();
    let batch = apply(db, &Change::Discard, &of_plain(), Uuid::nil(), operation).await;
    assert_eq!(batch.done, 4);
    let told: Vec<(String, String)> = ["a", "b", "c", "d"]
        .map(|key| (key.to_owned(), "discarded: by a test".to_owned()))
        .into();
    assert_eq!(marks(db).await, told);
    assert_eq!(row(db, ids[0]).await.last_error.as_deref(), Some("by a test"));
    // Meanwhile one was called for again, one was deleted.
    enqueue(db, &Plain::of("b again", What::Hold).unique("b")).await;
    let only_third = JobFilter {
        ids: vec![ids[2]],
        ..JobFilter::default()
    };
    assert_eq!(to_all(db, &Change::Delete, &only_third).await.done, 1);
    let mut tx = db.begin().await.unwrap();
    let restored = bulk::restore(&mut tx, &registry(), operation, Uuid::nil())
        .await
        .unwrap()
        .unwrap();
    let after = restored.position;
    let end = bulk::restore(&mut tx, &registry(), operation, after).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (restored.done, restored.skipped),
        (2, skipped(&[("deleted", 1), ("twin", 1)]))
    );
    assert_eq!(end, None, "that was all");
    let world = Arc::new(World::default());
    let running = start(db, &world).await;
    ends_as(db, ids[0], "completed").await;
    ends_as(db, ids[3], "completed").await;
    assert_eq!(row(db, ids[1]).await.state, "discarded");
    running.abort().await;
}

async fn only_what_ended_is_deleted_with_its_attempts(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let done = enqueue(db, &Plain::of("done", What::Done)).await.id();
    let held = enqueue(db, &Plain::of("held", What::Hold)).await.id();
    ends_as(db, done, "completed").await;
    world.started("held", 1).await;
    let later = enqueue(db, &Plain::of("later", What::Snooze { seconds: 60, times: 1 }))
        .await
        .id();
    ends_as(db, later, "scheduled").await;
    let batch = to_all(db, &Change::Delete, &of_plain()).await;
    assert_eq!(
        (batch.done, batch.skipped),
        (1, skipped(&[("live", 1), ("running", 1)]))
    );
    assert!(inspect::job(db, done).await.unwrap().is_none());
    assert!(inspect::attempts(db, done).await.unwrap().is_empty());
    assert!(inspect::job(db, held).await.unwrap().is_some());
    running.abort().await;
}

async fn waiting_jobs_run_in_another_order_at_another_time_and_in_another_partition(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let ids = enqueue_all(db, &[Plain::of("a", What::Done), Plain::of("b", What::Done)]).await;
    let one = |id| JobFilter {
        ids: vec![id],
        ..JobFilter::default()
    };
    assert_eq!(
        to_all(db, &Change::Reprioritise { priority: 7 }, &one(ids[1]))
            .await
            .done,
        1
    );
    assert_eq!(row(db, ids[1]).await.priority, 7);
    let later = db.now().await.unwrap() + chrono::TimeDelta::minutes(10);
    let to = |run_at| Change::Move {
        run_at: Some(run_at),
        partition: None,
    };
    assert_eq!(to_all(db, &to(later), &of_plain()).await.done, 2);
    let moved = row(db, ids[0]).await;
    assert_eq!((moved.state.as_str(), moved.run_at), ("scheduled", later));
    // Never before now.
    assert_eq!(
        to_all(db, &to(later - chrono::TimeDelta::days(1)), &one(ids[0]))
            .await
            .done,
        1
    );
    let moved = row(db, ids[0]).await;
    assert_eq!(moved.state, "available");
    assert!(moved.run_at > later - chrono::TimeDelta::minutes(11));
    let into = Change::Move {
        run_at: None,
        partition: Some("y".to_owned()),
    };
    assert_eq!(
        to_all(db, &into, &of_plain()).await.skipped,
        skipped(&[("no_partitions", 2)])
    );
    let serial = enqueue(db, &Serial::of("s", What::Done).part("x")).await.id();
    assert_eq!(to_all(db, &into, &one(serial)).await.done, 1);
    let moved = row(db, serial).await;
    assert_eq!((moved.partition.as_str(), moved.limit_key.as_str()), ("y", "serial/y"));
    let world = Arc::new(World::default());
    let running = start(db, &world).await;
    ends_as(db, serial, "completed").await;
    ends_as(db, ids[0], "completed").await;
    db.advance_clock(seconds(601)).await.unwrap();
    ends_as(db, ids[1], "completed").await;
    running.shutdown().await;
}

async fn a_change_of_many_goes_on_where_it_was_and_leaves_alone_what_came_later(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let jobs: Vec<Plain> = (0..2_500).map(|n| Plain::of(&format!("p{n}"), What::Done)).collect();
    enqueue_all(db, &jobs).await;
    let upto = Uuid::now_v7();
    let younger = enqueue(db, &Plain::of("younger", What::Done)).await.id();
    let (mut after, mut batches, mut done) = (Uuid::nil(), 0, 0);
    while after < upto {
        let batch = apply(db, &Change::Cancel, &of_plain(), after, upto).await;
        assert!(batch.position > after, "it moves on");
        (after, batches, done) = (batch.position, batches + 1, done + batch.done);
    }
    assert_eq!(done, 2_500);
    assert!(batches > 2, "not all at once: {batches}");
    assert_eq!(row(db, younger).await.state, "available");
}

async fn jobs_are_found_by_everything_that_a_filter_says(database: TestDb) {
    let db = &database.db;
    let (_, running) = one_worker(db).await;
    let failed = enqueue(db, &Plain::of("broken", What::Fail).unique("calls/s-1#1"))
        .await
        .id();
    let part = enqueue(db, &Serial::of("s", What::Done).part("x")).await.id();
    ends_as(db, failed, "discarded").await;
    ends_as(db, part, "completed").await;
    running.shutdown().await;
    db.advance_clock(seconds(3_600)).await.unwrap();
    let jobs: Vec<Plain> = (0..30).map(|n| Plain::of(&format!("p{n}"), What::Done)).collect();
    enqueue_all(db, &jobs).await;
    let now = db.now().await.unwrap();
    let found = async |filter: JobFilter| {
        let page = inspect::jobs(db, &filter, None, 100).await.unwrap();
        assert_eq!(page.next, None);
        assert_eq!(queue_count(db, &filter).await, page.jobs.len() as u64);
        page.jobs.into_iter().map(|job| job.id).collect::<Vec<Uuid>>()
    };
    let default = JobFilter::default;
    assert_eq!(found(default()).await.len(), 32);
    assert_eq!(
        found(JobFilter {
            state: Some("discarded".to_owned()),
            ..default()
        })
        .await,
        [failed]
    );
    assert_eq!(
        found(JobFilter {
            partition: Some("x".to_owned()),
            ..default()
        })
        .await,
        [part]
    );
    assert_eq!(
        found(JobFilter {
            key_contains: Some("s-1#".to_owned()),
            ..default()
        })
        .await,
        [failed]
    );
    assert_eq!(
        found(JobFilter {
            error_contains: Some("neve".to_owned()),
            ..default()
        })
        .await,
        [failed]
    );
    assert_eq!(
        found(JobFilter {
            arg: Some(ArgIs::new("key", "broken").unwrap()),
            ..default()
        })
        .await,
        [failed]
    );
    assert!(
        found(JobFilter {
            arg: Some(ArgIs::new("what.no", "x").unwrap()),
            ..default()
        })
        .await
        .is_empty()
    );
    let old = JobFilter {
        created_until: Some(now - chrono::TimeDelta::minutes(30)),
        ..default()
    };
    assert_eq!(found(old).await, [part, failed]);
    let young = JobFilter {
        created_since: Some(now - chrono::TimeDelta::minutes(30)),
        ..default()
    };
    assert_eq!(found(young).await.len(), 30);
    assert_eq!(
        found(JobFilter {
            attempts: Some(1),
            ..default()
        })
        .await,
        [part, failed]
    );
    for hostile in ["", "a..b", "a'b", "$.x", "a[0]"] {
        assert!(ArgIs::new(hostile, "x").is_err(), "{hostile}");
    }
}

async fn pages_follow_each_other_while_new_jobs_come_in(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let jobs: Vec<Plain> = (0..31).map(|n| Plain::of(&format!("p{n}"), What::Done)).collect();
    let ids = enqueue_all(db, &jobs).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = inspect::jobs(db, &of_plain(), after, 7).await.unwrap();
        seen.extend(page.jobs.iter().map(|job| job.id));
        enqueue(db, &Plain::of("new", What::Done)).await;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<Uuid> = ids.into_iter().rev().collect();
    assert_eq!(seen, expected);
}

async fn queue_count(db: &Db, filter: &JobFilter) -> u64 {
    aftercall::queue::select::count(db, filter).await.unwrap()
}

/// A table of which only few are what is asked for.
const JOBS: &str = "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at, finished_at)
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'plain', 'plain',
           '{\"key\":\"w\",\"part\":\"\",\"what\":\"Done\"}', CASE WHEN n % 1000 = 0 THEN 'discarded' ELSE 'completed' END, now(), 8,
           now(), now()
    FROM generate_series(1, 60000) n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_listed_counted_and_changed_in_windows_not_by_reading_the_whole_table() {
    let place = Place::new(Engine::Postgres).await;
    let db = Db::open(&place.location).await.unwrap();
    prepare(&db).await;
    db.write_alone(JOBS, &params![]).await.unwrap();
    let plans = Plans::watch(&db).await;
    let db = Db::open(&place.location).await.unwrap();
    let nobody = JobFilter {
        error_contains: Some("nothing has this".to_owned()),
        ..JobFilter::default()
    };
    for _ in 0..6 {
        let page = inspect::job_page(&db, &nobody, None, 50).await.unwrap();
        assert!(page.jobs.is_empty() && page.next.is_some(), "it says where to go on");
        assert!(inspect::jobs(&db, &nobody, None, 50).await.unwrap().next.is_none());
        assert_eq!(
            inspect::jobs(&db, &in_state("discarded"), None, 50)
                .await
                .unwrap()
                .jobs
                .len(),
            50
        );
        assert_eq!(queue_count(&db, &in_state("discarded")).await, 60);
        assert_eq!(queue_count(&db, &of_plain()).await, 60_000);
        to_all(&db, &Change::Retry, &nobody).await;
    }
    assert_eq!(to_all(&db, &Change::Retry, &in_state("discarded")).await.done, 60);
    let page = inspect::job_page(&db, &of_plain(), None, 200).await.unwrap();
    let of_ids = JobFilter {
        ids: page.jobs.iter().map(|job| job.id).collect(),
        ..of_plain()
    };
    for priority in 0..6 {
        to_all(&db, &Change::Reprioritise { priority }, &of_ids).await;
    }
    let (reads, names) = plans.whole_reads(&["jobs"]);
    for name in [
        "jobs_by_filter",
        "discarded_by_filter",
        "window_back",
        "window_forward",
        "candidates",
        "candidates_there",
        "named_candidates",
        "named_candidates_there",
        "discarded_candidates",
        "discarded_candidates_there",
        "revive_jobs",
    ] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    assert!(
        reads.is_empty(),
        "{}",
        reads.into_values().collect::<Vec<_>>().join("\n")
    );
}
