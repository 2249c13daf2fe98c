//! The judge on the real airline sessions, without pipeline: every session gets a verdict with the offline reader, and with
//! readings made from the labels (a perfect reader) the verdicts agree with the labels.
//!
//! The data is not part of the repository: the tests say that they were skipped where `AFTERCALL_AIRLINE_DIR` is not set.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use aftercall::{
    adapters::offline_classifier,
    domain::{
        judge::{self, Case},
        lookup::{Fact, Facts, Lookup},
        observation::{Observation, Snapshot},
        playbook::Playbook,
        reading::{Reading, check},
        session::SessionKey,
        transcript::Transcript,
        verdict::{Status, Verdict},
    },
    eval::Says,
};
use serde_json::{Value, json};

struct Airline {
    sessions: BTreeMap<String, Snapshot>,
    reservations: Value,
    users: Value,
    after: Value,
    labels: Vec<Value>,
}

/// Where the data is; says that the test was skipped where it is not.
pub(super) fn directory(test: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("AFTERCALL_AIRLINE_DIR").map(PathBuf::from);
    if directory.is_none() {
        println!("SKIPPED {test}: AFTERCALL_AIRLINE_DIR is not set");
    }
    directory
}

fn load(directory: &Path) -> Airline {
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<Value>(&text(name)).unwrap();
    let mut sessions: BTreeMap<String, Snapshot> = BTreeMap::new();
    for line in text("observations.jsonl").lines() {
        let observation: Observation = serde_json::from_str(line).unwrap();
        let session = observation.session_id.clone().unwrap();
        sessions
            .entry(session)
            .or_insert_with(|| Snapshot {
                observations: Vec::new(),
                cut: None,
            })
            .observations
            .push(observation);
    }
    Airline {
        sessions,
        reservations: json("reservations_before.json"),
        users: json("users_before.json"),
        after: json("records_after.json"),
        labels: text("labels.jsonl")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}

/// As `aftercall sandbox records` answers: what the session changed, over what was there before.
fn answer(airline: &Airline, session: &str, lookup: &Lookup) -> Fact {
    let id = lookup.id.as_deref().unwrap();
    let (folder, before) = match lookup.record.as_str() {
        "reservation" => ("reservations", &airline.reservations),
        "user" => ("users", &airline.users),
        other => panic!("unexpected record {other}"),
    };
    let changed = airline
        .after
        .get(session)
        .and_then(|records| records.get(format!("{folder}/{id}")));
    changed
        .or_else(|| before.get(id))
        .map_or(Fact::Absent, |record| Fact::Found { record: record.clone() })
}

fn verdict(airline: &Airline, playbook: &Playbook, session: &str) -> (Verdict, Case) {
    let transcript = Transcript::of(&airline.sessions[session], playbook);
    let read = offline_classifier::read(playbook, &transcript, "no LLM configured");
    let case = Case::new(playbook, SessionKey::new("airline", session), transcript, read, false);
    let mut facts = Facts::new();
    loop {
        let lookups = judge::plan(playbook, &case, &facts);
        if lookups.is_empty() {
            break;
        }
        for lookup in lookups {
            let fact = answer(airline, session, &lookup);
            assert!(facts.insert(lookup, fact).is_none(), "a lookup was asked twice");
        }
    }
    let verdict = judge::judge(playbook, &case, &facts, 1);
    assert_eq!(
        verdict,
        judge::judge(playbook, &case, &facts, 1),
        "the judge is deterministic"
    );
    (verdict, case)
}

/// A reading that names exactly what should have been written.
pub(super) fn perfect(label: &Value) -> Reading {
    let mut requests = Vec::new();
    for write in label["expected_writes"].as_array().unwrap() {
        let mut fields = write["kwargs"].clone();
        let (operation, record, id) = match write["name"].as_str().unwrap() {
            "book_reservation" => ("create", "reservation", Value::Null),
            "cancel_reservation" => ("cancel", "reservation", fields["reservation_id"].take()),
            "send_certificate" => ("update", "user", fields["user_id"].take()),
            _ => ("update", "reservation", fields["reservation_id"].take()),
        };
        requests.push(json!({"operation": operation, "record": record, "id": id, "fields": fields}));
    }
    let intent = if requests.is_empty() { "information" } else { "change" };
    serde_json::from_value(json!({"intent": intent, "confidence": 1.0, "requests": requests})).unwrap()
}

#[test]
fn every_airline_session_is_read_and_gets_a_verdict_with_the_offline_reader() {
    let Some(directory) = directory("every_airline_session_is_read_and_gets_a_verdict_with_the_offline_reader") else {
        return;
    };
    let airline = load(&directory);
    let playbook = Playbook::built_in("airline").unwrap();
    let mut tally: BTreeMap<String, u32> = BTreeMap::new();
    let mut agree = 0;
    for label in &airline.labels {
        let session = label["session_id"].as_str().unwrap();
        let (verdict, case) = verdict(&airline, &playbook, session);
        assert!(case.transcript.turns.len() >= 2, "{session}");
        assert_ne!(verdict.status, Status::Error, "{session}: {}", verdict.summary);
        let (_, dropped) = check(case.reading.clone(), &case.transcript, &playbook);
        assert_eq!(dropped, Vec::<String>::new(), "{session}");
        *tally
            .entry(format!("{} {}", verdict.status.as_str(), verdict.reason.as_str()))
            .or_default() += 1;
        let truth = if label["db_state_correct"].as_bool().unwrap() {
            Says::Correct
        } else {
            Says::Incorrect
        };
        agree += u32::from(Says::of(&verdict) == truth);
    }
    println!("offline reader: {agree} of {} agree; {tally:#?}", airline.labels.len());
    assert_eq!(tally.values().sum::<u32>() as usize, airline.sessions.len());
}
