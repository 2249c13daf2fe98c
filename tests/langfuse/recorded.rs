//! What real servers of three releases answered is read as what it is.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use aftercall::{
    adapters::langfuse::{Api, Langfuse},
    domain::observation::Snapshot,
    ports::{Probe, TraceSource, UpstreamReason},
};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    replay::{Replay, recorded},
    world::Seen,
};

const V2: &str = "v2.95.12";
const DUAL: &str = "v4.16.0-dual";
const EVENTS_ONLY: &str = "v4.16.0-events_only";
const REMOVED: &str = "v4.16.0-events_only-old-endpoints";
/// Field groups that only a read of a session asks for.
const WITH_CONTENT: (&str, &str) = ("fields", "core,basic,time,io,metadata,trace_context");
/// Only a scan asks so.
const LIST: (&str, &str) = ("fields", "core,observations,metrics");

/// After all that was recorded.
fn evening() -> DateTime<Utc> {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

async fn scan(source: &Langfuse) -> Seen {
    let mut seen = Seen::default();
    scan_on(source, &mut seen).await;
    seen
}

async fn scan_on(source: &Langfuse, seen: &mut Seen) {
    while seen.scan_once(source, evening()).await.unwrap() {}
}

/// Reads it; its digest must be the scans'.
async fn read(source: &Langfuse, seen: &Seen, session: &str) -> Snapshot {
    let (snapshot, digest) = source.read(&seen.session(session)).await.unwrap().unwrap();
    assert_eq!(digest, seen.digest(session), "of {session}");
    snapshot
}

/// The list of traces that this release gave to a scan, and to the question for each of these sessions.
fn lay_traces(replay: &Replay, release: &str, sessions: &[&str]) {
    let list = recorded(&format!("{release}/traces_default"));
    for session in sessions {
        let of_session = list.only("sessionId", session);
        replay.on("/traces", &[("sessionId", session)], of_session);
    }
    replay.on("/traces", &[LIST], list);
}

fn texts(probe: &Probe) -> String {
    let texts: Vec<&str> = probe.notes.iter().map(|note| note.text.as_str()).collect();
    texts.join("\n")
}

#[tokio::test]
async fn the_lists_of_traces_of_v2_and_v4_dual_hold_their_sessions_and_observations() {
    for release in [V2, DUAL] {
        let replay = Replay::start().await;
        lay_traces(&replay, release, &[]);
        let source = replay.source(|config| config.api = Api::Traces);
        let seen = scan(&source).await;
        assert!(seen.faults.is_empty(), "{release}");
        // Nine turns of three observations; and each of the eleven traces stands for itself.
        assert_eq!(seen.ids().len(), 27, "{release}");
        assert_eq!(seen.observations.len(), 38, "{release}");
        let sessions: BTreeSet<Option<&str>> = seen
            .observations
            .values()
            .map(|seen| seen.session_id.as_deref())
            .collect();
        let expected = [
            None,
            Some("sess/ion ü"),
            Some("session-0"),
            Some("session-1"),
            Some("session-2"),
        ];
        assert_eq!(sessions, BTreeSet::from(expected), "{release}");
    }
}

#[tokio::test]
async fn a_session_of_v2_and_v4_dual_is_read_with_the_digest_of_the_scan() {
    for release in [V2, DUAL] {
        let replay = Replay::start().await;
        let file = |name: &str| recorded(&format!("{release}/{name}"));
        lay_traces(&replay, release, &["session-0"]);
        replay
            .on("/traces/trace-000", &[], file("trace_one"))
            // Deleted since it was listed.
            .on("/traces/trace-001", &[], file("trace_404"))
            .on("/traces/trace-002", &[], file("trace_after_scores"));
        let source = replay.source(|config| config.api = Api::Traces);
        let mut seen = scan(&source).await;
        seen.observations.retain(|(trace, _), _| trace != "trace-001");
        let snapshot = read(&source, &seen, "session-0").await;
        let ids: Vec<&str> = snapshot.observations.iter().map(|one| one.id.as_str()).collect();
        let of = |turn: &str| ["t-trace-", "span-", "gen-", "ev-"].map(|kind| format!("{kind}{turn}"));
        let expected: BTreeSet<String> = of("000").into_iter().chain(of("002")).collect();
        assert_eq!(
            ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>(),
            expected,
            "{release}"
        );
        let asked = snapshot
            .observations
            .iter()
            .find(|one| one.id == "t-trace-002")
            .unwrap();
        assert_eq!(asked.input["messages"][0]["content"], "question 2", "{release}");
        assert_eq!(asked.output["content"], "answer 2", "{release}");
        let step = snapshot.observations.iter().find(|one| one.id == "gen-000").unwrap();
        assert_eq!(step.session_id.as_deref(), Some("session-0"), "{release}");
        assert_eq!(step.parent_observation_id.as_deref(), Some("span-000"), "{release}");
    }
}

#[tokio::test]
async fn a_session_id_with_a_slash_and_unicode_is_read_from_v2_and_v4_dual() {
    for release in [V2, DUAL] {
        let replay = Replay::start().await;
        lay_traces(&replay, release, &["sess/ion ü"]);
        // A trace without observations is the same object in a list and alone, as `trace-nosession` shows.
        let list = recorded(&format!("{release}/traces_default"));
        replay.on("/traces/trace-unicode", &[], list.entry("trace-unicode"));
        let source = replay.source(|config| config.api = Api::Traces);
        let snapshot = read(&source, &scan(&source).await, "sess/ion ü").await;
        assert_eq!(snapshot.observations.len(), 1, "{release}");
        assert_eq!(snapshot.observations[0].input["t"], "héllo ☃ 日本語 ");
        assert_eq!(snapshot.observations[0].output, json!("ok"));
    }
}

#[tokio::test]
async fn a_trace_that_names_no_session_is_read_as_the_one_that_it_was_grouped_into() {
    let replay = Replay::start().await;
    lay_traces(&replay, V2, &[]);
    let none = recorded("v2.95.12/traces_page_past_end");
    replay.on("/traces", &[("sessionId", "ours")], none).on(
        "/traces/trace-nosession",
        &[],
        recorded("v2.95.12/trace_no_session"),
    );
    let source = replay.source(|config| config.api = Api::Traces);
    let mut seen = scan(&source).await;
    for seen in seen.observations.values_mut().filter(|seen| seen.session_id.is_none()) {
        seen.session_id = Some("ours".to_owned());
    }
    let snapshot = read(&source, &seen, "ours").await;
    assert_eq!(snapshot.observations[0].input, json!("plain text in"));
}

/// v4 events_only: a page with all field groups, and behind its cursor the rest of what the server had, with the default
/// groups only. Each session's and each trace's observations of these.
fn lay_observations(replay: &Replay) -> String {
    let first = recorded("v4.16.0-events_only/obs2_all_fields");
    let cursor = first.field("/meta/cursor").as_str().unwrap().to_owned();
    let all = recorded("v4.16.0-events_only/obs2_default");
    let known: BTreeSet<&str> = first
        .entries()
        .iter()
        .filter_map(|entry| entry["id"].as_str())
        .collect();
    let others = || {
        all.entries()
            .iter()
            .filter(|entry| !known.contains(entry["id"].as_str().unwrap()))
    };
    let scan = ("fields", "core,basic,time");
    replay
        .on(
            "/v2/observations",
            &[("limit", "1")],
            recorded("v4.16.0-events_only/obs2_trace_unknown"),
        )
        .on("/v2/observations", &[scan], first.clone())
        .on(
            "/v2/observations",
            &[scan, ("cursor", &cursor)],
            all.with_entries(others()),
        );
    for session in ["session-0", "session-2"] {
        replay.on(
            "/v2/observations",
            &[("sessionId", session)],
            all.only("sessionId", session),
        );
    }
    for trace in [1, 2, 7, 8] {
        let trace = format!("{trace:032}");
        let of_trace = all.only("traceId", &trace);
        replay.on("/v2/observations", &[WITH_CONTENT, ("traceId", &trace)], of_trace);
    }
    let with_content = recorded("v4.16.0-events_only/obs2_trace");
    replay
        .on(
            "/v2/observations",
            &[WITH_CONTENT, ("traceId", &format!("{:032}", 3))],
            with_content,
        )
        .on(
            "/v2/observations",
            &[WITH_CONTENT, ("traceId", &format!("{:032}", 9))],
            first.with_entries(first.entries()),
        );
    cursor
}

#[tokio::test]
async fn v4_events_only_is_scanned_and_read_with_the_digest_of_the_scan() {
    let replay = Replay::start().await;
    lay_observations(&replay);
    let source = replay.source(|_| {});
    let seen = scan(&source).await;
    assert_eq!(seen.ids().len(), 27);
    assert!(seen.faults.is_empty());
    let of_nine = &seen.observations[&(format!("{:032}", 9), "0000000000000091".to_owned())];
    assert_eq!(of_nine.session_id.as_deref(), Some("session-2"));
    assert_eq!(of_nine.mark, "2026-11-23T08:38:01.745000Z");
    assert_eq!(of_nine.user_id.as_deref(), Some("user-0"));

    let snapshot = read(&source, &seen, "session-2").await;
    assert_eq!(snapshot.observations.len(), 9);
    let said = snapshot
        .observations
        .iter()
        .find(|one| one.id == "0000000000000093")
        .unwrap();
    // Texts of JSON on the wire.
    assert_eq!(said.input["messages"][0]["content"], "question 8");
    assert_eq!(said.tags, ["peer", "t2"]);
    assert_eq!(said.trace_name.as_deref(), Some("chat-turn"));

    let snapshot = read(&source, &seen, "session-0").await;
    let said = snapshot
        .observations
        .iter()
        .find(|one| one.id == "0000000000000031")
        .unwrap();
    assert!(said.is_root_observation);
    assert_eq!(said.output["content"], "answer 2");
}

#[tokio::test]
async fn a_cursor_that_the_server_does_not_take_back_begins_the_slice_again() {
    let replay = Replay::start().await;
    let cursor = lay_observations(&replay);
    let refused = recorded("v4.16.0-events_only/obs2_bad_cursor_garbage");
    replay.once(
        "/v2/observations",
        &[("fields", "core,basic,time"), ("cursor", &cursor)],
        refused,
    );
    let source = replay.source(|_| {});
    let seen = scan(&source).await;
    assert_eq!(seen.ids().len(), 27);
    for session in ["session-0", "session-2"] {
        read(&source, &seen, session).await;
    }
}

#[tokio::test]
async fn v2_turns_into_v4_events_only_and_the_source_reads_on() {
    let replay = Replay::start().await;
    // v2 has no page at the newer address: it answers as at any other that it does not know.
    replay.on("/v2/observations", &[], recorded("v2.95.12/unknown_route"));
    replay.on(
        "/traces",
        &[("fields", "core")],
        recorded("v2.95.12/traces_page_past_end"),
    );
    lay_traces(&replay, V2, &[]);
    let source = replay.source(|_| {});
    let mut seen = scan(&source).await;
    assert_eq!(seen.ids().len(), 27);
    replay.clear();

    lay_observations(&replay);
    let removed = recorded("v4.16.0-events_only-old-endpoints/traces_default");
    replay.on("/traces", &[], removed);
    scan_on(&source, &mut seen).await;
    assert_eq!(seen.ids().len(), 54, "the recorded servers share no ids");
    seen.observations.retain(|(trace, _), _| !trace.starts_with("trace-"));
    for session in ["session-0", "session-2"] {
        read(&source, &seen, session).await;
    }
}

#[tokio::test]
async fn a_session_that_was_open_when_v2_turned_into_v4_is_asked_of_the_newer_api() {
    let replay = Replay::start().await;
    lay_traces(&replay, V2, &[]);
    replay.on("/v2/observations", &[], recorded("v2.95.12/unknown_route"));
    replay.on(
        "/traces",
        &[("fields", "core")],
        recorded("v2.95.12/traces_page_past_end"),
    );
    let source = replay.source(|_| {});
    let seen = scan(&source).await;
    replay.clear();

    let none = recorded("v4.16.0-events_only/obs2_trace_unknown");
    replay
        .on(
            "/traces",
            &[],
            recorded("v4.16.0-events_only-old-endpoints/traces_default"),
        )
        .on("/v2/observations", &[], none);
    assert_eq!(source.read(&seen.session("session-1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_wrong_key_is_auth_in_the_words_of_every_release() {
    for (release, newer) in [
        (V2, Some("v2.95.12/unknown_route")),
        (DUAL, None),
        (EVENTS_ONLY, Some("v4.16.0-events_only/auth_wrong_secret")),
    ] {
        let replay = Replay::start().await;
        let refused = recorded(&format!("{release}/auth_wrong_secret"));
        let api = if newer.is_some() { Api::Auto } else { Api::Traces };
        if let Some(newer) = newer {
            replay.on("/v2/observations", &[], recorded(newer));
        }
        if release != EVENTS_ONLY {
            replay.on("/traces", &[], refused);
        }
        let source = replay.source(|config| config.api = api);
        let error = source.scan(None, evening()).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::AuthInvalid, "{release}: {error}");
        assert!(error.detail.contains("secret_key"), "{release}: {error}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_mode_says_nothing_of_the_key() {
    let replay = Replay::start().await;
    // Answered before the key is looked at, so that even a wrong one gets it.
    replay
        .on("/traces", &[], recorded(&format!("{REMOVED}/auth_wrong_secret")))
        .on("/projects", &[], recorded("v4.16.0-events_only/auth_projects_wrong"));
    let source = replay.source(|config| config.api = Api::Traces);
    let error = source.scan(None, evening()).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::BadAnswer);
    assert!(error.detail.contains("api = \"auto\""), "{error}");
    let error = source.probe().await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::AuthInvalid);
}

#[tokio::test]
async fn a_bare_public_key_is_not_enough_and_is_said() {
    let replay = Replay::start().await;
    replay.on(
        "/v2/observations",
        &[],
        recorded("v4.16.0-events_only/auth_bearer_public"),
    );
    let error = replay.source(|_| {}).scan(None, evening()).await.unwrap_err();
    assert_eq!(error.reason, UpstreamReason::AuthInvalid, "{error}");
}

#[tokio::test]
async fn a_probe_names_the_project_and_release_of_recorded_servers() {
    let replay = Replay::start().await;
    replay
        .on("/projects", &[], recorded("v2.95.12/projects"))
        .on("/health", &[], recorded("v2.95.12/health"))
        .on("/v2/observations", &[], recorded("v2.95.12/unknown_route"))
        .on("/traces", &[], recorded("v2.95.12/traces_page_past_end"));
    let shown = texts(&replay.source(|_| {}).probe().await.unwrap());
    assert!(shown.contains("keys accepted: project Peer"), "{shown}");
    assert!(shown.contains("Langfuse 2.95.12"), "{shown}");
    assert!(shown.contains("read through its traces API"), "{shown}");
    replay.clear();

    replay
        .on("/projects", &[], recorded(&format!("{REMOVED}/projects")))
        .on("/health", &[], recorded("v4.16.0-events_only/health"))
        .on(
            "/v2/observations",
            &[],
            recorded("v4.16.0-events_only/obs2_trace_unknown"),
        );
    let shown = texts(&replay.source(|_| {}).probe().await.unwrap());
    assert!(
        shown.contains("project Peer") && shown.contains("Langfuse 4.16.0"),
        "{shown}"
    );
    assert!(shown.contains("read through its observations API"), "{shown}");
}

/// What was logged, of this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_api_that_is_going_away_is_counted_and_said_once() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);

    // Cloud alone marks its answers so: the mark is the documented one, the answers are the recorded ones.
    let going = json!({"message": "This endpoint is deprecated.", "replacement": "GET /api/public/v2/observations",
        "sunsetAt": "2026-11-30T00:00:00.000Z"});
    let replay = Replay::start().await;
    let marked = |file: &str| recorded(file).with("_deprecation", going.clone());
    replay
        .on("/v2/observations", &[], recorded("v2.95.12/unknown_route"))
        .on(
            "/traces",
            &[("fields", "core")],
            marked("v2.95.12/traces_page_past_end"),
        )
        .on("/traces", &[LIST], marked("v2.95.12/traces_default"))
        .on(
            "/traces",
            &[("sessionId", "session-1")],
            marked("v2.95.12/traces_by_session"),
        )
        .on("/projects", &[], recorded("v2.95.12/projects"))
        .on("/health", &[], recorded("v2.95.12/health"));
    for number in ["003", "004", "005"] {
        let gone = recorded("v2.95.12/trace_404");
        replay.on(&format!("/traces/trace-{number}"), &[], gone);
    }
    // A server that was never read, as in a look at the configuration alone, is asked something that is marked.
    let shown = texts(&replay.source(|_| {}).probe().await.unwrap());
    assert!(
        shown.contains("1 answers said") && shown.contains("sunset: 2026-11-30"),
        "{shown}"
    );
    logged.0.lock().unwrap().clear();

    let source = replay.source(|_| {});
    let seen = scan(&source).await;
    source.read(&seen.session("session-1")).await.unwrap();
    let shown = texts(&source.probe().await.unwrap());
    // What it speaks, a scan's page, the session's traces, and what it speaks again.
    assert!(shown.contains("4 answers said"), "{shown}");
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("is going away").count(), 1, "{text}");
}
