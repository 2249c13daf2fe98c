//! Whole conversations: several children, several records, requests that change or are taken back, calls that are repeated or
//! undone, and what the agent says of it all.

use super::*;

fn child<'v>(verdict: &'v Verdict, name: &str) -> &'v Finding {
    finding(verdict, "appointment", name)
}

fn outcomes_of(verdict: &Verdict, kind: &str) -> Vec<Outcome> {
    let of_kind = verdict.findings.iter().filter(|finding| finding.record == kind);
    of_kind.map(|finding| finding.outcome).collect()
}

fn cancel(id: &str, patient: &str) -> Part {
    Schedule(
        json!({"action": "cancel", "appointmentGUID": id, "patientGUID": patient}),
        json!({"success": true}),
    )
}

/// One booking with its own start, answered with its own id.
fn booked_at(name: &str, id: &str, start: &str) -> Part {
    let patient = format!("P-{name}");
    Schedule(
        json!({"action": "book_child", "children": [{"firstName": name, "lastName": "Lind", "startTime": start}]}),
        json!({"children": [{"firstName": name, "patientGUID": patient, "success": true,
            "appointment": {"appointmentGUID": id, "startTime": start}}]}),
    )
}

fn request(operation: &str, subject: &str, rest: Value) -> Value {
    let mut request = json!({"operation": operation, "record": "appointment", "subject": subject, "quote": "please"});
    if let Value::Object(members) = rest {
        for (name, value) in members {
            request[name] = value;
        }
    }
    request
}

fn reading(intent: &str, requests: &[Value]) -> Value {
    json!({"intent": intent, "confidence": 0.95, "requests": requests})
}

fn says(says: &str, operation: &str, turn: u32) -> Value {
    json!({"says": says, "operation": operation, "record": "appointment", "quote": "words", "turn": turn})
}

const TUESDAY: &str = "3/17/2026 9:00:00 AM";

#[test]
fn of_three_children_the_one_whose_appointment_is_missing_fails() {
    let words = vec![
        Caller("Book Ada, Ben and Cleo"),
        booked(&[("Ada", "booked"), ("Ben", "booked"), ("Cleo", "booked")]),
        Agent("All three are booked"),
    ];
    let mut said = booking_of(&["Ada", "Ben", "Cleo"]);
    said["statements"] = json!([says("done", "create", 2)]);
    let verdict = judged(
        &case(transcript(words), Some(said), llm()),
        with_appointments(&[
            ("P-Ada", "A-Ada", AT, "Scheduled"),
            ("P-Cleo", "A-Cleo", AT, "Scheduled"),
        ]),
    );
    assert_eq!(
        (verdict.status, verdict.reason, verdict.severity),
        (Status::Partial, Reason::SaidDoneNotThere, Severity::Critical)
    );
    assert_eq!(child(&verdict, "Ada").outcome, Outcome::Confirmed);
    assert_eq!(child(&verdict, "Ben").outcome, Outcome::Missing);
    assert_eq!(child(&verdict, "Cleo").outcome, Outcome::Confirmed);
    assert_eq!(
        verdict.summary,
        "Parent record verified. 2 of 3 children fully verified (Ada Lind: pass; Ben Lind: no appointment record; Cleo Lind: pass)."
    );
}

