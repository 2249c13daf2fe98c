//! What is private reaches no log line, no error text and no table on the terminal, whatever goes wrong.

use std::{sync::Arc, time::Duration};

use aftercall::{
    db::Db,
    queue::inspect,
    sandbox::{
        Server, cloud9,
        langfuse::{self, FakeLangfuse, SECRET_KEY, Version, When},
        language_model::{Reply, ScriptedModel},
        records::Fault,
    },
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session},
        child::Child,
        langfuse::{hours_ago, sent, with_project},
        practice::{AT, guid, holding, schedule},
        state::{count, waiting},
        until,
        world::{Plan, World},
    },
};

on_each_engine! {
    nothing_private_is_logged_even_at_level_trace,
    nothing_private_is_in_the_words_of_a_job_that_waits_or_failed,
    nothing_private_of_langfuse_and_cloud9_is_logged_even_at_level_trace,
}

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
            "SELECT CAST(args AS text) AS line FROM jobs
             UNION ALL SELECT CAST(progress AS text) FROM jobs
             UNION ALL SELECT wait_reason FROM jobs
             UNION ALL SELECT last_error FROM jobs
             UNION ALL SELECT error FROM job_attempts
             UNION ALL SELECT waiting_reason FROM sessions
             UNION ALL SELECT detail FROM gates
             UNION ALL SELECT detail FROM llm_calls
             UNION ALL SELECT reason FROM source_faults
             UNION ALL SELECT detail FROM audit_log",
            &[],
        )
        .await
        .unwrap();
    for row in rows {
        let said: Option<String> = row.get("line").unwrap();
        assert_silent(&said.unwrap_or_default(), "a row");
    }
}

const LANGFUSE_KEY: &str = "pk-lf-canary-7740";
const CLIENT_ID: &str = "canary-client-7741";
const USER: &str = "canary-user-7742";
const PASSWORD: &str = "canary-password-7743";
const E_MAIL: &str = "wilhelmina@canary-7744.example";
const BORN: &str = "1987-03-09";
const SAID: &str = "canary words of the caller 7745";

/// Everything that opens a door, as it is and as it goes over the wire.
fn keys() -> Vec<String> {
    let mut keys: Vec<String> = [LANGFUSE_KEY, SECRET_KEY, CLIENT_ID, USER, PASSWORD, API_KEY]
        .map(str::to_owned)
        .to_vec();
    keys.push(BASE64_STANDARD.encode(format!("{LANGFUSE_KEY}:{SECRET_KEY}")));
    keys
}

/// A patient's session: booked as the agent says, or not.
fn patient_session(id: &str, appointment: u32) -> Session {
    let caller = format!(
        "I am {NAME}, born {BORN}, {E_MAIL}, {PHONE}: {SAID}. I want to book an appointment for my child, please."
    );
    schedule(
        Session::new(id).turn(&caller, &format!("You are all set, {NAME}.")),
        json!({"action": "book_child", "children": json!([{"firstName": NAME, "lastName": NAME, "startTime": AT,
            "birthDate": BORN, "note": TOOL_INPUT}]).to_string()}),
        json!({"parent": {"patientGUID": guid(1), "firstName": NAME, "lastName": NAME, "email": E_MAIL, "phone": PHONE},
            "children": [{"firstName": NAME, "patientGUID": guid(2), "success": true, "note": TOOL_OUTPUT,
                "appointment": {"appointmentGUID": guid(appointment), "startTime": AT}}]}),
    )
    .call(
        "chord_ortho_patient",
        json!({"action": "find", "phone": PHONE}),
        json!({"error": TOOL_ERROR}),
    )
    .reads(
        json!({"intent": "booking", "confidence": 0.9, "summary": format!("{NAME} wants an appointment."),
        "details": [{"name": "child_names", "value": [NAME]}], "requests": [], "statements": []}),
    )
}

/// Patients' sessions in Langfuse, checked in Cloud9, where each upstream fails in every way and says private things of it.
async fn practice_world() -> (World, Server) {
    let sessions = [
        patient_session("p-1", 102),
        patient_session("p-2", 107),
        patient_session("p-3", 102),
    ];
    let script = sessions.clone();
    let model = ScriptedModel::new(move |asked| match asked.before {
        0 => Reply::Error(
            402,
            "insufficient_quota".to_owned(),
            format!("{API_KEY} of {NAME} is out of money"),
        ),
        1 => Reply::Error(429, "rate_limit_exceeded".to_owned(), format!("{API_KEY}: {ANSWER}")),
        2 => Reply::Text(format!("Here is what {NAME} ({PHONE}) said: {ANSWER}")),
        _ => bakery::answer(&script, asked),
    })
    .with_key(API_KEY);
    let practice = holding(&[json!({
        "patients": [
            {"PatientGUID": guid(1), "PatientFirstName": NAME, "PatientLastName": NAME, "PatientBirthDate": BORN,
                "PatientEmail": E_MAIL, "PatientPhone": PHONE},
            {"PatientGUID": guid(2), "PatientFirstName": NAME, "PatientLastName": NAME},
        ],
        "appointments": [{"AppointmentGUID": guid(102), "PatientGUID": guid(2), "AppointmentDateTime": AT,
            "AppointmentStatusDescription": "Scheduled", "AppointmentNote": RECORD}],
    })])
    .with_credentials(CLIENT_ID, USER, PASSWORD);
    let page = format!("<GetDataResponse>{CLIENT_ID} {USER} {PASSWORD} {NAME} {RECORD}");
    for (fault, times) in [
        (cloud9::Fault::Code(1), 1),
        (cloud9::Fault::Code(7), 1),
        (cloud9::Fault::Code(8), 1),
        (cloud9::Fault::Body(page), 1),
        (cloud9::Fault::Cut, 1),
        (cloud9::Fault::ErrorResult, 1),
        (cloud9::Fault::Hang, 1),
    ] {
        practice.fail("", fault, times);
    }
    let langfuse = Arc::new(FakeLangfuse::new(Version::V4));
    langfuse.ingest(sent(&sessions, hours_ago(3)));
    for fault in [
        langfuse::Fault::Status(503),
        langfuse::Fault::CutJson,
        langfuse::Fault::CutBody,
        langfuse::Fault::RateLimited(0),
        langfuse::Fault::Status(401),
        langfuse::Fault::Hang,
    ] {
        langfuse.fault(fault, When::Next(1), None);
    }
    let plan = Plan::of(&sessions)
        .bundle("")
        .practice(practice)
        .set_practice("timeout", "'500ms'")
        .model(model)
        .set("llm", "api_key", "'file:key'")
        .set("schedule", "discover_sessions", "'* * * * *'")
        // The clock is moved by minutes: nobody's lease may end of it.
        .set("queue", "lease", "'24h'")
        .files(&[("key", API_KEY)]);
    let (plan, server) = with_project(plan, &langfuse, LANGFUSE_KEY).await;
    let world = plan.start().await;
    for (file, content) in [("client_id", CLIENT_ID), ("user", USER), ("password", PASSWORD)] {
        std::fs::write(world.path(file), content).unwrap();
    }
    (world, server)
}

