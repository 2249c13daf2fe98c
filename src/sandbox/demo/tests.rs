//! Each session is judged here as the pipeline judges it, without a server between.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::{
    adapters::offline_classifier,
    domain::{
        claim::claims,
        diagnosis::{self, Diagnosis, ExpertReport, ExpertResult, FaultOwner, RootCause},
        judge::{self, Case},
        lookup::{Fact, Facts, Lookup},
        observation::Snapshot,
        playbook::Playbook,
        reading::{Reader, Reading},
        session::SessionKey,
        transcript::Transcript,
        verdict::Verdict,
    },
};

fn playbook() -> Playbook {
    let (_, text) = Playbook::BUILT_IN.iter().find(|(name, _)| *name == PLAYBOOK).unwrap();
    Playbook::parse(PLAYBOOK, text).unwrap()
}

/// The reading that counts, as the schema has it or with pairs where strict schemas allow no free keys.
fn reading(session: &DemoSession) -> Reading {
    let mut value: Value = serde_json::from_str(session.answers.last().unwrap()).unwrap();
    let pairs = value["details"].take();
    value["details"] = pairs
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair["name"].as_str().unwrap().to_owned(), pair["value"].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    serde_json::from_value(value).unwrap()
}

fn case(playbook: &Playbook, session: &DemoSession) -> Case {
    let mut observations = session.observations.clone();
    observations.sort_by(|a, b| (a.start_time, &a.id).cmp(&(b.start_time, &b.id)));
    let transcript = Transcript::of(
        &Snapshot {
            observations,
            cut: None,
        },
        playbook,
    );
    Case {
        session: SessionKey::new("demo", &session.id),
        claims: claims(playbook, &transcript),
        reading: reading(session),
        reader: Reader::File,
        transcript,
        incomplete: false,
    }
}

/// What the practice answers on a look.
fn answer(session: &DemoSession, lookup: &Lookup, look: u64) -> Fact {
    let path = match lookup.record.as_str() {
        "patient" => ("patients", lookup.id.as_deref().unwrap()),
        "appointment" => ("appointments_of_patient", lookup.keys["patient"].as_str()),
        "patient_by_name" => ("patients_by_name", lookup.keys["name"].as_str()),
        other => panic!("the demo has no {other}"),
    };
    let found = session
        .records
        .iter()
        .find(|record| (record.path.0.as_str(), record.path.1.as_str()) == path);
    match found {
        Some(found) if look >= found.after_looks => Fact::Found {
            record: found.record.clone(),
        },
        _ => Fact::Absent,
    }
}

/// Looks until nothing is left to ask, then looks again as often as the demo does.
fn judged(playbook: &Playbook, session: &DemoSession, case: &Case) -> Verdict {
    let mut facts = Facts::new();
    let mut look = 0;
    loop {
        loop {
            let wanted = judge::plan(playbook, case, &facts);
            if wanted.is_empty() {
                break;
            }
            for lookup in wanted {
                let fact = answer(session, &lookup, look);
                facts.insert(lookup, fact);
            }
        }
        let again = judge::look_again(playbook, case, &facts);
        if again.is_empty() || look == 2 {
            break;
        }
        look += 1;
        for lookup in again {
            facts.remove(&lookup);
        }
    }
    judge::judge(playbook, case, &facts, u32::try_from(look).unwrap() + 1)
}

fn diagnosed(playbook: &Playbook, session: &DemoSession, case: &Case, verdict: &Verdict) -> Diagnosis {
    let explanation = diagnosis::explain(playbook, case, verdict);
    let mut reports = Vec::new();
    for route in &explanation.experts {
        let (_, answer) = session
            .experts
            .iter()
            .find(|(id, _)| *id == route.expert)
            .unwrap_or_else(|| panic!("{}: no answer of the expert {}", session.id, route.expert));
        let finding: RootCause = serde_json::from_str(answer).unwrap();
        reports.push(ExpertReport {
            expert: route.expert.clone(),
            why: route.why.clone(),
            result: match diagnosis::check(finding, case) {
                Ok(finding) => ExpertResult::Answered {
                    finding,
                    model: "scripted".to_owned(),
                },
                Err(reason) => ExpertResult::Rejected { reason },
            },
        });
    }
    diagnosis::assemble(explanation, reports)
}

