//! Passes of the claim over gates, one at a time.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    queue::{
        claim::{Claimer, Pass, Wanted},
        control,
        gate::Outage,
    },
    test_support::{Planned, TestDb, fill, on_each_database, second},
};

on_each_database! {
    i6_ten_thousand_jobs_behind_a_shut_gate_do_not_delay_another_upstreams_by_one_pass,
    i9_a_held_job_is_not_started_charges_no_rate_and_has_no_history,
    i9_one_job_tries_a_gate_however_many_claim_at_once,
    a_probe_that_is_gone_is_replaced_and_one_that_lives_is_not,
    a_probe_whose_queue_is_paused_gives_way_to_one_that_can_run,
    a_probe_does_not_queue_behind_the_backlog_of_other_upstreams,
    i9_the_job_that_failed_least_tries_next_and_an_open_gate_lets_go_in_order_of_priority,
    an_open_gate_lets_a_thousand_go_in_a_pass,
    a_job_behind_a_part_of_an_upstream_is_behind_the_whole_and_not_behind_another_part,
    i6_no_statement_reads_all_jobs_whether_a_gate_is_shut_or_not,
}

const SERVED: [Wanted; 1] = [Wanted {
    queue: "work",
    free: 64,
}];

struct World {
    _database: TestDb,
    db: Db,
    claimer: Claimer,
}

fn claimer(db: &Db) -> Claimer {
    Claimer {
        db: db.clone(),
        worker: Arc::from("w"),
        lease: Duration::from_secs(12),
        marks: crate::queue::marks::Marks::default(),
        turn: 0,
    }
}

impl World {
    async fn of(database: TestDb) -> Self {
        let db = database.db.clone();
        let world = Self {
            _database: database,
            claimer: claimer(&db),
            db,
        };
        world
            .execute(
                "INSERT INTO limits (key, queue, max_running, updated_at) VALUES ('work', 'work', 3, $1)",
                &params![second(0)],
            )
            .await;
        world
    }

