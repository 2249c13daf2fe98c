//! Spans of a fleet: one trace through its processes, nothing private in it, and nobody waits for its receiver.

use std::collections::BTreeSet;

use aftercall::{adapters::langfuse::OWN_ENVIRONMENT, db::Db, params};
use rustix::process::Signal;

use super::logs::troubled;
use crate::{
    on_each_engine,
    support::{
        Engine, bakery,
        child::Child,
        engine,
        otlp::{self, Inbox, Received},
        state::count,
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    a_run_is_the_child_of_its_enqueue_in_another_process,
    without_an_address_nothing_is_sent_and_of_half_of_the_traces_none_is_half,
}

const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// What a span may say.
const ATTRIBUTES: [&str; 14] = [
    "aftercall.enqueue.twin",
    "aftercall.job.attempt",
    "aftercall.job.outcome",
    "aftercall.session_id",
    "aftercall.source",
    "aftercall.upstream",
    "aftercall.upstream.kind",
    "error.type",
    "messaging.destination.name",
    "messaging.message.id",
    "messaging.operation.name",
    "messaging.operation.type",
    "messaging.system",
    "service.peer.name",
];

async fn done(db: &Db) -> u64 {
    count(db, "SELECT COUNT(*) AS n FROM sessions WHERE state = 'done'").await
}

async fn stop(child: Child) {
    child.signal(Signal::TERM);
    let ended = child.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
}

fn child_of(span: &Received, parent: &Received) {
    assert_eq!(
        (&span.trace, &span.parent),
        (&parent.trace, &parent.id),
        "{span:#?} of {parent:#?}"
    );
}

async fn a_run_is_the_child_of_its_enqueue_in_another_process() {
    let sessions = [bakery::ordered("s-1"), bakery::vanished("s-2")];
    let (url, inbox) = otlp::receive().await;
    let world = Plan::of(&sessions)
        .model(troubled(&sessions))
        .files(&[("otlp.key", "canary-otlp-token-7741\n")])
        .append(&format!(
            "[telemetry]\notlp_endpoint = \"{url}\"\nservice_name = \"bakery-watch\"\n\
             [telemetry.otlp_headers]\nAuthorization = \"Bearer file:otlp.key\"\n"
        ))
        .start()
        .await;
    let db = world.db().await;
    let soon = [("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let ended = Child::start(&world, &["enqueue", "discover"], &soon).ended().await;
    assert!(ended.status.success(), "{ended}");
    let enqueued = inbox.one("enqueue discover_sessions", None);
    assert_eq!((enqueued.kind, enqueued.parent.as_str()), (PRODUCER, ""));

    let worker = Child::start(&world, &["worker"], &soon);
    until("both sessions have their verdict", async || done(&db).await == 2).await;
    until("the failure is explained", async || {
        count(
            &db,
            "SELECT COUNT(*) AS n FROM monitoring_results WHERE diagnostic_status = 'complete'",
        )
        .await
            == 1
    })
    .await;
    stop(worker).await;

    let scan = inbox.one("process discover_sessions", None);
    child_of(&scan, &enqueued);
    assert_eq!(scan.kind, CONSUMER);
    let read = inbox.spans();
    let read: Vec<&Received> = read
        .iter()
        .filter(|span| span.name == "call source:calls" && span.parent == scan.id)
        .collect();
    assert!(!read.is_empty() && read.iter().all(|span| span.kind == CLIENT));
    for id in ["s-1", "s-2"] {
        let of_session = Some(("aftercall.session_id", id));
        let mut before = inbox.one("enqueue analyze_session", of_session);
        assert_ne!(before.trace, scan.trace, "a trace for each session");
        assert_eq!(before.links, [(scan.trace.clone(), scan.id.clone())]);
        assert_eq!(before.parent, "");
        for queue in ["analyze_session", "verify_session", "diagnose_session"] {
            if queue == "diagnose_session" && id == "s-1" {
                continue;
            }
            let enqueue = inbox.one(&format!("enqueue {queue}"), of_session);
            if queue != "analyze_session" {
                child_of(&enqueue, &before);
            }
            let run = last_run(&inbox, queue, id);
            child_of(&run, &enqueue);
            assert_eq!(
                run.attributes["messaging.message.id"],
                enqueue.attributes["messaging.message.id"]
            );
            assert_eq!(run.attributes["aftercall.job.outcome"], "completed");
            before = run;
        }
    }
    let calls: BTreeSet<String> = inbox
        .spans()
        .into_iter()
        .filter(|span| span.kind == CLIENT)
        .map(|span| span.name)
        .collect();
    for call in ["call llm:default", "call records:kitchen", "call source:calls"] {
        assert!(calls.contains(call), "{call} is not in {calls:?}");
    }
    let refused = inbox
        .spans()
        .into_iter()
        .find(|span| span.failed && span.name == "call llm:default");
    assert_eq!(refused.unwrap().attributes["error.type"], "unreachable");
    nothing_private(&inbox);
    assert!(
        inbox.keys().iter().all(|key| key == "Bearer canary-otlp-token-7741"),
        "{:?}",
        inbox.keys()
    );
    let traces = db
        .fetch_all("SELECT trace_context FROM jobs WHERE queue = 'verify_session'", &[])
        .await
        .unwrap();
    let known: BTreeSet<String> = inbox.spans().into_iter().map(|span| span.trace).collect();
    for row in traces {
        let traceparent: String = row.get("trace_context").unwrap();
        assert!(known.contains(&traceparent[3..35]), "{traceparent}");
    }
}

/// A session is looked at again before it is called missing: each look is a run.
#[track_caller]
fn last_run(inbox: &Inbox, queue: &str, session: &str) -> Received {
    inbox
        .spans()
        .into_iter()
        .filter(|span| span.name == format!("process {queue}"))
        .filter(|span| {
            span.attributes
                .get("aftercall.session_id")
                .is_some_and(|id| id == session)
        })
        .find(|span| span.attributes["aftercall.job.outcome"] == "completed")
        .unwrap_or_else(|| panic!("{queue} of {session} in {:#?}", inbox.spans()))
}

fn nothing_private(inbox: &Inbox) {
    for span in inbox.spans() {
        assert_eq!(span.resource["service.name"], "bakery-watch");
        assert_eq!(
            span.resource["langfuse.environment"], OWN_ENVIRONMENT,
            "no source reads it"
        );
        assert_eq!(span.resource["deployment.environment.name"], OWN_ENVIRONMENT);
        for (name, value) in &span.attributes {
            assert!(ATTRIBUTES.contains(&name.as_str()), "{name} = {value}");
        }
    }
    for private in ["cake", "canary-otlp-token", "plum", "I would like"] {
        assert!(!inbox.holds(private), "{private}");
    }
}

async fn without_an_address_nothing_is_sent_and_of_half_of_the_traces_none_is_half() {
    let sessions = bakery::mixed(24);
    let (url, inbox) = otlp::receive().await;
    let world = Plan::of(&sessions)
        .model(bakery::model(&sessions))
        .append("[telemetry]\nsample_ratio = 0.5\n")
        .start()
        .await;
    let db = world.db().await;
    // The enqueuer sends nothing, and decides nothing for others.
    let ended = Child::start(&world, &["enqueue", "discover"], &[]).ended().await;
    assert!(ended.status.success(), "{ended}");
    assert_eq!(inbox.spans().len(), 0);
    let worker = Child::start(
        &world,
        &["run", "--until-idle"],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_SERVICE_NAME", "by-variable"),
        ],
    );
    let ended = worker.ended().await;
    assert!(ended.status.success(), "{ended}");
    let spans = inbox.spans();
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    let all = db
        .fetch_all("SELECT DISTINCT substr(trace_context, 4, 32) AS trace FROM jobs", &[])
        .await
        .unwrap()
        .len();
    assert!(!traces.is_empty() && traces.len() < all, "{} of {all}", traces.len());
    for trace in traces {
        let runs = spans
            .iter()
            .filter(|span| span.trace == trace && span.kind == CONSUMER)
            .filter(|span| span.attributes["aftercall.job.outcome"] == "completed")
            .count() as u64;
        let rows = db
            .fetch_all(
                "SELECT id FROM jobs WHERE substr(trace_context, 4, 32) = $1 AND state = 'completed'",
                &params![trace],
            )
            .await
            .unwrap();
        assert_eq!(runs, rows.len() as u64, "{trace}");
    }
    assert!(spans.iter().all(|span| span.resource["service.name"] == "by-variable"));
}

/// A receiver that takes connections and never answers.
async fn silent() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    format!("http://{address}")
}

async fn judged_with(world: &World, url: &str) -> String {
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let ended = Child::start(world, &["run", "--until-idle"], &variables).ended().await;
    assert!(ended.status.success(), "{ended}");
    ended.err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_down_or_silent_keeps_no_job_from_its_end_and_no_process_from_leaving() {
    engine::on(Engine::Sqlite, async {
        let sessions = bakery::mixed(6);
        for (url, says) in [
            ("http://127.0.0.1:1".to_owned(), "spans cannot be sent"),
            (silent().await, "the last spans could not be sent in time"),
        ] {
            let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
            let err = judged_with(&world, &url).await;
            assert_eq!(done(&world.db().await).await, 6);
            assert_eq!(err.matches(says).count(), 1, "{err}");
        }
    })
    .await;
}