#[test]
fn of_two_children_of_one_first_name_each_needs_its_own_appointment() {
    let child = |patient: &str, last: &str, id: Option<&str>| {
        let mut answer =
            json!({"firstName": "Alex", "lastName": last, "patientGUID": patient, "success": id.is_some()});
        match id {
            Some(id) => answer["appointment"] = json!({"appointmentGUID": id, "startTime": AT}),
            None => answer["error"] = json!("slot taken"),
        }
        answer
    };
    let call = |second: Option<&str>| {
        Schedule(
            json!({"action": "book_child", "children": [
                {"firstName": "Alex", "lastName": "Lind", "startTime": AT}, {"firstName": "Alex", "lastName": "Reyes", "startTime": AT}]}),
            json!({"children": [child("P-1", "Lind", Some("A-1")), child("P-2", "Reyes", second)]}),
        )
    };
    let names = json!(["Alex", "Alex"]);
    let asked = || {
        let mut asked = reading(
            "booking",
            &[
                request("create", "Alex", json!({})),
                request("create", "Alex", json!({})),
            ],
        );
        asked["details"] = json!({"child_names": names});
        asked
    };
    let verdict_of = |second: Option<&str>, there: &[(&str, &str, &str, &str)]| {
        let words = vec![Caller("Book both Alex"), call(second), Agent("Fine")];
        let appointments = with_appointments(there);
        judged(&case(transcript(words), Some(asked()), llm()), |lookup| {
            match lookup.record.as_str() {
                "patient" => Fact::Found {
                    record: json!({"PatientGUID": lookup.id, "PatientFullName": "Alex Lind"}),
                },
                _ => appointments(lookup),
            }
        })
    };
    let first = ("P-1", "A-1", AT, "Scheduled");
    let both = verdict_of(Some("A-2"), &[first, ("P-2", "A-2", AT, "Scheduled")]);
    assert_eq!(
        outcomes_of(&both, "appointment"),
        [Outcome::Confirmed, Outcome::Confirmed],
        "{both:#?}"
    );
    for second in [Some("A-2"), None] {
        let one = verdict_of(second, &[first]);
        assert_eq!(one.status, Status::Partial, "{one:#?}");
        let mut outcomes = outcomes_of(&one, "appointment");
        outcomes.sort_by_key(|outcome| *outcome == Outcome::Missing);
        assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Missing], "{one:#?}");
    }
}

#[test]
fn a_request_for_several_records_needs_them_all() {
    // Two visits of one child: asked for as two, at two times.
    let requests = [
        request("create", "Ada Lind", json!({"fields": {"start": "2026-03-17T09:00"}})),
        request("create", "Ada Lind", json!({"fields": {"start": "2026-03-18T13:20"}})),
    ];
    let words = || {
        transcript(vec![
            Caller("Book Ada on Tuesday and on Wednesday"),
            booked_at("Ada", "A-1", TUESDAY),
            booked_at("Ada", "A-2", AT),
            Agent("Both are booked"),
        ])
    };
    let (one, two) = (
        ("P-Ada", "A-1", TUESDAY, "Scheduled"),
        ("P-Ada", "A-2", AT, "Scheduled"),
    );
    for (there, outcomes) in [
        (vec![one, two], [Outcome::Confirmed, Outcome::Confirmed]),
        (vec![one], [Outcome::Confirmed, Outcome::Missing]),
        (vec![two], [Outcome::Missing, Outcome::Confirmed]),
    ] {
        let verdict = judged(
            &case(words(), Some(reading("booking", &requests)), llm()),
            with_appointments(&there),
        );
        assert_eq!(outcomes_of(&verdict, "appointment"), outcomes, "{there:?} {verdict:#?}");
        assert_eq!(verdict.status == Status::Pass, there.len() == 2, "{verdict:#?}");
    }
    // Each at the other's time is neither.
    let swapped = [
        ("P-Ada", "A-1", AT, "Scheduled"),
        ("P-Ada", "A-2", TUESDAY, "Scheduled"),
    ];
    let verdict = judged(
        &case(words(), Some(reading("booking", &requests)), llm()),
        with_appointments(&swapped),
    );
    assert_ne!(verdict.status, Status::Pass, "{verdict:#?}");
}

