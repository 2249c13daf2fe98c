//! `api` and `--health`: what a process answers about itself.

use std::{cell::RefCell, collections::BTreeSet, fs, path::PathBuf};

use aftercall::{db::Db, params};
use rustix::process::Signal;
use serde_json::Value;
use uuid::Uuid;

use super::program::Program;
use crate::{
    on_each_engine,
    support::{
        bakery,
        child::Child,
        http::get,
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    the_api_answers_in_figures_what_the_database_holds,
    every_role_says_how_it_is_where_it_was_told_to,
    a_process_on_its_way_out_lives_and_is_not_ready,
}

const API: [&str; 4] = ["api", "--listen", "127.0.0.1:0", "--json"];

async fn stop(child: Child) {
    child.signal(Signal::TERM);
    let ended = child.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Why a process is not ready, by what does not hold.
fn why(body: &str, check: &str) -> Option<String> {
    let body = json(body);
    let checks = body["checks"].as_array().unwrap();
    let failed = checks.iter().find(|row| row["check"] == check && row["ok"] == false)?;
    Some(failed["why"].as_str().unwrap().to_owned())
}

/// The value of a sample.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")))?;
    Some(line.parse().unwrap())
}

/// The metrics of a text in Prometheus's format, by kind. Every one says what it is before its first sample, is named as its kind
/// asks for and by its unit, and has each sample once.
fn families(metrics: &str) -> Vec<(String, String)> {
    let mut families: Vec<(String, String)> = Vec::new();
    let mut helped = "";
    let mut samples = BTreeSet::new();
    for line in metrics.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(words.ends_with('.') && words.len() > 10, "{line}");
            helped = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped);
            assert!(families.iter().all(|(known, _)| known != name), "{name} is there twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert_eq!(kind == "histogram", name.ends_with("_latency_seconds"), "{line}");
            let no_units = [
                "_ms",
                "_us",
                "_milliseconds",
                "_minutes",
                "_kb",
                "_count",
                "_sum",
                "_bucket",
            ];
            assert!(!no_units.iter().any(|unit| name.ends_with(unit)), "{line}");
            families.push((name.to_owned(), kind.to_owned()));
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let (family, kind) = families.last().unwrap();
            let parts: &[&str] = if kind == "histogram" {
                &["_bucket", "_sum", "_count"]
            } else {
                &[""]
            };
            assert!(
                parts.iter().any(|part| name == format!("{family}{part}")),
                "{line} is no sample of {family}"
            );
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
            assert!(samples.insert(series), "{series} is there twice");
        }
    }
    families
}

