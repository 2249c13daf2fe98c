//! Sessions of a clinic, checked in its FHIR server by a playbook that says little but which preset it builds on.

use aftercall::db::Db;
use serde_json::{Value, json};

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session},
        fhir::Fhir,
        state::{broken_promises, count, document, waiting},
        until,
        world::{Plan, World, idle},
    },
};

on_each_engine! {
    a_session_is_judged_by_what_the_fhir_server_holds,
    an_appointment_without_an_id_is_found_among_those_of_the_patient,
    a_server_in_trouble_closes_the_gate_and_its_words_are_not_kept,
    ids_of_a_transcript_choose_no_path_of_the_server,
}

const PLAYBOOK: &str = include_str!("../support/clinic.toml");
/// The time that all sessions agree on, as callers and tools write it.
const AT: &str = "2026-09-14T09:30";

/// This world's sessions, read as they say, checked in this server.
async fn world(sessions: &[Session], fhir: &Fhir, playbook: &str) -> World {
    let system = format!(
        "[[records]]\nname = 'clinic'\nkind = 'http'\npreset = 'fhir-r4'\nbase_url = '{url}/fhir'\npace = '0s'\ntimeout = '2s'\n\
         [records.auth]\nkind = 'oauth2'\ntoken_url = '{url}/oauth/token'\nclient_id = 'aftercall'\nclient_secret = 'file:./client_secret'\n\
         scope = 'system/*.read'\n",
        url = fhir.url
    );
    Plan::of(sessions)
        .files(&[("clinic.toml", playbook), ("client_secret", "hidden-from-all")])
        .set("source", "playbook", "'./clinic.toml'")
        .append(&system)
        .model(bakery::model(sessions))
        .start()
        .await
}

/// The same, come to rest. The database lives as long as its world.
async fn judged(sessions: &[Session], fhir: &Fhir, playbook: &str) -> (World, Db) {
    let world = world(sessions, fhir, playbook).await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    (world, db)
}

/// A wish of Ada's, as a language model reads it.
fn wish(intent: &str, operation: &str, fields: &Value) -> Value {
    json!({"intent": intent, "confidence": 0.95, "summary": "An appointment.", "details": [], "statements": [],
        "requests": [{"operation": operation, "record": "appointment", "subject": "Ada Lindqvist", "id": null, "fields": fields,
            "quote": "appointment", "turn": 1, "withdrawn": null}]})
}

fn start() -> Value {
    json!([{"name": "start", "value": AT}])
}

fn book(session: Session, output: &Value) -> Session {
    session.call(
        "appointments",
        json!({"action": "book", "patient": "Ada Lindqvist", "start": AT}),
        output.clone(),
    )
}

fn cancel(session: Session, appointment: &str) -> Session {
    session.call(
        "appointments",
        json!({"action": "cancel", "patient": "Ada Lindqvist", "id": appointment}),
        json!({"ok": true}),
    )
}

/// The tool says that it booked this appointment.
fn booking(id: &str, output: &Value) -> Session {
    let session = Session::new(id).turn("I want to book an appointment for Ada Lindqvist.", "It is booked.");
    book(session, output).reads(wish("booking", "create", &start()))
}

fn cancellation(id: &str, appointment: &str) -> Session {
    let session = Session::new(id).turn("Please cancel my appointment.", "It is cancelled.");
    cancel(session, appointment).reads(wish("cancellation", "cancel", &json!([])))
}

fn rescheduling(id: &str, old: &str, new: &str) -> Session {
    let session = Session::new(id).turn("Please move my appointment.", "It has been moved.");
    book(cancel(session, old), &json!({"id": new})).reads(wish("rescheduling", "update", &start()))
}

/// Status and the first finding's outcome and reason.
async fn said(db: &Db, session: &str) -> (String, String, String) {
    let verdict = document(db, session).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let finding = &verdict["findings"][0];
    (
        text(&verdict["status"]),
        text(&finding["outcome"]),
        text(&finding["why"]),
    )
}

