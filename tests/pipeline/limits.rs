//! The limits of the flow, read from what the attempts and the starts say.

use std::collections::BTreeMap;

use aftercall::db::Db;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, ordered_and_paid, vanished},
        state::count,
        world::Plan,
    },
};

on_each_engine! {
    i5_each_system_is_asked_by_one_job_at_a_time_and_keeps_its_pace,
    i5_diagnoses_keep_their_limit_and_their_rate,
}

/// From when to when an attempt ran.
type Span = (DateTime<Utc>, DateTime<Utc>);

/// Most attempts at once, by limit key.
async fn most_at_once(db: &Db) -> BTreeMap<String, usize> {
    let rows = db
        .fetch_all(
            "SELECT limit_key, started_at, finished_at FROM job_attempts WHERE finished_at IS NOT NULL",
            &[],
        )
        .await
        .unwrap();
    let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for row in rows {
        let span = (row.get("started_at").unwrap(), row.get("finished_at").unwrap());
        spans.entry(row.get("limit_key").unwrap()).or_default().push(span);
    }
    let most = |spans: &[Span]| {
        // The clock counts milliseconds: one that ends in the millisecond in which another starts was before it.
        let at = |moment: DateTime<Utc>| {
            spans
                .iter()
                .filter(|(start, end)| *start <= moment && moment < *end)
                .count()
        };
        spans.iter().map(|(start, _)| at(*start)).max().unwrap_or(0)
    };
    spans.into_iter().map(|(key, spans)| (key, most(&spans))).collect()
}

async fn i5_each_system_is_asked_by_one_job_at_a_time_and_keeps_its_pace() {
    let sessions: Vec<_> = (0..12).map(|number| ordered_and_paid(&format!("s-{number}"))).collect();
    let world = Plan::of(&sessions).set("records", "pace", "'40ms'").start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let most = most_at_once(&db).await;
    assert_eq!(most["verify_session/kitchen"], 1);
    assert_eq!(most["verify_session/till"], 1);
    for system in ["kitchen", "till"] {
        let rows = db
            .fetch_all(
                "SELECT asked_at FROM lookups WHERE system = $1 ORDER BY asked_at",
                &aftercall::params![system],
            )
            .await
            .unwrap();
        let asked: Vec<DateTime<Utc>> = rows.iter().map(|row| row.get("asked_at").unwrap()).collect();
        assert_eq!(asked.len(), sessions.len());
        // A call may start late, never early: over the whole run the pace holds to the millisecond that the clock counts.
        let (pace, calls) = (TimeDelta::milliseconds(40), i32::try_from(asked.len()).unwrap());
        let whole = asked[asked.len() - 1] - asked[0];
        assert!(whole >= pace * (calls - 1) - pace, "{system}: {whole}");
    }
}

async fn i5_diagnoses_keep_their_limit_and_their_rate() {
    let sessions: Vec<_> = (0..9).map(|number| vanished(&format!("s-{number}"))).collect();
    let world = Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .set("limits", "diagnose_session", "2")
        .set("limits", "diagnose_starts", "3")
        .set("limits", "diagnose_window", "'1s'")
        .set("verification", "look_again", "[]")
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert!(most_at_once(&db).await["diagnose_session"] <= 2);
    let starts = "SELECT COUNT(*) AS n FROM rate_starts WHERE limit_key = 'diagnose_session'";
    assert_eq!(count(&db, starts).await, 9, "one start for each");
    let rows = db
        .fetch_all("SELECT started_at FROM rate_starts ORDER BY started_at", &[])
        .await
        .unwrap();
    let starts: Vec<DateTime<Utc>> = rows.iter().map(|row| row.get("started_at").unwrap()).collect();
    for four in starts.windows(4) {
        assert!(four[3] - four[0] >= TimeDelta::seconds(1), "{four:?}");
    }
}
