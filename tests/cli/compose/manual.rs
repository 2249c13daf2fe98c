//! What docs/operations.md shows for a fleet: taken from its blocks, and done.

use std::fs;

use super::{Network, command, said, until};
use crate::support::{
    compose::{Compose, root, variables},
    state::count,
};

/// The blocks of a language in a section of docs/operations.md.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, rest) = text.split_once(&format!("\n{section}\n")).unwrap();
    let level = section.split(' ').next().unwrap().len();
    let ends = |line: &str| line.starts_with('#') && line.split(' ').next().unwrap().len() <= level;
    let mut blocks = Vec::new();
    let mut inside: Option<String> = None;
    for line in rest.lines() {
        match &mut inside {
            Some(block) if line == "```" => {
                blocks.push(std::mem::take(block));
                inside = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == format!("```{language}") => inside = Some(String::new()),
            None if line.starts_with("```") && line.len() > 3 => inside = None,
            None if ends(line) => break,
            None => {}
        }
    }
    assert!(!blocks.is_empty(), "{section} shows no {language}");
    blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operations_manual_shows_for_a_fleet_works_as_it_stands() {
    let network = Network::new();
    let cluster = &network.cluster;
    cluster.create_database("calls").unwrap();
    for block in blocks("### The database", "sql") {
        cluster.psql("calls", &block).unwrap();
    }
    let compose = Compose::read(&variables("demo/compose.env")).unwrap_or_else(|missing| panic!("{missing}"));
    let mut fleet = vec![network.start_service(compose.service("demo"))];
    fleet[0].healthy().await;

    let mut environment = variables("demo/secrets.env");
    let config = network.path("aftercall.toml").display().to_string();
    environment.extend([
        ("AFTERCALL_CONFIG".to_owned(), config),
        ("DATABASE_PASSWORD".to_owned(), "change me".to_owned()),
    ]);
    for line in blocks("### Start it", "sh").concat().lines() {
        if let Some(set) = line.strip_prefix("export ") {
            let (name, value) = set.split_once('=').unwrap();
            environment.insert(name.to_owned(), network.here(value.trim_matches('"')));
            continue;
        }
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if matches!(words[1].as_str(), "migrate" | "doctor") {
            let output = command(&words, &environment, network.folder.path()).output().unwrap();
            assert!(output.status.success(), "{line}: {}", said(&output));
        } else {
            let check = vec![
                "aftercall".to_owned(),
                "healthcheck".to_owned(),
                words.last().unwrap().clone(),
            ];
            let mut started = network.start(&words[1].clone(), words, check, environment.clone());
            started.healthy().await;
            fleet.push(started);
        }
    }
    let roles: Vec<&str> = fleet.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(roles, ["demo", "scheduler", "worker", "api"]);

    // Who looks at 3 a.m. may be either of them.
    for block in blocks("### At 3 a.m.", "sql") {
        cluster.psql("calls", &block).unwrap();
        cluster.psql("calls", &format!("SET ROLE aftercall; {block}")).unwrap();
    }

    let db = network.db("calls?options=-csearch_path=aftercall").await;
    let scans = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'discover_sessions' AND state = 'completed'";
    until("both sources have been scanned", async || count(&db, scans).await >= 2).await;
    let before = count(&db, scans).await;
    let ours = "SET ROLE aftercall; SET search_path = aftercall;";
    let sql = blocks("### Jobs of other programs", "sql");
    cluster
        .psql(
            "calls",
            "CREATE ROLE telephony LOGIN; CREATE TABLE public.calls (id text PRIMARY KEY, ended_at timestamptz);
             GRANT INSERT ON public.calls TO telephony",
        )
        .unwrap();
    cluster.psql("calls", &format!("{ours} {}", sql[0])).unwrap();
    cluster
        .psql("calls", &format!("SET ROLE telephony; {}", sql[1]))
        .unwrap();
    until("the scan that it asked for has run", async || {
        count(&db, scans).await > before
    })
    .await;
    // The same call again: its own row refuses, and with it goes the job.
    let again = cluster
        .psql("calls", &format!("SET ROLE telephony; {}", sql[1]))
        .unwrap_err()
        .to_string();
    assert!(again.contains("calls_pkey"), "{again}");
    let refused = cluster
        .psql("calls", "SET ROLE telephony; SELECT * FROM aftercall.jobs")
        .unwrap_err()
        .to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    let unknown = cluster
        .psql(
            "calls",
            "SET ROLE telephony; SELECT aftercall.aftercall_enqueue('nosuch', '{}')",
        )
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("has no queue 'nosuch'") && unknown.contains("HINT:  Queues: analyze_session"),
        "{unknown}"
    );
    for container in fleet {
        container.stop().await;
    }
    db.close().await;
}