fn session(id: &str) -> DemoSession {
    sessions()
        .unwrap()
        .into_iter()
        .find(|session| session.id == id)
        .unwrap()
}

fn diagnosis_of(id: &str) -> Diagnosis {
    let (playbook, session) = (playbook(), session(id));
    let case = case(&playbook, &session);
    let verdict = judged(&playbook, &session, &case);
    diagnosed(&playbook, &session, &case, &verdict)
}

#[test]
fn every_session_gets_the_verdict_that_it_was_written_for() {
    let playbook = playbook();
    let mut wrong = Vec::new();
    for session in sessions().unwrap() {
        let case = case(&playbook, &session);
        let verdict = judged(&playbook, &session, &case);
        if (verdict.status, verdict.reason) != (session.status, session.reason) {
            wrong.push(format!("{}: {verdict:#?}", session.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_demo_shows_every_intent_and_every_status() {
    let sessions = sessions().unwrap();
    assert!(sessions.len() >= 14);
    let intents: BTreeSet<String> = sessions.iter().map(|session| reading(session).intent).collect();
    let expected = ["booking", "cancellation", "info_lookup", "rescheduling", "unknown"].map(str::to_owned);
    assert_eq!(intents, BTreeSet::from(expected));
    for status in [Status::Pass, Status::Partial, Status::Fail, Status::Skipped] {
        assert!(sessions.iter().any(|session| session.status == status), "{status:?}");
    }
    for reason in [
        Reason::Declined,
        Reason::Withdrawn,
        Reason::LowConfidence,
        Reason::NothingToVerify,
    ] {
        assert!(sessions.iter().any(|session| session.reason == reason), "{reason:?}");
    }
    let failing = sessions
        .iter()
        .filter(|session| session.status.needs_diagnosis())
        .count();
    assert!(failing <= 6, "more diagnoses than two rate windows hold: {failing}");
}

#[test]
fn a_session_is_known_to_the_model_by_words_of_its_own() {
    let (playbook, sessions) = (playbook(), sessions().unwrap());
    for session in &sessions {
        let spoken: Vec<String> = sessions
            .iter()
            .filter(|other| {
                let case = case(&playbook, other);
                case.transcript
                    .turns
                    .iter()
                    .any(|turn| turn.text.contains(&session.marker))
            })
            .map(|other| other.id.clone())
            .collect();
        assert_eq!(spoken, std::slice::from_ref(&session.id));
    }
}

#[test]
fn a_wrapper_span_and_the_frameworks_steps_make_no_calls() {
    let (playbook, session) = (playbook(), session("demo-01-booked"));
    let case = case(&playbook, &session);
    let calls: Vec<(&str, Option<&str>)> = case
        .transcript
        .calls
        .iter()
        .map(|call| (call.tool.as_str(), call.action.as_deref()))
        .collect();
    assert_eq!(
        calls,
        [
            ("date_time", None),
            ("patient", Some("lookup")),
            ("schedule", Some("slots")),
            ("schedule", Some("book_child"))
        ]
    );
    assert!(
        case.transcript
            .turns
            .iter()
            .all(|turn| !turn.text.contains("PAYLOAD") && !turn.text.contains("ANSWER"))
    );
}

#[test]
fn every_failure_is_explained_by_rules_whose_evidence_is_in_the_session() {
    let playbook = playbook();
    for session in sessions()
        .unwrap()
        .into_iter()
        .filter(|session| session.status.needs_diagnosis())
    {
        let case = case(&playbook, &session);
        let verdict = judged(&playbook, &session, &case);
        let explanation = diagnosis::explain(&playbook, &case, &verdict);
        assert_ne!(explanation.root_cause.failure, "unknown", "{}", session.id);
        assert!(!explanation.root_cause.quotes.is_empty(), "{}", session.id);
        assert!(!explanation.experts.is_empty(), "{}", session.id);
        assert_eq!(
            diagnosis::problems(&explanation.root_cause, &case),
            Vec::<String>::new(),
            "{}",
            session.id
        );
        assert_eq!(explanation, diagnosis::explain(&playbook, &case, &verdict));
    }
}

#[test]
fn the_rules_name_who_has_to_act() {
    let playbook = playbook();
    for (id, owner, failure) in [
        ("demo-11-error-hidden", FaultOwner::Agent, "tool_error_ignored"),
        (
            "demo-12-second-child-queued",
            FaultOwner::Environment,
            "queued_never_worked",
        ),
        ("demo-13-hostile", FaultOwner::Agent, "tool_error_ignored"),
        ("demo-14-other-time", FaultOwner::Agent, "record_differs"),
        (
            "demo-15-cancel-never-called",
            FaultOwner::Agent,
            "confirmed_without_call",
        ),
    ] {
        let session = session(id);
        let case = case(&playbook, &session);
        let verdict = judged(&playbook, &session, &case);
        let explained = diagnosis::explain(&playbook, &case, &verdict).root_cause;
        assert_eq!(
            (explained.owner, explained.failure.as_str()),
            (owner, failure),
            "{id}: {verdict:#?}"
        );
    }
}

#[test]
fn the_experts_of_an_ignored_error_are_those_of_the_tool_the_flow_and_the_prompt() {
    let diagnosis = diagnosis_of("demo-11-error-hidden");
    let asked: Vec<&str> = diagnosis.experts.iter().map(|report| report.expert.as_str()).collect();
    assert_eq!(asked, ["scheduling_tool", "nodered_flow", "system_prompt"]);
    assert_eq!(
        (diagnosis.basis.as_str(), diagnosis.root_cause.failure.as_str()),
        ("experts", "tool_error_ignored")
    );
}

#[test]
fn every_expert_that_would_be_asked_has_its_answer_and_it_holds_except_for_the_hostile_session() {
    let playbook = playbook();
    for session in sessions()
        .unwrap()
        .into_iter()
        .filter(|session| session.status.needs_diagnosis())
    {
        let case = case(&playbook, &session);
        let verdict = judged(&playbook, &session, &case);
        let diagnosis = diagnosed(&playbook, &session, &case, &verdict);
        let expected = if session.id == "demo-13-hostile" {
            "rules"
        } else {
            "experts"
        };
        assert_eq!(diagnosis.basis, expected, "{}: {:#?}", session.id, diagnosis.experts);
        for report in &diagnosis.experts {
            let rejected = matches!(report.result, ExpertResult::Rejected { .. });
            assert_eq!(rejected, session.id == "demo-13-hostile", "{}: {report:?}", session.id);
        }
    }
}

#[test]
fn a_transcript_that_asks_for_success_gets_none_and_reaches_no_report_raw() {
    let diagnosis = diagnosis_of("demo-13-hostile");
    let verdict_is = session("demo-13-hostile").status;
    assert_eq!(verdict_is, Status::Fail);
    let markdown = &diagnosis.markdown;
    assert!(
        !markdown.chars().any(|letter| letter.is_control() && letter != '\n'),
        "{markdown:?}"
    );
    assert!(
        !markdown.contains("<script>") && !markdown.contains("**PASS**"),
        "{markdown}"
    );
    assert_eq!(diagnosis.root_cause.owner, FaultOwner::Agent);
}

/// It reads no times: what differs only in one needs a model or the user's own readings.
#[test]
fn a_reader_without_a_model_makes_no_pass_of_what_is_not_there() {
    let playbook = playbook();
    let absent = |session: &DemoSession| session.reason == Reason::SaidDoneNotThere;
    for session in sessions().unwrap().into_iter().filter(absent) {
        let mut case = case(&playbook, &session);
        (case.reading, case.reader) = offline_classifier::read(&playbook, &case.transcript, "no LLM configured");
        let verdict = judged(&playbook, &session, &case);
        assert_ne!(verdict.status, Status::Pass, "{}: {:#?}", session.id, case.reading);
    }
}

#[test]
fn the_bundle_holds_every_observation_on_a_line_of_its_own() {
    let sessions = sessions().unwrap();
    let bundle = bundle_jsonl(&sessions).unwrap();
    let read: Vec<Observation> = bundle.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written: Vec<Observation> = sessions
        .iter()
        .flat_map(|session| session.observations.clone())
        .collect();
    assert_eq!(read, written);
    let ids: BTreeSet<&str> = read.iter().map(|observation| observation.id.as_str()).collect();
    assert_eq!(ids.len(), read.len());
}