async fn the_api_answers_in_figures_what_the_database_holds() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .set("queue", "lease", "'30s'")
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let mut tx = db.begin().await.unwrap();
    let now = tx.now().await.unwrap();
    tx.execute(
        "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
         VALUES ($3, $1, 'x', '{}', 'available', $2, 8, $2)",
        &params!["odd\"} 7\n\\", now, Uuid::now_v7()],
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    for arguments in [
        &["pause", "verify_session"][..],
        &["gate", "close", "records:till", "--reason", "test"],
        &["limit", "diagnose_session", "1"],
    ] {
        assert!(Child::start(&world, arguments, &[]).ended().await.status.success());
    }

    let api = Child::start(&world, &API, &[]);
    let url = api.url().await;
    assert_eq!(
        get(&format!("{url}/healthz")).await,
        (200, "{\"status\":\"ok\"}\n".to_owned())
    );
    let (status, body) = get(&format!("{url}/readyz")).await;
    assert_eq!((status, &json(&body)["status"]), (200, &"ok".into()), "{body}");
    let (status, metrics) = get(&format!("{url}/metrics")).await;
    assert_eq!(status, 200, "{metrics}");
    assert_eq!(families(&metrics), served());
    for (name, value) in [
        ("aftercall_jobs{queue=\"analyze_session\",state=\"completed\"}", 8.0),
        ("aftercall_jobs{queue=\"analyze_session\",state=\"discarded\"}", 0.0),
        ("aftercall_jobs{queue=\"odd\\\"} 7\\n\\\\\",state=\"available\"}", 1.0),
        ("aftercall_oldest_waiting_seconds{queue=\"verify_session\"}", 0.0),
        ("aftercall_queue_paused{queue=\"verify_session\"}", 1.0),
        ("aftercall_queue_paused{queue=\"analyze_session\"}", 0.0),
        ("aftercall_limit_running{key=\"diagnose_session\"}", 0.0),
        ("aftercall_limit_max{key=\"diagnose_session\"}", 1.0),
        ("aftercall_limit_max{key=\"verify_session/kitchen\"}", 1.0),
        ("aftercall_gate_shut{gate=\"records:till\"}", 1.0),
        ("aftercall_workers_alive", 0.0),
        ("aftercall_processes_alive{role=\"api\"}", 1.0),
        ("aftercall_sessions{source=\"calls\",state=\"done\"}", 8.0),
        ("aftercall_sessions{source=\"calls\",state=\"unexplained\"}", 0.0),
        ("aftercall_verdicts{status=\"pass\"}", 2.0),
        ("aftercall_verdicts{status=\"fail\"}", 3.0),
        ("aftercall_verdicts{status=\"partial\"}", 1.0),
        ("aftercall_verdicts{status=\"skipped\"}", 2.0),
        ("aftercall_verdicts{status=\"error\"}", 0.0),
        ("aftercall_gate_state{gate=\"records:till\",state=\"closed\"}", 1.0),
        ("aftercall_gate_state{gate=\"records:till\",state=\"half_open\"}", 0.0),
        ("aftercall_gate_state{gate=\"records:till\",state=\"open\"}", 0.0),
        ("aftercall_gate_held_jobs{gate=\"records:till\"}", 0.0),
        ("aftercall_coverage_gap{source=\"calls\",kind=\"unexplained\"}", 0.0),
        ("aftercall_coverage_gap{source=\"calls\",kind=\"unreadable\"}", 0.0),
        ("aftercall_coverage_gap{source=\"calls\",kind=\"waiting\"}", 0.0),
        (
            "aftercall_job_attempts_total{queue=\"analyze_session\",outcome=\"completed\"}",
            8.0,
        ),
        ("aftercall_processes_silent", 0.0),
        ("aftercall_llm_calls_under_way", 0.0),
        ("aftercall_metrics_missing{part=\"llm\"}", 0.0),
    ] {
        assert_eq!(sample(&metrics, name), Some(value), "{name} in\n{metrics}");
    }
    figures_are_what_the_database_counts(&db, &metrics).await;
    let waited = sample(
        &metrics,
        "aftercall_oldest_waiting_seconds{queue=\"odd\\\"} 7\\n\\\\\"}",
    )
    .unwrap();
    assert!(waited > 0.0, "{metrics}");
    let (status, body) = get(&format!("{url}/nosuch")).await;
    assert_eq!((status, &json(&body)["code"]), (404, &"unknown_route".into()), "{body}");
    stop(api).await;
}

/// Every metric and its kind, in their order.
fn served() -> Vec<(String, String)> {
    let gauge = |name: &str| (name.to_owned(), "gauge".to_owned());
    let counter = |name: &str| (name.to_owned(), "counter".to_owned());
    vec![
        gauge("aftercall_jobs"),
        gauge("aftercall_oldest_waiting_seconds"),
        gauge("aftercall_queue_paused"),
        gauge("aftercall_limit_running"),
        gauge("aftercall_limit_max"),
        gauge("aftercall_gate_shut"),
        gauge("aftercall_gate_state"),
        gauge("aftercall_gate_closed_seconds"),
        gauge("aftercall_gate_held_jobs"),
        gauge("aftercall_workers_alive"),
        gauge("aftercall_processes_alive"),
        gauge("aftercall_processes_silent"),
        gauge("aftercall_sessions"),
        gauge("aftercall_coverage_gap"),
        gauge("aftercall_verdicts"),
        counter("aftercall_job_attempts_total"),
        counter("aftercall_job_run_seconds_total"),
        counter("aftercall_lease_rescues_total"),
        counter("aftercall_verdicts_written_total"),
        counter("aftercall_llm_calls_total"),
        counter("aftercall_llm_tokens_total"),
        counter("aftercall_llm_cost_total"),
        gauge("aftercall_llm_calls_under_way"),
        ("aftercall_lookup_latency_seconds".to_owned(), "histogram".to_owned()),
        counter("aftercall_webhook_events_total"),
        gauge("aftercall_ingestion_delay_seconds"),
        gauge("aftercall_schedule_last_tick_age_seconds"),
        gauge("aftercall_schedule_late_seconds"),
        gauge("aftercall_last_verdict_age_seconds"),
        gauge("aftercall_database_size_bytes"),
        gauge("aftercall_database_free_bytes"),
        gauge("aftercall_table_live_rows"),
        gauge("aftercall_table_dead_rows"),
        gauge("aftercall_metrics_missing"),
    ]
}

