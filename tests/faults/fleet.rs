//! Several processes on one file under a load that nobody planned, one of them killed on the way: what stands in the history
//! of attempts never broke a limit, and nothing was done twice.

use std::collections::BTreeMap;

use aftercall::db::Db;
use rustix::process::Signal;

use crate::support::{
    bakery::{self, Session},
    state::{broken_promises, count},
    until,
    world::{Plan, World},
};

/// Sessions of every kind, in an order that differs from their kinds'.
fn load() -> Vec<Session> {
    (0..60_u64)
        .map(|number| {
            let id = format!("s-{number:02}");
            match number * 7_919 % 6 {
                0 => bakery::ordered_and_paid(&id),
                1 => bakery::vanished(&id),
                2 => bakery::other_cake(&id),
                3 => bakery::half(&id),
                4 => bakery::question(&id),
                _ => bakery::ordered(&id),
            }
        })
        .collect()
}

async fn world(sessions: &[Session]) -> World {
    Plan::of(sessions)
        .model(bakery::model(sessions))
        .set("records", "pace", "'5ms'")
        .set("limits", "diagnose_starts", "4")
        .set("limits", "diagnose_window", "'300ms'")
        .start()
        .await
}

/// A run as the history has it, in microseconds.
struct Attempt {
    key: String,
    slot: u32,
    from: i64,
    to: i64,
}

async fn attempts(db: &Db) -> Vec<Attempt> {
    let sql = "SELECT limit_key, slot, started_at, finished_at FROM job_attempts ORDER BY started_at";
    let rows = db.fetch_all(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| Attempt {
            key: row.get("limit_key").unwrap(),
            slot: row.get("slot").unwrap(),
            from: row.get("started_at").unwrap(),
            to: row
                .get::<Option<i64>>("finished_at")
                .unwrap()
                .expect("every attempt has ended"),
        })
        .collect()
}

/// What the history says against the limits that held.
async fn broken_limits(db: &Db) -> Vec<String> {
    let mut broken = Vec::new();
    let mut by_key: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
    for attempt in attempts(db).await {
        by_key.entry(attempt.key.clone()).or_default().push(attempt);
    }
    for (key, attempts) in &by_key {
        let row = db
            .fetch_optional(
                "SELECT max_running, rate_max, rate_window_us FROM limits WHERE key = $1",
                &aftercall::params![key],
            )
            .await
            .unwrap()
            .expect("every key has its limit");
        let most: usize = row.get::<u32>("max_running").unwrap().try_into().unwrap();
        for one in attempts {
            // The clock counts milliseconds: one that ends in the millisecond in which the other begins does not overlap.
            let together: Vec<&Attempt> = attempts
                .iter()
                .filter(|other| other.from <= one.from && one.from < other.to)
                .collect();
            if together.len() > most {
                broken.push(format!("{key}: {} at once, {most} may", together.len()));
            }
            if together.iter().filter(|other| other.slot == one.slot).count() > 1 {
                broken.push(format!("{key}: slot {} was held twice", one.slot));
            }
        }
        if let Some(starts_most) = row.get::<Option<u32>>("rate_max").unwrap() {
            let window: i64 = row.get("rate_window_us").unwrap();
            let starts: Vec<i64> = db
                .fetch_all(
                    "SELECT started_at FROM rate_starts WHERE limit_key = $1 ORDER BY started_at",
                    &aftercall::params![key],
                )
                .await
                .unwrap()
                .iter()
                .map(|row| row.get("started_at").unwrap())
                .collect();
            assert!(!starts.is_empty(), "{key} has a rate and no start was charged");
            let window_starts = usize::try_from(starts_most).unwrap() + 1;
            for starts in starts.windows(window_starts) {
                if starts[window_starts - 1] - starts[0] < window {
                    broken.push(format!("{key}: {window_starts} starts within {window} µs"));
                }
            }
        }
    }
    broken
}

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
const SESSIONS_WITH_VERDICT: &str = "SELECT COUNT(DISTINCT session_id) AS n FROM verdicts";
const ANSWERS: &str = "SELECT COUNT(*) AS n FROM llm_answers";
const COMPLETED_TWICE: &str = "SELECT COUNT(*) AS n FROM (SELECT job_id FROM job_attempts WHERE outcome = 'completed'
    GROUP BY job_id HAVING COUNT(*) > 1)";
const TAKEN_AWAY: &str = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'rescued'";
const WORKERS: &str = "SELECT COUNT(DISTINCT worker) AS n FROM job_attempts";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_three_processes_never_exceed_a_limit_and_do_nothing_twice_when_one_is_killed() {
    let sessions = load();
    let world = world(&sessions).await;
    let db = world.db().await;
    let victim = world.child(&[]);
    let survivors = [world.child(&[]), world.child(&[])];
    until("there is something to lose", async || {
        count(&db, "SELECT COUNT(*) AS n FROM verdicts").await >= 10
    })
    .await;
    victim.signal(Signal::KILL);
    assert!(victim.ended().await.was_killed());
    for survivor in survivors {
        let ended = survivor.ended().await;
        assert!(ended.status.success(), "{ended}");
    }

    assert_eq!(broken_limits(&db).await, Vec::<String>::new());
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let seen = u64::try_from(sessions.len()).unwrap();
    assert_eq!(count(&db, SESSIONS_WITH_VERDICT).await, seen);
    assert_eq!(count(&db, VERDICTS).await, seen, "one verdict each");
    assert_eq!(count(&db, COMPLETED_TWICE).await, 0, "no job was completed twice");
    let (bought, answers) = (world.model().requests(), count(&db, ANSWERS).await);
    // Only what was in flight in the one that was killed may be asked for again: 8 readings and 3 diagnoses.
    assert!(bought <= answers + 11, "{bought} answers bought, {answers} kept");
    println!(
        "{} processes, {} runs freed after the kill, {bought} answers bought for {answers} kept",
        count(&db, WORKERS).await,
        count(&db, TAKEN_AWAY).await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pause_of_a_lane_is_kept_between_any_two_calls_of_two_processes() {
    // In microseconds, as the clock has them.
    const PACE: i64 = 50_000;
    const CLOCK: i64 = 1_000;
    let sessions: Vec<Session> = (0..25)
        .map(|number| bakery::ordered(&format!("s-{number:02}")))
        .collect();
    let world = Plan::of(&sessions).set("records", "pace", "'50ms'").start().await;
    let children = [world.child(&[]), world.child(&[])];
    for child in children {
        let ended = child.ended().await;
        assert!(ended.status.success(), "{ended}");
    }
    let db = world.db().await;
    let rows = db
        .fetch_all("SELECT asked_at FROM lookups ORDER BY asked_at", &[])
        .await
        .unwrap();
    let asked: Vec<i64> = rows.iter().map(|row| row.get("asked_at").unwrap()).collect();
    assert_eq!(asked.len(), 25);
    let least = asked.windows(2).map(|two| two[1] - two[0]).min().unwrap();
    assert!(least >= PACE - CLOCK, "two calls were {least} µs apart");
    // What the server saw: it may have looked late at one of them, but never at a whole row of them.
    let arrivals = world.records.arrivals();
    for ten in arrivals.windows(11) {
        let ratio = (ten[10] - ten[0]).as_secs_f64() / (PACE as f64 * 10.0 / 1e6);
        assert!(ratio > 0.8, "ten pauses took {ratio} of their time");
    }
}
