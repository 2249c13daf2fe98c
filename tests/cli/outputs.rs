//! What commands print into a pipe, as text and as JSON, as it was printed last. What differs from run to run is masked.
//!
//! `INSTA_UPDATE=always cargo test --test main cli::outputs` takes over what changed.

use regex::Regex;
use serde_json::Value;

use super::program::{Program, Ran};
use crate::{program_on_each_engine, support::bakery};

program_on_each_engine! {
    every_view_prints_what_it_printed_last,
}

/// Queues whose jobs come with the clock: how many there are depends on when the test runs.
const BY_THE_CLOCK: [&str; 5] = [
    "apply_operation",
    "discover_sessions",
    "evaluate_alerts",
    "prune_history",
    "reconcile",
];

/// Each view by its name: the words, where `JOB` is the one of the failed session's verification.
const VIEWS: [(&str, &[&str]); 18] = [
    ("coverage", &["coverage", "--cycles", "0"]),
    ("coverage_by_day", &["coverage", "--by", "day", "--days", "3660"]),
    ("sessions", &["sessions"]),
    ("sessions_page", &["sessions", "--limit", "1", "--id-contains", "s-"]),
    ("sessions_none", &["sessions", "--state", "open"]),
    ("show", &["show", "s-vanished"]),
    ("queues", &["queues"]),
    ("why_queue", &["why", "verify_session"]),
    ("why_session", &["why", "s-vanished"]),
    ("why_waiting_session", &["why", "s-ordered"]),
    ("why_job", &["why", "JOB"]),
    ("jobs_list", &["jobs", "list", "--key", "s-vanished"]),
    ("jobs_show", &["jobs", "show", "JOB"]),
    ("workers", &["workers"]),
    ("workers_all", &["workers", "--all"]),
    ("gates", &["gate", "list"]),
    ("operations", &["operations", "list"]),
    ("top", &["top", "--once"]),
];

fn every_view_prints_what_it_printed_last() {
    let program = Program::new();
    let sessions = [
        bakery::ordered("s-ordered"),
        bakery::vanished("s-vanished"),
        bakery::question("s-question"),
    ];
    program.write_bakery(&sessions);
    let records = program.serve_records();
    program.judge_bakery(&records);
    // Something is down, held, and called for again.
    for words in [
        &["gate", "close", "llm:default", "--reason", "maintenance until 14:00"][..],
        &["pause", "diagnose_session", "--reason", "incident 7"],
        &["reprocess", "s-ordered"],
    ] {
        program.run(words).exits(0);
    }
    let jobs = [
        "jobs",
        "list",
        "--key",
        "s-vanished",
        "--queue",
        "verify_session",
        "--json",
    ];
    let jobs = program.run(&jobs).exits(0).json();
    let job = jobs["jobs"][0]["id"].as_str().unwrap();

    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/outputs");
    settings.bind(|| {
        for (name, words) in VIEWS {
            let words: Vec<&str> = words
                .iter()
                .map(|word| if *word == "JOB" { job } else { *word })
                .collect();
            let Ran { stdout, .. } = program.run(&words).exits(0);
            assert!(!stdout.contains('\u{1b}'), "colours in a pipe: {words:?}");
            insta::assert_snapshot!(format!("{name}.text"), masked(&stdout));
            let json = [&words[..], &["--json"]].concat();
            let mut json = program.run(&json).exits(0).json();
            mask_json(&mut json);
            let text = serde_json::to_string_pretty(&json).unwrap();
            insta::assert_snapshot!(format!("{name}.json"), masked(&text));
        }
    });
}

/// Ids, instants, lengths of time, ports and this machine's name; and how wide they made their column.
fn masked(text: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let patterns = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
        (r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
        (r"--after [A-Za-z0-9_-]+", "--after [cursor]"),
        (r"\b[0-9a-f]{64}\b", "[hash]"),
        (r"\b00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\b", "[traceparent]"),
        (r"\b[0-9a-f]{32}\b", "[trace]"),
        (r"\b\d+ ms\b", "[length]"),
        (r"\b(\d+(d|h|ms|m|s))+\b", "[length]"),
        (r"\b0\.\d\d\b", "[rate]"),
        (r"─+", "─"),
        (r"(?m) +$", ""),
        (r"(\S) {2,}", "$1  "),
    ];
    let mut text = text.replace(env!("CARGO_PKG_VERSION"), "[version]");
    let host = format!(r"\b{}\b", regex::escape(host.trim()));
    text = Regex::new(&host).unwrap().replace_all(&text, "[host]").into_owned();
    for (pattern, shown) in patterns {
        text = Regex::new(pattern).unwrap().replace_all(&text, shown).into_owned();
    }
    // A process's number stands behind the machine's name.
    text = Regex::new(r"\[host\](\s+)\d+\b")
        .unwrap()
        .replace_all(&text, "[host]$1[pid]")
        .into_owned();
    let lines = text.lines().map(|line| {
        let queue = line.split_whitespace().next().unwrap_or_default();
        if BY_THE_CLOCK.contains(&queue) {
            format!("{queue}  [by the clock]")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<String>>().join("\n")
}

fn mask_json(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| {
                !item["queue"]
                    .as_str()
                    .is_some_and(|queue| BY_THE_CLOCK.contains(&queue))
            });
            items.iter_mut().for_each(mask_json);
        }
        Value::Object(members) => {
            members.retain(|name, _| !BY_THE_CLOCK.contains(&name.as_str()));
            for (name, member) in members {
                let is_length = name.ends_with("_us") || name.ends_with("_ms") || name == "seconds";
                let is_rate = name.contains("per_second") || name.contains("per_minute");
                match member {
                    Value::Number(_) if is_length || is_rate || name == "pid" => {
                        *member = "[number]".into();
                    }
                    Value::Object(rates) if name == "completed_per_second" => {
                        rates.retain(|queue, _| !BY_THE_CLOCK.contains(&queue.as_str()));
                        rates.values_mut().for_each(|rate| *rate = "[rate]".into());
                    }
                    Value::String(_) if name == "next" => *member = "[cursor]".into(),
                    _ => mask_json(member),
                }
            }
        }
        _ => {}
    }
}