async fn figures_are_what_the_database_counts(db: &Db, metrics: &str) {
    let sum = |name: &str, with: &str| -> Option<f64> {
        let of_it = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(with);
        let values = metrics.lines().filter(of_it);
        values
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().ok())
            .sum()
    };
    let stored = async |sql: &'static str| -> Option<f64> {
        let row = db.fetch_optional(sql, &[]).await.unwrap().unwrap();
        row.get::<Option<f64>>("n").unwrap()
    };
    assert_eq!(
        sum("aftercall_verdicts_written_total", "status=\"fail\""),
        Some(3.0),
        "{metrics}"
    );
    assert_eq!(
        sum("aftercall_verdicts_written_total", "intent=\""),
        Some(8.0),
        "{metrics}"
    );
    let calls = stored("SELECT CAST(count(*) AS double precision) AS n FROM llm_calls").await;
    assert!(calls >= Some(8.0));
    assert_eq!(
        sum("aftercall_llm_calls_total", "state=\"answered\""),
        calls,
        "{metrics}"
    );
    let tokens = stored("SELECT CAST(sum(prompt_tokens) AS double precision) AS n FROM llm_calls").await;
    assert_eq!(
        sum("aftercall_llm_tokens_total", "kind=\"prompt\""),
        tokens,
        "{metrics}"
    );
    let lookups = stored("SELECT CAST(count(*) AS double precision) AS n FROM lookups").await;
    assert!(lookups >= Some(1.0));
    assert_eq!(sum("aftercall_lookup_latency_seconds_count", ""), lookups, "{metrics}");
    assert_eq!(
        sum("aftercall_lookup_latency_seconds_bucket", "le=\"+Inf\""),
        lookups,
        "{metrics}"
    );
    for (name, with) in [
        (
            "aftercall_gate_closed_seconds",
            "gate=\"records:till\",reason=\"closed_by_hand\"",
        ),
        ("aftercall_ingestion_delay_seconds", "source=\"calls\""),
        ("aftercall_schedule_last_tick_age_seconds", "schedule=\""),
        ("aftercall_job_run_seconds_total", "queue=\"verify_session\""),
    ] {
        assert!(sum(name, with) > Some(0.0), "{name}{{{with}}} in\n{metrics}");
    }
    assert!(
        sample(metrics, "aftercall_last_verdict_age_seconds").unwrap() >= 0.0,
        "{metrics}"
    );
    assert!(
        sample(metrics, "aftercall_database_size_bytes").unwrap() > 100_000.0,
        "{metrics}"
    );
}

/// Moves the database away, or back.
fn move_database(world: &World, away: bool) {
    for name in ["aftercall.db", "aftercall.db-wal", "aftercall.db-shm"] {
        let (here, there): (PathBuf, PathBuf) = (world.path(name), world.path(&format!("{name}.away")));
        let (from, to) = if away { (here, there) } else { (there, here) };
        if from.exists() {
            fs::rename(from, to).unwrap();
        }
    }
}

