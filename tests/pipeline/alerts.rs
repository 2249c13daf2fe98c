//! Alerts and pruning: beside the flow, on their own schedules, never in its way.

use std::time::Duration;

use aftercall::{db::Db, pipeline::Pipeline};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, ordered, vanished},
        state::{count, verdict},
        until,
        world::{Plan, idle},
    },
};

on_each_engine! {
    an_alert_fires_once_names_samples_and_is_resolved_when_it_is_over,
    history_is_pruned_and_verdicts_and_evidence_stay,
}

const RULE: &str = "[[alert]]
name = 'few_cakes'
metric = 'fulfilment_rate'
op = 'lt'
threshold = 0.6
look_back = '60m'
min_sessions = 2
severity = 'critical'
cooldown = '1m'
";

async fn next_minute(pipeline: &Pipeline, db: &Db) {
    let evaluated = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'evaluate_alerts' AND state = 'completed'";
    let before = count(db, evaluated).await;
    db.advance_clock(Duration::from_mins(1)).await.unwrap();
    until("the alerts are evaluated", async || count(db, evaluated).await > before).await;
    idle(pipeline).await;
}

async fn an_alert_fires_once_names_samples_and_is_resolved_when_it_is_over() {
    let sessions = [vanished("s-1"), vanished("s-2"), ordered("s-3")];
    let world = Plan::of(&sessions)
        .append(RULE)
        .set("verification", "look_again", "[]")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    idle(&pipeline).await;
    for _ in 0..2 {
        next_minute(&pipeline, &db).await;
    }
    let row = db
        .fetch_optional(
            "SELECT rule, severity, value, sessions, resolved_at IS NULL AS open FROM alerts",
            &[],
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get::<String>("rule").unwrap(), "few_cakes");
    assert_eq!(row.get::<String>("severity").unwrap(), "critical");
    assert!((row.get::<f64>("value").unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert!(row.get::<bool>("open").unwrap());
    let samples: Vec<String> = serde_json::from_value(row.get("sessions").unwrap()).unwrap();
    assert_eq!(
        samples.iter().filter(|sample| sample.starts_with("calls/s-")).count(),
        2,
        "{samples:?}"
    );
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM alerts").await, 1);

    // More calls, all fulfilled: two of five failed.
    let better: String = ["s-4", "s-5"].map(|id| ordered(id).lines()).concat();
    let held = Plan::of(&[ordered("s-4"), ordered("s-5")]);
    pipeline.shutdown().await;
    let later = held
        .append(RULE)
        .on_database_of(&world)
        .bundle(std::fs::read_to_string(world.path("bundle.jsonl")).unwrap() + &better)
        .start()
        .await;
    let pipeline = later.pipeline(&db).await;
    idle(&pipeline).await;
    next_minute(&pipeline, &db).await;
    pipeline.shutdown().await;
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM alerts WHERE resolved_at IS NOT NULL").await,
        1
    );
}

async fn history_is_pruned_and_verdicts_and_evidence_stay() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    idle(&pipeline).await;
    let kept = "SELECT (SELECT COUNT(*) FROM verdicts) * 1000 + (SELECT COUNT(*) FROM lookups) AS n";
    let before = count(&db, kept).await;
    db.advance_clock(Duration::from_hours(91 * 24)).await.unwrap();
    until("old history is gone", async || {
        count(&db, "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session'").await == 0
            && count(&db, "SELECT COUNT(*) AS n FROM snapshots").await == 0
    })
    .await;
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(count(&db, kept).await, before);
    assert_eq!(verdict(&db, "s-ordered").await.0, "pass");
}
