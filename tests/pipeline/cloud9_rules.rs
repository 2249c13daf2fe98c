//! Every rule of how a call of the practice is judged, through the whole pipeline against its Cloud9.

use serde_json::{Value, json};

use crate::{
    on_each_engine,
    support::{
        bakery::Session,
        practice::{
            AT, Fate, Rested, appointment, book, booking, guid, holding, patient, patient_tool, plan, read_plan,
            schedule, wishes,
        },
    },
};

on_each_engine! {
    a_lookups_patients_are_known_by_every_spelling_of_id_and_name,
    a_created_patient_is_known_by_every_spelling_and_named_by_the_input,
    a_flat_booking_is_known_by_every_spelling_of_its_ids,
    names_agree_ignoring_case_blanks_titles_and_last_names_and_no_other_name_does,
    an_appointment_is_the_one_of_its_id_in_any_case_at_the_same_instant,
    an_appointment_whose_patient_nobody_named_is_found_by_the_childs_name_or_not_at_all,
    an_appointment_that_is_cancelled_is_no_booking_and_one_that_was_not_kept_is,
    the_practices_own_fields_are_read_in_every_spelling,
    an_appointment_is_moved_when_the_old_one_is_gone_or_cancelled_and_the_new_one_is_there,
    an_appointment_is_called_off_when_it_is_gone_or_cancelled,
    a_session_passes_with_all_of_its_children_and_the_summary_says_who_did_not,
    a_child_of_whom_no_appointment_came_about_makes_it_partial,
    children_are_told_apart_by_name_without_case_and_blanks_and_by_full_or_first_name,
    a_child_that_was_named_but_that_no_tool_call_mentions_fails,
    two_children_may_share_a_name,
    with_only_a_parents_record_to_check_that_record_decides,
    a_queued_child_is_a_promise_that_is_looked_for_and_not_a_success,
    the_last_outcome_of_a_child_counts,
    a_booking_of_which_nothing_was_done_fails_unless_the_caller_took_it_back,
    a_question_asks_nothing_of_the_practice,
    hits_of_a_lookup_that_nobody_used_are_no_claims,
    a_wrapper_span_claims_nothing_twice_and_a_text_inside_a_text_is_read,
}

/// Everything that a booking of these children of the Linds leaves: parent 1, children from 2, appointments from 102.
fn held(children: &[&str]) -> Vec<Value> {
    let mut records = vec![patient(1, "Anna")];
    for (number, name) in (2..).zip(children) {
        records.push(patient(number, name));
        records.push(appointment(100 + number, number, "Scheduled"));
    }
    records
}

// ---- claims: ids and names in every spelling -----------------------------------------------------------------------

async fn a_lookups_patients_are_known_by_every_spelling_of_id_and_name() {
    // The appointment's own answer does not name the patient, and the practice finds nobody by name: only the lookup does.
    let ids = [
        "patientGuid",
        "patientGUID",
        "PatientGUID",
        "patGUID",
        "patientId",
        "guid",
    ];
    let names = [
        "name",
        "PatientName",
        "patientName",
        "FullName",
        "PatientFullName",
        "name",
    ];
    let lists = ["patients", "results", "patients", "results", "patients", "results"];
    let actions = ["lookup", "clinic_info", "patient_lookup", "lookup", "lookup", "lookup"];
    let mut sessions = Vec::new();
    let practice = holding(&[]);
    for at in 0..ids.len() {
        let number = 10 + u32::try_from(at).unwrap();
        practice.add(
            &json!({"patients": [{"PatientGUID": guid(number), "PatientFirstName": "X", "PatientLastName": "Y"}]}),
        );
        practice.add(&appointment(100 + number, number, "Scheduled"));
        let hit = json!({ids[at]: guid(number), names[at]: "Ada Lind"});
        let mut answer = json!({});
        answer[lists[at]] = json!([hit]);
        let session = patient_tool(booking(ids[at]), json!({"action": actions[at]}), answer);
        sessions.push(schedule(
            session,
            json!({"action": "book_child", "childName": "Ada Lind", "startTime": AT}),
            json!({"appointmentGUID": guid(100 + number)}),
        ));
    }
    let rested = Rested::of(plan(&sessions, practice)).await;
    for id in ids {
        let found = rested.finding(id, "appointment", "Ada").await;
        assert_eq!(found["outcome"], "confirmed", "{id}: {found:#}");
    }
}