    async fn execute(&self, sql: impl Into<Sql>, params: &[crate::db::Value]) {
        let mut tx = self.db.begin().await.unwrap();
        tx.execute(sql, params).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Jobs of this gate, named by their place in the line; the priority of all.
    async fn jobs(&self, gate: Option<&str>, count: u32, priority: i32) -> Vec<Uuid> {
        let mut tx = self.db.begin().await.unwrap();
        let now = tx.now().await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..count {
            let id = Uuid::now_v7();
            tx.execute(
                "INSERT INTO jobs (id, queue, limit_key, args, priority, state, run_at, max_attempts, created_at, gate)
                 VALUES ($1, 'work', 'work', '{}', $2, 'available', $3, 8, $3, $4)",
                &params![id, priority, now, gate],
            )
            .await
            .unwrap();
            ids.push(id);
        }
        tx.commit().await.unwrap();
        ids
    }

    /// Closed until `probe_in` is over; `None`: until somebody opens it.
    async fn close(&self, key: &str, probe_in: Option<u64>) {
        let mut tx = self.db.begin().await.unwrap();
        let now = tx.now().await.unwrap();
        let outage = Outage {
            gate: key.to_owned(),
            reason: "unreachable".to_owned(),
            detail: "no connection".to_owned(),
            retry_after: None,
        };
        let probe_at = probe_in.map(|seconds| now + Duration::from_secs(seconds));
        gate::close(&mut tx, &outage, 1, probe_at).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn open(&self, key: &str) {
        let mut tx = self.db.begin().await.unwrap();
        assert!(gate::open(&mut tx, key).await.unwrap());
        tx.commit().await.unwrap();
    }

    async fn pass(&mut self) -> Pass {
        self.claimer.claim(&SERVED).await.unwrap()
    }

    /// The jobs that one pass starts.
    async fn starts(&mut self) -> Vec<Uuid> {
        self.pass().await.claimed.iter().map(|job| job.lease.job).collect()
    }

    async fn count(&self, sql: &'static str) -> u64 {
        let row = self.db.fetch_optional(sql, &[]).await.unwrap().unwrap();
        row.get("n").unwrap()
    }

    async fn held(&self) -> u64 {
        self.count("SELECT count(*) AS n FROM jobs WHERE held_by IS NOT NULL AND state = 'scheduled'")
            .await
    }

    /// A running job ends, as if it were a run of it.
    async fn end(&self, id: Uuid, state: &str) {
        self.execute(
            "UPDATE jobs SET state = $2, lease = NULL, lease_expires_at = NULL, slot = NULL WHERE id = $1",
            &params![id, state],
        )
        .await;
    }

    async fn gate(&self, key: &str) -> (String, Option<Uuid>) {
        let row = self
            .db
            .fetch_optional("SELECT state, probe_job FROM gates WHERE key = $1", &params![key])
            .await
            .unwrap()
            .unwrap();
        (row.get("state").unwrap(), row.get("probe_job").unwrap())
    }

    async fn advance(&self, seconds: u64) {
        self.db.advance_clock(Duration::from_secs(seconds)).await.unwrap();
    }
}

async fn i6_ten_thousand_jobs_behind_a_shut_gate_do_not_delay_another_upstreams_by_one_pass(database: TestDb) {
    let mut world = World::of(database).await;
    world.jobs(Some("source:a"), 10_000, 0).await;
    let others = world.jobs(Some("source:b"), 2, -1).await;
    let free = world.jobs(None, 1, -2).await;
    world.close("source:a", None).await;

    assert_eq!(world.starts().await, [others, free].concat(), "in the first pass");
    assert_eq!(world.held().await, u64::from(MOVED));
    for _ in 0..9 {
        let pass = world.pass().await;
        assert!(pass.claimed.is_empty());
    }
    assert_eq!(world.held().await, 1_000, "all slots are taken: nobody looks for more");
}

async fn i9_a_held_job_is_not_started_charges_no_rate_and_has_no_history(database: TestDb) {
    let mut world = World::of(database).await;
    world
        .execute("UPDATE limits SET rate_max = 1, rate_window_us = 300000000", &[])
        .await;
    let jobs = world.jobs(Some("llm:default/calls"), 1_500, 0).await;
    world.close("llm:default", None).await;
    let pass = world.pass().await;
    assert!(pass.claimed.is_empty());
    assert_eq!(pass.look_again, Some(pass.now), "there are more of them");
    while world.pass().await.look_again.is_some() {}
    assert_eq!(world.held().await, 1_500);
    assert_eq!(world.count("SELECT count(*) AS n FROM rate_starts").await, 0);
    assert_eq!(world.count("SELECT count(*) AS n FROM job_attempts").await, 0);
    assert_eq!(world.count("SELECT max(attempt) AS n FROM jobs").await, 0);
    let (any, glance) = world.claimer.glance(&SERVED).await.unwrap();
    assert!(
        !any && glance.look_again.is_none(),
        "nothing is looked at while it is shut"
    );

    world.open("llm:default").await;
    assert_eq!(world.starts().await, jobs[..1], "one start is all that the rate allows");
    assert_eq!(world.count("SELECT count(*) AS n FROM rate_starts").await, 1);
}

async fn i9_one_job_tries_a_gate_however_many_claim_at_once(database: TestDb) {
    let mut world = World::of(database).await;
    world.jobs(Some("records:practice"), 20, 0).await;
    world.close("records:practice", Some(10)).await;
    assert!(world.pass().await.claimed.is_empty());
    let (any, glance) = world.claimer.glance(&SERVED).await.unwrap();
    assert!(!any);
    assert_eq!(
        glance.look_again.map(|at| (at - glance.now).num_seconds()),
        Some(9),
        "it sleeps until the probe is due"
    );
    world.advance(11).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let db = world.db.reopen(Duration::from_secs(30)).await.unwrap();
        tasks.spawn(async move { claimer(&db).claim(&SERVED).await.unwrap().claimed.len() });
    }
    assert_eq!(tasks.join_all().await.iter().sum::<usize>(), 1);
    assert_eq!(world.gate("records:practice").await.0, "half_open");
    assert_eq!(world.held().await, 19);
    assert!(world.starts().await.is_empty());
    let (any, _) = world.claimer.glance(&SERVED).await.unwrap();
    assert!(!any);
}

async fn a_probe_that_is_gone_is_replaced_and_one_that_lives_is_not(database: TestDb) {
    let mut world = World::of(database).await;
    let jobs = world.jobs(Some("source:a"), 4, 0).await;
    world.close("source:a", Some(0)).await;
    world.pass().await;
    assert_eq!(world.starts().await, jobs[..1]);
    world.advance(600).await;
    assert!(world.starts().await.is_empty(), "it runs, and may still answer");

    // Ended without a call.
    world.end(jobs[0], "completed").await;
    assert!(world.claimer.glance(&SERVED).await.unwrap().0);
    assert_eq!(world.starts().await, jobs[1..2]);
    // Its worker died: freed, it is taken up again and stays the probe.
    world.end(jobs[1], "available").await;
    assert_eq!(world.starts().await, jobs[1..2]);
    // Cancelled, or gone with the table.
    world.execute("DELETE FROM jobs WHERE id = $1", &params![jobs[1]]).await;
    assert_eq!(world.starts().await, jobs[2..3]);
    world.end(jobs[2], "cancelled").await;
    assert_eq!(world.starts().await, jobs[3..]);
    // The last of all: the gate waits for the next to arrive, and nobody looks for one.
    world.end(jobs[3], "completed").await;
    world.pass().await;
    assert_eq!(world.gate("source:a").await, ("closed".to_owned(), None));
    let (any, glance) = world.claimer.glance(&SERVED).await.unwrap();
    assert!(!any && glance.look_again.is_none());
    let next = world.jobs(Some("source:a"), 2, 0).await;
    assert!(world.starts().await.is_empty(), "set aside first");
    assert_eq!(world.starts().await, next[..1]);
}

async fn a_probe_whose_queue_is_paused_gives_way_to_one_that_can_run(database: TestDb) {
    let mut world = World::of(database).await;
    let first = world.jobs(Some("llm:default/a"), 2, 0).await;
    world.close("llm:default", Some(0)).await;
    world.pass().await;
    let mut tx = world.db.begin().await.unwrap();
    control::pause(&mut tx, "work", "me", "test").await.unwrap();
    tx.commit().await.unwrap();
    assert!(!world.claimer.glance(&SERVED).await.unwrap().0, "nobody can try it");

    world.execute("UPDATE queues SET paused_at = NULL", &[]).await;
    world.execute("UPDATE limits SET max_running = 0", &[]).await;
    world.pass().await;
    assert_eq!(world.gate("llm:default").await.1, Some(first[0]));
    world.advance(61).await;
    world.pass().await;
    assert_eq!(world.gate("llm:default").await.1, Some(first[1]), "patience is over");
    assert_eq!(world.held().await, 1);
    world.execute("UPDATE limits SET max_running = 3", &[]).await;
    assert_eq!(world.starts().await, first[1..]);
}

async fn a_probe_does_not_queue_behind_the_backlog_of_other_upstreams(database: TestDb) {
    let mut world = World::of(database).await;
    world.jobs(Some("source:b"), 200, 5).await;
    let probe = world.jobs(Some("source:a"), 1, 0).await;
    world.execute("UPDATE limits SET max_running = 1", &[]).await;
    world.close("source:a", Some(0)).await;
    world
        .execute(
            "UPDATE jobs SET held_by = 'source:a', state = 'scheduled' WHERE id = $1",
            &params![probe[0]],
        )
        .await;
    assert_eq!(world.starts().await, probe);
}

async fn i9_the_job_that_failed_least_tries_next_and_an_open_gate_lets_go_in_order_of_priority(database: TestDb) {
    let mut world = World::of(database).await;
    let low = world.jobs(Some("source:a"), 2, 0).await;
    let high = world.jobs(Some("source:a"), 2, 9).await;
    world.close("source:a", Some(0)).await;
    world.pass().await;
    assert_eq!(world.starts().await, high[..1]);
    world
        .execute("UPDATE jobs SET outages = 1 WHERE priority = 9", &[])
        .await;
    world.end(high[0], "available").await;
    world.close("source:a", Some(0)).await;
    assert_eq!(world.starts().await, low[..1]);

    world.end(low[0], "completed").await;
    world
        .execute(
            Sql::each(
                "UPDATE jobs SET run_at = run_at + 60000000 WHERE id = $1",
                "UPDATE jobs SET run_at = run_at + interval '1 minute' WHERE id = $1",
            ),
            &params![high[0]],
        )
        .await;
    world.open("source:a").await;
    assert_eq!(
        world.starts().await,
        [high[1], low[1]],
        "by priority, and who has a wait of its own keeps it"
    );
    assert_eq!(world.held().await, 0);
    world.advance(61).await;
    assert_eq!(world.starts().await, high[..1]);
    let (any, _) = world.claimer.glance(&SERVED).await.unwrap();
    assert!(!any);
    assert_eq!(world.count("SELECT count(*) AS n FROM gates WHERE releasing").await, 0);
}

async fn an_open_gate_lets_a_thousand_go_in_a_pass(database: TestDb) {
    let mut world = World::of(database).await;
    world.jobs(Some("source:a"), 2_500, 0).await;
    world.close("source:a", None).await;
    while world.pass().await.look_again.is_some() {}
    world.open("source:a").await;
    for left in [1_500, 500, 0] {
        assert!(world.claimer.glance(&SERVED).await.unwrap().0);
        world.pass().await;
        assert_eq!(world.held().await, left);
    }
}

async fn a_job_behind_a_part_of_an_upstream_is_behind_the_whole_and_not_behind_another_part(database: TestDb) {
    let mut world = World::of(database).await;
    let a = world.jobs(Some("llm:default/a"), 1, 0).await;
    let b = world.jobs(Some("llm:default/b"), 1, 0).await;
    let source = world.jobs(Some("source:a"), 1, 0).await;
    world.close("llm:default/a", Some(0)).await;
    world.close("llm:default", None).await;
    assert_eq!(world.starts().await, source);
    assert_eq!(
        world
            .count("SELECT count(*) AS n FROM jobs WHERE held_by = 'llm:default'")
            .await,
        2
    );
    // The budget's time has come, but nobody may call the model: no probe.
    assert!(!world.claimer.glance(&SERVED).await.unwrap().0);

    world.open("llm:default").await;
    assert_eq!(world.starts().await, b);
    assert_eq!(
        world
            .count("SELECT count(*) AS n FROM jobs WHERE held_by = 'llm:default/a'")
            .await,
        1
    );
    assert_eq!(world.starts().await, a, "the probe of its own gate");
}

async fn i6_no_statement_reads_all_jobs_whether_a_gate_is_shut_or_not(database: TestDb) {
    let world = World::of(database).await;
    let db = &world.db;
    fill(
        db,
        &[
            "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at, gate, held_by, finished_at)
             SELECT gen_random_uuid(), 'work', 'work', '{}',
                    CASE n % 4 WHEN 0 THEN 'available' WHEN 1 THEN 'scheduled' ELSE 'completed' END, now(), 8, now(),
                    CASE n % 2 WHEN 0 THEN 'source:a' ELSE 'source:b' END, CASE n % 4 WHEN 1 THEN 'source:b' END,
                    CASE WHEN n % 4 > 1 THEN now() END
             FROM generate_series(1, 20000) n",
            "INSERT INTO gates (key, state, releasing, updated_at) VALUES ('source:b', 'closed', false, now())",
        ],
    )
    .await;
    let now = db.now().await.unwrap();
    let key = "source:a";
    for (steps, index) in [
        (
            db.plan_of(LOOK, &[]).await,
            ["sqlite_autoindex_jobs_1 (id=?)", "jobs_pkey"],
        ),
        (
            db.plan_of(CANDIDATE, &params![key, serde_json::json!([])]).await,
            ["jobs_held (held_by=?)", "jobs_held"],
        ),
        (
            db.plan_of(CANDIDATE_IN_RATE, &params![key, serde_json::json!([]), now])
                .await,
            ["jobs_held (held_by=?)", "jobs_held"],
        ),
        (
            db.plan_of(RELEASE, &params![key, now, MOVED]).await,
            ["jobs_held (held_by=?)", "jobs_held"],
        ),
        (
            db.plan_of(PARK, &params!["work", MOVED]).await,
            ["jobs_claim (limit_key=?)", "jobs_claim"],
        ),
    ] {
        Planned { steps, index }.reads_by_index(db, &["jobs", "p"]);
    }
}
