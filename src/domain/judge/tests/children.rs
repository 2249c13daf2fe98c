//! The roll-up by child: whose records count, and which of several outcomes of one child does.

use super::*;

/// `book_child` for Ada at [`AT`]: the appointment's id, or an error.
fn ada(outcome: Result<&str, &str>) -> Part {
    let mut child = json!({"firstName": "Ada", "patientGUID": "P-Ada", "success": outcome.is_ok()});
    match outcome {
        Ok(id) => child["appointment"] = json!({"appointmentGUID": id, "startTime": AT}),
        Err("queued") => child["queued"] = true.into(),
        Err(words) => child["error"] = words.into(),
    }
    Schedule(
        json!({"action": "book_child", "children": [{"firstName": "Ada", "lastName": "Lind", "startTime": AT}]}),
        json!({"parent": {"patientGUID": "P-Anna", "firstName": "Anna", "lastName": "Lind"}, "children": [child]}),
    )
}

fn calls(outcomes: &[Result<&'static str, &'static str>]) -> Transcript {
    let mut parts = vec![Caller("Book Ada")];
    parts.extend(outcomes.iter().map(|outcome| ada(*outcome)));
    parts.push(Agent("Done"));
    transcript(parts)
}

/// By the calls alone, and as a language model reads it.
fn both_readings(words: &Transcript, answer: impl Fn(&Lookup) -> Fact) -> [Verdict; 2] {
    [None, Some(booking_of(&["Ada"]))].map(|reading| judged(&case(words.clone(), reading, llm()), &answer))
}

#[test]
fn the_last_outcome_of_a_child_counts() {
    let a1 = ("P-Ada", "A-1", AT, "Scheduled");
    let a2 = ("P-Ada", "A-2", AT, "Scheduled");
    let a1_at_another_time = ("P-Ada", "A-1", "3/18/2026 9:00:00 AM", "Scheduled");
    for (outcomes, there, status) in [
        (vec![Err("slot taken"), Ok("A-1")], vec![a1], Status::Pass),
        (vec![Err("queued"), Ok("A-1")], vec![a1], Status::Pass),
        (vec![Err("queued"), Ok("A-1")], vec![], Status::Partial),
        // A second attempt that was refused because the first had worked takes nothing back.
        (vec![Ok("A-1"), Err("already booked")], vec![a1], Status::Pass),
        (vec![Ok("A-1"), Err("already booked")], vec![], Status::Partial),
        // Booked twice: the later one stands in the place of the earlier one, or beside it.
        (vec![Ok("A-1"), Ok("A-2")], vec![a2], Status::Pass),
        (vec![Ok("A-1"), Ok("A-2")], vec![a1, a2], Status::Fail),
        // The second one left no trace: the caller has what they asked for.
        (vec![Ok("A-1"), Ok("A-2")], vec![a1], Status::Pass),
        (vec![Ok("A-1"), Ok("A-2")], vec![a1_at_another_time], Status::Partial),
        (vec![Ok("A-1"), Ok("A-2")], vec![], Status::Partial),
    ] {
        for verdict in both_readings(&calls(&outcomes), with_appointments(&there)) {
            assert_eq!(verdict.status, status, "{outcomes:?} {there:?} {verdict:#?}");
        }
    }
}

#[test]
fn a_parents_record_alone_earns_nothing_and_a_missing_one_spoils_nothing() {
    let only = |known: &'static [&'static str], appointments: &'static [(&str, &str, &str, &str)]| {
        let appointments = with_appointments(appointments);
        move |lookup: &Lookup| match lookup.record.as_str() {
            "patient" if !known.contains(&lookup.id.as_deref().unwrap()) => Fact::Absent,
            "appointment" if appointments(lookup) == (Fact::Found { record: json!([]) }) => Fact::Absent,
            _ => appointments(lookup),
        }
    };
    for verdict in both_readings(&calls(&[Ok("A-1")]), only(&["P-Anna"], &[])) {
        assert_eq!(verdict.status, Status::Fail, "{verdict:#?}");
        let summary = verdict.summary.replace("Ada Lind", "Ada");
        assert_eq!(
            summary,
            "Parent record verified. 0 of 1 child fully verified (Ada: no appointment record, no patient record)."
        );
    }
    let there = &[("P-Ada", "A-1", AT, "Scheduled")];
    for verdict in both_readings(&calls(&[Ok("A-1")]), only(&["P-Ada"], there)) {
        assert_eq!(verdict.status, Status::Pass, "all children pass: {verdict:#?}");
        let summary = verdict.summary.replace("Ada Lind", "Ada");
        assert_eq!(
            summary,
            "Parent: no patient record. 1 of 1 child fully verified (Ada: pass)."
        );
    }
    for verdict in both_readings(&calls(&[Ok("A-1")]), only(&["P-Anna"], there)) {
        assert_eq!(
            verdict.status,
            Status::Partial,
            "the child's file is missing: {verdict:#?}"
        );
    }
}

