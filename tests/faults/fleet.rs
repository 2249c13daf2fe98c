//! Several processes on one database under a load that nobody planned, one of them killed on the way: what stands in the history
//! of attempts never broke a limit, and nothing was done twice.

use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::Signal;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session},
        history::{History, MILLISECOND},
        state::{broken_promises, count},
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    i5_three_processes_never_exceed_a_limit_and_do_nothing_twice_when_one_is_killed,
    the_pause_of_a_lane_is_kept_between_any_two_calls_of_two_processes,
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

const VERDICTS: &str = "SELECT COUNT(*) AS n FROM verdicts";
const SESSIONS_WITH_VERDICT: &str = "SELECT COUNT(DISTINCT session_id) AS n FROM verdicts";
const ANSWERS: &str = "SELECT COUNT(*) AS n FROM llm_answers";
const TAKEN_AWAY: &str = "SELECT COUNT(*) AS n FROM job_attempts WHERE outcome = 'rescued'";
const WORKERS: &str = "SELECT COUNT(DISTINCT worker) AS n FROM job_attempts";

async fn i5_three_processes_never_exceed_a_limit_and_do_nothing_twice_when_one_is_killed() {
    let sessions = bakery::mixed(60);
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

    let history = History::read(&db).await;
    assert_eq!(history.violations(MILLISECOND), Vec::<String>::new());
    assert!(
        !history.rate_starts.is_empty(),
        "diagnoses have a rate, and no start was counted"
    );
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    let seen = u64::try_from(sessions.len()).unwrap();
    assert_eq!(count(&db, SESSIONS_WITH_VERDICT).await, seen);
    assert_eq!(count(&db, VERDICTS).await, seen, "one verdict each");
    let (bought, answers) = (world.model().requests(), count(&db, ANSWERS).await);
    // Only what was in flight in the one that was killed may be asked for again: 8 readings and 3 diagnoses.
    assert!(bought <= answers + 11, "{bought} answers bought, {answers} kept");
    println!(
        "{} processes, {} runs freed after the kill, {bought} answers bought for {answers} kept",
        count(&db, WORKERS).await,
        count(&db, TAKEN_AWAY).await
    );
}

async fn the_pause_of_a_lane_is_kept_between_any_two_calls_of_two_processes() {
    const PACE: TimeDelta = TimeDelta::milliseconds(50);
    // What the clock counts in.
    const CLOCK: TimeDelta = TimeDelta::milliseconds(1);
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
    let asked: Vec<DateTime<Utc>> = rows.iter().map(|row| row.get("asked_at").unwrap()).collect();
    assert_eq!(asked.len(), 25);
    let least = asked.windows(2).map(|two| two[1] - two[0]).min().unwrap();
    assert!(least >= PACE - CLOCK, "two calls were {least} apart");
    // What the server saw: it may have looked late at one of them, but never at a whole row of them.
    let arrivals = world.records.arrivals();
    for ten in arrivals.windows(11) {
        let ratio = (ten[10] - ten[0]).as_secs_f64() / (PACE * 10).as_seconds_f64();
        assert!(ratio > 0.8, "ten pauses took {ratio} of their time");
    }
}