async fn a_created_patient_is_known_by_every_spelling_and_named_by_the_input() {
    let ids = [
        "patientGUID",
        "patientGuid",
        "PatientGUID",
        "patGUID",
        "patientId",
        "guid",
    ];
    let mut sessions = Vec::new();
    let mut records = vec![];
    for (number, id) in (2..).zip(ids) {
        records.push(patient(number, "Ada"));
        records.push(appointment(100 + number, number, "Scheduled"));
        let mut answer = json!({"success": true});
        answer[id] = guid(number).into();
        let action = if number % 2 == 0 {
            "create_patient"
        } else {
            "new_patient"
        };
        let created = json!({"action": action, "firstName": "Ada", "lastName": "Lind"});
        let session = patient_tool(booking(id), created, answer);
        sessions.push(book(session, number, &[("Ada", Fate::Booked(number, 100 + number))]));
    }
    let rested = Rested::of(plan(&sessions, holding(&records))).await;
    for id in ids {
        rested.ended(id, "pass", "all_confirmed").await;
    }
}

async fn a_flat_booking_is_known_by_every_spelling_of_its_ids() {
    let appointment_ids = ["appointmentGUID", "AppointmentGUID", "appointmentId", "apptGuid", "id"];
    let patient_ids = ["patientGUID", "PatientGUID", "patientId", "patientGuid", "patient_id"];
    let dates = ["startTime", "start_time", "date", "startTime", "start_time"];
    let mut sessions = Vec::new();
    let mut records = vec![];
    for at in 0..appointment_ids.len() {
        let number = 2 + u32::try_from(at).unwrap();
        records.push(patient(number, "Ada"));
        records.push(appointment(100 + number, number, "Scheduled"));
        let mut input = json!({"action": "book_appointment", "childName": "Ada Lind"});
        let mut output = json!({});
        output[appointment_ids[at]] = guid(100 + number).into();
        output[dates[at]] = "2026-03-18T13:20:00-04:00".into();
        // The patient's id stands in the answer, or in what was asked.
        let place = if at % 2 == 0 { &mut output } else { &mut input };
        place[patient_ids[at]] = guid(number).into();
        sessions.push(schedule(booking(appointment_ids[at]), input, output));
    }
    let rested = Rested::of(plan(&sessions, holding(&records))).await;
    for id in appointment_ids {
        rested.ended(id, "pass", "all_confirmed").await;
        let found = rested.finding(id, "appointment", "Ada").await;
        assert_eq!(found["fields"][0]["outcome"], "confirmed", "{id}: {found:#}");
    }
}

// ---- checks --------------------------------------------------------------------------------------------------------

async fn names_agree_ignoring_case_blanks_titles_and_last_names_and_no_other_name_does() {
    let cases = [
        ("same", "Ada Lind", "confirmed"),
        ("case-and-blanks", " ADA   lind ", "confirmed"),
        ("title", " Miss Ada Lind ", "confirmed"),
        ("first-name-only", "Ada", "confirmed"),
        ("longer", "Ada Maria Lind", "confirmed"),
        ("other", "Eve Lind", "wrong"),
        ("part-of-a-word", "Adalbert Lind", "wrong"),
    ];
    let mut sessions = Vec::new();
    let practice = holding(&[patient(1, "Anna")]);
    for (number, (id, name, _)) in (2..).zip(cases) {
        practice.add(&json!({"patients": [{"PatientGUID": guid(number), "PatientFullName": name}]}));
        practice.add(&appointment(100 + number, number, "Scheduled"));
        sessions.push(book(booking(id), 1, &[("Ada", Fate::Booked(number, 100 + number))]));
    }
    let rested = Rested::of(plan(&sessions, practice)).await;
    for (id, _, outcome) in cases {
        let found = rested.finding(id, "patient", "Ada").await;
        assert_eq!(found["outcome"], outcome, "{id}: {found:#}");
        if outcome == "wrong" {
            assert_eq!(found["fields"][0]["name"], "name");
            rested.ended(id, "partial", "fields_wrong").await;
        }
    }
}

