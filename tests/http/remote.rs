//! The command line at an API: what it shows and does there is what it shows and does at the database.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::world::{ODD, Served, token};
use crate::{
    on_each_engine,
    support::{child::Child, until},
};

on_each_engine! {
    every_command_shows_at_an_api_what_it_shows_at_the_database,
    every_command_changes_at_an_api_what_it_changes_at_the_database,
    many_jobs_and_sessions_are_changed_through_an_api,
    lists_longer_than_a_page_are_walked,
    who_may_not_is_told_why_and_what_to_do,
    a_coding_agent_looks_through_an_api,
}

/// A machine that has the program and a token, and neither a configuration nor a database.
struct Elsewhere {
    folder: tempfile::TempDir,
    url: String,
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Elsewhere {
    fn new(served: &Served) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), format!("{}\n", served.operate)).unwrap();
        let url = served.url.clone();
        Self { folder, url }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the program in an environment of these variables.
    async fn with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aftercall"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
        let Output { status, stdout, stderr } = ran.unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    async fn run(&self, arguments: &[&str]) -> Ran {
        let flags = ["--api", &self.url, "--token-file", "token"];
        self.with(&[arguments, &flags].concat(), &[]).await
    }

    /// Its answer in JSON.
    async fn says(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }
}

/// What the program says at the database.
async fn here(served: &Served, arguments: &[&str]) -> Ran {
    let ended = Child::start(&served.world, arguments, &[]).ended().await;
    Ran {
        code: ended.status.code().unwrap(),
        out: ended.out,
        err: ended.err,
    }
}

