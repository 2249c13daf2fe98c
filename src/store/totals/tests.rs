//! Totals never fall, count each row once, and read the last minutes only.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::{ATTEMPTS, Attempts, LLM_CALLS, OTHER, VERDICTS, attempts, fold, latencies, llm_calls, verdicts};
use crate::{
    db::{Db, Value},
    domain::{
        lookup::{Evidence, Fact, Lookup},
        session::SessionKey,
    },
    params,
    store::{evidence, retention},
    test_support::{Planned, TestDb, fill, on_each_database},
};

on_each_database! {
    a_total_does_not_fall_when_what_it_counted_is_pruned,
    what_is_not_added_up_is_not_pruned,
    a_row_that_comes_after_a_fold_is_counted_once,
    a_call_under_way_is_added_up_only_once_it_ended,
    names_beyond_the_bound_count_as_one_and_those_before_it_stay,
    latencies_are_kept_in_classes_up_to_their_bound,
    a_reading_and_a_fold_read_what_came_since_the_last_one,
}

async fn execute(db: &Db, sql: &'static str, params: &[Value]) {
    let mut tx = db.begin().await.unwrap();
    tx.execute(sql, params).await.unwrap();
    tx.commit().await.unwrap();
}

async fn attempt(db: &Db, outcome: &str, finished_at: DateTime<Utc>) {
    execute(
        db,
        "INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at, outcome, duration_us)
         VALUES ($1, $2, 'verify_session', 'k', 1, 'w', $3, $3, $4, 1500000)",
        &params![Uuid::now_v7(), Uuid::now_v7(), finished_at, outcome],
    )
    .await;
}

async fn call(db: &Db, state: &str, started_at: DateTime<Utc>) -> Uuid {
    let id = Uuid::now_v7();
    execute(
        db,
        "INSERT INTO llm_calls (id, input_hash, purpose, source, session_id, generation, upstream, model, worker, state,
                                prompt_tokens, completion_tokens, cost_micros, bound_micros, started_at)
         VALUES ($1, 'h', 'reading', 'calls', 's', 1, 'llm:default', 'm', 'w', $2, 100, 10, 7, 50, $3)",
        &params![id, state, started_at],
    )
    .await;
    id
}

/// As if the totals had been made so long ago.
async fn since(db: &Db, ago: TimeDelta) -> DateTime<Utc> {
    let now = db.now().await.unwrap();
    execute(db, "UPDATE totals_until SET until_at = $1", &params![now - ago]).await;
    now
}

fn completed(attempts: u64) -> Vec<Attempts> {
    vec![Attempts {
        queue: "verify_session".to_owned(),
        outcome: "completed".to_owned(),
        attempts,
        busy_us: attempts * 1_500_000,
    }]
}

async fn a_total_does_not_fall_when_what_it_counted_is_pruned(database: TestDb) {
    let db = &database.db;
    let now = since(db, TimeDelta::days(3)).await;
    for hours in [1, 30, 40] {
        attempt(db, "completed", now - TimeDelta::hours(hours)).await;
    }
    attempt(db, "completed", now).await;
    assert_eq!(attempts(db).await.unwrap(), completed(4));
    fold(db).await.unwrap();
    assert_eq!(attempts(db).await.unwrap(), completed(4));
    let ages = retention::Ages {
        finished_jobs: Duration::from_hours(24),
        snapshots: Duration::MAX,
    };
    assert_eq!(retention::prune_batch(db, &ages).await.unwrap(), 2);
    assert_eq!(attempts(db).await.unwrap(), completed(4));
    fold(db).await.unwrap();
    assert_eq!(attempts(db).await.unwrap(), completed(4));
}

