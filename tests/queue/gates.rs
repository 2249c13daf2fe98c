//! An upstream that is down is known to the whole fleet: jobs behind it wait and are not started, one tries it, and they go
//! on by themselves.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::Db,
    queue::{
        self,
        control::{self, Opened},
        inspect::{
            self,
            gates::{self, GateLine},
        },
        seconds,
    },
};
use uuid::Uuid;

use super::world::{
    Plain, Probe as _, Rated, Serial, What, World, ends_as, enqueue, enqueue_all, looked_again, one_worker, outcomes,
    prepare, registry, row, start,
};
use crate::{
    on_each_database,
    support::{TestDb, until},
};

on_each_database! {
    i9_jobs_behind_an_upstream_that_is_down_are_held_and_one_at_a_time_tries_it,
    i9_fifty_failures_burn_no_attempt,
    i9_calls_that_fail_together_are_one_failure,
    i9_a_call_that_began_before_the_gate_opened_does_not_close_it_again,
    i9_a_call_that_succeeds_but_is_not_the_probe_opens_nothing,
    i9_what_an_upstream_asks_for_counts_also_when_it_is_hours,
    i9_a_job_that_brings_its_upstream_down_each_time_does_not_hold_up_the_others,
    i9_a_probe_that_is_killed_is_rescued_and_stays_the_probe,
    i9_a_probe_that_ends_without_a_call_gives_way_to_the_next,
    i6_a_shut_gate_does_not_hold_up_other_upstreams_of_the_queue,
    i9_a_rate_is_not_charged_for_what_is_held,
    i9_two_processes_send_one_probe,
    a_gate_closed_by_hand_stays_closed_until_it_is_opened,
    a_cancelled_or_retried_job_is_held_no_longer,
    what_is_held_is_shown_with_the_reason_of_now,
}

const GATE: &str = "source:a";

fn calls(count: usize) -> Vec<Plain> {
    let call = |number| Plain::of(&format!("c{number}"), What::Call(GATE.to_owned()));
    (0..count).map(call).collect()
}

async fn gate(db: &Db) -> Option<GateLine> {
    gates::all(db).await.unwrap().into_iter().find(|gate| gate.key == GATE)
}

async fn is_shut(db: &Db) -> bool {
    gate(db).await.is_some_and(|gate| gate.state == "closed")
}

/// Until the gate is closed after so many failures, and so many wait behind it.
async fn waits(db: &Db, failures: u32, held: u64) {
    until(&format!("{held} are held after {failures} failures"), async || {
        gate(db)
            .await
            .is_some_and(|gate| gate.state == "closed" && gate.failures == failures && gate.held_jobs() == held)
    })
    .await;
}

/// To just after the next probe.
async fn to_the_probe(db: &Db) {
    let probe_at = gate(db).await.and_then(|gate| gate.probe_at).unwrap();
    let wait = (probe_at - db.now().await.unwrap()).to_std().unwrap_or_default();
    db.advance_clock(wait + Duration::from_millis(1)).await.unwrap();
}

/// Moves the clock while nothing runs: a lease does not outlast it.
async fn advance(db: &Db, by: Duration) {
    until("nothing runs", async || {
        let pending = inspect::pending_work(db).await.unwrap();
        pending.running + pending.due_now == 0
    })
    .await;
    db.advance_clock(by).await.unwrap();
}

async fn all_end(db: &Db, ids: &[Uuid]) {
    for id in ids {
        let job = ends_as(db, *id, "completed").await;
        assert_eq!(job.attempt, 1, "no attempt is burnt");
        assert_eq!(job.held_by, None);
    }
}

async fn i9_jobs_behind_an_upstream_that_is_down_are_held_and_one_at_a_time_tries_it(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let ids = enqueue_all(db, &calls(40)).await;
    waits(db, 1, 40).await;
    let called = world.calls().len();
    assert!(called <= 8, "those that ran when it closed: {called}");
    // 10 s, 20 s, 40 s.
    for (tries, wait) in [(1, 20), (2, 40), (3, 80)] {
        to_the_probe(db).await;
        waits(db, tries + 1, 40).await;
        assert_eq!(world.calls().len(), called + tries as usize, "one call a try");
        let gate = gate(db).await.unwrap();
        let left = (gate.probe_at.unwrap() - db.now().await.unwrap()).num_seconds();
        assert!((wait - 5..=wait).contains(&left), "{left} of {wait}");
    }
    looked_again(db).await;
    assert_eq!(world.calls().len(), called + 3);
    world.up(GATE);
    to_the_probe(db).await;
    until("the gate is open", async || gate(db).await.unwrap().state == "open").await;
    // Those that found it down themselves have a wait of their own.
    advance(db, queue::minutes(10)).await;
    all_end(db, &ids).await;
    running.shutdown().await;
}