async fn here_says(served: &Served, arguments: &[&str]) -> Value {
    let ran = here(served, &[arguments, &["--json"]].concat()).await;
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// Without what is worked out from the very moment of the question: paces, and ages below a second, which move columns.
fn still(text: &str) -> String {
    if let Ok(mut value) = serde_json::from_str::<Value>(text) {
        hold(&mut value);
        return serde_json::to_string_pretty(&value).unwrap();
    }
    let word = |word: &str| {
        let is_line = word.chars().all(|letter| letter == '─');
        let is_instant = word.strip_suffix("ms").is_some_and(|ms| ms.parse::<u32>().is_ok());
        let word = if is_line { "─" } else { word };
        if is_instant { "0s" } else { word }.to_owned()
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn hold(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.contains_key("recent") {
                members.remove("at");
            }
            for name in ["seconds", "in_per_minute", "out_per_minute", "completed_per_second"] {
                members.remove(name);
            }
            members.values_mut().for_each(hold);
        }
        Value::Array(items) => items.iter_mut().for_each(hold),
        _ => {}
    }
}

/// The same at both, to the letter. Ages tick, and workers give signs of life: so they are asked until they met.
async fn is_the_same(served: &Served, elsewhere: &Elsewhere, arguments: &[&str]) {
    let mut last = (String::new(), String::new());
    let mut met = false;
    for _ in 0..20 {
        let (one, other) = (here(served, arguments).await, elsewhere.run(arguments).await);
        assert_eq!(one.code, other.code, "{arguments:?}: {} / {}", one.err, other.err);
        last = (still(&one.out), still(&other.out));
        met = last.0 == last.1;
        if met {
            assert_eq!(one.code, 0, "{arguments:?}: {}", one.err);
            break;
        }
    }
    assert!(met, "{arguments:?}\n{}\n---\n{}", last.0, last.1);
    assert!(!last.0.is_empty(), "{arguments:?}");
}

async fn every_command_shows_at_an_api_what_it_shows_at_the_database() {
    let served = Served::start().await;
    let elsewhere = Elsewhere::new(&served);
    served.made_up_session("waits", 9).await;
    let close = ["gate", "close", "records:kitchen", "--reason", "maintenance"];
    here_says(&served, &close).await;
    here_says(&served, &["pause", "diagnose_session", "--reason", "too dear"]).await;
    here_says(&served, &["enqueue", "discover"]).await;
    let jobs = here_says(&served, &["jobs", "list"]).await;
    let job = jobs["jobs"][1]["id"].as_str().unwrap().to_owned();
    here_says(&served, &["jobs", "retry", &job]).await;
    for arguments in [
        &["queues"][..],
        &["workers"],
        &["workers", "--all"],
        &["gate", "list"],
        &["jobs", "list"],
        &["jobs", "list", "--limit", "3"],
        &[
            "jobs",
            "list",
            "--state",
            "completed",
            "--queue",
            "verify_session",
            "--attempts",
            "1",
        ],
        &[
            "jobs",
            "list",
            "--arg",
            "source=calls",
            "--newer-than",
            "24h",
            "--limit",
            "2",
        ],
        &["jobs", "show", &job],
        &["sessions"],
        &["sessions", "--status", "fail", "--status", "waiting", "--limit", "2"],
        &["sessions", "--waiting-for", "made up"],
        &["sessions", "--state", "done", "--id-contains", "c/", "--since", "3650d"],
        &["sessions", "--source", "made-up", "--older-than", "1h"],
        &["show", ODD],
        &["show", ODD, "--all", "--source", "calls"],
        &["coverage"],
        &["coverage", "--cycles", "1"],
        &["coverage", "--by", "day", "--days", "3"],
        &["why", "diagnose_session"],
        &["why", ODD],
        &["why", "waits", "--source", "made-up"],
        &["why", &job],
        &["operations", "list"],
        &["operations", "list", "--limit", "1"],
        &["top", "--once"],
        &["token", "list"],
        &["jobs", "retry", "--state", "completed"],
        &["jobs", "move", "--in", "2h", "--state", "completed"],
        &["reprocess", "--status", "fail"],
        &["reprocess", "--dry-run", ODD],
    ] {
        is_the_same(&served, &elsewhere, arguments).await;
        is_the_same(&served, &elsewhere, &[arguments, &["--json"]].concat()).await;
    }
    // What there is not, in the same words.
    let nobody = "01a21481-1315-70a7-8e7d-6802d688d648";
    for arguments in [
        &["show", "nobody"][..],
        &["why", "nobody"],
        &["jobs", "show", nobody],
        &["operations", "stop", nobody],
        &["limit", "nothing", "1"],
        &["token", "revoke", "nobody"],
    ] {
        let (one, other) = (here(&served, arguments).await, elsewhere.run(arguments).await);
        assert_eq!((one.code, &one.err), (other.code, &other.err), "{arguments:?}");
        assert_eq!(one.code, 1, "{arguments:?}: {}", one.err);
    }
    // The same id in two sources.
    served.made_up_session(ODD, 8).await;
    for arguments in [&["show", ODD][..], &["why", ODD]] {
        let (one, other) = (here(&served, arguments).await, elsewhere.run(arguments).await);
        assert_eq!((one.code, &one.err), (other.code, &other.err), "{arguments:?}");
        assert!(one.err.contains("--source"), "{}", one.err);
    }
    served.stop().await;
}

async fn every_command_changes_at_an_api_what_it_changes_at_the_database() {
    let served = Served::start().await;
    let elsewhere = Elsewhere::new(&served);
    for arguments in [
        &["pause", "reconcile", "--reason", "incident 7"][..],
        &["resume", "reconcile"],
        &["limit", "diagnose_session", "2"],
        &["gate", "close", "llm:default", "--reason", "too dear"],
    ] {
        let at_api = elsewhere.says(arguments).await;
        assert_eq!(at_api, here_says(&served, arguments).await, "{arguments:?}");
        let (one, other) = (here(&served, arguments).await, elsewhere.run(arguments).await);
        assert_eq!(one.out, other.out, "{arguments:?}");
    }
    let audit = served.audit().await;
    let by_token = |action: &str| audit.iter().any(|line| line[0] == "operator" && line[1] == action);
    for action in ["pause", "resume", "set_limit", "close_gate"] {
        assert!(by_token(action), "{action}: {audit:?}");
    }
    let opened = elsewhere.says(&["gate", "open", "llm:default"]).await;
    assert_eq!(opened, json!({"gate": "llm:default", "result": "open"}));
    let again = elsewhere.run(&["gate", "open", "llm:default"]).await;
    let here_too = here(&served, &["gate", "open", "llm:default"]).await;
    assert_eq!((again.code, again.err), (1, here_too.err));

    let called_for = elsewhere.says(&["enqueue", "discover"]).await;
    assert_eq!(called_for[0]["new"], true);
    let twin = here_says(&served, &["enqueue", "discover", "calls"]).await;
    assert_eq!(twin, elsewhere.says(&["enqueue", "discover", "calls"]).await);
    assert_eq!(
        (&twin[0]["job"], &twin[0]["new"]),
        (&called_for[0]["job"], &json!(false))
    );
    let unknown = elsewhere.run(&["enqueue", "discover", "nowhere"]).await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown
            .err
            .contains("no source `nowhere` is configured (unknown_source)"),
        "{}",
        unknown.err
    );

    let again = elsewhere.says(&["reprocess", ODD]).await;
    assert_eq!(again, json!([{"source": "calls", "session_id": ODD, "generation": 2}]));
    let again = here_says(&served, &["reprocess", ODD]).await;
    assert_eq!(again[0]["generation"], 3);
    let analysis = elsewhere.says(&["enqueue", "analyze", ODD]).await;
    assert_eq!(analysis, here_says(&served, &["enqueue", "analyze", ODD]).await);
    let nothing = elsewhere.run(&["enqueue", "diagnose", "s-half"]).await;
    assert!(
        nothing.code == 0 || nothing.err.contains("no failed verdict to explain"),
        "{}",
        nothing.err
    );

    let made = elsewhere
        .says(&["token", "create", "--name", "night", "--expires", "36h"])
        .await;
    let life = |made: &Value| {
        let at = |name: &str| {
            made[name]
                .as_str()
                .unwrap()
                .parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap()
        };
        at("expires_at") - at("created_at")
    };
    assert_eq!(
        (life(&made), &made["created_by"]),
        (chrono::TimeDelta::hours(36), &json!("operator"))
    );
    let taken = elsewhere.run(&["token", "create", "--name", "night"]).await;
    assert_eq!(
        taken.err,
        here(&served, &["token", "create", "--name", "night"]).await.err
    );
    let id = made["id"].as_str().unwrap();
    let revoked = elsewhere.says(&["token", "revoke", id]).await;
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(revoked, here_says(&served, &["token", "revoke", id]).await);
    served.stop().await;
}