#[test]
fn a_child_that_was_taken_back_is_not_counted() {
    let mut reading = booking_of(&["Ada", "Ben"]);
    reading["requests"][1]["withdrawn"] = json!({"quote": "not Ben after all"});
    reading["details"] = json!({"child_names": ["Ada Lind", "Ben Lind"]});
    let words = vec![
        Caller("Book Ada and Ben"),
        Agent("When?"),
        Caller("not Ben after all"),
        booked(&[("Ada", "booked")]),
        Agent("Done"),
    ];
    let there = with_appointments(&[("P-Ada", "A-Ada", AT, "Scheduled")]);
    let verdict = judged(&case(transcript(words), Some(reading), llm()), there);
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
}

#[test]
fn ids_of_one_file_in_another_case_are_one_file() {
    let words = vec![
        Caller("Book Ada"),
        Patient(
            json!({"action": "create_patient", "firstName": "Ada", "lastName": "Lind"}),
            json!({"patientGUID": "p-ada"}),
        ),
        booked(&[("Ada", "booked")]),
        Agent("Done"),
    ];
    let appointments = with_appointments(&[("P-ADA", "a-aDA", AT, "Scheduled")]);
    let there = |lookup: &Lookup| match lookup.record.as_str() {
        "patient" => Fact::Found {
            record: json!({"PatientGUID": lookup.id.clone().unwrap().to_uppercase(), "PatientFullName":
                lookup.id.clone().unwrap().to_uppercase().replace("P-", "") + " Lind"}),
        },
        _ => appointments(lookup),
    };
    for verdict in both_readings(&transcript(words), there) {
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        let files = verdict.findings.iter().filter(|finding| finding.record == "patient");
        assert_eq!(files.count(), 2, "one of the parent, one of the child: {verdict:#?}");
    }
}

#[test]
fn an_appointment_moved_is_neither_without_the_new_one_nor_with_the_old_one_whatever_its_status_is_called() {
    for (status, passes) in [
        ("Cancelled", true),
        ("Re-Scheduled", true),
        ("Dismissed", true),
        ("Scheduled", false),
        ("No-Show", false),
        ("Seated", false),
    ] {
        let there = [
            ("P-Ada", "OLD", "3/1/2026 9:00:00 AM", status),
            ("P-Ada", "A-Ada", AT, "Scheduled"),
        ];
        let verdict = judged(&case(rescheduling(), None, llm()), with_appointments(&there));
        assert_eq!(verdict.status == Status::Pass, passes, "{status} {verdict:#?}");
        let off = vec![
            Caller("Please cancel the appointment"),
            Schedule(
                json!({"action": "cancel", "appointmentGUID": "OLD", "patientGUID": "P-Ada"}),
                json!({"success": true}),
            ),
            Agent("It has been cancelled."),
        ];
        let verdict = judged(&case(transcript(off), None, llm()), with_appointments(&there));
        assert_eq!(verdict.status == Status::Pass, passes, "{status} {verdict:#?}");
    }
}

#[test]
fn the_steps_expected_of_each_intent_are_the_documented_ones() {
    /// Step, per child, optional.
    type Expected = (&'static str, bool, bool);
    let expected: [(&str, &[Expected]); 4] = [
        (
            "booking",
            &[
                ("date_time", false, true),
                ("patient_lookup", false, false),
                ("slots", false, false),
                ("create_patient", true, true),
                ("book_child", true, false),
            ],
        ),
        (
            "cancellation",
            &[("patient_lookup", false, false), ("cancel", false, false)],
        ),
        (
            "rescheduling",
            &[
                ("date_time", false, true),
                ("patient_lookup", false, false),
                ("slots", false, false),
                ("cancel", false, false),
                ("book_child", false, false),
            ],
        ),
        ("info_lookup", &[("patient_lookup", false, true)]),
    ];
    let playbook = playbook();
    assert_eq!(playbook.intents.len(), expected.len());
    for (name, steps) in expected {
        let intent = playbook.intent(name).unwrap();
        let found: Vec<_> = intent
            .steps
            .iter()
            .map(|step| (step.id.as_str(), step.per_subject, step.optional))
            .collect();
        assert_eq!(found, steps, "{name}");
        assert_eq!(intent.verify, name != "info_lookup");
    }
}