async fn i9_fifty_failures_burn_no_attempt(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let ids = enqueue_all(db, &calls(1)).await;
    for failures in 1..=50 {
        waits(db, failures, 1).await;
        to_the_probe(db).await;
    }
    waits(db, 51, 1).await;
    let job = row(db, ids[0]).await;
    assert_eq!((job.attempt, job.snoozes, job.outages), (0, 0, 51));
    world.up(GATE);
    to_the_probe(db).await;
    all_end(db, &ids).await;
    running.shutdown().await;
}

async fn i9_calls_that_fail_together_are_one_failure(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let keys = ["a", "b", "c", "d"];
    let jobs = keys.map(|key| Plain::of(key, What::CallSlowly(GATE.to_owned())));
    let ids = enqueue_all(db, &jobs).await;
    until("all four are calling", async || world.calls().len() == 4).await;
    for (number, key) in keys.into_iter().enumerate() {
        world.let_go(key);
        waits(db, 1, number as u64 + 1).await;
    }
    world.up(GATE);
    to_the_probe(db).await;
    all_end(db, &ids).await;
    running.shutdown().await;
}

async fn i9_a_call_that_began_before_the_gate_opened_does_not_close_it_again(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let slow = enqueue(db, &Plain::of("slow", What::CallSlowly(GATE.to_owned())))
        .await
        .id();
    until("it is calling", async || world.calls().len() == 1).await;
    let ids = enqueue_all(db, &calls(1)).await;
    waits(db, 1, 1).await;
    world.up(GATE);
    to_the_probe(db).await;
    all_end(db, &ids).await;
    world.let_go("slow");
    until("it waits by itself", async || {
        let job = row(db, slow).await;
        job.state == "scheduled" && job.held_by.is_none() && job.outages == 1
    })
    .await;
    assert_eq!(gate(db).await.unwrap().state, "open");
    db.advance_clock(seconds(11)).await.unwrap();
    all_end(db, &[slow]).await;
    running.shutdown().await;
}

async fn i9_a_call_that_succeeds_but_is_not_the_probe_opens_nothing(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let slow = enqueue(db, &Plain::of("slow", What::CallSlowly(GATE.to_owned())))
        .await
        .id();
    until("it is calling, and will be answered", async || world.calls().len() == 1).await;
    world.down(GATE, None);
    enqueue_all(db, &calls(1)).await;
    waits(db, 1, 1).await;
    world.let_go("slow");
    all_end(db, &[slow]).await;
    assert!(is_shut(db).await);
    running.shutdown().await;
}

async fn i9_what_an_upstream_asks_for_counts_also_when_it_is_hours(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, Some(Duration::from_hours(11)));
    let ids = enqueue_all(db, &calls(3)).await;
    waits(db, 1, 3).await;
    let called = world.calls().len();
    world.up(GATE);
    db.advance_clock(Duration::from_hours(10)).await.unwrap();
    looked_again(db).await;
    assert_eq!(world.calls().len(), called);
    assert!(is_shut(db).await);
    db.advance_clock(Duration::from_hours(1)).await.unwrap();
    all_end(db, &ids).await;
    running.shutdown().await;
}

async fn i9_a_job_that_brings_its_upstream_down_each_time_does_not_hold_up_the_others(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    // First in the line, and more important than the others.
    let poison = enqueue(db, &Plain::of("poison", What::Poison(GATE.to_owned())))
        .await
        .id();
    waits(db, 1, 1).await;
    let ids = enqueue_all(db, &calls(30)).await;
    waits(db, 1, 31).await;
    to_the_probe(db).await;
    all_end(db, &ids).await;
    // It tries again and again, each time after a longer wait, and what comes in between goes on.
    for outages in 2..6 {
        until("it has brought it down again", async || {
            advance(db, seconds(30)).await;
            row(db, poison).await.outages >= outages
        })
        .await;
        let next = enqueue_all(db, &calls(5)).await;
        until("the others are done", async || {
            advance(db, seconds(30)).await;
            let mut done = true;
            for id in &next {
                done &= row(db, *id).await.state == "completed";
            }
            done
        })
        .await;
        all_end(db, &next).await;
    }
    assert_eq!(
        world.calls().iter().filter(|key| key.starts_with('c')).count(),
        30 + 4 * 5
    );
    // It may be trying at this moment.
    until("its attempt is given back", async || row(db, poison).await.attempt == 0).await;
    running.shutdown().await;
}