/// Waits for this status of `/readyz`, and answers its body.
async fn readiness(url: &str, status: u16) -> String {
    let last = RefCell::new(String::new());
    until("the readiness changes", async || {
        let (is, body) = get(&format!("{url}/readyz")).await;
        *last.borrow_mut() = body;
        is == status
    })
    .await;
    last.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_or_locked_away_is_said_and_so_is_its_return() {
    let sessions = [bakery::ordered("s-1")];
    let world = Plan::of(&sessions).start().await;
    let db = world.db().await;
    let worker = Child::start(&world, &["worker", "--health", "127.0.0.1:0"], &[]);
    let api = Child::start(&world, &API, &[]);
    let urls = [worker.url().await, api.url().await];
    for url in &urls {
        readiness(url, 200).await;
    }

    move_database(&world, true);
    for url in &urls {
        let body = readiness(url, 503).await;
        let said = why(&body, "database").unwrap_or_else(|| panic!("{body}"));
        assert!(said.contains("is gone or was replaced"), "{said}");
        assert_eq!(get(&format!("{url}/healthz")).await.0, 200, "it lives");
        let (status, metrics) = get(&format!("{url}/metrics")).await;
        assert!(status == 503 && metrics.starts_with("# "), "{status} {metrics}");
    }
    move_database(&world, false);
    for url in &urls {
        readiness(url, 200).await;
    }

    // Somebody writes and does not come to an end.
    let held = db.begin().await.unwrap();
    for url in &urls {
        let body = readiness(url, 503).await;
        let said = why(&body, "database").unwrap_or_else(|| panic!("{body}"));
        assert!(said.contains("within 2 s"), "{said}");
    }
    until("the worker's lease has run out unrenewed", || {
        let address = format!("{}/readyz", urls[0]);
        async move { why(&get(&address).await.1, "heartbeat").is_some() }
    })
    .await;
    drop(held);
    for url in &urls {
        readiness(url, 200).await;
    }
    stop(worker).await;
    stop(api).await;
}

async fn every_role_says_how_it_is_where_it_was_told_to() {
    let sessions = [bakery::ordered("s-1")];
    let world = Plan::of(&sessions).set("queue", "lease", "'30s'").start().await;
    for role in ["run", "worker", "scheduler"] {
        let child = Child::start(&world, &[role, "--health", "127.0.0.1:0"], &[]);
        let url = child.url().await;
        readiness(&url, 200).await;
        let (_, metrics) = get(&format!("{url}/metrics")).await;
        let alive = format!("aftercall_processes_alive{{role=\"{role}\"}}");
        assert_eq!(sample(&metrics, &alive), Some(1.0), "{metrics}");
        stop(child).await;
        assert_eq!(get(&format!("{url}/healthz")).await.0, 0, "nobody answers any more");
    }
}

async fn a_process_on_its_way_out_lives_and_is_not_ready() {
    let sessions = [bakery::ordered("s-1")];
    let world = Plan::of(&sessions)
        .model(aftercall::sandbox::language_model::ScriptedModel::new(|_| {
            aftercall::sandbox::language_model::Reply::Hang
        }))
        .set("queue", "grace", "'1h'")
        .set("llm", "timeout", "'1h'")
        .start()
        .await;
    let child = Child::start(&world, &["run", "--health", "127.0.0.1:0"], &[]);
    let url = child.url().await;
    until("a call is in flight", async || world.model().requests() >= 1).await;
    child.signal(Signal::TERM);
    let body = readiness(&url, 503).await;
    assert!(why(&body, "running").unwrap().contains("told to stop"), "{body}");
    assert_eq!(get(&format!("{url}/healthz")).await.0, 200);
}

#[test]
fn others_may_ask_only_where_that_is_meant() {
    let program = Program::new();
    program.write("calls.jsonl", "");
    program.write(
        "aftercall.toml",
        "[[source]]\nname = \"calls\"\npath = \"calls.jsonl\"\nplaybook = \"airline\"\n",
    );
    for arguments in [
        &["api", "--listen", "0.0.0.0:0"][..],
        &["run", "--health", "[::]:0"],
        &["worker", "--health", "0.0.0.0:0"],
        &["scheduler", "--health", "0.0.0.0:0"],
    ] {
        let refused = program.run(arguments).exits(2).stderr;
        assert!(refused.contains("--listen-unprotected"), "{refused}");
    }
    assert!(!program.path().join("aftercall-data").exists(), "nothing was started");
    let meant = ["api", "--listen-unprotected"];
    let server = program.serve_at("0.0.0.0:0", &meant);
    assert!(server.url.starts_with("http://0.0.0.0:"), "{}", server.url);
    program.run(&["worker", "--listen-unprotected"]).exits(2);
    let taken = server.url.trim_start_matches("http://");
    let refused = program
        .run(&["api", "--listen", taken, "--listen-unprotected"])
        .exits(3)
        .stderr;
    assert!(refused.contains("cannot listen on"), "{refused}");
}
