use super::*;
use crate::domain::{
    observation::{Observation, Snapshot},
    observation_fixture::{orthodontics, snapshot_of},
};

fn claims_of(example: &str) -> Vec<Claim> {
    let playbook = Playbook::built_in("orthodontics").unwrap();
    let transcript = Transcript::of(&snapshot_of(&orthodontics(example)), &playbook);
    claims(&playbook, &transcript)
}

fn brief(claims: &[Claim]) -> Vec<(String, Option<String>, &'static str, bool)> {
    claims
        .iter()
        .map(|claim| {
            let state = match claim.state {
                ClaimState::Done => "done",
                ClaimState::Promised => "promised",
                ClaimState::Failed { .. } => "failed",
            };
            (claim.record.clone(), claim.subject.clone(), state, claim.id.is_some())
        })
        .collect()
}

#[test]
fn a_booking_claims_the_files_of_parent_and_child_and_the_appointment() {
    let claims = claims_of("1-pass");
    assert_eq!(
        brief(&claims),
        [
            ("patient".into(), None, "done", true),
            ("patient".into(), Some("Ines".into()), "done", true),
            ("appointment".into(), Some("Ines".into()), "done", true),
        ]
    );
    assert_eq!(claims[1].fields["name"], "Ines Okafor");
    assert_eq!(claims[2].fields["start"], "3/17/2026 9:50:00 AM");
    assert_eq!(claims[2].keys["patient"], "5108d45a-3a0b-4176-82fd-502cdbf880d8");
}

#[test]
fn a_refused_call_is_a_failed_attempt_for_each_child() {
    let claims = claims_of("2-fail");
    assert_eq!(
        brief(&claims),
        [("appointment".into(), Some("Milo Reyes".into()), "failed", false)]
    );
    let ClaimState::Failed { error } = &claims[0].state else {
        panic!("not failed")
    };
    assert!(error.contains("HTTP 500"), "{error}");
}

#[test]
fn of_two_children_in_one_call_each_has_its_own_outcome_and_the_wrapper_adds_none() {
    assert_eq!(
        brief(&claims_of("3-partial")),
        [
            ("patient".into(), None, "done", true),
            ("patient".into(), Some("Teo".into()), "done", true),
            ("patient".into(), Some("Mila".into()), "done", true),
            ("appointment".into(), Some("Teo".into()), "done", true),
            ("appointment".into(), Some("Mila".into()), "failed", false),
        ]
    );
}

/// What one call of a tool claims.
fn claimed(tool: &str, input: Value, output: Value) -> Vec<Claim> {
    let mut observation = json!({"id": "call", "traceId": "t", "sessionId": "s", "type": "TOOL", "name": tool,
        "startTime": "2026-03-02T20:00:00Z"});
    observation["input"] = input;
    observation["output"] = output;
    let observation: Observation = serde_json::from_value(observation).unwrap();
    let snapshot = Snapshot {
        observations: vec![observation],
        cut: None,
    };
    let playbook = Playbook::built_in("orthodontics").unwrap();
    claims(&playbook, &Transcript::of(&snapshot, &playbook))
}

const PATIENT: &str = "chord_ortho_patient";
const SCHEDULE: &str = "schedule_appointment_ortho";

#[test]
fn an_id_is_a_text_or_a_positive_whole_number_and_nothing_else() {
    for (id, expected) in [
        (json!("A1-b2"), Some("A1-b2")),
        (json!("  A1 "), Some("A1")),
        (json!(7), Some("7")),
        (json!("7"), Some("7")),
        (json!(0), None),
        (json!(-7), None),
        (json!(7.5), None),
        (json!(""), None),
        (json!(" "), None),
        (json!("00000000-0000-0000-0000-000000000000"), None),
        (json!(null), None),
        (json!(true), None),
        (json!(["A1"]), None),
        (json!({"id": "A1"}), None),
    ] {
        let flat = claimed(
            SCHEDULE,
            json!({"action": "book_child", "patientId": id}),
            json!({"appointmentId": id}),
        );
        let [booking] = &flat[..] else {
            panic!("{id}: {flat:#?}")
        };
        assert_eq!(booking.id.as_deref(), expected, "{id}");
        assert_eq!(booking.keys.get("patient").map(String::as_str), expected, "{id}");
        let created = claimed(
            PATIENT,
            json!({"action": "create_patient", "firstName": "Ada"}),
            json!({"patientGUID": id}),
        );
        assert_eq!(created[0].id.as_deref(), expected, "{id}");
        let found = claimed(
            PATIENT,
            json!({"action": "lookup"}),
            json!({"patients": [{"patientGuid": id, "name": "Ada"}]}),
        );
        assert_eq!(found[0].id.as_deref(), expected, "{id}");
    }
}