#[test]
fn moved_is_neither_when_the_old_one_is_gone_and_the_new_one_is_missing() {
    let asked = || {
        let mut asked = reading(
            "rescheduling",
            &[request(
                "update",
                "Ada",
                json!({"id": "OLD", "fields": {"start": "March 18 at 1:20 PM"}}),
            )],
        );
        asked["statements"] = json!([says("done", "update", 2)]);
        asked
    };
    for there in [vec![], vec![("P-Ada", "OLD", TUESDAY, "Cancelled")]] {
        let verdict = judged(&case(rescheduling(), Some(asked()), llm()), with_appointments(&there));
        assert_eq!(child(&verdict, "Ada").outcome, Outcome::Missing, "{verdict:#?}");
        assert_eq!(
            (verdict.reason, verdict.severity),
            (Reason::SaidDoneNotThere, Severity::Critical)
        );
    }
    // Booked, but to a time that nobody asked for, with the old one gone.
    let there = [("P-Ada", "A-Ada", "3/25/2026 1:20:00 PM", "Scheduled")];
    let verdict = judged(&case(rescheduling(), Some(asked()), llm()), with_appointments(&there));
    assert_eq!(child(&verdict, "Ada").outcome, Outcome::Wrong, "{verdict:#?}");
    // Not even tried: the old one stands as it was.
    let words = vec![Caller("Move Ada's appointment"), Agent("It has been moved.")];
    let there = [("P-Ada", "OLD", TUESDAY, "Scheduled")];
    let verdict = judged(
        &case(transcript(words), Some(asked()), llm()),
        with_appointments(&there),
    );
    assert_eq!(
        (verdict.status, verdict.severity),
        (Status::Fail, Severity::Critical),
        "{verdict:#?}"
    );
}

#[test]
fn the_same_booking_called_twice_is_one_request_met() {
    let words = vec![
        Caller("Book Ada"),
        booked(&[("Ada", "booked")]),
        booked(&[("Ada", "booked")]),
        Agent("Done"),
    ];
    for reading in [None, Some(booking_of(&["Ada"]))] {
        let verdict = judged(
            &case(transcript(words_of(&words)), reading, llm()),
            with_appointments(&[("P-Ada", "A-Ada", AT, "Scheduled")]),
        );
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        assert_eq!(outcomes_of(&verdict, "appointment"), [Outcome::Confirmed]);
    }
    // Where the repeat made a second one, nobody asked for that.
    let words = vec![
        Caller("Book Ada"),
        booked_at("Ada", "A-1", AT),
        booked_at("Ada", "A-2", AT),
        Agent("Done"),
    ];
    let there = [("P-Ada", "A-1", AT, "Scheduled"), ("P-Ada", "A-2", AT, "Scheduled")];
    let verdict = judged(
        &case(transcript(words), Some(booking_of(&["Ada"])), llm()),
        with_appointments(&there),
    );
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Fail, Reason::UnwantedEffect),
        "{verdict:#?}"
    );
    // The same cancellation twice is one as well.
    let words = vec![
        Caller("Cancel it"),
        cancel("OLD", "P-Ada"),
        cancel("OLD", "P-Ada"),
        Agent("Cancelled"),
    ];
    let asked = reading("cancellation", &[request("cancel", "Ada", json!({"id": "OLD"}))]);
    let verdict = judged(
        &case(transcript(words), Some(asked), llm()),
        with_appointments(&[("P-Ada", "OLD", AT, "Cancelled")]),
    );
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
}