async fn an_appointment_is_the_one_of_its_id_in_any_case_at_the_same_instant() {
    let practice = holding(&held(&["Ada", "Ben", "Cleo", "Dora"]));
    practice.set_guid_case(aftercall::sandbox::cloud9::GuidCase::Upper);
    let at = |id: &str, number: u32, child: &str, start: &str| {
        schedule(
            booking(id),
            json!({"action": "book_child", "childName": child, "patientGUID": guid(number)}),
            json!({"appointmentGUID": guid(100 + number), "startTime": start}),
        )
    };
    let sessions = [
        at("offset", 2, "Ada Lind", "2026-03-18T13:20:00-04:00"),
        at("utc", 3, "Ben Lind", "2026-03-18T17:20:00Z"),
        at("local", 4, "Cleo Lind", "03/18/2026 01:20:00 PM"),
        at("other", 5, "Dora Lind", "2026-03-18T13:20:00-05:00"),
    ];
    let rested = Rested::of(plan(&sessions, practice)).await;
    for id in ["offset", "utc", "local"] {
        rested.ended(id, "pass", "all_confirmed").await;
    }
    let found = rested.finding("other", "appointment", "Dora").await;
    assert_eq!(
        (&found["outcome"], &found["fields"][0]["name"]),
        (&json!("wrong"), &json!("start"))
    );
}

async fn an_appointment_whose_patient_nobody_named_is_found_by_the_childs_name_or_not_at_all() {
    let without = |id: &str, child: &str| {
        schedule(
            booking(id),
            json!({"action": "book_child", "childName": child, "startTime": AT}),
            json!({"appointmentGUID": guid(102)}),
        )
    };
    let sessions = [without("known", "Ada Lind"), without("unknown", "Zoe Nobody")];
    let rested = Rested::of(plan(&sessions, holding(&held(&["Ada"])))).await;
    rested.ended("known", "pass", "all_confirmed").await;
    let found = rested.finding("unknown", "appointment", "Zoe").await;
    assert_eq!(found["outcome"], "missing", "{found:#}");
    let asked: Vec<String> = rested
        .practice()
        .requests()
        .into_iter()
        .map(|one| one.procedure)
        .collect();
    assert!(asked.contains(&"GetPortalPatientLookup".to_owned()), "{asked:?}");
}

async fn an_appointment_that_is_cancelled_is_no_booking_and_one_that_was_not_kept_is() {
    let statuses = [
        ("Scheduled", "confirmed"),
        ("Seated", "confirmed"),
        ("No-Show", "confirmed"),
        ("Cancelled", "missing"),
        ("Re-Scheduled", "missing"),
        ("Dismissed", "missing"),
    ];
    let mut sessions = Vec::new();
    let mut records = vec![patient(1, "Anna")];
    for (number, (status, _)) in (2..).zip(statuses) {
        records.push(patient(number, "Ada"));
        records.push(appointment(100 + number, number, status));
        sessions.push(book(booking(status), 1, &[("Ada", Fate::Booked(number, 100 + number))]));
    }
    let rested = Rested::of(plan(&sessions, holding(&records))).await;
    for (status, outcome) in statuses {
        let found = rested.finding(status, "appointment", "Ada").await;
        assert_eq!(found["outcome"], outcome, "{status}: {found:#}");
    }
}

