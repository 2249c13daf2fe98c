//! However many sessions were judged, no statement of a worker reads all of them.

use std::{sync::Arc, time::Duration};

use aftercall::{
    jobs::{EvaluateAlerts, PruneHistory, Reconcile},
    queue,
    sandbox::language_model::{Reply, ScriptedModel},
};
use chrono::TimeDelta;
use serde_json::json;

use crate::support::{
    Engine,
    bakery::{self, Session},
    engine,
    plans::Plans,
    state::count,
    window::{Fleet, Window, held},
    world::{Plan, SOURCE},
};

const SESSIONS: &str = "INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count,
                          trace_count, digest, digest_since, open_since, state, generation, discovered_at, updated_at,
                          analyzed_digest, settled_at)
    SELECT CASE n % 2 WHEN 0 THEN 'calls' ELSE 'others' END, 'old-' || n, at, at, 3, 1, 'd', at, at, 'done', 1, at, at, 'd', at
    FROM generate_series(1, 20000) n, LATERAL (SELECT now() - n * interval '1 minute' AS at) AS began";
const RESULTS: &str = "INSERT INTO monitoring_results (source, session_id, generation, intent_type, intent_confidence,
                         verification_status, verdict_summary, diagnostic_status, analyzed_at)
    SELECT source, session_id, 1, 'order', 0.9, 'fail', 's', 'complete', settled_at FROM sessions";
const VERDICTS: &str =
    "INSERT INTO verdicts (source, session_id, generation, status, reason, severity, intent, confidence,
                          summary, playbook, playbook_version, playbook_hash, document, created_at)
    SELECT source, session_id, 1, 'fail', 'r', 'none', 'order', 0.9, 's', 'p', 1, 'h', '{}', settled_at FROM sessions";
const SNAPSHOTS: &str =
    "INSERT INTO snapshots (source, session_id, generation, digest, observations, content, created_at)
    SELECT source, session_id, 1, 'd', 3, '', settled_at FROM sessions";
const READINGS: &str = "INSERT INTO readings (source, session_id, generation, reader, reading, created_at)
    SELECT source, session_id, 1, '{}', '{}', settled_at FROM sessions";
const LOOKUPS: &str =
    "INSERT INTO lookups (source, session_id, generation, seq, round, system, record, lookup, request, answer,
                         asked_at, latency_ms)
    SELECT source, session_id, 1, 1, 0, 'kitchen', 'orders', '{}', 'r', '{}', settled_at, 1 FROM sessions";
const CALLS: &str = "INSERT INTO llm_calls (id, input_hash, purpose, source, session_id, generation, upstream, model, worker,
                       state, started_at)
    SELECT gen_random_uuid(), session_id, 'reading', source, session_id, 1, 'llm:default', 'm', 'w', 'answered', settled_at
    FROM sessions";
const TRACES: &str = "INSERT INTO seen_traces (source, trace_id, session_id, started_at, last_activity_at)
    SELECT source, 't-' || session_id, session_id, settled_at, settled_at FROM sessions";
const OBSERVATIONS: &str =
    "INSERT INTO seen_observations (source, trace_id, observation_id, mark, started_at, last_activity_at,
                              ends_session)
    SELECT source, trace_id, 'o', 'm', started_at, last_activity_at, false FROM seen_traces";

/// What counts all sessions of a source, or all verdicts since the cycle before.
const COUNTS: [&str; 2] = ["session_progress", "count_verdicts_of_cycle"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_the_flow_reads_all_sessions_of_a_server() {
    engine::on(Engine::Postgres, async {
        let sessions = bakery::every_way();
        // Whatever it is asked: sessions that name none become one here.
        let model = ScriptedModel::new(|asked| match asked.schema.as_deref() {
            Some("root_cause") => Reply::Refusal("no".to_owned()),
            _ => Reply::json(json!({
                "intent": "order", "confidence": 1.0, "summary": "A cake.", "details": [], "requests": [], "statements": [],
            })),
        });
        let world = Plan::of(&sessions)
            .model(model)
            .set("source", "group_without_session", "true")
            .set("source", "daily_budget", "1000")
            .set("llm", "price_prompt", "1")
            .start()
            .await;
        let db = world.db().await;
        for sql in [
            SESSIONS,
            RESULTS,
            VERDICTS,
            SNAPSHOTS,
            READINGS,
            LOOKUPS,
            CALLS,
            TRACES,
            OBSERVATIONS,
        ] {
            db.write_alone(sql, &[]).await.unwrap();
        }
        let plans = Plans::watch(&db).await;
        let window = Window::new(SOURCE);
        let fleet = Fleet::start(world, &[Arc::clone(&window)]).await;
        flow(&fleet, &window, &sessions).await;
        let (mut reads, names) = plans.whole_reads(&[
            "sessions",
            "s",
            "monitoring_results",
            "m",
            "verdicts",
            "v",
            "snapshots",
            "readings",
            "lookups",
            "llm_calls",
            "seen_traces",
            "t",
            "seen_observations",
            "o",
        ]);
        for name in [
            "merge_seen_traces",
            "merge_seen_observations",
            "seen_of_sessions",
            "loose_traces",
            "groups_near",
            "use_end_signals",
            "unsettled_sessions",
            "wait_untraced_sessions",
            "sessions_changed_since_verdict",
            "sessions_in_progress",
            "pending_diagnoses",
            "session_is_current",
            "save_verdict",
            "llm_spent_since",
            "mark_lost_llm_calls",
            "count_verdicts",
            "prune_snapshots",
            "prune_seen_observations",
            "prune_seen_traces",
        ] {
            assert!(names.contains(name), "{name} is not among {names:?}");
        }
        reads.retain(|name, _| !COUNTS.contains(&name.as_str()));
        assert!(
            reads.is_empty(),
            "{}",
            reads.into_values().collect::<Vec<_>>().join("\n")
        );
    })
    .await;
}

/// Everything that a day brings, more than once.
async fn flow(fleet: &Fleet, window: &Window, sessions: &[Session]) {
    let from = fleet.db.now().await.unwrap() - TimeDelta::minutes(20);
    for (number, session) in sessions.iter().enumerate() {
        let mut page = held(session, from);
        if number % 3 == 0 {
            page = page.into_iter().map(crate::support::window::Held::nameless).collect();
        } else if let Some(last) = page.pop() {
            page.push(last.ending());
        }
        window.page(&page);
    }
    fleet.cycles(4).await;
    for session in sessions {
        let later = held(
            &session.clone().turn("Thank you.", "Goodbye."),
            from + TimeDelta::minutes(30),
        );
        window.page(&later[later.len() - 1..]);
    }
    fleet.cycles(4).await;
    for _ in 0..7 {
        let mut tx = fleet.db.begin().await.unwrap();
        let tick = tx.now().await.unwrap();
        queue::enqueue(&mut tx, &Reconcile { tick }).await.unwrap();
        queue::enqueue(&mut tx, &EvaluateAlerts { tick }).await.unwrap();
        tx.commit().await.unwrap();
        fleet.rest().await;
        fleet.after(Duration::from_mins(1)).await;
    }
    let mut tx = fleet.db.begin().await.unwrap();
    let tick = tx.now().await.unwrap();
    queue::enqueue(&mut tx, &PruneHistory { tick }).await.unwrap();
    tx.commit().await.unwrap();
    fleet.rest().await;
    let judged = "SELECT COUNT(*) AS n FROM verdicts WHERE reason <> 'r'";
    assert!(count(&fleet.db, judged).await > sessions.len() as u64);
}