async fn many_jobs_and_sessions_are_changed_through_an_api() {
    let served = Served::start().await;
    let elsewhere = Elsewhere::new(&served);
    let worker = Child::start(&served.world, &["worker", "--queues", "apply_operation"], &[]);
    elsewhere.says(&["enqueue", "discover"]).await;
    let jobs = elsewhere
        .says(&["jobs", "list", "--queue", "discover_sessions", "--state", "available"])
        .await;
    let id = jobs["jobs"][0]["id"].as_str().unwrap();

    let moved = elsewhere.says(&["jobs", "move", "--in", "2h", id]).await;
    assert_eq!(
        (&moved["state"], &moved["done"], &moved["actor"]),
        (&json!("done"), &json!(1), &json!("operator"))
    );
    let first = elsewhere
        .says(&["jobs", "reprioritise", "--to", "7", id, "--reason", "urgent"])
        .await;
    assert_eq!((&first["done"], &first["reason"]), (&json!(1), &json!("urgent")));
    let shown = elsewhere.says(&["jobs", "show", id]).await;
    assert_eq!((&shown["priority"], &shown["state"]), (&json!(7), &json!("scheduled")));

    let filter = [
        "jobs",
        "discard",
        "--queue",
        "discover_sessions",
        "--state",
        "scheduled",
    ];
    let looked = elsewhere.says(&filter).await;
    assert_eq!((&looked["matches"], &looked["acted"]), (&json!(1), &json!(false)));
    let given_up = elsewhere
        .says(&[&filter[..], &["--reason", "incident 7", "--yes"]].concat())
        .await;
    assert_eq!(
        (&given_up["done"], &given_up["reason"]),
        (&json!(1), &json!("incident 7"))
    );
    let operation = given_up["id"].as_str().unwrap();
    let undone = elsewhere.says(&["operations", "undo", operation]).await;
    assert_eq!(
        (&undone["done"], &undone["task"]["of"]),
        (&json!(1), &json!("discarded"))
    );
    let twice = elsewhere
        .run(&["operations", "undo", undone["id"].as_str().unwrap()])
        .await;
    assert_eq!(twice.code, 1);
    assert!(twice.err.contains("only a discard can be undone"), "{}", twice.err);

    let cancelled = elsewhere.says(&["jobs", "cancel", id]).await;
    assert_eq!(cancelled["done"], 1);
    let nobody = "01a21481-1315-70a7-8e7d-6802d688d648";
    let unknown = elsewhere.run(&["jobs", "cancel", nobody]).await;
    assert_eq!(unknown.err, here(&served, &["jobs", "cancel", nobody]).await.err);

    let looked = elsewhere.says(&["reprocess", "--status", "fail"]).await;
    let again = elsewhere
        .says(&["reprocess", "--status", "fail", "--yes", "--background"])
        .await;
    assert_eq!(
        (&again["matched"], &again["task"]["of"]),
        (&looked["matches"], &json!("sessions"))
    );
    let which = again["id"].as_str().unwrap().to_owned();
    until("the sessions are judged again", async || {
        let all = elsewhere.says(&["operations", "list"]).await;
        let of = |line: &&Value| line["id"] == which.as_str();
        all.as_array().unwrap().iter().find(of).unwrap()["state"] == "done"
    })
    .await;
    let stopped = elsewhere.says(&["operations", "stop", &which]).await;
    assert_eq!(stopped["state"], "done", "it had ended before");
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.status.success());
    served.stop().await;
}