async fn the_practices_own_fields_are_read_in_every_spelling() {
    let practice = holding(&[patient(1, "Anna")]);
    let names = [
        json!({"FullName": "Mr. Ada Lind "}),
        json!({"persFirstName": "Ada", "persLastName": "Lind"}),
        json!({"PatientFullName": " Ada Lind"}),
    ];
    let ids = ["apptGUID", "AppointmentGUID", "appointmentGUID"];
    let times = ["AppointmentDate", "StartTime", "AppointmentDateTime"];
    let spelled = [
        "03/18/2026 01:20:00 PM",
        "3/18/2026 1:20 PM",
        "2026-03-18T13:20:00-04:00",
    ];
    let mut sessions = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let number = 2 + u32::try_from(at).unwrap();
        let mut file = name.clone();
        file["PatientGUID"] = guid(number).into();
        let mut visit = json!({"PatientGUID": guid(number), "Status": "Scheduled"});
        visit[ids[at]] = guid(100 + number).into();
        visit[times[at]] = spelled[at].into();
        practice.add(&json!({"patients": [file], "appointments": [visit]}));
        sessions.push(book(
            booking(ids[at]),
            1,
            &[("Ada", Fate::Booked(number, 100 + number))],
        ));
    }
    // Cancelled, in the shorter spelling of the status.
    practice.add(&json!({"patients": [{"PatientGUID": guid(9), "FullName": "Ada Lind"}],
        "appointments": [{"PatientGUID": guid(9), "AppointmentGUID": guid(109), "StartTime": AT, "Status": "Cancelled"}]}));
    sessions.push(book(booking("cancelled"), 1, &[("Ada", Fate::Booked(9, 109))]));
    let rested = Rested::of(plan(&sessions, practice)).await;
    for id in ids {
        rested.ended(id, "pass", "all_confirmed").await;
        let fields = rested.finding(id, "appointment", "Ada").await["fields"].clone();
        assert_eq!(
            (&fields[0]["name"], &fields[0]["outcome"]),
            (&json!("start"), &json!("confirmed"))
        );
    }
    let cancelled = rested.finding("cancelled", "appointment", "Ada").await;
    assert_eq!(
        cancelled["why"],
        "the agent said that it is done, but it is there, but cancelled"
    );
}

// ---- moved and called off ------------------------------------------------------------------------------------------

fn moving(id: &str, number: u32) -> Session {
    let session = Session::new(id).turn(
        "Please reschedule Ada's appointment to another time.",
        "It has been moved.",
    );
    let session = patient_tool(
        session,
        json!({"action": "lookup"}),
        json!({"patients": [{"patientGUID": guid(number), "name": "Ada Lind"}]}),
    );
    let session = schedule(
        session,
        json!({"action": "cancel", "appointmentGUID": guid(200 + number), "patientGUID": guid(number)}),
        json!({"success": true}),
    );
    schedule(
        session,
        json!({"action": "book_child", "childName": "Ada Lind", "patientGUID": guid(number)}),
        json!({"appointmentGUID": guid(100 + number), "startTime": AT}),
    )
}

async fn an_appointment_is_moved_when_the_old_one_is_gone_or_cancelled_and_the_new_one_is_there() {
    let old = |number: u32, status: &str| {
        json!({"appointments": [{"AppointmentGUID": guid(200 + number), "PatientGUID": guid(number),
            "AppointmentDateTime": "3/1/2026 9:00:00 AM", "AppointmentStatusDescription": status}]})
    };
    let new = |number: u32| appointment(100 + number, number, "Scheduled");
    let cases = [
        ("cancelled", vec![old(2, "Cancelled"), new(2)], "pass", "all_confirmed"),
        (
            "re-scheduled",
            vec![old(3, "Re-Scheduled"), new(3)],
            "pass",
            "all_confirmed",
        ),
        ("gone", vec![new(4)], "pass", "all_confirmed"),
        ("both", vec![old(5, "Scheduled"), new(5)], "fail", "fields_wrong"),
        ("neither", vec![old(6, "Cancelled")], "fail", "said_done_not_there"),
        ("untouched", vec![old(7, "Scheduled")], "fail", "said_done_not_there"),
    ];
    let mut sessions = Vec::new();
    let practice = holding(&[]);
    for (number, (id, records, _, _)) in (2..).zip(&cases) {
        practice.add(&patient(number, "Ada"));
        for records in records {
            practice.add(records);
        }
        sessions.push(moving(id, number));
    }
    let rested = Rested::of(plan(&sessions, practice)).await;
    for (id, _, status, reason) in cases {
        let verdict = rested.verdict(id).await;
        assert_eq!(verdict["status"] == "pass", status == "pass", "{id}: {verdict:#}");
        if reason != "fields_wrong" {
            rested.ended(id, status, reason).await;
        }
    }
    let both = rested.finding("both", "appointment", "Ada").await;
    assert_eq!(both["why"], "the new one is there, but so is the old one");
}

