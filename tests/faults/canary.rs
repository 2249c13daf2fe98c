//! What is private reaches no log line, no error text and no table on the terminal, whatever goes wrong.

use aftercall::sandbox::{
    language_model::{Reply, ScriptedModel},
    records::Fault,
};
use serde_json::json;

use crate::support::{
    bakery::{self, Session},
    child::Child,
    state::{count, waiting},
    until,
    world::{Plan, World},
};

const PHONE: &str = "412 555 0142";
const NAME: &str = "Wilhelmina Canary";
const TOOL_INPUT: &str = "canary-tool-input-7731";
const TOOL_OUTPUT: &str = "canary-tool-output-7732";
const TOOL_ERROR: &str = "canary-tool-error-7733";
const RECORD: &str = "canary-record-7734";
const ANSWER: &str = "canary-answer-7735";
const API_KEY: &str = "canary-api-key-7736";
const HEADER: &str = "canary-header-7737";

fn secrets() -> [&'static str; 9] {
    [
        PHONE,
        NAME,
        TOOL_INPUT,
        TOOL_OUTPUT,
        TOOL_ERROR,
        RECORD,
        ANSWER,
        API_KEY,
        HEADER,
    ]
}

fn session(id: &str) -> Session {
    let caller = format!("I would like to order a plum cake. I am {NAME}, my number is {PHONE}.");
    Session::new(id)
        .turn(&caller, &format!("Your plum cake is ordered, {NAME}."))
        .call(
            "order_cake",
            json!({"action": "place", "cake": "plum", "for": NAME, "note": TOOL_INPUT}),
            json!({"orderId": format!("o-{id}"), "note": TOOL_OUTPUT}),
        )
        .call(
            "order_cake",
            json!({"action": "place", "cake": "nut"}),
            json!({"error": TOOL_ERROR}),
        )
        .holds(
            "orders",
            &format!("o-{id}"),
            json!({"id": format!("o-{id}"), "cake": RECORD, "for": NAME}),
            0,
        )
        .reads(bakery::orders(&["plum"]))
}

async fn world() -> World {
    let sessions = [session("s-1"), session("s-2"), session("s-3")];
    // Each kind of bad answer carries what the session said.
    let model = ScriptedModel::new(move |asked| match asked.before {
        0 => Reply::Error(500, "server_error".to_owned(), "the server is in trouble".to_owned()),
        1 => Reply::Error(
            401,
            "invalid_api_key".to_owned(),
            format!("Incorrect API key provided: {API_KEY}"),
        ),
        2 => Reply::Text(format!("Here is what {NAME} ({PHONE}) said: {ANSWER}")),
        3 => {
            Reply::json(json!({"intent": ANSWER, "confidence": NAME, "requests": [{"quote": PHONE}], "statements": []}))
        }
        4 => Reply::Refusal(format!("I will not speak of {NAME}: {ANSWER}")),
        5 => Reply::Raw(200, "application/json", format!("{{\"choices\": \"{ANSWER}\"}}")),
        _ => bakery::answer(&sessions, asked),
    })
    .with_key(API_KEY);
    let sessions = [session("s-1"), session("s-2"), session("s-3")];
    Plan::of(&sessions)
        .model(model)
        .set("llm", "api_key", "'file:key'")
        .set("records", "headers", "{ Authorization = 'Bearer file:header' }")
        .set("verification", "look_again", "['50ms']")
        .files(&[("key", API_KEY), ("header", HEADER)])
        .start()
        .await
}

fn assert_silent(said: &str, when: &str) {
    for secret in secrets() {
        let at = said.find(secret);
        let around = at.map(|at| &said[said.floor_char_boundary(at.saturating_sub(300))..at + secret.len()]);
        assert_eq!(around, None, "{when}: `{secret}` was said");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_logged_even_at_level_trace() {
    let world = world().await;
    world.records.fail(
        "s-1/orders/o-s-1",
        Fault::Body(200, "application/json", format!("{{\"for\": \"{NAME}\", {RECORD}")),
        1,
    );
    world.records.fail(
        "s-2/orders/o-s-2",
        Fault::Body(500, "text/plain", format!("{NAME} {RECORD} {HEADER}")),
        2,
    );
    let ended = world
        .child(&[("AFTERCALL_LOG", "trace"), ("RUST_LOG", "trace")])
        .ended()
        .await;
    assert!(ended.status.success(), "{ended}");
    assert!(ended.err.len() > 1_000, "it was to log at level trace: {ended}");
    assert_silent(&ended.out, "stdout");
    assert_silent(&ended.err, "stderr");
    let db = world.db().await;
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 3);
    db.close().await;
    // The queue is no place for it either: what it holds is shown to operators.
    for command in [
        &["jobs", "list"][..],
        &["jobs", "list", "--json"],
        &["queues"],
        &["queues", "--json"],
    ] {
        let shown = Child::start(&world, command, &[]).ended().await;
        assert!(shown.status.success(), "{command:?}: {shown}");
        assert_silent(&shown.out, &format!("{command:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_private_is_in_the_words_of_a_job_that_waits_or_failed() {
    let world = world().await;
    world.records.fail(
        "",
        Fault::Body(500, "text/plain", format!("{NAME} {RECORD} {HEADER}")),
        u64::MAX,
    );
    let db = world.db().await;
    let child = world.child(&[("AFTERCALL_LOG", "trace")]);
    until("all wait for the kitchen", async || {
        let waits = waiting(&db).await;
        waits.len() == 3 && waits.iter().all(|(_, why)| why.starts_with("records:kitchen"))
    })
    .await;
    drop(child);
    let rows = db
        .fetch_all(
            "SELECT json_array(args, wait_reason, last_error, progress) AS line FROM jobs
             UNION ALL SELECT json_array(error) FROM job_attempts
             UNION ALL SELECT json_array(waiting_reason) FROM sessions
             UNION ALL SELECT json_array(detail) FROM gates
             UNION ALL SELECT json_array(detail) FROM llm_calls
             UNION ALL SELECT json_array(reason) FROM source_faults
             UNION ALL SELECT json_array(detail) FROM audit_log",
            &[],
        )
        .await
        .unwrap();
    for row in rows {
        assert_silent(&row.get::<String>("line").unwrap(), "a row");
    }
}