async fn a_session_is_judged_by_what_the_fhir_server_holds() {
    let fhir = Fhir::start().await;
    let booked = |id: &str, appointment: &str| booking(id, &json!({"id": appointment}));
    let cases = [
        (booked("confirmed", "a-booked"), "pass", "confirmed", ""),
        (booked("not-there", "a-404"), "fail", "missing", "no such appointment"),
        (booked("deleted", "a-deleted"), "fail", "missing", "no such appointment"),
        (booked("other-time", "a-other-time"), "fail", "wrong", ""),
        (booked("was-cancelled", "a-cancelled"), "fail", "missing", "cancelled"),
        (booked("only-proposed", "a-proposed"), "fail", "missing", "as gone"),
        (booked("by-mistake", "a-mistake"), "fail", "missing", "as gone"),
        (cancellation("cancelled", "a-cancelled"), "pass", "confirmed", ""),
        (
            cancellation("cancelled-and-deleted", "a-deleted"),
            "pass",
            "confirmed",
            "",
        ),
        (cancellation("not-cancelled", "a-booked"), "fail", "missing", ""),
        (
            rescheduling("moved", "a-cancelled", "a-booked"),
            "pass",
            "confirmed",
            "",
        ),
        (
            rescheduling("both", "a-other-time", "a-booked"),
            "fail",
            "wrong",
            "so is the old one",
        ),
    ];
    let sessions: Vec<Session> = cases.iter().map(|(session, ..)| session.clone()).collect();
    let (_world, db) = judged(&sessions, &fhir, PLAYBOOK).await;
    for (session, status, outcome, why) in &cases {
        let (found, finding, reason) = said(&db, &session.id).await;
        assert_eq!(
            (found.as_str(), finding.as_str()),
            (*status, *outcome),
            "{}: {reason}",
            session.id
        );
        assert!(reason.contains(why), "{}: {reason}", session.id);
    }
    let wrong = &document(&db, "other-time").await["findings"][0]["fields"][0];
    assert_eq!(
        (&wrong["name"], &wrong["actual"]),
        (&json!("start"), &json!("2026-09-15T13:30:00Z"))
    );
    assert_eq!(fhir.tokens(), 1, "one token does for all");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
}

async fn an_appointment_without_an_id_is_found_among_those_of_the_patient() {
    let fhir = Fhir::start().await;
    let playbook = PLAYBOOK.replace("fhir-r4/appointment\"", "fhir-r4/appointments-of-patient\"");
    let sessions = [
        booking("promised", &json!({"status": "accepted"})),
        booking("named", &json!({"id": "a-booked"})),
        booking("of-another", &json!({"id": "a-other-time"})),
    ];
    let (_world, db) = judged(&sessions, &fhir, &playbook).await;
    assert_eq!(said(&db, "promised").await.0, "pass");
    assert_eq!(said(&db, "named").await.0, "pass");
    let (status, outcome, _) = said(&db, "of-another").await;
    assert_eq!(
        (status.as_str(), outcome.as_str()),
        ("fail", "missing"),
        "it is not one of Ada's"
    );
    let asked = fhir.asked();
    // Three patients have names that begin like hers, and she is on the second page.
    assert!(
        asked.contains(&"/fhir/Patient?name=Ada&name=Lindqvist&_count=100".to_owned()),
        "{asked:?}"
    );
    assert!(
        asked.iter().any(|target| target.starts_with("/fhir?_getpages=")),
        "{asked:?}"
    );
    assert!(
        asked.contains(&"/fhir/Appointment?_count=100&patient=p-ada".to_owned()),
        "{asked:?}"
    );
    let rows = db
        .fetch_all("SELECT request FROM lookups ORDER BY seq", &[])
        .await
        .unwrap();
    let requests: Vec<String> = rows.iter().map(|row| row.get("request").unwrap()).collect();
    assert!(
        requests.iter().any(|request| request.ends_with("(2 pages)")),
        "{requests:?}"
    );
    assert!(!requests.concat().contains("token-"), "{requests:?}");
}

async fn a_server_in_trouble_closes_the_gate_and_its_words_are_not_kept() {
    let fhir = Fhir::start().await;
    fhir.set_down(true);
    let world = world(&[booking("s-1", &json!({"id": "a-booked"}))], &fhir, PLAYBOOK).await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("the session waits for the server", async || {
        let waits = waiting(&db).await;
        waits.iter().any(|(_, why)| {
            why.contains("records:clinic is not available (unreachable)") && why.contains("(status 500): exception")
        })
    })
    .await;
    let waits = waiting(&db).await;
    assert!(!format!("{waits:?}").contains("index unavailable"), "{waits:?}");
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 0);
    fhir.set_down(false);
    idle(&pipeline).await;
    pipeline.shutdown().await;
    assert_eq!(said(&db, "s-1").await.0, "pass");
    assert_eq!(
        count(&db, "SELECT MAX(attempt) AS n FROM jobs").await,
        1,
        "no attempt is burnt"
    );
}

async fn ids_of_a_transcript_choose_no_path_of_the_server() {
    let fhir = Fhir::start().await;
    let ids = [
        "../../admin",
        "%2e%2e/%2e%2e/admin",
        "..",
        "//evil.example/fhir",
        "http://evil.example/fhir",
        "a-booked?_format=xml",
        "a-booked#x",
        "a-booked\r\nX-Admin: 1",
        "a-booked/$everything",
    ];
    let sessions: Vec<Session> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| booking(&format!("s-{number}"), &json!({"id": id})))
        .collect();
    let (_world, db) = judged(&sessions, &fhir, PLAYBOOK).await;
    for session in &sessions {
        assert_ne!(said(&db, &session.id).await.0, "pass", "{}", session.id);
    }
    let asked = fhir.asked();
    assert!(!asked.is_empty());
    for target in asked {
        let id = target
            .strip_prefix("/fhir/Appointment/")
            .unwrap_or_else(|| panic!("{target}"));
        assert!(!id.contains(['/', '?', '#', '&', '\\']), "{target}");
    }
}
