//! What waits must not wait for ever, and must not keep others waiting.

use aftercall::{
    db::Sql,
    jobs::{DiscoverSessions, EvaluateAlerts},
    params,
    queue::{self, Enqueued},
    sandbox::language_model::{Reply, ScriptedModel},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, ordered, question, vanished},
        state::count,
        until,
        world::{Plan, SOURCE, idle},
    },
};

on_each_engine! {
    sessions_of_a_source_that_nobody_scans_do_not_keep_a_run_from_ending,
    a_cycle_that_went_on_after_an_outage_keeps_what_it_had_counted,
    an_alert_rule_that_cannot_be_evaluated_does_not_stop_the_others,
    an_expert_whose_question_the_server_refuses_every_time_is_not_asked_for_ever,
    a_session_with_many_records_keeps_its_answers_on_the_way,
}

async fn sessions_of_a_source_that_nobody_scans_do_not_keep_a_run_from_ending() {
    let world = Plan::of(&[ordered("s-1")])
        // Not in between, whatever the time is.
        .set("schedule", "discover_sessions", "'0 3 1 1 *'")
        .start()
        .await;
    let db = world.db().await;
    let mut tx = db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    tx.execute(
        "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
             digest_since, open_since, state, waiting_reason, waiting_until, discovered_at, updated_at)
         VALUES ('switched-off', 's-1', $1, $1, 3, 1, 'd', $1, $1, 'open', 'waiting to settle', $1, $1, $1)",
        &params![now],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    world.run_until_idle(&db).await;
    let looks = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions'";
    assert!(count(&db, looks).await <= 2, "nobody was asked again and again");
}

async fn a_cycle_that_went_on_after_an_outage_keeps_what_it_had_counted() {
    let world = Plan::of(&[ordered("s-1"), question("s-2")]).start().await;
    let db = world.db().await;
    let mut tx = db.begin().await.unwrap();
    let source = SOURCE.to_owned();
    let Enqueued::New(id) = queue::enqueue(&mut tx, &DiscoverSessions { source }).await.unwrap() else {
        panic!("the queue was empty");
    };
    // As an outage in the middle of a scan leaves it.
    let counted = json!({"slices": 3, "seen": 40, "new": 30, "settled": 0, "reopened": 0, "waiting": 9, "faults": 1});
    tx.execute("UPDATE jobs SET progress = $2 WHERE id = $1", &params![id, counted])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.run_until_idle(&db).await;
    let row = db
        .fetch_optional(
            "SELECT seen, new, waiting, faults FROM discovery_cycles WHERE id = $1",
            &params![id],
        )
        .await
        .unwrap()
        .unwrap();
    let counts = ["seen", "new", "waiting", "faults"].map(|column| row.get::<u64>(column).unwrap());
    assert_eq!(counts, [42, 32, 0, 1]);
}

async fn an_alert_rule_that_cannot_be_evaluated_does_not_stop_the_others() {
    let world = Plan::of(&[question("s-1")]).start().await;
    let db = world.db().await;
    let [first, second] = world.config.alerts.as_slice() else {
        panic!(
            "the rules of a configuration that names none: {:?}",
            world.config.alerts
        );
    };
    let mut tx = db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    // The first rule's history cannot be read: it fired at no instant. And so many sessions that both have something to say.
    for number in 0..10 {
        tx.execute(
            "INSERT INTO monitoring_results (source, session_id, generation, intent_type, intent_confidence, verification_status,
                 verdict_summary, analyzed_at) VALUES ('calls', $1, 1, 'order', 0.9, $2, 'in words', $3)",
            &params![
                format!("f-{number}"),
                if number % 2 == 0 { "fail" } else { "error" },
                now
            ],
        )
        .await
        .unwrap();
    }
    tx.execute(
        Sql::each(
            "INSERT INTO alerts (id, rule, metric, severity, value, threshold, sessions, fired_at, last_seen_at, resolved_at)
             VALUES ($2, $1, 'm', 'info', 0, 0, '[]', 9223372036854775807, $3, $3)",
            "INSERT INTO alerts (id, rule, metric, severity, value, threshold, sessions, fired_at, last_seen_at, resolved_at)
             VALUES ($2, $1, 'm', 'info', 0, 0, '[]', '290000-01-01 UTC', $3, $3)",
        ),
        &params![&first.name, Uuid::now_v7(), now],
    )
    .await
    .unwrap();
    let Enqueued::New(id) = queue::enqueue(&mut tx, &EvaluateAlerts { tick: now }).await.unwrap() else {
        panic!("the queue was empty");
    };
    tx.commit().await.unwrap();
    let pipeline = world.pipeline(&db).await;
    until("the alerts are evaluated", async || {
        let job = queue::inspect::job(&db, id).await.unwrap().unwrap();
        job.state == "completed"
    })
    .await;
    pipeline.shutdown().await;
    let fired = db
        .fetch_all(
            "SELECT COUNT(*) AS n FROM alerts WHERE rule = $1 AND resolved_at IS NULL",
            &params![&second.name],
        )
        .await
        .unwrap();
    assert_eq!(fired[0].get::<u64>("n").unwrap(), 1);
    let job = queue::inspect::job(&db, id).await.unwrap().unwrap();
    assert_eq!(job.progress.unwrap()["unevaluated"], json!([first.name]));
}

async fn an_expert_whose_question_the_server_refuses_every_time_is_not_asked_for_ever() {
    let sessions = [vanished("s-1")];
    let script = sessions.to_vec();
    let model = ScriptedModel::new(move |asked| match asked.schema.as_deref() {
        Some("root_cause") => Reply::Error(400, "bad_request".to_owned(), "not this one".to_owned()),
        _ => bakery::answer(&script, asked),
    });
    let world = Plan::of(&sessions).model(model).start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    idle(&pipeline).await;
    pipeline.shutdown().await;
    let row = db
        .fetch_optional(
            "SELECT diagnostic_status, diagnostic_report_json FROM monitoring_results",
            &[],
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get::<String>("diagnostic_status").unwrap(), "complete");
    let report: Value = row.get("diagnostic_report_json").unwrap();
    assert!(report.to_string().contains("no usable answer"), "{report}");
}

async fn a_session_with_many_records_keeps_its_answers_on_the_way() {
    let mut session = bakery::one_order("s-1");
    for number in 0..59 {
        let input = json!({"action": "place", "cake": "plum"});
        session = session.call("order_cake", input, json!({"orderId": format!("o-{number}")}));
    }
    let world = Plan::of(&[session]).set("records", "pace", "'30ms'").start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    let kept =
        "SELECT (SELECT COUNT(*) FROM lookups) AS n FROM jobs WHERE queue = 'verify_session' AND state = 'running'
        UNION ALL SELECT 0 ORDER BY n DESC LIMIT 1";
    until("answers are kept while the job still runs", async || {
        count(&db, kept).await > 0
    })
    .await;
    idle(&pipeline).await;
    pipeline.shutdown().await;
    let asked_twice = "SELECT COUNT(*) AS n FROM (SELECT lookup FROM lookups WHERE round = 0 GROUP BY lookup HAVING COUNT(*) > 1) AS twice";
    assert_eq!(count(&db, asked_twice).await, 0);
    assert!(count(&db, "SELECT COUNT(*) AS n FROM lookups WHERE round = 0").await >= 60);
}