fn calling_off(id: &str, number: u32) -> Session {
    schedule(
        Session::new(id).turn("Please cancel the appointment.", "It has been cancelled."),
        json!({"action": "cancel_appointment", "appointmentGUID": guid(100 + number), "patientGUID": guid(number)}),
        json!({"success": true}),
    )
}

async fn an_appointment_is_called_off_when_it_is_gone_or_cancelled() {
    let practice = holding(&[
        patient(2, "Ada"),
        appointment(102, 2, "Cancelled"),
        patient(3, "Ben"),
        appointment(999, 3, "Scheduled"),
        patient(4, "Cleo"),
        appointment(104, 4, "Scheduled"),
    ]);
    let sessions = [
        calling_off("cancelled", 2),
        calling_off("gone", 3),
        calling_off("there", 4),
    ];
    let rested = Rested::of(plan(&sessions, practice)).await;
    rested.ended("cancelled", "pass", "all_confirmed").await;
    rested.ended("gone", "pass", "all_confirmed").await;
    rested.ended("there", "fail", "said_done_not_there").await;
}

// ---- the roll-up ---------------------------------------------------------------------------------------------------

async fn a_session_passes_with_all_of_its_children_and_the_summary_says_who_did_not() {
    let both = [("Ada", Fate::Booked(2, 102)), ("Ben", Fate::Booked(3, 103))];
    let sessions = [
        book(booking("all"), 1, &both),
        book(booking("files-only"), 1, &[("Cleo", Fate::Booked(4, 104))]),
        book(booking("none"), 9, &[("Eve", Fate::Booked(8, 108))]),
    ];
    let mut records = held(&["Ada", "Ben"]);
    records.push(patient(4, "Cleo"));
    let rested = Rested::of(plan(&sessions, holding(&records))).await;
    assert_eq!(
        rested.said("all").await.2,
        "Parent record verified. 2 of 2 children fully verified (Ada: pass; Ben: pass)."
    );
    rested.ended("all", "pass", "all_confirmed").await;
    rested.ended("files-only", "partial", "said_done_not_there").await;
    assert_eq!(
        rested.said("files-only").await.2,
        "Parent record verified. 0 of 1 child fully verified (Cleo: no appointment record)."
    );
    rested.ended("none", "fail", "said_done_not_there").await;
    let words = rested.said("none").await.2;
    assert!(words.contains("0 of 1 child fully verified"), "{words}");
}

async fn a_child_of_whom_no_appointment_came_about_makes_it_partial() {
    let session = book(
        booking("s"),
        1,
        &[("Ada", Fate::Booked(2, 102)), ("Ben", Fate::Refused(3))],
    );
    let mut records = held(&["Ada"]);
    records.push(patient(3, "Ben"));
    let rested = Rested::of(plan(&[session], holding(&records))).await;
    assert_eq!(
        rested.said("s").await.2,
        "Parent record verified. 1 of 2 children fully verified (Ada: pass; Ben: no appointment record)."
    );
    rested.ended("s", "partial", "said_done_not_there").await;
}

