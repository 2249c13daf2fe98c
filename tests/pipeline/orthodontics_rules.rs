//! More rules of how a practice's calls are judged, through the whole pipeline: outcomes that follow one another, other shapes of
//! traces, other systems than one Cloud9.

use aftercall::sandbox::cloud9::{self, Practice};
use serde_json::{Value, json};

use crate::{
    on_each_engine,
    support::{
        bakery::Session,
        nexhealth::NexHealth,
        practice::{
            AT, Fate, Rested, appointment, book, booking, guid, holding, patient, patient_tool, plan, read_plan,
            schedule, wishes,
        },
        state::document,
        world::Plan,
    },
};

on_each_engine! {
    a_child_that_is_booked_again_is_booked_as_the_last_call_says,
    a_parents_record_earns_nothing_for_a_child_of_whom_nothing_is_there,
    a_child_is_the_one_that_the_file_was_made_for,
    each_child_passes_or_fails_by_its_own_records,
    a_booking_known_from_chat_messages_alone_is_judged_alike,
    what_the_tools_of_a_nexhealth_practice_claim_is_looked_up_there_by_number,
    calls_of_the_sandbox_are_checked_in_the_sandbox,
}

// ---- several outcomes ----------------------------------------------------------------------------------------------

async fn a_child_that_is_booked_again_is_booked_as_the_last_call_says() {
    let twice = |id: &str, first: Fate, last: Fate| {
        let session = book(booking(id), 1, &[("Ada", first)]);
        book(session, 1, &[("Ada", last)]).reads(wishes("booking", "create", &["Ada Lind"]))
    };
    let mut records = vec![patient(1, "Anna")];
    for number in 2..=6 {
        records.push(patient(number, "Ada"));
    }
    let sessions = [
        twice("later", Fate::Booked(2, 202), Fate::Booked(2, 302)),
        twice("both", Fate::Booked(3, 203), Fate::Booked(3, 303)),
        twice("queued-first", Fate::Queued(4), Fate::Booked(4, 304)),
        twice("refused-after", Fate::Booked(5, 205), Fate::Refused(5)),
        twice("neither", Fate::Booked(6, 206), Fate::Booked(6, 306)),
    ];
    for (number, patient) in [(302, 2), (203, 3), (303, 3), (304, 4), (205, 5)] {
        records.push(appointment(number, patient, "Scheduled"));
    }
    // By the tools' calls alone, and with a language model.
    for plan in [
        plan(&sessions, holding(&records)),
        read_plan(&sessions, holding(&records)),
    ] {
        let rested = Rested::of(plan).await;
        rested.ended("later", "pass", "all_confirmed").await;
        rested.ended("both", "fail", "unwanted_effect").await;
        rested.ended("queued-first", "pass", "all_confirmed").await;
        rested.ended("refused-after", "pass", "all_confirmed").await;
        let (status, _, summary) = rested.said("neither").await;
        assert_eq!(status, "partial", "{summary}");
        assert!(summary.contains("no appointment record"), "{summary}");
    }
}

async fn a_parents_record_earns_nothing_for_a_child_of_whom_nothing_is_there() {
    let sessions = [
        book(booking("nothing"), 1, &[("Ada", Fate::Booked(8, 108))]),
        book(booking("file-only"), 1, &[("Ben", Fate::Booked(3, 103))]),
        book(booking("all-but-the-parent"), 9, &[("Cleo", Fate::Booked(4, 104))]),
    ];
    let records = [
        patient(1, "Anna"),
        patient(3, "Ben"),
        patient(4, "Cleo"),
        appointment(104, 4, "Scheduled"),
    ];
    let rested = Rested::of(plan(&sessions, holding(&records))).await;
    let (status, _, summary) = rested.said("nothing").await;
    assert_eq!(status, "fail", "{summary}");
    assert_eq!(
        summary,
        "Parent record verified. 0 of 1 child fully verified (Ada: no appointment record, no patient record)."
    );
    assert_eq!(rested.said("file-only").await.0, "partial");
    let (status, _, summary) = rested.said("all-but-the-parent").await;
    assert_eq!(status, "pass", "all children pass");
    assert_eq!(
        summary,
        "Parent: no patient record. 1 of 1 child fully verified (Cleo: pass)."
    );
}

async fn a_child_is_the_one_that_the_file_was_made_for() {
    // The tool is told whose file it is: "Adi" is how the caller says it, and the file is Ada's.
    let session = patient_tool(
        booking("s"),
        json!({"action": "create_patient", "childName": "Adi", "firstName": "Ada", "lastName": "Lind"}),
        json!({"patientGUID": guid(2)}),
    );
    let session = schedule(
        session,
        json!({"action": "book_child", "childName": "Adi", "startTime": AT}),
        json!({"appointmentGUID": guid(102)}),
    );
    let practice = holding(&[patient(2, "Ada"), appointment(102, 2, "Scheduled")]);
    let rested = Rested::of(plan(&[session], practice)).await;
    rested.ended("s", "pass", "all_confirmed").await;
    assert_eq!(rested.said("s").await.2, "1 of 1 child fully verified (Adi: pass).");
    let asked: Vec<String> = rested
        .practice()
        .requests()
        .into_iter()
        .map(|one| one.procedure)
        .collect();
    assert!(
        !asked.contains(&"GetPortalPatientLookup".to_owned()),
        "the file's id is known: {asked:?}"
    );
}