#[test]
fn what_was_asked_made_and_undone_is_missing_and_what_only_the_agent_made_and_undid_is_nothing() {
    let undone = |asked: Option<Value>, there: &[(&str, &str, &str, &str)]| {
        let words = vec![
            Caller("Book Ada"),
            booked_at("Ada", "A-1", TUESDAY),
            cancel("A-1", "P-Ada"),
            Agent("Done"),
        ];
        judged(&case(transcript(words), asked, llm()), with_appointments(there))
    };
    let gone = undone(Some(booking_of(&["Ada"])), &[("P-Ada", "A-1", TUESDAY, "Cancelled")]);
    assert_eq!(child(&gone, "Ada").outcome, Outcome::Missing, "{gone:#?}");
    // Booked at a wrong time, undone, booked again as asked.
    let words = vec![
        Caller("Book Ada on Wednesday"),
        booked_at("Ada", "A-1", TUESDAY),
        cancel("A-1", "P-Ada"),
        booked_at("Ada", "A-2", AT),
        Agent("Done"),
    ];
    let asked = reading(
        "booking",
        &[request(
            "create",
            "Ada",
            json!({"fields": {"start": "2026-03-18T13:20"}}),
        )],
    );
    for first in ["Cancelled", "Scheduled"] {
        let there = [("P-Ada", "A-1", TUESDAY, first), ("P-Ada", "A-2", AT, "Scheduled")];
        let verdict = judged(
            &case(transcript(words_of(&words)), Some(asked.clone()), llm()),
            with_appointments(&there),
        );
        assert_eq!(child(&verdict, "Ada").outcome, Outcome::Confirmed, "{verdict:#?}");
        if first == "Cancelled" {
            assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        }
    }
}

#[test]
fn what_was_settled_counts_not_what_was_asked_first() {
    let words = || {
        let mut words = transcript(vec![
            Caller("Can Ada come on Monday?"),
            Agent("Monday is full, Tuesday at 9?"),
            Caller("Tuesday at 9 then"),
            booked_at("Ada", "A-1", TUESDAY),
            Agent("Booked for Tuesday"),
        ]);
        for turn in &mut words.turns {
            // A Wednesday.
            turn.at = Some(chrono::Utc.with_ymd_and_hms(2026, 3, 11, 15, 0, 0).unwrap());
        }
        words
    };
    let settled = |start: &str| {
        reading(
            "booking",
            &[request("create", "Ada", json!({"fields": {"start": start}, "turn": 3}))],
        )
    };
    let there = with_appointments(&[("P-Ada", "A-1", TUESDAY, "Scheduled")]);
    for start in ["2026-03-17T09:00", "Tuesday at 9"] {
        let case = case(words(), Some(settled(start)), llm());
        let verdict = judged(&case, &there);
        assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
        let monday = with_appointments(&[("P-Ada", "A-1", "3/16/2026 9:00:00 AM", "Scheduled")]);
        let verdict = judged(&case, monday);
        assert_eq!(child(&verdict, "Ada").outcome, Outcome::Wrong, "{verdict:#?}");
    }
    // A reader that gives both: the first taken back, the second settled.
    let mut both = settled("Tuesday at 9");
    let mut first = request("create", "Ada", json!({"fields": {"start": "Monday"}, "turn": 1}));
    first["withdrawn"] = json!({"quote": "Tuesday at 9 then", "turn": 3});
    both["requests"].as_array_mut().unwrap().insert(0, first);
    let verdict = judged(&case(words(), Some(both), llm()), &there);
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
}

#[test]
fn tomorrow_is_counted_from_the_turn_that_says_it_also_when_the_call_is_resumed_days_later() {
    let asked = |turn: u32| {
        reading(
            "booking",
            &[request(
                "create",
                "Ada",
                json!({"fields": {"start": "tomorrow at 9"}, "turn": turn}),
            )],
        )
    };
    let verdict_of = |turn: u32, there: &str| {
        let words = transcript(vec![
            Caller("Can Ada come tomorrow at 9?"),
            Agent("I will find out"),
            Caller("It is me again: tomorrow at 9?"),
            booked_at("Ada", "A-1", there),
            Agent("Booked"),
        ]);
        let mut case = case(words, Some(asked(turn)), llm());
        for (turn, day) in case.transcript.turns.iter_mut().zip([11, 11, 16, 16]) {
            turn.at = Some(chrono::Utc.with_ymd_and_hms(2026, 3, day, 15, 0, 0).unwrap());
        }
        judged(&case, with_appointments(&[("P-Ada", "A-1", there, "Scheduled")]))
    };
    let verdict = verdict_of(3, TUESDAY);
    assert_eq!(verdict.status, Status::Pass, "{verdict:#?}");
    let why = &child(&verdict, "Ada").fields[0].why;
    assert!(why.contains("\"tomorrow\" as 2026-03-17"), "{why}");
    assert_eq!(child(&verdict_of(1, TUESDAY), "Ada").outcome, Outcome::Wrong);
    assert_eq!(verdict_of(1, "3/12/2026 9:00:00 AM").status, Status::Pass);
}