async fn i9_a_probe_that_is_killed_is_rescued_and_stays_the_probe(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let slow = enqueue(db, &Plain::of("slow", What::CallSlowly(GATE.to_owned())))
        .await
        .id();
    world.let_go("slow");
    waits(db, 1, 1).await;
    let mut args = super::world::row(db, slow).await.args;
    args["key"] = "slower".into();
    let mut tx = db.begin().await.unwrap();
    tx.execute(
        "-- x\nUPDATE jobs SET args = $2 WHERE id = $1",
        &aftercall::params![slow, args],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    world.up(GATE);
    to_the_probe(db).await;
    world.started("slower", 1).await;
    running.abort().await;
    enqueue_all(db, &calls(3)).await;

    let running = start(db, &world).await;
    db.advance_clock(seconds(13)).await.unwrap();
    world.started("slower", 2).await;
    assert_eq!(gate(db).await.unwrap().probe_job, Some(slow));
    assert_eq!(world.calls().iter().filter(|key| key.starts_with('c')).count(), 0);
    world.let_go("slower");
    ends_as(db, slow, "completed").await;
    until("the others go on", async || world.starts_of("c2") == 1).await;
    running.shutdown().await;
}

async fn i9_a_probe_that_ends_without_a_call_gives_way_to_the_next(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let first = enqueue(db, &calls(1)[0]).await.id();
    waits(db, 1, 1).await;
    let mut jobs: Vec<Plain> = (0..20)
        .map(|number| Plain::of(&format!("n{number}"), What::NoCall(GATE.to_owned())))
        .collect();
    jobs.push(Plain::of("last", What::Call(GATE.to_owned())));
    let mut ids = enqueue_all(db, &jobs).await;
    waits(db, 1, 22).await;
    world.up(GATE);
    to_the_probe(db).await;
    ids.push(first);
    all_end(db, &ids).await;
    assert_eq!(gate(db).await.unwrap().state, "open");
    running.shutdown().await;
}

async fn i6_a_shut_gate_does_not_hold_up_other_upstreams_of_the_queue(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let serial = |key: &str, gate: &str| Serial::of(key, What::Call(gate.to_owned())).part("one lane");
    let mut jobs: Vec<Serial> = (0..50).map(|number| serial(&format!("a{number}"), GATE)).collect();
    jobs.extend((0..5).map(|number| serial(&format!("b{number}"), "source:b")));
    let ids = enqueue_all(db, &jobs).await;
    all_end(db, &ids[50..]).await;
    waits(db, 1, 50).await;
    assert_eq!(world.calls().iter().filter(|key| key.starts_with('a')).count(), 1);
    running.shutdown().await;
}

async fn i9_a_rate_is_not_charged_for_what_is_held(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let rated = |number| Rated::of(&format!("r{number}"), What::Call(GATE.to_owned()));
    let ids = enqueue_all(db, &[rated(0)]).await;
    waits(db, 1, 1).await;
    let more = enqueue_all(db, &(1..6).map(rated).collect::<Vec<_>>()).await;
    waits(db, 1, 6).await;
    for failures in 2..=6 {
        to_the_probe(db).await;
        waits(db, failures, 6).await;
    }
    let starts = db.fetch_all("-- x\nSELECT job_id FROM rate_starts", &[]).await.unwrap();
    let called: std::collections::BTreeSet<String> = world.calls().into_iter().collect();
    assert_eq!(starts.len(), called.len(), "once per job that ever started: {called:?}");
    world.up(GATE);
    to_the_probe(db).await;
    for id in ids.iter().chain(&more) {
        until("it is done", async || {
            advance(db, queue::minutes(5)).await;
            row(db, *id).await.state == "completed"
        })
        .await;
    }
    running.shutdown().await;
}

async fn i9_two_processes_send_one_probe(database: TestDb) {
    let db = &database.db;
    prepare(db).await;
    let world = Arc::new(World::default());
    let other = database.seen_from_outside().await;
    let workers = [start(db, &world).await, start(&other, &world).await];
    world.down(GATE, None);
    let ids = enqueue_all(db, &calls(30)).await;
    waits(db, 1, 30).await;
    let called = world.calls().len();
    for failures in 2..=5 {
        to_the_probe(db).await;
        waits(db, failures, 30).await;
    }
    assert_eq!(world.calls().len(), called + 4);
    world.up(GATE);
    to_the_probe(db).await;
    until("the gate is open", async || gate(db).await.unwrap().state == "open").await;
    advance(db, queue::minutes(10)).await;
    all_end(db, &ids).await;
    for worker in workers {
        worker.shutdown().await;
    }
}

async fn a_gate_closed_by_hand_stays_closed_until_it_is_opened(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    let mut tx = db.begin().await.unwrap();
    control::close_gate(&mut tx, GATE, "me", "maintenance").await.unwrap();
    tx.commit().await.unwrap();
    let ids = enqueue_all(db, &calls(3)).await;
    waits(db, 0, 3).await;
    db.advance_clock(queue::days(3)).await.unwrap();
    looked_again(db).await;
    assert!(world.calls().is_empty());
    let job = row(db, ids[0]).await;
    assert!(job.wait_reason.unwrap().contains("closed by me: maintenance"));
    let mut tx = db.begin().await.unwrap();
    assert_eq!(control::open_gate(&mut tx, GATE, "me").await.unwrap(), Opened::Open);
    tx.commit().await.unwrap();
    all_end(db, &ids).await;

    // One that an outage closed is tried.
    world.down(GATE, Some(Duration::from_hours(5)));
    let ids = enqueue_all(db, &calls(1)).await;
    waits(db, 1, 1).await;
    world.up(GATE);
    let mut tx = db.begin().await.unwrap();
    assert_eq!(control::open_gate(&mut tx, GATE, "me").await.unwrap(), Opened::Tried);
    tx.commit().await.unwrap();
    all_end(db, &ids).await;
    let mut tx = db.begin().await.unwrap();
    assert_eq!(control::open_gate(&mut tx, GATE, "me").await.unwrap(), Opened::NotShut);
    drop(tx);
    let written = db
        .fetch_all("-- x\nSELECT action FROM audit_log ORDER BY id", &[])
        .await
        .unwrap();
    let written: Vec<String> = written.iter().map(|row| row.get("action").unwrap()).collect();
    assert_eq!(written, ["close_gate", "open_gate", "open_gate"]);
    running.shutdown().await;
}

async fn a_cancelled_or_retried_job_is_held_no_longer(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    let ids = enqueue_all(db, &calls(1)).await;
    waits(db, 1, 1).await;
    let more = enqueue_all(db, &calls(2)).await;
    waits(db, 1, 3).await;
    let mut tx = db.begin().await.unwrap();
    control::cancel(&mut tx, more[0], "me").await.unwrap();
    control::retry(&mut tx, &registry(), more[1], "me").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(row(db, more[0]).await.held_by, None);
    // Retried, it comes upon the gate again.
    waits(db, 1, 2).await;
    assert_eq!(outcomes(db, more[1]).await, [""; 0], "held is not started");
    world.up(GATE);
    to_the_probe(db).await;
    all_end(db, &[ids[0], more[1]]).await;
    assert_eq!(row(db, more[0]).await.state, "cancelled");
    running.shutdown().await;
}

async fn what_is_held_is_shown_with_the_reason_of_now(database: TestDb) {
    let db = &database.db;
    let (world, running) = one_worker(db).await;
    world.down(GATE, None);
    enqueue_all(db, &calls(1)).await;
    waits(db, 1, 1).await;
    let later = enqueue_all(db, &calls(4)).await;
    waits(db, 1, 5).await;
    let why = "source:a is not available (unreachable): no answer to c0";
    let job = row(db, later[3]).await;
    assert_eq!(
        (job.wait_reason.as_deref(), job.held_by.as_deref()),
        (Some(why), Some(GATE))
    );
    assert!(job.held_until.is_some());
    let pending = inspect::pending_work(db).await.unwrap();
    assert_eq!(pending.due_now, 0);
    let [held] = pending.later.as_slice() else {
        panic!("{pending:?}");
    };
    assert_eq!((held.count, held.reason.as_deref()), (5, Some(why)));
    let depths = inspect::queue_depths(db).await.unwrap();
    let depth = depths.iter().find(|depth| depth.queue == "plain").unwrap();
    assert_eq!(depth.held, [(GATE.to_owned(), 5)].into());

    world.up(GATE);
    to_the_probe(db).await;
    until("all is done", async || {
        inspect::pending_work(db).await.unwrap().is_empty()
    })
    .await;
    assert_eq!(row(db, later[3]).await.wait_reason, None);
    running.shutdown().await;
}