async fn lists_longer_than_a_page_are_walked() {
    let served = Served::start().await;
    let elsewhere = Elsewhere::new(&served);
    for number in 0..1_203 {
        served.made_up_session(&format!("s-{number}"), number / 7).await;
    }
    for limit in ["1100", "1203", "10000"] {
        let arguments = ["sessions", "--source", "made-up", "--limit", limit];
        let at_api = elsewhere.says(&arguments).await;
        assert_eq!(at_api, here_says(&served, &arguments).await, "{limit}");
        if let Some(next) = at_api["next"].as_str() {
            let rest = elsewhere.says(&[&arguments[..], &["--after", next]].concat()).await;
            assert_eq!(rest["sessions"].as_array().unwrap().len(), 103);
        }
    }
    let of_jobs = elsewhere.says(&["jobs", "list", "--limit", "2"]).await;
    let next = of_jobs["next"].as_str().unwrap();
    let arguments = ["jobs", "list", "--limit", "2", "--after", next];
    assert_eq!(elsewhere.says(&arguments).await, here_says(&served, &arguments).await);
    served.stop().await;
}

async fn who_may_not_is_told_why_and_what_to_do() {
    let served = Served::start().await;
    let elsewhere = Elsewhere::new(&served);
    let api = ("AFTERCALL_API", served.url.as_str());

    let bare = elsewhere.with(&["queues"], &[api]).await;
    assert_eq!((bare.code, bare.out.as_str()), (2, ""));
    assert!(
        bare.err.contains("needs a token (no_token)") && bare.err.contains("AFTERCALL_TOKEN"),
        "{}",
        bare.err
    );
    let wrong = format!("{}x", &served.read[..served.read.len() - 1]);
    let refused = elsewhere.with(&["queues"], &[api, ("AFTERCALL_TOKEN", &wrong)]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("invalid_token") && !refused.err.contains(&wrong),
        "{}",
        refused.err
    );

    let read = [api, ("AFTERCALL_TOKEN", served.read.as_str())];
    assert_eq!(elsewhere.with(&["queues"], &read).await.code, 0);
    let refused = elsewhere.with(&["resume", "reconcile"], &read).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("scope_too_small") && refused.err.contains("--scope operate"),
        "{}",
        refused.err
    );
    // The file wins, and a database on the command line wins over an API in the environment.
    let file = elsewhere
        .with(&["resume", "reconcile", "--token-file", "token"], &read)
        .await;
    assert_eq!(file.code, 0, "{}", file.err);
    let database = elsewhere.with(&["queues", "--db", "nowhere.db"], &read).await;
    assert!(
        database.code == 3 && database.err.contains("there is no database nowhere.db"),
        "{}",
        database.err
    );
    let both = elsewhere
        .with(&["queues", "--db", "t.db", "--api", &served.url], &[])
        .await;
    assert_eq!(both.code, 2, "{}", both.err);

    // What needs the machine says so, and takes no notice of the environment.
    let refused = elsewhere.run(&["migrate"]).await;
    assert!(
        refused.code == 2 && refused.err.contains("does not work over --api"),
        "{}",
        refused.err
    );
    let check = elsewhere.with(&["check"], &read).await;
    assert_eq!((check.code, check.err.as_str()), (0, ""));

    let typo = elsewhere.run(&["pause", "verify_sesion"]).await;
    assert_eq!(typo.code, 1);
    for said in ["did you mean `verify_session`?", "(unknown_queue)"] {
        assert!(typo.err.contains(said), "{}", typo.err);
    }
    let night = token(&served.world, "night", "operate", &[]).await;
    let open = elsewhere
        .with(
            &["queues", "--api", "http://192.0.2.1:9"],
            &[("AFTERCALL_TOKEN", &night)],
        )
        .await;
    assert!(open.code == 2 && open.err.contains("--insecure-http"), "{}", open.err);
    served.stop().await;
}

