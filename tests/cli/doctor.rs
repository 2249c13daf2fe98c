//! `doctor` as a program: what it finds, what it leaves alone, and what it never prints.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use aftercall::{db::Db, params};
use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::program::{Program, Ran};

use crate::{
    program_on_each_engine,
    support::{Engine, engine::program_on},
};

program_on_each_engine! {
    a_healthy_world_passes_and_is_left_as_it_was,
    counters_that_are_wrong_are_named_and_a_recount_sets_them_right,
    the_clock_of_an_upstream_is_compared_with_this_machines,
    shut_gates_paused_queues_silent_workers_and_failed_scans_are_shown,
    a_missing_secret_fails_and_the_database_is_looked_at_all_the_same,
    an_older_and_a_newer_database_are_told_apart_and_left_alone,
}

/// What must never be printed.
const CANARIES: [&str; 3] = ["sk-canary-llm", "canary-header", "Canary Caller"];
const SECRETS: [(&str, &str); 2] = [("LLM_KEY", CANARIES[0]), ("RECORDS_KEY", CANARIES[1])];

const OBSERVATION: &str =
    "{\"id\":\"1\",\"traceId\":\"t\",\"startTime\":\"2026-08-20T10:00:00Z\",\"input\":\"Canary Caller\"}\n";

