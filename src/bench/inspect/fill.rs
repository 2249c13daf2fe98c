//! A database with very many jobs: as many as were asked for were given up, with different errors; the others wait behind limits, are
//! held by a shut gate, wait for a time, or are done.

use std::time::Instant;

use anyhow::ensure;

use crate::{
    bench::queue::tables,
    db::{Db, Sql},
    params,
    queue::{
        control,
        counters::{self, Comparison},
    },
};

/// Jobs that were given up.
pub(super) const FAILED: &str = "bench_failed";
/// Jobs behind limits of one at a time, one per practice.
pub(super) const WAITING: &str = "bench_waiting";
/// Jobs that the gate holds.
pub(super) const HELD: &str = "bench_held";
/// Jobs that wait for tomorrow.
pub(super) const LATER: &str = "bench_later";
/// Jobs that are done.
pub(super) const DONE: &str = "bench_done";
/// The gate.
pub(super) const GATE: &str = "records:bench";

/// Practices, each with a limit of its own that one running job fills.
pub(super) const PRACTICES: u64 = 50;

/// Rows that are written in one statement: less than what is logged as slow.
const AT_ONCE: u64 = 10_000;

/// Job `n` of `$4`, of which `$5` were given up; those from `$4` on run. They came in over a month.
macro_rules! fill {
    ($numbers:literal, $id:literal, $args:literal, $created:literal, $minute:literal, $later:literal) => {
        concat!(
            "-- fill_to_inspect
             WITH ",
            $numbers,
            ", kinds AS (
                SELECT n, 'practice-' || (n % 50) AS practice, ",
            $id,
            " AS id, ",
            $created,
            " AS created, ",
            $later,
            " AS later, (n * $5) / $4 AS nth,
                CASE WHEN n >= $4 THEN 'running'
                     WHEN ((n + 1) * $5) / $4 > (n * $5) / $4 THEN 'discarded'
                     WHEN (n / 7) % 10 < 4 THEN 'waiting'
                     WHEN (n / 7) % 10 < 6 THEN 'held'
                     WHEN (n / 7) % 10 < 8 THEN 'later'
                     ELSE 'done' END AS kind
                FROM numbers
             )
             INSERT INTO jobs (id, queue, partition, limit_key, unique_key, args, state, run_at, attempt, max_attempts, gate,
                               held_by, wait_reason, last_error, created_at, started_at, finished_at, lease, lease_expires_at,
                               worker, slot)
             SELECT id,
                    CASE kind WHEN 'discarded' THEN 'bench_failed' WHEN 'held' THEN 'bench_held' WHEN 'later' THEN 'bench_later'
                              WHEN 'done' THEN 'bench_done' ELSE 'bench_waiting' END,
                    practice,
                    CASE kind WHEN 'discarded' THEN 'bench_failed' WHEN 'held' THEN 'bench_held' WHEN 'later' THEN 'bench_later'
                              WHEN 'done' THEN 'bench_done' ELSE 'bench_waiting/' || practice END,
                    'call-' || n, ",
            $args,
            ",
                    CASE kind WHEN 'discarded' THEN 'discarded' WHEN 'done' THEN 'completed' WHEN 'running' THEN 'running'
                              WHEN 'waiting' THEN 'available' ELSE 'scheduled' END,
                    CASE kind WHEN 'later' THEN later ELSE created END,
                    CASE kind WHEN 'discarded' THEN 3 + n % 6 WHEN 'done' THEN 1 WHEN 'running' THEN 1 ELSE 0 END, 8,
                    CASE kind WHEN 'held' THEN 'records:bench' END, CASE kind WHEN 'held' THEN 'records:bench' END,
                    CASE kind WHEN 'later' THEN 'wanted for tomorrow' END,
                    CASE WHEN kind <> 'discarded' THEN NULL
                         WHEN nth % 25000 = 0 THEN 'the record is locked by another user (record ' || n || ')'
                         WHEN n % 3 = 0 THEN 'the model answered 503 Service Unavailable after 30 s: upstream connect error or '
                             || 'disconnect before headers, reset reason: overflow (request ' || n || ')'
                         WHEN n % 3 = 1 THEN 'no answer within 60 s from https://records.example/appointments/' || n
                         ELSE 'the answer cannot be read: expected an object at line 1, column ' || n END,
                    created,
                    CASE WHEN kind IN ('discarded', 'done', 'running') THEN created END,
                    CASE WHEN kind IN ('discarded', 'done') THEN created + ",
            $minute,
            " END,
                    CASE kind WHEN 'running' THEN id END, CASE kind WHEN 'running' THEN later END,
                    CASE kind WHEN 'running' THEN 'a process of the bench' END, CASE kind WHEN 'running' THEN 0 END
             FROM kinds"
        )
    };
}

/// `$1` is now, `$2` to `$3` are the jobs.
const FILL: Sql = Sql::each(
    fill!(
        "RECURSIVE numbers (n) AS (SELECT $2 UNION ALL SELECT n + 1 FROM numbers WHERE n < $3)",
        "format('00000000-0000-7000-8000-%012d', n)",
        "json_object('session_id', 'call-' || n, 'generation', 1, 'about', json_object('practice', practice))",
        "$1 - ($4 - n) * 2600000",
        "60000000",
        "$1 + 86400000000 + n * 1000"
    ),
    fill!(
        "numbers AS (SELECT n FROM generate_series($2::bigint, $3::bigint) AS n)",
        "('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid",
        "jsonb_build_object('session_id', 'call-' || n, 'generation', 1, 'about', jsonb_build_object('practice', practice))",
        "$1::timestamptz - ($4 - n) * interval '2.6 s'",
        "interval '1 minute'",
        "$1::timestamptz + interval '1 day' + n * interval '1 ms'"
    ),
);

/// Fills it. Answers the seconds that this took.
pub(super) async fn run(db: &Db, jobs: u64, failed: u64) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut tx = db.begin().await?;
    let now = tx.now().await?;
    for queue in [FAILED, WAITING, HELD, LATER, DONE] {
        limit(&mut tx, queue, "", queue, queue == WAITING).await?;
    }
    for practice in 0..PRACTICES {
        let practice = format!("practice-{practice}");
        limit(&mut tx, &format!("{WAITING}/{practice}"), &practice, WAITING, true).await?;
    }
    control::close_gate(&mut tx, GATE, "the bench", "it holds jobs").await?;
    tx.commit().await?;
    let end = jobs + PRACTICES;
    let mut from = 0;
    while from < end {
        let to = end.min(from + AT_ONCE);
        let mut tx = db.begin().await?;
        tx.execute(FILL, &params![now, from, to - 1, jobs, failed]).await?;
        tx.commit().await?;
        from = to;
    }
    // As a process of the fleet does it every second.
    counters::add_up(db).await?;
    tables::tidy(db).await?;
    let seconds = began.elapsed().as_secs_f64();
    let counted = counters::compare(db, None).await?;
    let right = Comparison::Counted {
        jobs: end,
        differences: Vec::new(),
    };
    ensure!(counted == right, "the counters are wrong: {counted:?}");
    Ok(seconds)
}

async fn limit(tx: &mut crate::db::Tx, key: &str, partition: &str, queue: &str, each: bool) -> anyhow::Result<()> {
    let now = tx.now().await?;
    tx.execute(
        "-- limit_to_inspect
         INSERT INTO limits (key, queue, partition, max_running, updated_at, per_partition) VALUES ($1, $2, $3, 1, $4, $5)",
        &params![key, queue, partition, now, each],
    )
    .await?;
    Ok(())
}
