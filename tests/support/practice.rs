//! An orthodontic practice: sessions of its voice agent, and the Cloud9 that they are checked against.

use std::{fmt::Write as _, sync::Arc};

use aftercall::{db::Db, sandbox::cloud9::Practice};
use serde_json::{Value, json};

use super::{
    bakery::{self, Session},
    state::document,
    world::{Plan, World},
};

/// A GUID of its own for each number.
pub(crate) fn guid(number: u32) -> String {
    format!("{number:08x}-5d1e-4c07-9b3a-0000000e9ef7")
}

/// The time that all sessions agree on, as the tools and the practice write it.
pub(crate) const AT: &str = "3/18/2026 1:20:00 PM";

/// A patient of the practice, Lind by last name.
pub(crate) fn patient(number: u32, first_name: &str) -> Value {
    json!({"patients": [{"PatientGUID": guid(number), "PatientFirstName": first_name, "PatientLastName": "Lind"}]})
}

/// An appointment at [`AT`].
pub(crate) fn appointment(number: u32, patient: u32, status: &str) -> Value {
    json!({"appointments": [{"AppointmentGUID": guid(number), "PatientGUID": guid(patient),
        "AppointmentDateTime": AT, "AppointmentStatusDescription": status}]})
}

/// A practice of these records.
pub(crate) fn holding(records: &[Value]) -> Practice {
    let practice = Practice::new();
    for records in records {
        practice.add(records);
    }
    practice
}

/// One of the complete examples under `tests/fixtures/orthodontics`.
pub(crate) fn example(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/orthodontics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// An example's observations as lines of a bundle.
pub(crate) fn lines_of(example: &Value) -> String {
    let mut lines = String::new();
    for trace in example["langfuse"]["traces"].as_array().unwrap() {
        for observation in trace["observations"].as_array().unwrap() {
            let mut observation = observation.clone();
            observation["sessionId"] = trace["sessionId"].clone();
            observation["isRootObservation"] = observation["parentObservationId"].is_null().into();
            writeln!(lines, "{observation}").unwrap();
        }
    }
    lines
}

/// A call of the scheduling tool.
pub(crate) fn schedule(session: Session, input: Value, output: Value) -> Session {
    session.call("schedule_appointment_ortho", input, output)
}

/// A call of the patient tool.
pub(crate) fn patient_tool(session: Session, input: Value, output: Value) -> Session {
    session.call("chord_ortho_patient", input, output)
}

/// What became of a child in an answer of `book_child`.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// Patient and appointment by number.
    Booked(u32, u32),
    /// Patient by number.
    Queued(u32),
    /// Patient by number.
    Refused(u32),
}

/// `book_child` for these children of the family Lind, with a parent's file by number.
pub(crate) fn book(session: Session, parent: u32, children: &[(&str, Fate)]) -> Session {
    let input: Vec<Value> = children
        .iter()
        .map(|(name, _)| json!({"firstName": name, "lastName": "Lind", "startTime": AT}))
        .collect();
    let output: Vec<Value> = children
        .iter()
        .map(|(name, fate)| match *fate {
            Fate::Booked(patient, appointment) => {
                json!({"firstName": name, "patientGUID": guid(patient), "success": true,
                "appointment": {"appointmentGUID": guid(appointment), "startTime": AT}})
            }
            Fate::Queued(patient) => {
                json!({"firstName": name, "patientGUID": guid(patient), "queued": true, "status": "queued"})
            }
            Fate::Refused(patient) => json!({"firstName": name, "patientGUID": guid(patient), "success": false,
                "error": "slot no longer available"}),
        })
        .collect();
    schedule(
        session,
        // As the tools of the field do it: a text inside the JSON.
        json!({"action": "book_child", "children": Value::Array(input).to_string()}),
        json!({"parent": {"patientGUID": guid(parent), "firstName": "Anna", "lastName": "Lind"}, "children": output}),
    )
}

/// A parent asks for appointments and is told that all is done.
pub(crate) fn booking(id: &str) -> Session {
    Session::new(id).turn(
        "I want to book an appointment for my children, please.",
        "You are all set.",
    )
}

/// A caller's wish for each of these children, as a language model reads it.
pub(crate) fn wishes(intent: &str, operation: &str, children: &[&str]) -> Value {
    let requests: Vec<Value> = children
        .iter()
        .map(|name| {
            json!({"operation": operation, "record": "appointment", "subject": name, "id": null, "fields": [],
                "quote": "appointment", "turn": 1, "withdrawn": null})
        })
        .collect();
    json!({"intent": intent, "confidence": 0.95, "summary": "The caller wants an appointment.",
        "details": [{"name": "child_names", "value": children}], "requests": requests, "statements": []})
}

/// Sessions of the practice, checked in this Cloud9, read without a language model.
pub(crate) fn plan(sessions: &[Session], practice: Practice) -> Plan {
    Plan::of(sessions)
        .set("source", "playbook", "'orthodontics'")
        .practice(practice)
}

/// The same, read as each session says.
pub(crate) fn read_plan(sessions: &[Session], practice: Practice) -> Plan {
    plan(sessions, practice).model(bakery::model(sessions))
}

/// A world that has come to rest.
pub(crate) struct Rested {
    pub(crate) world: World,
    pub(crate) db: Db,
}

impl Rested {
    /// Runs it. Whatever was asked of the practice, it was well formed and wrote nothing.
    pub(crate) async fn of(plan: Plan) -> Self {
        let world = plan.start().await;
        let db = world.db().await;
        world.run_until_idle(&db).await;
        let rested = Self { world, db };
        let practice = rested.practice();
        assert_eq!(practice.malformed(), Vec::<String>::new());
        assert_eq!(practice.refused_writes(), 0);
        rested
    }

    pub(crate) fn practice(&self) -> Arc<Practice> {
        self.world.practice()
    }

    /// The verdict of a session.
    pub(crate) async fn verdict(&self, session: &str) -> Value {
        document(&self.db, session).await
    }

    /// Status, reason and summary of a session's verdict.
    pub(crate) async fn said(&self, session: &str) -> (String, String, String) {
        let verdict = self.verdict(session).await;
        let text = |key: &str| verdict[key].as_str().unwrap().to_owned();
        (text("status"), text("reason"), text("summary"))
    }

    /// Status and reason of a session's verdict.
    pub(crate) async fn ended(&self, session: &str, status: &str, reason: &str) {
        let verdict = self.verdict(session).await;
        assert_eq!(
            (verdict["status"].as_str(), verdict["reason"].as_str()),
            (Some(status), Some(reason)),
            "{session}: {verdict:#}"
        );
    }

    /// The finding of a session about a kind of record and a subject.
    pub(crate) async fn finding(&self, session: &str, record: &str, subject: &str) -> Value {
        let verdict = self.verdict(session).await;
        let findings = verdict["findings"].as_array().unwrap();
        let is = |finding: &&Value| {
            finding["record"] == record && finding["subject"].as_str().unwrap_or_default().starts_with(subject)
        };
        findings
            .iter()
            .find(is)
            .unwrap_or_else(|| panic!("{session}: no {record} of {subject}: {verdict:#}"))
            .clone()
    }
}
