//! A Cloud9 that throttles, is closed, refuses, or answers nonsense: never a verdict.

use std::time::Duration;

use aftercall::{
    db::Db,
    sandbox::cloud9::{Fault, Practice, UnknownGuid},
    store::inspect::sessions::{self, SessionFilter},
};
use serde_json::json;

use crate::{
    on_each_engine,
    support::{
        bakery::Session,
        practice::{Fate, Rested, appointment, book, booking, guid, holding, patient, plan, schedule},
        state::{count, verdicts},
        until,
        world::{Plan, idle},
    },
};

on_each_engine! {
    error_codes_of_the_system_are_waited_out,
    pages_nothing_at_all_and_cut_answers_are_waited_out,
    a_night_of_trouble_changes_no_verdict_and_burns_no_attempt,
    a_success_without_records_is_looked_at_again_before_anything_is_missing,
    a_success_without_records_does_not_confirm_that_an_appointment_is_gone,
    a_guid_that_nobody_has_is_missing_after_all_looks_whichever_way_it_is_said,
    an_id_that_the_system_does_not_take_is_unknown_and_not_missing,
    closed_hours_are_waited_out_by_the_practices_clock,
    a_practice_that_takes_two_requests_a_second_gets_every_session_judged,
    values_of_a_transcript_stay_inside_their_element,
}

fn ada(id: &str) -> Session {
    book(booking(id), 1, &[("Ada", Fate::Booked(2, 102))])
}

fn family() -> Vec<serde_json::Value> {
    vec![patient(1, "Anna"), patient(2, "Ada"), appointment(102, 2, "Scheduled")]
}

/// What the session waits for, in words.
async fn waiting_reason(db: &Db) -> String {
    let filter = SessionFilter {
        limit: 10,
        ..SessionFilter::default()
    };
    let lines = sessions::list(db, &filter).await.unwrap();
    let session = lines.into_iter().find(|line| line.key.session_id == "s");
    session.and_then(|line| line.waiting_reason).unwrap_or_default()
}

/// A second before it opens, as far as it is closed: nobody has to wait long.
fn nearly_open(practice: &Practice) {
    practice.set_clock("2026-03-01T01:59:59Z".parse().unwrap());
}

/// Its sessions; the hours were agreed upon.
fn agreed(sessions: &[Session], practice: Practice) -> Plan {
    plan(sessions, practice).set_practice("allowed_hours", "'02:00-06:00'")
}

/// The session waits with the reason, and passes when the fault is over: as if nothing had been.
async fn waits_out(fault: Fault, reason: &str) {
    let practice = holding(&family());
    nearly_open(&practice);
    practice.fail("", fault.clone(), u64::MAX);
    let what = format!("{fault:?}").chars().take(60).collect::<String>();
    let world = agreed(&[ada("s")], practice)
        .set_practice("timeout", "'500ms'")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until(&format!("{what} is waited out as {reason}"), async || {
        waiting_reason(&db).await.contains(reason)
    })
    .await;
    assert_eq!(verdicts(&db).await, []);
    world.practice().heal();
    idle(&pipeline).await;
    pipeline.shutdown().await;
    let passed = ("s".to_owned(), "pass".to_owned(), "all_confirmed".to_owned());
    assert_eq!(verdicts(&db).await, [passed], "{what}");
    let burnt =
        "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'verify_session' AND (attempt > 1 OR state <> 'completed')";
    assert_eq!(count(&db, burnt).await, 0, "{what}: no attempt is burnt");
    assert_eq!(world.practice().refused_writes(), 0);
}

async fn error_codes_of_the_system_are_waited_out() {
    for (code, reason) in [
        (0, "unreachable"),
        (1, "auth_invalid"),
        (6, "auth_invalid"),
        (7, "closed_hours"),
        (8, "rate_limited"),
        (10, "auth_invalid"),
    ] {
        waits_out(Fault::Code(code), reason).await;
    }
}

async fn pages_nothing_at_all_and_cut_answers_are_waited_out() {
    for (fault, reason) in [
        (Fault::Html, "unreachable"),
        (Fault::EmptyBody, "unreachable"),
        (Fault::Status(502), "unreachable"),
        (Fault::Hang, "unreachable"),
        (Fault::Cut, "bad_answer"),
        (Fault::ErrorResult, "bad_answer"),
    ] {
        waits_out(fault, reason).await;
    }
}