async fn what_is_not_added_up_is_not_pruned(database: TestDb) {
    let db = &database.db;
    let now = since(db, TimeDelta::days(3)).await;
    attempt(db, "completed", now - TimeDelta::hours(30)).await;
    let ages = retention::Ages {
        finished_jobs: Duration::from_hours(24),
        snapshots: Duration::MAX,
    };
    assert_eq!(retention::prune_batch(db, &ages).await.unwrap(), 0);
    fold(db).await.unwrap();
    assert_eq!(retention::prune_batch(db, &ages).await.unwrap(), 1);
    assert_eq!(attempts(db).await.unwrap(), completed(1));
}

async fn a_row_that_comes_after_a_fold_is_counted_once(database: TestDb) {
    let db = &database.db;
    let now = since(db, TimeDelta::hours(1)).await;
    attempt(db, "completed", now - TimeDelta::minutes(30)).await;
    let (one, two) = tokio::join!(fold(db), fold(db));
    one.and(two).unwrap();
    // Dated a moment ago, and written only now.
    attempt(db, "completed", now - TimeDelta::minutes(1)).await;
    for _ in 0..2 {
        assert_eq!(attempts(db).await.unwrap(), completed(2));
        fold(db).await.unwrap();
    }
}

async fn a_call_under_way_is_added_up_only_once_it_ended(database: TestDb) {
    let db = &database.db;
    let now = since(db, TimeDelta::hours(9)).await;
    execute(
        db,
        "INSERT INTO sources (name, kind, updated_at) VALUES ('calls', 'bundle', $1)",
        &params![now],
    )
    .await;
    call(db, "answered", now - TimeDelta::hours(8)).await;
    let open = call(db, "started", now - TimeDelta::hours(7)).await;
    call(db, "lost", now - TimeDelta::hours(6)).await;
    let states = async || {
        let calls = llm_calls(db).await.unwrap();
        let line = |line: super::LlmCalls| (line.state, (line.calls, line.prompt_tokens, line.cost_micros));
        calls.into_iter().map(line).collect::<BTreeMap<_, _>>()
    };
    let expected = |answered| {
        BTreeMap::from([
            ("answered".to_owned(), (answered, answered * 100, answered * 7)),
            ("lost".to_owned(), (1, 100, 50)),
        ])
    };
    fold(db).await.unwrap();
    assert_eq!(states().await, expected(1));
    execute(
        db,
        "UPDATE llm_calls SET state = 'answered' WHERE id = $1",
        &params![open],
    )
    .await;
    assert_eq!(states().await, expected(2));
    fold(db).await.unwrap();
    assert_eq!(states().await, expected(2));
    let left = db.fetch_all(LLM_CALLS.total, &params![now]).await.unwrap();
    assert!(
        left.iter().all(|row| row.get::<u32>("since").unwrap() == 0),
        "all of it is kept by now"
    );
}

async fn verdict(db: &Db, intent: &str, at: DateTime<Utc>) {
    execute(
        db,
        "INSERT INTO verdicts (source, session_id, generation, status, reason, severity, intent, confidence, summary, playbook,
             playbook_version, playbook_hash, document, created_at)
         VALUES ('calls', $1, 1, 'fail', 'r', 'none', $1, 0.9, 's', 'p', 1, 'h', $2, $3)",
        &params![intent, Json::Null, at],
    )
    .await;
}

async fn names_beyond_the_bound_count_as_one_and_those_before_it_stay(database: TestDb) {
    let db = &database.db;
    let now = since(db, TimeDelta::hours(1)).await;
    for number in 0..100 {
        verdict(db, &format!("intent-{number}"), now - TimeDelta::minutes(30)).await;
    }
    fold(db).await.unwrap();
    // First in the alphabet, and too late.
    verdict(db, "a", now).await;
    verdict(db, "b", now - TimeDelta::minutes(1)).await;
    for _ in 0..2 {
        let told = verdicts(db).await.unwrap();
        assert_eq!(told.len(), 101);
        for line in told {
            let expected = if line.intent == OTHER { 2 } else { 1 };
            assert_eq!(
                (line.status.as_str(), line.verdicts),
                ("fail", expected),
                "{}",
                line.intent
            );
            assert!(
                line.intent == OTHER || line.intent.starts_with("intent-"),
                "{}",
                line.intent
            );
        }
        fold(db).await.unwrap();
    }
}

