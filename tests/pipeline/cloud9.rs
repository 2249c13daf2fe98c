//! Complete sessions of an orthodontic practice, checked in its Cloud9.

use aftercall::sandbox::{
    cloud9::{GuidCase, Namespace, Practice},
    demo,
};
use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        practice::{Rested, example, lines_of, plan},
        state::verdicts,
        world::Plan,
    },
};

on_each_engine! {
    the_three_complete_sessions_end_as_told,
    the_shape_of_the_answers_changes_no_verdict,
    a_practice_in_another_zone_than_the_playbooks_means_its_own_time,
    evidence_names_the_procedures_and_no_credentials,
    the_demos_sessions_end_alike_on_a_records_server_and_on_cloud9,
}

fn examples(names: &[&str], practice: Practice) -> Plan {
    let mut lines = String::new();
    for name in names {
        let example = example(name);
        practice.add(&example);
        lines.push_str(&lines_of(&example));
    }
    plan(&[], practice).bundle(lines)
}

const EXAMPLES: [&str; 3] = ["1-pass", "2-fail", "3-partial"];

async fn end_as_told(rested: &Rested) {
    assert_eq!(
        rested.said("lf-ex1").await,
        (
            "pass".to_owned(),
            "all_confirmed".to_owned(),
            "Parent record verified. 1 of 1 child fully verified (Ines: pass).".to_owned()
        )
    );
    assert_eq!(
        rested.said("lf-ex2").await,
        (
            "fail".to_owned(),
            "said_done_not_there".to_owned(),
            "0 of 1 child fully verified (Milo Reyes: no appointment record).".to_owned()
        )
    );
    assert_eq!(
        rested.said("lf-ex3").await,
        (
            "partial".to_owned(),
            "said_done_not_there".to_owned(),
            "Parent record verified. 1 of 2 children fully verified (Teo: pass; Mila: no appointment record)."
                .to_owned()
        )
    );
}

async fn the_three_complete_sessions_end_as_told() {
    let rested = Rested::of(examples(&EXAMPLES, Practice::new())).await;
    end_as_told(&rested).await;
    assert_eq!(
        rested.verdict("lf-ex1").await["looks"],
        1,
        "what is there is not looked for again"
    );
    assert_eq!(rested.verdict("lf-ex2").await["looks"], 4, "what is not there is");
}

async fn the_shape_of_the_answers_changes_no_verdict() {
    let practice = Practice::new();
    practice.set_namespace(Namespace::Wrong);
    practice.set_guid_case(GuidCase::Upper);
    end_as_told(&Rested::of(examples(&EXAMPLES, practice)).await).await;
}

async fn a_practice_in_another_zone_than_the_playbooks_means_its_own_time() {
    let practice = Practice::new();
    let phoenix =
        json!({"locations": [{"LocationGUID": "424b1fee-9709-4315-85d9-5954058b4714", "TimeZone": "America/Phoenix"}]});
    practice.add(&phoenix);
    let rested = Rested::of(examples(&["1-pass"], practice)).await;
    rested.ended("lf-ex1", "pass", "all_confirmed").await;
    let found = rested.finding("lf-ex1", "appointment", "Ines").await;
    assert_eq!(found["fields"][0]["actual"], "3/17/2026 9:50:00 AM [America/Phoenix]");
}

async fn evidence_names_the_procedures_and_no_credentials() {
    let rested = Rested::of(examples(&["1-pass"], Practice::new())).await;
    let rows = rested
        .db
        .fetch_all("SELECT request FROM lookups ORDER BY seq", &[])
        .await
        .unwrap();
    let requests: Vec<String> = rows.iter().map(|row| row.get("request").unwrap()).collect();
    assert!(requests.contains(&"GetAppointmentListByPatient(patGUID=5108d45a-3a0b-4176-82fd-502cdbf880d8)".to_owned()));
    assert!(requests.contains(&"GetPatientInformation(patguid=69168fc1-fff7-413d-96fc-df860b1ab892)".to_owned()));
    assert!(!requests.concat().contains("sandbox-"), "{requests:?}");
}

async fn the_demos_sessions_end_alike_on_a_records_server_and_on_cloud9() {
    let sessions = demo::sessions().unwrap();
    let practice = Practice::new();
    for session in &sessions {
        for held in &session.records {
            let list = match held.path.0.as_str() {
                "patients" => json!({"patients": [held.record]}),
                "appointments_of_patient" => {
                    let mut list = held.record.clone();
                    for appointment in list.as_array_mut().unwrap() {
                        appointment["after_looks"] = held.after_looks.into();
                    }
                    json!({ "appointments": list })
                }
                _ => continue, // a search finds the patients themselves
            };
            practice.add(&list);
        }
    }
    let bundle = demo::bundle_jsonl(&sessions).unwrap();
    let plan = plan(&[], practice)
        .bundle(bundle)
        .model(demo::language_model(&sessions));
    let rested = Rested::of(plan).await;
    let expected: Vec<(String, String, String)> = sessions
        .iter()
        .map(|session| {
            (
                session.id.clone(),
                session.status.as_str().to_owned(),
                session.reason.as_str().to_owned(),
            )
        })
        .collect();
    assert_eq!(verdicts(&rested.db).await, expected);
}
