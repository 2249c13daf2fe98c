//! Dependency direction: `main → cli → {http, jobs} → {store, queue, ports} → domain`, `adapters → ports`; no arrow back.

use super::source::{SourceFile, rust_files};

/// What each room may name besides itself. A new room needs a line here.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("main", &["cli", "telemetry"]),
    (
        "cli",
        &[
            "bench",
            "config",
            "db",
            "demo",
            "desk",
            "doctor",
            "domain",
            "env",
            "eval",
            "export",
            "http",
            "jobs",
            "mcp",
            "operate",
            "operation",
            "pipeline",
            "queue",
            "readings_file",
            "reprocess",
            "sandbox",
            "store",
            "telemetry",
            "timeline",
            "trial",
            "why",
        ],
    ),
    // What the commands ask: the database, or another aftercall.
    (
        "desk",
        &[
            "adapters",
            "config",
            "db",
            "domain",
            "operate",
            "operation",
            "queue",
            "store",
            "timeline",
            "why",
        ],
    ),
    (
        "operation",
        &["db", "domain", "jobs", "params", "queue", "reprocess", "store"],
    ),
    ("timeline", &["db", "queue", "store"]),
    ("why", &["db", "jobs", "params", "queue", "store"]),
    (
        "demo",
        &["config", "db", "domain", "pipeline", "queue", "sandbox", "store"],
    ),
    (
        "bench",
        &[
            "config",
            "db",
            "domain",
            "jobs",
            "operate",
            "operation",
            "params",
            "pipeline",
            "queue",
            "sandbox",
            "store",
            "why",
        ],
    ),
    ("export", &["db", "domain", "store"]),
    ("eval", &["adapters", "domain", "ports", "readings_file", "sandbox"]),
    (
        "trial",
        &["adapters", "db", "domain", "env", "ports", "readings_file", "store"],
    ),
    ("doctor", &["config", "db", "env", "ports", "queue", "store"]),
    (
        "http",
        &[
            "config",
            "db",
            "domain",
            "ending",
            "operate",
            "operation",
            "params",
            "queue",
            "store",
            "timeline",
            "why",
        ],
    ),
    // It only looks.
    ("mcp", &["config", "db", "desk", "operate", "queue", "store", "why"]),
    // What the command line and the HTTP API both do.
    (
        "operate",
        &[
            "config",
            "db",
            "domain",
            "jobs",
            "operation",
            "queue",
            "reprocess",
            "store",
        ],
    ),
    ("pipeline", &["config", "db", "env", "jobs", "queue", "store"]),
    (
        "jobs",
        &[
            "adapters",
            "config",
            "db",
            "domain",
            "ending",
            "env",
            "expert",
            "fault",
            "operation",
            "outside",
            "paid",
            "ports",
            "queue",
            "reader",
            "reprocess",
            "store",
            "verdict_writer",
        ],
    ),
    // Parts of jobs that several jobs share. They know the jobs that they call for, and nothing above.
    ("reprocess", &["db", "domain", "jobs", "queue", "store"]),
    ("ending", &["db", "domain", "reprocess", "store"]),
    ("verdict_writer", &["db", "domain", "jobs", "queue", "store"]),
    (
        "reader",
        &[
            "adapters", "db", "domain", "env", "outside", "paid", "ports", "queue", "store",
        ],
    ),
    (
        "expert",
        &[
            "adapters", "domain", "env", "outside", "paid", "ports", "queue", "reader",
        ],
    ),
    (
        "paid",
        &["db", "domain", "env", "fault", "outside", "ports", "queue", "store"],
    ),
    ("outside", &["env", "ports", "queue", "telemetry"]),
    // Wires the adapters to the ports.
    (
        "env",
        &[
            "adapters",
            "config",
            "db",
            "domain",
            "ports",
            "queue",
            "readings_file",
            "store",
            "telemetry",
        ],
    ),
    ("readings_file", &["domain"]),
    ("store", &["db", "domain", "params", "ports"]),
    ("queue", &["db", "fault", "params", "telemetry"]),
    ("sandbox", &["adapters", "domain"]),
    ("adapters", &["domain", "ports"]),
    ("config", &["db", "domain"]),
    ("ports", &["domain"]),
    ("db", &["params"]),
    // A database per test, for unit tests beside the code.
    ("test_support", &["db", "sandbox"]),
    ("domain", &[]),
    ("fault", &[]),
    ("telemetry", &[]),
    ("test_support", &["db", "sandbox"]),
];