/// A server on a free port; answers by a function of method and path, and knows what it was asked.
struct Upstream {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Upstream {
    fn start(answer: impl Fn(&str) -> Response + Clone + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let router = Router::new().fallback(move |request: Request| {
            let line = format!("{} {}", request.method(), request.uri().path());
            seen.lock().unwrap().push(line.clone());
            let answer = answer.clone();
            async move { answer(&line) }
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            url,
            asked,
            _runtime: runtime,
        }
    }

    fn json(status: u16, body: &Value) -> Response {
        let status = StatusCode::from_u16(status).unwrap();
        (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
    }
}

/// A model that takes every question.
fn model() -> Upstream {
    Upstream::start(|line| {
        if line == "GET /v1/models" {
            return Upstream::json(200, &json!({"data": [{"id": "m"}]}));
        }
        let message = json!({"role": "assistant", "content": "{\"ok\": true}"});
        Upstream::json(
            200,
            &json!({"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}),
        )
    })
}

/// A system of record without any record.
fn records() -> Upstream {
    Upstream::start(|_| Upstream::json(404, &json!({"error": "Canary Caller is not known\u{1b}[2J"})))
}

fn configured(model: &str, records: &str) -> Program {
    let program = Program::new();
    program.write("calls.jsonl", OBSERVATION);
    program.write(
        "aftercall.toml",
        &format!(
            "[llm]\nbase_url = \"{model}/v1\"\nmodel = \"m\"\napi_key = \"env:LLM_KEY\"\n\
             [[source]]\nname = \"calls\"\npath = \"calls.jsonl\"\nplaybook = \"airline\"\n\
             [[records]]\nname = \"airline\"\nbase_url = \"{records}\"\nheaders = {{ x-key = \"env:RECORDS_KEY\" }}\n"
        ),
    );
    program
}

fn database(program: &Program) -> Db {
    runtime().block_on(Db::open(&program.location())).unwrap()
}

/// One for all: connections to a server live in the runtime that made them.
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    })
}

fn doctor(program: &Program, more: &[&str]) -> Ran {
    let arguments = [&["doctor", "--db", program.database()], more].concat();
    let ran = program.run_with(&arguments, &SECRETS).assert_safe();
    for canary in CANARIES {
        let printed = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!printed.contains(canary), "{canary}:\n{printed}");
    }
    ran
}

/// Level, finding and advice of every row of a check.
#[track_caller]
fn rows(ran: &Ran, check: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows: Vec<(String, String)> = ran.json()["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["check"] == check)
        .map(|row| {
            (
                text(&row["level"]),
                format!("{} / {}", text(&row["found"]), text(&row["advice"])),
            )
        })
        .collect();
    assert!(!rows.is_empty(), "{check} is not in\n{}", ran.stdout);
    rows
}

#[track_caller]
fn assert_row(ran: &Ran, check: &str, level: &str, says: &str) {
    let rows = rows(ran, check);
    assert!(
        rows.iter().any(|(is, text)| is == level && text.contains(says)),
        "{level} {says}: {rows:#?}"
    );
}

fn a_healthy_world_passes_and_is_left_as_it_was() {
    let (model, records) = (model(), records());
    let program = configured(&model.url, &records.url);
    let db = database(&program);
    let ran = doctor(&program, &["--json"]).exits(0);
    let of_database: &[(&str, &str)] = if db.is_server() {
        &[
            ("database", "PostgreSQL"),
            ("database", "up to date"),
            ("privileges", "may migrate all"),
            ("bloat", "jobs: number of dead rows"),
            ("bloat", "job_attempts: number of dead rows"),
        ]
    } else {
        &[
            ("database", "up to date"),
            ("database", "pages are sound"),
            ("database", "journal mode wal"),
            ("database", "can be written"),
            ("bloat", "hold nothing"),
            ("disk", "left"),
        ]
    };
    let of_the_rest = [
        ("configuration", "playbook: airline"),
        ("clock", "agrees"),
        ("gates", "all are open"),
        ("queues", "none is paused"),
        ("counters", "say what a count says; number of jobs: 0"),
        ("scan of calls", "not scanned yet"),
        ("source:calls", "first line is an observation"),
        ("llm:default", "it serves m"),
        ("llm:default", "json_schema is taken"),
        ("llm:default", "clock agrees"),
        ("records:airline", "aftercall-probe"),
        ("records:airline", "clock agrees"),
    ];
    for (check, says) in of_database.iter().copied().chain(of_the_rest) {
        assert_row(&ran, check, if check == "disk" { disk_level(&ran) } else { "ok" }, says);
    }
    assert_row(&ran, "workers", "warn", "none ever ran");
    for check in ["database", "bloat"] {
        for (level, said) in rows(&ran, check) {
            assert_eq!(level, "ok", "{check}: {said}");
        }
    }
    let report = ran.json();
    assert_eq!(report["ok"], true);
    assert_eq!(report["failed"], 0);
    assert!(
        records
            .asked
            .lock()
            .unwrap()
            .iter()
            .all(|line| line.starts_with("GET "))
    );
    assert_eq!(
        *model.asked.lock().unwrap(),
        ["GET /v1/models", "POST /v1/chat/completions"]
    );
    let left: i64 = runtime().block_on(async {
        let row = db.fetch_optional("SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM audit_log) AS n", &[]);
        row.await.unwrap().unwrap().get("n").unwrap()
    });
    assert_eq!(left, 0);
    let shown = doctor(&program, &[]).exits(0);
    assert!(
        shown.stdout.contains("json_schema is taken") && shown.stdout.contains(" ok, "),
        "{}",
        shown.stdout
    );
}

fn counters_that_are_wrong_are_named_and_a_recount_sets_them_right() {
    let (model, records) = (model(), records());
    let program = configured(&model.url, &records.url);
    let db = database(&program);
    program
        .run_with(&["enqueue", "discover", "--db", program.database()], &SECRETS)
        .exits(0);
    runtime().block_on(async {
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO queue_counts (queue, state, held_by, n) VALUES ('deliver', 'available', '', 7)",
            &[],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    });
    for deep in [&["--json"][..], &["--json", "--deep"]] {
        let ran = doctor(&program, deep).exits(0);
        assert_row(&ran, "counters", "warn", "deliver available: 7, and there are 0");
    }
    let ran = program
        .run(&["migrate", "--recount", "--json", "--db", program.database()])
        .exits(0);
    assert_eq!(ran.json()["recounted"], json!({"available": 1}));
    let ran = doctor(&program, &["--json"]).exits(0);
    assert_row(&ran, "counters", "ok", "say what a count says; number of jobs: 1");
}

/// The machine that runs the tests may have little room.
fn disk_level(ran: &Ran) -> &'static str {
    match rows(ran, "disk")[0].0.as_str() {
        "ok" => "ok",
        _ => "warn",
    }
}

#[test]
fn a_hanging_upstream_delays_no_other_check() {
    let hanging = Upstream::start(|_| {
        // Longer than any time-out of this test; the server's runtime is dropped with it.
        std::thread::sleep(Duration::from_secs(30));
        StatusCode::OK.into_response()
    });
    let records = records();
    let program = configured(&hanging.url, &records.url);
    database(&program);
    let began = Instant::now();
    let ran = doctor(&program, &["--json", "--timeout", "1s"]).exits(1);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_row(&ran, "llm:default", "fail", "no answer within 1s");
    assert_row(&ran, "records:airline", "ok", "it answers");
    assert_row(&ran, "database", "ok", "pages are sound");
}

#[test]
fn what_refuses_and_what_is_somebody_else_is_named() {
    let refusing = Upstream::start(|_| Upstream::json(401, &json!({"error": {"message": "wrong key sk-canary-llm"}})));
    let page =
        Upstream::start(|_| (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/html")], "<html>").into_response());
    let program = configured(&refusing.url, &page.url);
    program.write("calls.jsonl", "Canary Caller rang\n");
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "llm:default", "fail", "auth_invalid");
    assert_row(&ran, "records:airline", "warn", "not as an API does");
    assert_row(&ran, "source:calls", "warn", "is no observation");
    assert_row(&ran, "database", "warn", "there is no database");
    assert!(!program.path().join("t.db").exists(), "it makes no database");
    std::fs::remove_file(program.path().join("calls.jsonl")).unwrap();
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "configuration", "fail", "there is no file");
    assert_row(&ran, "source:calls", "fail", "calls.jsonl");
}

fn the_clock_of_an_upstream_is_compared_with_this_machines() {
    let late = Upstream::start(|_| {
        let date = [(header::DATE, "Thu, 20 Aug 2015 10:00:00 GMT")];
        (StatusCode::NOT_FOUND, date, "{}").into_response()
    });
    let model = model();
    let program = configured(&model.url, &late.url);
    let db = database(&program);
    runtime().block_on(db.advance_clock(Duration::from_mins(2))).unwrap();
    let ran = doctor(&program, &["--json"]).exits(0);
    assert_row(&ran, "records:airline", "warn", "behind this machine's");
    assert_row(&ran, "clock", "warn", "ahead of this machine's");
}

fn an_older_and_a_newer_database_are_told_apart_and_left_alone() {
    let program = Program::new();
    let db = database(&program);
    let change = |sql: &'static str| {
        runtime().block_on(async {
            let mut tx = db.begin().await.unwrap();
            tx.execute(sql, &[]).await.unwrap();
            tx.commit().await.unwrap();
        });
    };
    change(
        "UPDATE _sqlx_migrations SET version = version + 1000 WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
    );
    let ran = doctor(&program, &["--json"]).exits(0);
    assert_row(&ran, "database", "warn", "may work beside");
    change("UPDATE schema_info SET oldest_beside = oldest_beside + 1000");
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "database", "fail", "is newer");
    assert_row(&ran, "llm", "ok", "offline classifier");
    assert_row(&ran, "sources", "warn", "none is configured");
    change("DELETE FROM _sqlx_migrations WHERE version > 1");
    let ran = doctor(&program, &["--json"]).exits(0);
    assert_row(&ran, "database", "warn", "aftercall migrate");
    let ran = doctor(&program, &["--json"]).exits(0);
    assert_row(&ran, "database", "warn", "its schema is 1,");
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let program = Program::new();
    // Open to the end: closing it would mend it.
    let _db = database(&program);
    program.write("t.db", &"These are my notes. ".repeat(500));
    for beside in ["t.db-wal", "t.db-shm"] {
        let _ = std::fs::remove_file(program.path().join(beside));
    }
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "database", "fail", "");
    assert!(
        std::fs::read_to_string(program.path().join("t.db"))
            .unwrap()
            .starts_with("These")
    );
}