#[test]
fn a_lookups_hits_are_read_and_nothing_that_was_written() {
    let hits = json!({"results": [{"patientId": 4, "FullName": "Ada Lind"}, {"guid": "B", "PatientName": "Ben Lind"}]});
    for action in ["lookup", "clinic_info", "patient_lookup"] {
        let found = claimed(PATIENT, json!({"action": action}), hits.clone());
        let brief: Vec<_> = found
            .iter()
            .map(|claim| (claim.id.as_deref(), claim.subject.as_deref(), claim.is_write()))
            .collect();
        let expected = [
            (Some("4"), Some("Ada Lind"), false),
            (Some("B"), Some("Ben Lind"), false),
        ];
        assert_eq!(brief, expected);
    }
}

#[test]
fn a_created_patient_is_the_child_that_is_named_or_else_its_first_and_last_name() {
    let of = |input: Value| claimed(PATIENT, input, json!({"patientGUID": "A1"}));
    let named = of(json!({"action": "create_patient", "childName": "Adi", "firstName": "Ada", "lastName": "Lind"}));
    assert_eq!(named[0].subject.as_deref(), Some("Adi"));
    assert_eq!(named[0].fields["name"], "Ada Lind", "the file is under the full name");
    let unnamed = of(json!({"action": "new_patient", "firstName": "Ada", "lastName": "Lind"}));
    assert_eq!(unnamed[0].subject.as_deref(), Some("Ada Lind"));
    assert_eq!(unnamed[0].fields["name"], "Ada Lind");
}

#[test]
fn a_queued_child_is_a_promise_in_every_shape_even_beside_a_success() {
    let of = |output: Value| {
        let claims = claimed(SCHEDULE, json!({"action": "book_child", "childName": "Ada"}), output);
        let states: Vec<_> = claims
            .into_iter()
            .filter(|claim| claim.record == "appointment")
            .map(|claim| claim.state)
            .collect();
        states
    };
    for output in [
        json!({"children": [{"firstName": "Ada", "patientGUID": "A", "queued": true}]}),
        json!({"children": [{"firstName": "Ada", "patientGUID": "A", "status": "queued"}]}),
        json!({"success": true, "children": [{"firstName": "Ada", "patientGUID": "A", "success": true, "queued": true, "error": null}]}),
        json!({"success": true, "queued": true}),
        json!({"success": true, "status": "queued"}),
    ] {
        assert_eq!(of(output.clone()), [ClaimState::Promised], "{output}");
    }
    for output in [
        json!({"children": [{"firstName": "Ada", "patientGUID": "A", "queued": false, "appointment": {"appointmentGUID": "P"}}]}),
        json!({"appointmentGUID": "P", "queued": false}),
    ] {
        assert_eq!(of(output.clone()), [ClaimState::Done], "{output}");
    }
}

#[test]
fn tools_of_nexhealth_practices_claim_under_their_own_names_with_numbers_as_ids() {
    let created = claimed(
        "chord_patient_v07_stage",
        json!({"action": "create_patient", "firstName": "Ada", "lastName": "Lind"}),
        json!({"id": 77, "name": "Ada Lind"}),
    );
    assert_eq!(
        brief(&created),
        [("patient".into(), Some("Ada Lind".into()), "done", true)]
    );
    let booked = claimed(
        "chord_scheduling_v08",
        json!({"action": "book_child", "patientName": "Ada Lind"}),
        json!({"id": 991, "patient_id": 77, "provider_id": 3, "start_time": "2026-03-18T13:20:00-04:00"}),
    );
    assert_eq!(
        brief(&booked),
        [("appointment".into(), Some("Ada Lind".into()), "done", true)]
    );
    assert_eq!(
        (booked[0].id.as_deref(), booked[0].keys["patient"].as_str()),
        (Some("991"), "77")
    );
    assert_eq!(booked[0].fields["start"], "2026-03-18T13:20:00-04:00");
}

#[test]
fn a_text_inside_a_text_claims_what_it_holds() {
    let output = json!({"children": json!([{"firstName": "Ada", "patientGUID": "A", "appointment":
        json!({"appointmentGUID": "P", "startTime": "3/18/2026 1:20:00 PM"}).to_string()}]).to_string()});
    let twice = Value::String(Value::String(output.to_string()).to_string());
    let claims = claimed(SCHEDULE, json!(json!({"action": "book_child"}).to_string()), twice);
    assert_eq!(
        brief(&claims),
        [
            ("patient".into(), Some("Ada".into()), "done", true),
            ("appointment".into(), Some("Ada".into()), "done", true),
        ]
    );
    assert_eq!(claims[1].fields["start"], "3/18/2026 1:20:00 PM");
}