/// Crates that only some files may name, and why.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    (
        "apalis",
        &["src/queue/backend.rs"],
        "a new runtime release may break one file",
    ),
    (
        "apalis_core",
        &["src/queue/backend.rs"],
        "a new runtime release may break one file",
    ),
    (
        "sqlx",
        &["src/db/", "src/bench/by_hand.rs", "src/adapters/sql_records/"],
        "databases differ below one seam",
    ),
    (
        "reqwest",
        &["src/adapters/"],
        "the outside world is reached by adapters",
    ),
    (
        "opentelemetry",
        &["src/telemetry/", "src/adapters/otlp.rs"],
        "what leaves in spans is decided in one place",
    ),
    (
        "opentelemetry_sdk",
        &["src/telemetry/"],
        "what leaves in spans is decided in one place",
    ),
    ("axum", &["src/http/", "src/sandbox/"], "servers live in their rooms"),
    ("rmcp", &["src/mcp/"], "servers live in their rooms"),
    ("argon2", &["src/domain/api_token.rs"], "secrets are hashed in one way"),
    (
        "utoipa_axum",
        &["src/http/api/"],
        "the routes and their document are one",
    ),
    ("csv", &["src/export/as_csv.rs"], "formats live in their files"),
    ("parquet", &["src/export/as_parquet.rs"], "formats live in their files"),
    ("clap", &["src/cli/", "src/main.rs"], "the library knows no flags"),
    ("comfy_table", &["src/cli/"], "the library prints nothing"),
    ("indicatif", &["src/cli/"], "the library prints nothing"),
    ("crossterm", &["src/cli/top/"], "one command takes the terminal"),
];

/// Calls that only some files may make, and why. Clippy holds most of these, too; here the exceptions are one list.
const ONLY_CALLED_IN: &[(&str, &[&str], &str)] = &[
    // The doctor says how far other clocks are from the machine's own, each process tells its own with its sign of life, a server
    // of the sandbox has a clock of its own, and what is signed for a server outside is held against that server's clock.
    (
        "Utc::now(",
        &[
            "src/doctor/clock.rs",
            "src/queue/machine.rs",
            "src/sandbox/langfuse/clock.rs",
            "src/adapters/http_records/assertion.rs",
        ],
        "time is an argument",
    ),
    ("SystemTime::now(", &[], "time is an argument"),
    ("Client::new(", &[], "clients are bounded"),
    ("Client::builder(", &["src/adapters/client.rs"], "clients are bounded"),
];

fn all() -> Vec<SourceFile> {
    let mut files = rust_files("src");
    files.extend(rust_files("jobs"));
    files.retain(|file| file.room() != "lib");
    files
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for file in all() {
        let room = file.room().to_owned();
        let Some((_, may)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room `{room}` has no line in MAY_NAME", file.path));
            continue;
        };
        for named in file.rooms_named() {
            let is_item = named.starts_with(|letter: char| letter.is_uppercase());
            if named != room && !is_item && !may.contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "these arrows point back:\n{}", wrong.join("\n"));
}

#[test]
fn crates_of_the_outside_world_are_named_in_their_rooms_only() {
    let mut wrong = Vec::new();
    for file in all() {
        for (name, places, why) in ONLY_IN {
            let named = [
                format!("use {name}::"),
                format!("use {name};"),
                format!(" {name}::"),
                format!("({name}::"),
            ];
            let allowed = places.iter().any(|place| file.path.starts_with(place));
            if !allowed && named.iter().any(|form| file.code.contains(form.as_str())) {
                wrong.push(format!("{} names {name}: {why}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_asks_the_machine_for_the_time_or_builds_an_unbounded_client() {
    let mut wrong = Vec::new();
    for file in all() {
        for (call, places, why) in ONLY_CALLED_IN {
            if file.code.contains(call) && !places.contains(&file.path.as_str()) {
                wrong.push(format!("{} calls {call}…): {why}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