#[test]
fn what_was_taken_back_and_is_done_all_the_same_is_unwanted() {
    for when in ["before", "after"] {
        let mut words = vec![
            Caller("Book Ada"),
            Agent("When?"),
            Caller("Oh, never mind, do not book it"),
        ];
        let at = if when == "before" { 1 } else { words.len() };
        words.insert(at, booked(&[("Ada", "booked")]));
        words.push(Agent("Alright"));
        let mut asked = booking_of(&["Ada"]);
        asked["requests"][0]["withdrawn"] = json!({"quote": "never mind", "turn": 3});
        let verdict = judged(
            &case(transcript(words), Some(asked), llm()),
            with_appointments(&[("P-Ada", "A-Ada", AT, "Scheduled")]),
        );
        assert_eq!(
            (verdict.status, verdict.reason),
            (Status::Fail, Reason::UnwantedEffect),
            "{when} {verdict:#?}"
        );
        assert!(
            outcomes_of(&verdict, "appointment").contains(&Outcome::Unwanted),
            "{verdict:#?}"
        );
    }
    // Booked, then taken back, then undone: nothing is left to complain of.
    let words = vec![
        Caller("Book Ada"),
        booked(&[("Ada", "booked")]),
        Agent("Booked"),
        Caller("Never mind, cancel it"),
        cancel("A-Ada", "P-Ada"),
        Agent("Cancelled"),
    ];
    let mut asked = booking_of(&["Ada"]);
    asked["requests"][0]["withdrawn"] = json!({"quote": "never mind", "turn": 3});
    let verdict = judged(
        &case(transcript(words), Some(asked), llm()),
        with_appointments(&[("P-Ada", "A-Ada", AT, "Cancelled")]),
    );
    assert_eq!(
        (verdict.status, verdict.reason),
        (Status::Skipped, Reason::Withdrawn),
        "{verdict:#?}"
    );
}

#[test]
fn said_done_but_not_there_stands_above_everything_else() {
    let mut asked = booking_of(&["Ada", "Ben"]);
    asked["statements"] = json!([says("done", "create", 2)]);
    let words = || {
        transcript(vec![
            Caller("Book Ada and Ben"),
            booked(&[("Ada", "booked"), ("Ben", "slot taken"), ("Eve", "booked")]),
            Agent("Both are booked"),
        ])
    };
    // Beside a wrong time and something unwanted.
    let there = [
        ("P-Ada", "A-Ada", TUESDAY, "Scheduled"),
        ("P-Eve", "A-Eve", AT, "Scheduled"),
    ];
    let verdict = judged(&case(words(), Some(asked.clone()), llm()), with_appointments(&there));
    assert_eq!(
        (verdict.status, verdict.reason, verdict.severity),
        (Status::Fail, Reason::SaidDoneNotThere, Severity::Critical),
        "{verdict:#?}"
    );
    assert_eq!(child(&verdict, "Ben").severity, Severity::Critical);
    assert!(
        child(&verdict, "Ben")
            .why
            .starts_with("the agent said that it is done, but")
    );
    assert!(child(&verdict, "Ada").severity < Severity::Critical);
    assert!(child(&verdict, "Eve").severity < Severity::Critical);
    // Corrected in the same call: a failure that the caller knows of is not that.
    asked["statements"] = json!([says("done", "create", 2)]);
    asked["statements"].as_array_mut().unwrap().push(json!(
        {"says": "failed", "operation": "create", "record": "appointment", "subject": "Ben", "quote": "words", "turn": 4}));
    let there = [("P-Ada", "A-Ada", AT, "Scheduled")];
    let verdict = judged(&case(words(), Some(asked), llm()), with_appointments(&there));
    assert!(child(&verdict, "Ben").severity < Severity::Critical, "{verdict:#?}");
}

