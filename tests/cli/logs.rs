//! Log lines: whatever is written inside a job's run says which job, for whom, and in which trace.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

use aftercall::{
    db::Db,
    sandbox::language_model::{Reply, ScriptedModel},
};
use serde_json::Value;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session},
        child::{Child, Ended},
        world::{Plan, World},
    },
};

on_each_engine! {
    every_json_line_of_a_run_says_which_job_for_whom_and_in_which_trace,
    every_line_for_people_does_so_too,
}

/// The LLM is in trouble at first, so that there is something to say inside of a run.
pub(super) fn troubled(sessions: &[Session]) -> ScriptedModel {
    let (sessions, asked_before) = (sessions.to_vec(), AtomicU32::new(0));
    ScriptedModel::new(move |asked| {
        if asked_before.fetch_add(1, Ordering::SeqCst) < 2 {
            return Reply::Error(503, "busy".to_owned(), "come back later".to_owned());
        }
        bakery::answer(&sessions, asked)
    })
}

async fn world(sessions: &[Session]) -> World {
    Plan::of(sessions).model(troubled(sessions)).start().await
}

async fn run(world: &World, arguments: &[&str]) -> Ended {
    let ended = Child::start(world, &[&["run", "--until-idle", "-v"], arguments].concat(), &[])
        .ended()
        .await;
    assert!(ended.status.success(), "{ended}");
    ended
}

/// Job, queue and trace as the database has them.
async fn jobs(db: &Db) -> BTreeSet<(String, String, String)> {
    let rows = db
        .fetch_all("SELECT id, queue, trace_context FROM jobs", &[])
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let traceparent: String = row.get("trace_context").unwrap();
            let trace = traceparent.split('-').nth(1).unwrap().to_owned();
            let id: uuid::Uuid = row.get("id").unwrap();
            (id.to_string(), row.get("queue").unwrap(), trace)
        })
        .collect()
}

async fn every_json_line_of_a_run_says_which_job_for_whom_and_in_which_trace() {
    let sessions = [bakery::ordered("s-1"), bakery::vanished("s/2")];
    let world = world(&sessions).await;
    let db = world.db().await;
    let ended = run(&world, &["--json"]).await;
    let known = jobs(&db).await;
    let mut said = BTreeSet::new();
    for line in ended.err.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "fields"] {
            assert!(!line[field].is_null(), "{line}");
        }
        assert!(line["fields"]["message"].is_string(), "{line}");
        let span = &line["span"];
        if span.is_null() {
            // The process itself, and no job of it.
            continue;
        }
        assert_eq!(span["name"], "job", "{line}");
        let text = |field: &str| {
            span[field]
                .as_str()
                .unwrap_or_else(|| panic!("{field} in {line}"))
                .to_owned()
        };
        let (job, queue, trace) = (text("job_id"), text("queue"), text("trace_id"));
        assert!(known.contains(&(job, queue.clone(), trace)), "{line} of {known:#?}");
        assert_eq!(text("source"), "calls", "{line}");
        assert!(span["attempt"].as_u64().unwrap() >= 1, "{line}");
        if queue != "discover_sessions" {
            said.insert((queue, text("session_id")));
        }
    }
    assert!(
        said.iter()
            .any(|(queue, session)| queue == "analyze_session" && session.starts_with('s')),
        "{said:?} in\n{ended}"
    );
    // What one session brings is one trace, whatever found it.
    for id in ["s-1", "s/2"] {
        let traces = db
            .fetch_all(
                "SELECT DISTINCT substr(trace_context, 4, 32) AS trace FROM jobs WHERE unique_key LIKE '%' || $1 || '%'",
                &aftercall::params![id],
            )
            .await
            .unwrap();
        assert_eq!(traces.len(), 1, "{id}");
    }
}

async fn every_line_for_people_does_so_too() {
    let sessions = [bakery::ordered("s-1")];
    let world = world(&sessions).await;
    let db = world.db().await;
    let ended = run(&world, &[]).await;
    let known = jobs(&db).await;
    let of_runs: Vec<&str> = ended.err.lines().filter(|line| line.contains("job_id=")).collect();
    assert!(!of_runs.is_empty(), "{ended}");
    for line in of_runs {
        let of_one = known.iter().any(|(job, queue, trace)| {
            line.contains(&format!("job_id={job}"))
                && line.contains(&format!("queue=\"{queue}\""))
                && line.contains(&format!("trace_id={trace}"))
        });
        assert!(of_one, "{line}");
        assert!(line.contains("source=\"calls\""), "{line}");
    }
    assert!(ended.err.contains("session_id=\"s-1\""), "{ended}");
}