async fn each_child_passes_or_fails_by_its_own_records() {
    // One is there, of one the file has another name, of one the appointment was cancelled, one nobody made anything for.
    let children = [
        ("Ada", Fate::Booked(2, 102)),
        ("Ben", Fate::Booked(3, 103)),
        ("Cleo", Fate::Booked(4, 104)),
        ("Dora", Fate::Booked(5, 105)),
    ];
    let session = book(booking("s"), 1, &children);
    let records = [
        patient(1, "Anna"),
        patient(2, "Ada"),
        appointment(102, 2, "Scheduled"),
        patient(3, "Bob"),
        appointment(103, 3, "Scheduled"),
        patient(4, "Cleo"),
        appointment(104, 4, "Cancelled"),
    ];
    let rested = Rested::of(plan(&[session], holding(&records))).await;
    let (status, _, summary) = rested.said("s").await;
    assert_eq!(status, "partial");
    assert_eq!(
        summary,
        "Parent record verified. 1 of 4 children fully verified (Ada: pass; Ben: patient with another name; \
         Cleo: no appointment record; Dora: no appointment record, no patient record)."
    );
}

// ---- other shapes and other systems --------------------------------------------------------------------------------

/// A session whose tool is known only from the model's messages.
fn in_chat(id: &str, answer: &Value) -> Session {
    let mut session = Session::new(id);
    let arguments =
        json!({"action": "book_child", "children": [{"firstName": "Ada", "lastName": "Lind", "startTime": AT}]});
    let call = json!({"id": "c1", "type": "function",
        "function": {"name": "schedule_appointment_ortho", "arguments": arguments.to_string()}});
    let asked = json!({"role": "user", "content": "I want to book an appointment for Ada Lind."});
    let messages = [
        (
            json!([asked]),
            json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        ),
        (
            json!([asked, {"role": "assistant", "content": null, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": answer.to_string()}]),
            json!({"role": "assistant", "content": "You are all set for Wednesday."}),
        ),
    ];
    for (second, (input, output)) in messages.into_iter().enumerate() {
        session.observations.push(json!({
            "id": format!("{id}-g{second}"), "traceId": format!("{id}-t"), "sessionId": id, "type": "GENERATION", "name": "chat",
            "level": "DEFAULT", "startTime": format!("2026-05-04T10:00:0{second}Z"), "endTime": format!("2026-05-04T10:00:0{second}Z"),
            "input": input, "output": output,
        }));
    }
    session
}

async fn a_booking_known_from_chat_messages_alone_is_judged_alike() {
    let booked = json!({"children": [{"firstName": "Ada", "patientGUID": guid(2), "success": true,
        "appointment": {"appointmentGUID": guid(102), "startTime": AT}}]});
    let sessions = [
        in_chat("there", &booked),
        in_chat(
            "refused",
            &json!({"success": false, "error": "slot no longer available"}),
        ),
        in_chat("refused-without-words", &json!({"success": false})),
    ];
    let records = [patient(2, "Ada"), appointment(102, 2, "Scheduled"), patient(3, "Ben")];
    let rested = Rested::of(plan(&sessions[..1], holding(&records))).await;
    rested.ended("there", "pass", "all_confirmed").await;
    let rested = Rested::of(plan(&sessions[1..], holding(&records[2..]))).await;
    for id in ["refused", "refused-without-words"] {
        rested.ended(id, "fail", "said_done_not_there").await;
        let found = rested.finding(id, "appointment", "Ada").await;
        assert_eq!(
            found["steps"],
            json!([format!("{id}-g0")]),
            "the call that was tried: {found:#}"
        );
    }
}

/// The orthodontics playbook for a practice on NexHealth, as `docs/playbooks.md` tells: its records are the presets' in place of
/// Cloud9's.
fn on_nexhealth() -> String {
    let playbook = include_str!("../../playbooks/orthodontics.toml");
    let (before, records) = playbook.split_once("[[record]]").unwrap();
    let (_, experts) = records.split_once("[[expert]]").unwrap();
    format!(
        "{before}[[record]]\npreset = \"nexhealth/appointment\"\nsystem = \"ehr\"\nneeds = [\"patient\"]\n\
         [record.keys]\npatient = {{ record = \"patient\" }}\n\n\
         [[record]]\npreset = \"nexhealth/patient\"\nsystem = \"ehr\"\n\n\
         [[search]]\nname = \"patient_by_name\"\npreset = \"nexhealth/patient-by-name\"\nsystem = \"ehr\"\n\n[[expert]]{experts}"
    )
}

/// As the tools of such a practice are called and answer.
fn numbered(id: &str, appointment: u32) -> Session {
    let created = booking(id).call(
        "chord_patient_v07_stage",
        json!({"action": "create_patient", "firstName": "Ada", "lastName": "Lind"}),
        json!({"id": 77, "first_name": "Ada", "last_name": "Lind"}),
    );
    created.call(
        "chord_scheduling_v08",
        json!({"action": "book_child", "patientName": "Ada Lind"}),
        json!({"id": appointment, "patient_id": 77, "provider_id": 3, "start_time": "2026-09-14T09:30:00-04:00"}),
    )
}

async fn what_the_tools_of_a_nexhealth_practice_claim_is_looked_up_there_by_number() {
    let ada = json!({"id": 77, "first_name": "Ada", "last_name": "Lind", "name": "Ada Lind"});
    let at = |id: u32, start: &str, cancelled: bool| json!({"id": id, "patient_id": 77, "provider_id": 3, "start_time": start, "cancelled": cancelled});
    let server = NexHealth::start(
        &[ada],
        &[
            at(991, "2026-09-14T13:30:00.000Z", false),
            at(992, "2026-09-14T13:30:00.000Z", true),
            at(993, "2026-09-15T13:30:00.000Z", false),
        ],
    )
    .await;
    let cancelled = Session::new("called-off").turn("Please cancel the appointment.", "It has been cancelled.");
    let cancelled = cancelled.call(
        "chord_scheduling_v08",
        json!({"action": "cancel_appointment", "appointmentId": 992, "patient_id": 77}),
        json!({"success": true}),
    );
    let sessions = [
        numbered("there", 991),
        numbered("cancelled", 992),
        numbered("another-day", 993),
        numbered("never-made", 994),
        cancelled,
    ];
    let system = format!(
        "[[records]]\nname = 'ehr'\nkind = 'http'\npreset = 'nexhealth'\nbase_url = '{url}'\npace = '0s'\ntimeout = '2s'\n\
         [records.auth]\nkind = 'api_key'\napi_key = 'file:./api_key'\n\
         [records.values]\nsubdomain = 'demo'\nlocation_id = '12'\n",
        url = server.url
    );
    let plan = Plan::of(&sessions)
        .files(&[("nexhealth.toml", &on_nexhealth()), ("api_key", "hidden-from-all")])
        .set("source", "playbook", "'./nexhealth.toml'")
        .append(&system);
    let world = plan.start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    for (id, status, outcome) in [
        ("there", "pass", "confirmed"),
        ("cancelled", "partial", "missing"),
        ("another-day", "partial", "wrong"),
        ("never-made", "partial", "missing"),
        ("called-off", "pass", "confirmed"),
    ] {
        let verdict = document(&db, id).await;
        let findings = verdict["findings"].as_array().unwrap();
        let found = findings
            .iter()
            .find(|finding| finding["record"] == "appointment")
            .unwrap();
        assert_eq!(
            (&verdict["status"], &found["outcome"]),
            (&json!(status), &json!(outcome)),
            "{id}: {verdict:#}"
        );
    }
    let asked = server.asked();
    for path in ["/patients/77", "/appointments/991", "/appointments/994"] {
        assert!(asked.iter().any(|one| one == path), "{path} in {asked:?}");
    }
}

async fn calls_of_the_sandbox_are_checked_in_the_sandbox() {
    // Each has the other's appointment as well, cancelled: whoever asks the wrong one notices.
    let family = |status: &str, other: &str| {
        let practice = holding(&[patient(1, "Anna"), patient(2, "Ada")]);
        practice.add(&appointment(102, 2, status));
        practice.add(&appointment(103, 2, other));
        practice
    };
    let sandbox: std::sync::Arc<Practice> = std::sync::Arc::new(family("Cancelled", "Scheduled"));
    let server = cloud9::start(std::sync::Arc::clone(&sandbox)).await.unwrap();
    let real = book(booking("real"), 1, &[("Ada", Fate::Booked(2, 102))]);
    let trial = book(booking("trial"), 1, &[("Ada", Fate::Booked(2, 103))]);
    let playbook = include_str!("../../playbooks/orthodontics.toml");
    let more = format!(
        "[[source]]\nname = 'trials'\nkind = 'bundle'\npath = 'trials.jsonl'\nplaybook = './sandbox.toml'\n\
         [[records]]\nname = 'practice-sandbox'\nkind = 'cloud9'\nurl = '{}{}'\nclient_id = 'file:client_id'\nuser = 'file:user'\n\
         password = 'file:password'\npace = '0s'\n",
        server.url(),
        cloud9::PATH
    );
    let plan = plan(&[real], family("Scheduled", "Cancelled"))
        .files(&[
            (
                "sandbox.toml",
                &playbook.replace("system = \"practice\"", "system = \"practice-sandbox\""),
            ),
            ("trials.jsonl", &trial.lines()),
        ])
        .append(&more);
    let rested = Rested::of(plan).await;
    rested.ended("real", "pass", "all_confirmed").await;
    rested.ended("trial", "pass", "all_confirmed").await;
    assert!(!sandbox.requests().is_empty());
    assert_eq!(sandbox.malformed(), Vec::<String>::new());
}