async fn latencies_are_kept_in_classes_up_to_their_bound(database: TestDb) {
    let db = &database.db;
    let took = |system: &str, latency_ms| Evidence {
        lookup: Lookup {
            system: system.to_owned(),
            record: "orders".to_owned(),
            id: None,
            keys: BTreeMap::new(),
        },
        request: "GET /".to_owned(),
        status: Some(200),
        fact: Fact::Absent,
        at: DateTime::UNIX_EPOCH,
        latency_ms,
        round: 0,
    };
    for (session, latencies) in [("a", &[50, 51, 30_000][..]), ("b", &[30_001, 7])] {
        let mut tx = db.begin().await.unwrap();
        let evidence: Vec<Evidence> = latencies.iter().map(|latency| took("till", *latency)).collect();
        evidence::append(&mut tx, &SessionKey::new("calls", session), 1, &evidence)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let told = latencies(db).await.unwrap();
    assert_eq!(told.len(), 1);
    let till = &told[0];
    assert_eq!((till.lookups, till.sum_ms), (5, 50 + 51 + 30_000 + 30_001 + 7));
    assert_eq!(
        till.within,
        [
            (50, 2),
            (100, 3),
            (250, 3),
            (500, 3),
            (1_000, 3),
            (2_500, 3),
            (5_000, 3),
            (10_000, 3),
            (30_000, 4)
        ]
    );
}

async fn a_reading_and_a_fold_read_what_came_since_the_last_one(database: TestDb) {
    let db = &database.db;
    fill(
        db,
        &[
            "INSERT INTO job_attempts (lease, job_id, queue, limit_key, attempt, worker, started_at, finished_at, outcome, duration_us)
             SELECT gen_random_uuid(), gen_random_uuid(), 'q', 'k', 1, 'w', at, at, 'completed', 5
             FROM generate_series(1, 20000) n, LATERAL (SELECT now() - n * interval '1 minute' AS at) AS began",
            "INSERT INTO verdicts (source, session_id, generation, status, reason, severity, intent, confidence, summary, playbook,
                 playbook_version, playbook_hash, document, created_at)
             SELECT 'calls', 's-' || n, 1, 'fail', 'r', 'none', 'order', 0.9, 's', 'p', 1, 'h', '{}', now() - n * interval '1 minute'
             FROM generate_series(1, 20000) n",
            "INSERT INTO sources (name, kind, updated_at) VALUES ('calls', 'bundle', now())",
            "INSERT INTO llm_calls (id, input_hash, purpose, source, session_id, generation, upstream, model, worker, state, started_at)
             SELECT gen_random_uuid(), 'h', 'reading', 'calls', 's-' || n, 1, 'u', 'm', 'w', 'answered', now() - n * interval '1 minute'
             FROM generate_series(1, 20000) n",
        ],
    )
    .await;
    let now = db.now().await.unwrap();
    let from = now - TimeDelta::minutes(15);
    for (total, between, table, index) in [
        (
            ATTEMPTS.total,
            ATTEMPTS.between,
            "job_attempts",
            ["job_attempts_finished", "job_attempts_finished"],
        ),
        (
            VERDICTS.total,
            VERDICTS.between,
            "verdicts",
            ["verdicts_created", "verdicts_created"],
        ),
        (
            LLM_CALLS.total,
            LLM_CALLS.between,
            "llm_calls c",
            ["llm_calls_of_day", "llm_calls_of_day"],
        ),
    ] {
        let steps = db.plan_of(total, &params![from]).await;
        Planned { steps, index }.reads_by_index(db, &[table]);
        let steps = db.plan_of(between, &params![from, now]).await;
        Planned { steps, index }.reads_by_index(db, &[table]);
    }
}