#[test]
fn a_write_lock_that_another_process_holds_warns() {
    let program = Program::new();
    let db = database(&program);
    let runtime = runtime();
    let tx = runtime.block_on(db.begin()).unwrap();
    let ran = doctor(&program, &["--json"]).exits(0);
    assert_row(&ran, "database", "warn", "held its write lock");
    drop(tx);
}

fn shut_gates_paused_queues_silent_workers_and_failed_scans_are_shown() {
    let (model, records) = (model(), records());
    let program = configured(&model.url, &records.url);
    let db = database(&program);
    let now = runtime().block_on(db.now()).unwrap();
    let write = |sql: &'static str, values: &[aftercall::db::Value]| {
        runtime().block_on(async {
            let mut tx = db.begin().await.unwrap();
            tx.execute(sql, values).await.unwrap();
            tx.commit().await.unwrap();
        });
    };
    write(
        "INSERT INTO gates (key, state, reason, detail, closed_at, probe_at, updated_at) VALUES
         ('llm:default', 'closed', 'billing_exhausted', 'status 402\u{1b}[2J', $1, $2, $1),
         ('source:calls', 'closed', 'unreachable', 'status 503', $1, $2, $1),
         ('records:x', 'closed', 'closed_by_hand', 'maintenance', $1, NULL, $1)",
        &params![now, now + chrono::TimeDelta::hours(1)],
    );
    write(
        "INSERT INTO queues (name, paused_at, paused_by, pause_reason, updated_at) VALUES ('verify_session', $1, 'ops', 'incident 7', $1)",
        &params![now],
    );
    write(
        "INSERT INTO jobs (id, queue, limit_key, args, state, run_at, max_attempts, created_at)
         VALUES ($2, 'gone_kind', 'gone_kind', '{}', 'available', $1, 8, $1)",
        &params![now, Uuid::now_v7()],
    );
    write(
        "INSERT INTO discovery_cycles (id, source, started_at, error) VALUES ($2, 'calls', $1, 'status 503')",
        &params![now, Uuid::now_v7()],
    );
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "gate llm:default", "fail", "billing_exhausted");
    assert_row(&ran, "gate source:calls", "warn", "tried again in 59m");
    assert_row(&ran, "gate records:x", "warn", "aftercall gate open records:x");
    assert_row(&ran, "queue verify_session", "warn", "by ops: incident 7");
    assert_row(&ran, "scan of calls", "warn", "status 503");
    assert_row(&ran, "workers", "warn", "could run: 1");

    write(
        "INSERT INTO workers (id, host, pid, version, queues, started_at, last_seen_at)
         VALUES ('w', 'h', 1, '0', '[\"verify_session\"]', $1, $2)",
        &params![now, now + chrono::TimeDelta::minutes(5)],
    );
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "workers", "ok", "number that live: 1");
    assert_row(&ran, "queue gone_kind", "fail", "no process serves it");
    assert!(
        ran.json()["checks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["check"] != "scheduler"),
        "a process of a version without roles fires the schedules: {}",
        ran.stdout
    );
    write("UPDATE workers SET role = 'worker'", &[]);
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "workers", "ok", "number that live: 1 (1 worker)");
    assert_row(&ran, "scheduler", "warn", "no process fires the schedules");
    write(
        "INSERT INTO workers (id, host, pid, version, role, queues, started_at, last_seen_at, clock_at)
         VALUES ('old', 'o', 2, '0.0.9', 'scheduler', '[]', $1, $2, $3),
                ('dead', 'd', 3, '0.1.0', 'worker', '[]', $1, $1, $1)",
        &params![
            now - chrono::TimeDelta::minutes(2),
            now + chrono::TimeDelta::minutes(5),
            now + chrono::TimeDelta::minutes(3)
        ],
    );
    write("UPDATE workers SET version = '0.1.0' WHERE id = 'w'", &[]);
    write(
        "INSERT INTO sources (name, kind, updated_at) VALUES ('calls', 'bundle', $1)",
        &params![now - chrono::TimeDelta::hours(2)],
    );
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "workers", "warn", "saying goodbye: 1: d (pid 3, worker): 2m");
    assert_row(
        &ran,
        "workers",
        "warn",
        "newest version 0.1.0: 1: o (pid 2, scheduler): 0.0.9",
    );
    assert_row(
        &ran,
        "clocks",
        "warn",
        "clock is wrong: 1: o (pid 2, scheduler): 2m behind",
    );
    assert_row(&ran, "ingestion of calls", "warn", "until 2h");
    runtime().block_on(db.advance_clock(Duration::from_mins(6))).unwrap();
    let ran = doctor(&program, &["--json"]).exits(1);
    assert_row(&ran, "workers", "warn", "the last was seen");
}