async fn nothing_private_of_langfuse_and_cloud9_is_logged_even_at_level_trace() {
    let (world, _server) = practice_world().await;
    let everything = "trace,hyper=trace,reqwest=trace,rustls=trace,sqlx=trace,h2=trace,quick_xml=trace";
    let db = world.db().await;
    let mut child = world.child(&[("AFTERCALL_LOG", everything), ("RUST_LOG", everything)]);
    // A minute passes whenever nothing is to be done before: between two equal scans, and until closed gates are tried.
    let runs = || {
        let runs = child.runs();
        let db = db.clone();
        async move {
            let pending = inspect::pending_work(&db).await.unwrap();
            if runs && pending.due_now == 0 && pending.running == 0 {
                db.advance_clock(Duration::from_secs(20)).await.unwrap();
            }
            !runs
        }
    };
    until("the process ends", runs).await;
    let ended = child.ended().await;
    assert!(ended.status.success(), "{ended}");
    assert!(ended.err.len() > 1_000, "it was to log at level trace: {ended}");
    let mut outputs = vec![("stdout".to_owned(), ended.out), ("stderr".to_owned(), ended.err)];
    assert_eq!(
        count(&db, "SELECT COUNT(*) AS n FROM verdicts WHERE status <> 'error'").await,
        3
    );
    assert!(world.practice().requests().len() > 7, "it was met with every fault");
    db.close().await;
    for command in [
        &["jobs", "list", "--json"][..],
        &["queues", "--json"],
        &["gate", "list", "--json"],
        &["check", "--json"],
    ] {
        let shown = Child::start(&world, command, &[("AFTERCALL_LOG", everything)])
            .ended()
            .await;
        outputs.push((format!("{command:?}"), shown.out + &shown.err));
    }
    let keys = keys();
    let private = [
        PHONE,
        TOOL_INPUT,
        TOOL_OUTPUT,
        TOOL_ERROR,
        RECORD,
        ANSWER,
        E_MAIL,
        BORN,
        SAID,
    ];
    for (shown, said) in &outputs {
        // The table at the end of a run is for the person who asked: the words of a verdict name the child.
        let name = (shown != "stdout").then_some(NAME);
        for secret in private.into_iter().chain(name).chain(keys.iter().map(String::as_str)) {
            let at = said.find(secret);
            let around = at.map(|at| &said[said.floor_char_boundary(at.saturating_sub(300))..at + secret.len()]);
            assert_eq!(around, None, "{shown}: `{secret}` was said");
        }
    }
    assert_nowhere(&world, &keys).await;
}

/// Everything that a server keeps of a world.
async fn dump(db: &Db) -> String {
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()";
    let mut dump = String::new();
    for table in db.fetch_all(tables, &[]).await.unwrap() {
        let table: String = table.get("table_name").unwrap();
        let all: &'static str = format!("SELECT CAST(kept AS text) AS line FROM {table} AS kept").leak();
        for row in db.fetch_all(all, &[]).await.unwrap() {
            dump.push_str(&row.get::<String>("line").unwrap());
        }
    }
    dump
}

/// Keys are in no file but their own: not in the database, not in its log.
async fn assert_nowhere(world: &World, keys: &[String]) {
    let own = [
        "langfuse_public",
        "langfuse_secret",
        "client_id",
        "user",
        "password",
        "key",
    ];
    let mut database = 0;
    let db = world.db().await;
    if db.is_server() {
        let content = dump(&db).await;
        database += usize::from(content.contains("p-1"));
        for key in keys {
            assert!(!content.contains(key.as_str()), "`{key}` is in the database");
        }
    }
    db.close().await;
    for entry in std::fs::read_dir(world.directory()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if own.contains(&name.as_str()) {
            continue;
        }
        let content = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        database += usize::from(name.starts_with("aftercall.db") && content.contains("p-1"));
        for key in keys {
            assert!(!content.contains(key.as_str()), "`{key}` is in {name}");
        }
    }
    assert!(database > 0, "the database was read");
}