async fn a_coding_agent_looks_through_an_api() {
    let served = Served::start().await;
    let elsewhere = Elsewhere::new(&served);
    let mut tools = Command::new(env!("CARGO_BIN_EXE_aftercall"))
        .args(["mcp", "--api", &served.url, "--token-file", "token"])
        .current_dir(elsewhere.path())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = tools.stdin.take().unwrap();
    let mut answers = BufReader::new(tools.stdout.take().unwrap()).lines();
    let mut ask = |request: Value| {
        writeln!(stdin, "{request}").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        answer["result"].clone()
    };
    let hello = json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
    });
    let welcome = ask(json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}));
    assert_eq!(welcome["serverInfo"]["name"], "aftercall");
    let mut tool = |name: &str, arguments: Value| {
        let params = json!({"name": name, "arguments": arguments});
        let result = ask(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}));
        assert_ne!(result["isError"], true, "{result}");
        serde_json::from_str::<Value>(result["content"][1]["text"].as_str().unwrap()).unwrap()
    };
    assert_eq!(
        tool("session_show", json!({"session": ODD})),
        here_says(&served, &["show", ODD]).await
    );
    assert_eq!(
        tool("why", json!({"name": ODD})),
        here_says(&served, &["why", ODD]).await
    );
    assert_eq!(tool("gates", json!({})), here_says(&served, &["gate", "list"]).await);
    let jobs = tool("jobs_list", json!({"limit": 3}));
    assert_eq!(jobs, here_says(&served, &["jobs", "list", "--limit", "3"]).await);
    drop(stdin);
    assert!(tools.wait().unwrap().success());
    served.stop().await;
}