async fn children_are_told_apart_by_name_without_case_and_blanks_and_by_full_or_first_name() {
    let session = book(
        booking("s"),
        1,
        &[(" aDA ", Fate::Booked(2, 102)), ("Ben", Fate::Booked(3, 103))],
    )
    .reads(wishes("booking", "create", &["Ada Lind", "BEN  lind "]));
    let rested = Rested::of(read_plan(&[session], holding(&held(&["Ada", "Ben"])))).await;
    rested.ended("s", "pass", "all_confirmed").await;
}

async fn a_child_that_was_named_but_that_no_tool_call_mentions_fails() {
    let session = book(booking("s"), 1, &[("Ada", Fate::Booked(2, 102))]).reads(wishes(
        "booking",
        "create",
        &["Ada Lind", "Ben Lind"],
    ));
    let rested = Rested::of(read_plan(&[session], holding(&held(&["Ada"])))).await;
    let (status, _, summary) = rested.said("s").await;
    assert_eq!(status, "partial");
    assert_eq!(
        summary,
        "Parent record verified. 1 of 2 children fully verified (Ada Lind: pass; Ben Lind: no appointment record)."
    );
}

async fn two_children_may_share_a_name() {
    let both = [("Alex", Fate::Booked(2, 102)), ("Alex", Fate::Booked(3, 103))];
    let one = [("Alex", Fate::Booked(2, 102)), ("Alex", Fate::Booked(4, 104))];
    let reading = || wishes("booking", "create", &["Alex Lind", "Alex Lind"]);
    let sessions = [
        book(booking("both"), 1, &both).reads(reading()),
        book(booking("one"), 1, &one).reads(reading()),
    ];
    let mut records = held(&["Alex", "Alex"]);
    records.push(patient(4, "Alex"));
    // With a language model, and by the tools' calls alone.
    let plans = [
        read_plan(&sessions, holding(&records)),
        plan(&sessions, holding(&records)),
    ];
    for plan in plans {
        let rested = Rested::of(plan).await;
        rested.ended("both", "pass", "all_confirmed").await;
        let (status, _, summary) = rested.said("one").await;
        assert_eq!(status, "partial", "{summary}");
        assert!(summary.contains("1 of 2 children fully verified"), "{summary}");
    }
}

async fn with_only_a_parents_record_to_check_that_record_decides() {
    let session = |id: &str, number: u32| {
        let session = Session::new(id).turn(
            "I would like to book an appointment later; open a file for me.",
            "Your file is open.",
        );
        patient_tool(
            session,
            json!({"action": "create_patient", "firstName": "Anna", "lastName": "Lind"}),
            json!({"patientGUID": guid(number)}),
        )
        .reads(
            json!({"intent": "booking", "confidence": 0.9, "summary": "A file.", "details": [], "statements": [],
            "requests": [{"operation": "create", "record": "patient", "subject": null, "id": null, "fields": [],
                "quote": "open a file for me", "turn": 1, "withdrawn": null}]}),
        )
    };
    let sessions = [session("there", 1), session("not-there", 9)];
    let rested = Rested::of(read_plan(&sessions, holding(&[patient(1, "Anna")]))).await;
    rested.ended("there", "pass", "all_confirmed").await;
    let (status, _, summary) = rested.said("not-there").await;
    assert_eq!(status, "fail", "{summary}");
}

// ---- promises ------------------------------------------------------------------------------------------------------

async fn a_queued_child_is_a_promise_that_is_looked_for_and_not_a_success() {
    let queued = |id: &str, number: u32| {
        book(
            booking(id),
            1,
            &[("Ada", Fate::Booked(2, 102)), ("Ben", Fate::Queued(number))],
        )
    };
    let mut records = held(&["Ada"]);
    records.extend([patient(3, "Ben"), patient(4, "Ben")]);
    let practice = holding(&records);
    let mut late = appointment(500, 3, "Scheduled");
    late["appointments"][0]["after_looks"] = 2.into();
    practice.add(&late);
    let rested = Rested::of(plan(&[queued("worked", 3), queued("never", 4)], practice)).await;
    rested.ended("worked", "pass", "all_confirmed").await;
    assert_eq!(rested.verdict("worked").await["looks"], 3);
    let never = rested.verdict("never").await;
    assert_eq!((&never["status"], &never["looks"]), (&json!("partial"), &json!(4)));
    assert_eq!(
        never["summary"],
        "Parent record verified. 1 of 2 children fully verified (Ada: pass; Ben: no appointment record)."
    );
}