#[test]
fn what_a_role_may_not_do_is_named() {
    program_on(Engine::Postgres, || {
        let program = Program::new();
        let db = database(&program);
        let write = |sql: &'static str| {
            runtime().block_on(db.write_alone(sql, &[])).unwrap();
        };
        write("DO $$ BEGIN CREATE ROLE limited_of_doctor; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
        write("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited_of_doctor");
        let as_limited = |code: i32| {
            let url = program.database();
            let and = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{and}options=-c%20role%3Dlimited_of_doctor");
            program.run(&["doctor", "--json", "--db", &url]).exits(code)
        };
        assert_row(&as_limited(0), "privileges", "warn", "does not own them");
        write("REVOKE DELETE ON job_attempts FROM limited_of_doctor");
        let ran = as_limited(1);
        assert_row(&ran, "privileges", "fail", "job_attempts: DELETE");
        assert_row(&ran, "privileges", "fail", "GRANT SELECT, INSERT, UPDATE, DELETE");
    });
}

fn a_missing_secret_fails_and_the_database_is_looked_at_all_the_same() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let upstream = Upstream::start(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Upstream::json(404, &json!({}))
    });
    let program = configured(&upstream.url, &upstream.url);
    database(&program);
    let ran = program.run(&["doctor", "--db", program.database(), "--json"]).exits(1);
    assert_row(&ran, "configuration", "fail", "LLM_KEY");
    assert_row(&ran, "upstreams", "warn", "not looked at");
    assert_row(&ran, "database", "ok", "up to date");
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[test]
fn a_time_out_of_nothing_is_wrong_usage() {
    Program::new().run(&["doctor", "--timeout", "0"]).exits(2);
}

#[test]
fn a_secret_that_a_server_repeats_is_not_printed() {
    // Where a probe shows a server's own words: the name of a Langfuse project.
    let echo = Upstream::start(|line| match line {
        "GET /api/public/projects" => Upstream::json(
            200,
            &json!({"data": [{"id": "p", "name": "sk-canary-llm of pk-canary"}]}),
        ),
        "GET /api/public/health" => Upstream::json(200, &json!({"status": "OK", "version": "4.0.0"})),
        _ => Upstream::json(200, &json!({"data": [], "meta": {}})),
    });
    let program = Program::new();
    let records = records();
    program.write(
        "aftercall.toml",
        &format!(
            "[[source]]\nname = \"calls\"\nkind = \"langfuse\"\nbase_url = \"{}\"\nplaybook = \"airline\"\n\
             public_key = \"env:RECORDS_KEY\"\nsecret_key = \"env:LLM_KEY\"\n\
             [[records]]\nname = \"airline\"\nbase_url = \"{}\"\n",
            echo.url, records.url
        ),
    );
    let ran = doctor(&program, &["--json"]);
    assert_row(&ran, "source:calls", "ok", "«secret of env:LLM_KEY» of pk-canary");
}