#[test]
fn done_but_told_failed_is_found_for_moving_and_cancelling_too_and_not_where_it_was_put_right() {
    let told = |intent: &str, operation: &str, statements: Value, words: Transcript| {
        let mut asked = reading(intent, &[request(operation, "Ada", json!({"id": "OLD"}))]);
        asked["statements"] = statements;
        let there = [
            ("P-Ada", "OLD", TUESDAY, "Cancelled"),
            ("P-Ada", "A-Ada", AT, "Scheduled"),
        ];
        judged(&case(words, Some(asked), llm()), with_appointments(&there))
    };
    let cancelling = || {
        transcript(vec![
            Caller("Cancel Ada's appointment"),
            cancel("OLD", "P-Ada"),
            Agent("I could not cancel it"),
            Caller("Really?"),
            Agent("It is cancelled"),
        ])
    };
    let failed = told(
        "cancellation",
        "cancel",
        json!([says("failed", "cancel", 2)]),
        cancelling(),
    );
    assert_eq!(
        (failed.status, failed.reason),
        (Status::Partial, Reason::DoneButToldFailed),
        "{failed:#?}"
    );
    let right = json!([says("failed", "cancel", 2), says("done", "cancel", 4)]);
    let corrected = told("cancellation", "cancel", right, cancelling());
    assert_eq!(
        (corrected.status, corrected.severity),
        (Status::Pass, Severity::None),
        "{corrected:#?}"
    );
    let moved = told(
        "rescheduling",
        "update",
        json!([says("failed", "update", 2)]),
        rescheduling(),
    );
    assert_eq!(
        (moved.status, moved.reason),
        (Status::Partial, Reason::DoneButToldFailed),
        "{moved:#?}"
    );
}

#[test]
fn what_leaves_the_choice_open_is_as_the_call_chose_it() {
    for open in ["no preference", "any time", ""] {
        let asked = reading(
            "booking",
            &[request("create", "Ada", json!({"fields": {"start": open}}))],
        );
        let words = || {
            transcript(vec![
                Caller("Book Ada, any time"),
                booked_at("Ada", "A-1", AT),
                Agent("Done"),
            ])
        };
        for (there, outcome) in [(AT, Outcome::Confirmed), (TUESDAY, Outcome::Wrong)] {
            let verdict = judged(
                &case(words(), Some(asked.clone()), llm()),
                with_appointments(&[("P-Ada", "A-1", there, "Scheduled")]),
            );
            assert_eq!(child(&verdict, "Ada").outcome, outcome, "{open} {verdict:#?}");
        }
    }
}

#[test]
fn of_what_was_asked_vaguely_the_slot_that_the_call_took_has_to_be_there() {
    // The words fit both slots.
    let other = "3/18/2026 2:20:00 PM";
    for vague in ["after 1 PM", "sometime soon", "1:20 PM or 2:20 PM"] {
        let asked = reading(
            "booking",
            &[request("create", "Ada", json!({"fields": {"start": vague}}))],
        );
        let words = || transcript(vec![Caller("Book Ada"), booked_at("Ada", "A-1", AT), Agent("Done")]);
        for (there, outcome) in [(AT, Outcome::Confirmed), (other, Outcome::Wrong)] {
            let verdict = judged(
                &case(words(), Some(asked.clone()), llm()),
                with_appointments(&[("P-Ada", "A-1", there, "Scheduled")]),
            );
            let found = child(&verdict, "Ada");
            assert_eq!(found.outcome, outcome, "{vague} {found:#?}");
        }
    }
}