async fn the_last_outcome_of_a_child_counts() {
    let tried_again = book(
        book(booking("worked"), 1, &[("Ada", Fate::Refused(2))]),
        1,
        &[("Ada", Fate::Booked(2, 102))],
    );
    let rested = Rested::of(plan(&[tried_again], holding(&held(&["Ada"])))).await;
    rested.ended("worked", "pass", "all_confirmed").await;
}

// ---- nothing done, taken back, only asked --------------------------------------------------------------------------

async fn a_booking_of_which_nothing_was_done_fails_unless_the_caller_took_it_back() {
    let sessions = [
        Session::new("nothing").turn("I want to book an appointment for Ada Lind.", "Goodbye."),
        Session::new("said-done").turn(
            "I want to book an appointment for Ada Lind.",
            "You are all set for Monday!",
        ),
        Session::new("taken-back")
            .turn("I want to book an appointment.", "For when?")
            .turn("Oh, never mind.", "Goodbye."),
    ];
    let rested = Rested::of(plan(&sessions, holding(&[]))).await;
    rested.ended("nothing", "fail", "nothing_done").await;
    rested.ended("said-done", "fail", "said_done_not_there").await;
    rested.ended("taken-back", "skipped", "withdrawn").await;
}

async fn a_question_asks_nothing_of_the_practice() {
    let looked_up = patient_tool(
        Session::new("looked-up").turn("When is my next appointment?", "On Monday."),
        json!({"action": "lookup"}),
        json!({"patients": [{"patientGUID": guid(2), "name": "Ada Lind"}, {"patientGUID": guid(3), "name": "Ben Lind"}]}),
    );
    let sessions = [
        Session::new("question").turn("What are your opening hours?", "Nine to five."),
        looked_up,
    ];
    let rested = Rested::of(plan(&sessions, holding(&[]))).await;
    rested.ended("question", "skipped", "nothing_to_verify").await;
    rested.ended("looked-up", "skipped", "nothing_to_verify").await;
    assert_eq!(rested.practice().requests(), [], "what a lookup shows is no claim");
}

async fn hits_of_a_lookup_that_nobody_used_are_no_claims() {
    let session = patient_tool(
        booking("s"),
        json!({"action": "lookup"}),
        json!({"patients": [{"patientGUID": guid(70), "name": "Ida Other"}, {"patientGUID": guid(71), "name": "Otto Other"}]}),
    );
    let session = book(session, 1, &[("Ada", Fate::Booked(2, 102))]);
    let rested = Rested::of(plan(&[session], holding(&held(&["Ada"])))).await;
    rested.ended("s", "pass", "all_confirmed").await;
}

async fn a_wrapper_span_claims_nothing_twice_and_a_text_inside_a_text_is_read() {
    let mut session = book(booking("s"), 1, &[("Ada", Fate::Booked(2, 102))]);
    let inner = session.observations.len() - 1;
    let mut wrapper = session.observations[inner].clone();
    wrapper["id"] = "s-wrapper".into();
    wrapper["name"] = "tool-schedule_appointment_ortho".into();
    // The inner span answers its JSON as a text inside a text.
    let answer = session.observations[inner]["output"].to_string();
    session.observations[inner]["output"] = Value::String(Value::String(answer).to_string());
    session.observations[inner]["parentObservationId"] = "s-wrapper".into();
    session.observations.push(wrapper);
    let rested = Rested::of(plan(&[session], holding(&held(&["Ada"])))).await;
    rested.ended("s", "pass", "all_confirmed").await;
    let findings = rested.verdict("s").await["findings"].as_array().unwrap().len();
    assert_eq!(
        findings, 3,
        "the parent's file, the child's file, the child's appointment"
    );
}