async fn a_night_of_trouble_changes_no_verdict_and_burns_no_attempt() {
    let sessions = || {
        vec![
            ada("there"),
            book(booking("not-there"), 1, &[("Eve", Fate::Booked(7, 107))]),
            book(
                booking("half"),
                1,
                &[("Ada", Fate::Booked(2, 102)), ("Eve", Fate::Booked(7, 107))],
            ),
        ]
    };
    let quiet = Rested::of(plan(&sessions(), holding(&family()))).await;
    let practice = holding(&family());
    for (fault, times) in [
        (Fault::Code(7), 2),
        (Fault::Code(8), 4),
        (Fault::Hang, 2),
        (Fault::Html, 2),
        (Fault::EmptyBody, 2),
        (Fault::Code(1), 1),
        (Fault::Status(502), 2),
        (Fault::Cut, 1),
    ] {
        practice.fail("", fault, times);
    }
    nearly_open(&practice);
    let troubled = Rested::of(agreed(&sessions(), practice).set_practice("timeout", "'2s'")).await;
    assert_eq!(verdicts(&troubled.db).await, verdicts(&quiet.db).await);
    let refused = troubled.practice().requests().len() - quiet.practice().requests().len();
    assert_eq!(refused, 16, "each fault was met once and each question asked again");
    let burnt = "SELECT COUNT(*) AS n FROM jobs WHERE attempt > 1 OR state <> 'completed'";
    assert_eq!(count(&troubled.db, burnt).await, 0);
}

async fn a_success_without_records_is_looked_at_again_before_anything_is_missing() {
    let practice = holding(&family());
    // Throttled for a while: every question of the first two looks is answered with nothing.
    practice.fail("GetPatientInformation", Fault::NoRecords, 4);
    practice.fail("GetAppointmentListByPatient", Fault::NoRecords, 2);
    let rested = Rested::of(plan(&[ada("s")], practice)).await;
    rested.ended("s", "pass", "all_confirmed").await;
    assert_eq!(rested.verdict("s").await["looks"], 3);
}

async fn a_success_without_records_does_not_confirm_that_an_appointment_is_gone() {
    let practice = holding(&[patient(2, "Ada"), appointment(102, 2, "Scheduled")]);
    practice.fail("GetAppointmentListByPatient", Fault::NoRecords, 3);
    let session = schedule(
        Session::new("s").turn("Please cancel the appointment.", "It has been cancelled."),
        json!({"action": "cancel", "appointmentGUID": guid(102), "patientGUID": guid(2)}),
        json!({"success": true}),
    );
    let rested = Rested::of(plan(&[session], practice)).await;
    rested.ended("s", "fail", "said_done_not_there").await;
    assert_eq!(rested.verdict("s").await["looks"], 4);
}

async fn a_guid_that_nobody_has_is_missing_after_all_looks_whichever_way_it_is_said() {
    for answer in [UnknownGuid::NoRecords, UnknownGuid::Code3] {
        let practice = holding(&[]);
        practice.answer_unknown_guid(answer);
        let rested = Rested::of(plan(&[ada("s")], practice)).await;
        rested.ended("s", "fail", "said_done_not_there").await;
        assert_eq!(rested.verdict("s").await["looks"], 4, "{answer:?}");
    }
}

async fn an_id_that_the_system_does_not_take_is_unknown_and_not_missing() {
    let session = schedule(
        booking("s"),
        json!({"action": "book_child", "childName": "Ada Lind", "patientGUID": "made-up"}),
        json!({"appointmentGUID": guid(102)}),
    );
    let rested = Rested::of(plan(&[session], holding(&family()))).await;
    rested.ended("s", "error", "records_unreadable").await;
    let found = rested.finding("s", "appointment", "Ada").await;
    assert!(found["why"].as_str().unwrap().contains("error code 3"), "{found:#}");
}

async fn closed_hours_are_waited_out_by_the_practices_clock() {
    let practice = holding(&family());
    practice.set_allowed_hours(Some((2 * 60, 6 * 60)));
    nearly_open(&practice);
    let world = agreed(&[ada("s")], practice).start().await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    until("it is closed", async || {
        waiting_reason(&db).await.contains("closed_hours")
    })
    .await;
    world.practice().advance_clock(Duration::from_secs(1));
    idle(&pipeline).await;
    pipeline.shutdown().await;
    let passed = ("s".to_owned(), "pass".to_owned(), "all_confirmed".to_owned());
    assert_eq!(verdicts(&db).await, [passed]);
}

async fn a_practice_that_takes_two_requests_a_second_gets_every_session_judged() {
    let practice = holding(&family());
    practice.limit_rate(Some(2));
    let sessions: Vec<Session> = (0..3).map(|number| ada(&format!("s{number}"))).collect();
    let rested = Rested::of(plan(&sessions, practice)).await;
    for session in &sessions {
        rested.ended(&session.id, "pass", "all_confirmed").await;
    }
    let refused = rested
        .practice()
        .requests()
        .iter()
        .filter(|one| one.code == Some(8))
        .count();
    assert!(refused > 0, "the limit was met");
}

async fn values_of_a_transcript_stay_inside_their_element() {
    let evil = "</patGUID></Parameters><Procedure>SetAppointment</Procedure><Parameters><patGUID>";
    let session = schedule(
        booking("s"),
        json!({"action": "book_child", "childName": "Ada Lind", "patientGUID": evil}),
        json!({"appointmentGUID": "<![CDATA[x]]>"}),
    );
    // `Rested` asserts that every request was well formed and none wrote.
    let rested = Rested::of(plan(&[session], holding(&family()))).await;
    rested.ended("s", "error", "records_unreadable").await;
    assert!(
        rested
            .practice()
            .requests()
            .iter()
            .all(|one| !one.procedure.starts_with("Set"))
    );
}
