//! The faults that the original of this program had, each with a test that ours does not have it.

use std::time::Duration;

use aftercall::{
    domain::session::SessionKey,
    reprocess,
    sandbox::{
        cloud9::Fault,
        language_model::{Asked, Reply, ScriptedModel},
    },
};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    on_each_engine,
    support::{
        bakery::{self, Session, vanished},
        practice::{Fate, Rested, appointment, book, booking, guid, holding, patient, plan},
        state::{broken_promises, count, document, verdict, verdicts},
        until,
        world::{Plan, SOURCE, idle},
    },
};

on_each_engine! {
    original_fault_1_no_cycle_missed_no_eleventh_session_and_no_long_session_is_lost,
    original_fault_2_two_instances_do_the_work_once_and_leave_nothing_half_done,
    original_fault_3_alerts_are_evaluated_while_the_model_and_the_practice_hang,
    original_fault_4_an_upstream_failure_is_no_verdict_and_is_tried_again,
    original_fault_5_every_status_written_is_a_documented_one_and_counts_add_up,
    original_fault_6_a_diagnosis_sees_the_evidence_is_tried_again_and_starves_nobody,
    original_fault_7_a_booking_of_which_nothing_was_done_fails_and_is_diagnosed,
    original_fault_8_a_resumed_call_is_judged_again_and_old_verdicts_stay,
    original_fault_9_no_lookup_is_written_to_a_file_or_a_log_with_personal_data,
}

fn ada(id: &str) -> Session {
    book(booking(id), 1, &[("Ada", Fate::Booked(2, 102))])
}

fn family() -> Vec<Value> {
    vec![patient(1, "Anna"), patient(2, "Ada"), appointment(102, 2, "Scheduled")]
}

/// 1: A cycle missed for over ten minutes lost its sessions for good; so did an 11th session in a window, or a 51st trace.
async fn original_fault_1_no_cycle_missed_no_eleventh_session_and_no_long_session_is_lost() {
    let sessions: Vec<Session> = (0..15).map(|number| ada(&format!("s-{number:02}"))).collect();
    let mut long = Session::new("long");
    for _ in 0..60 {
        long = long.turn("I want to book an appointment for Ada.", "One moment.");
    }
    let world = plan(&sessions, holding(&family())).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;

    // Nobody looks for hours; meanwhile a session of sixty traces came to its end.
    db.advance_clock(Duration::from_hours(7)).await.unwrap();
    world.append(&book(long, 1, &[("Ada", Fate::Booked(2, 102))]).lines());
    world.run_until_idle(&db).await;

    let verdicts = verdicts(&db).await;
    assert_eq!(verdicts.len(), 16);
    assert!(verdicts.iter().all(|(_, status, _)| status == "pass"), "{verdicts:?}");
    let traces = "SELECT trace_count AS n FROM sessions WHERE session_id = 'long'";
    assert_eq!(count(&db, traces).await, 60);
}

/// 2: A crash between import, analysis, storing and diagnosis left a session half done; two instances did the work twice.
/// (Every point where a process can die is visited in `faults::every_fault_point`.)
async fn original_fault_2_two_instances_do_the_work_once_and_leave_nothing_half_done() {
    let sessions: Vec<Session> = (0..8).map(|number| ada(&format!("s-{number}"))).collect();
    let practice = holding(&family());
    practice.fail("", Fault::Hang, u64::MAX);
    let world = plan(&sessions, practice)
        .set_practice("timeout", "'500ms'")
        .start()
        .await;
    let db = world.db().await;
    let (first, second) = (world.child(&[]), world.child(&[]));
    // One of them is in the middle of a session; neither can come to an end.
    until("the practice is asked", async || {
        !world.practice().requests().is_empty()
    })
    .await;
    first.signal(Signal::KILL);
    assert!(first.ended().await.was_killed());
    world.practice().heal();
    let ended = second.ended().await;
    assert!(ended.status.success(), "{ended}");
    assert_eq!(broken_promises(&db).await, Vec::<String>::new());
    assert_eq!(count(&db, "SELECT COUNT(*) AS n FROM verdicts").await, 8, "one each");
    let undone = "SELECT COUNT(*) AS n FROM sessions WHERE state <> 'done'";
    assert_eq!(count(&db, undone).await, 0);
}

/// 3: Monitoring ran inside the heartbeat, so that a slow LLM delayed alerts.
async fn original_fault_3_alerts_are_evaluated_while_the_model_and_the_practice_hang() {
    let practice = holding(&family());
    practice.fail("", Fault::Hang, u64::MAX);
    let sessions = [ada("s-1"), ada("s-2")];
    let world = plan(&sessions, practice)
        .model(ScriptedModel::new(|_: &Asked| Reply::Hang))
        .set("llm", "timeout", "'60s'")
        .set("records", "timeout", "'60s'")
        .start()
        .await;
    let db = world.db().await;
    let pipeline = world.pipeline(&db).await;
    let evaluated = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'evaluate_alerts' AND state = 'completed'";
    let hanging = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND state = 'running'";
    until("both sessions hang", async || count(&db, hanging).await == 2).await;
    let before = count(&db, evaluated).await;
    db.advance_clock(Duration::from_secs(61)).await.unwrap();
    until("alerts are evaluated", async || count(&db, evaluated).await > before).await;
    let ended =
        "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'analyze_session' AND state IN ('completed', 'discarded')";
    assert_eq!(count(&db, ended).await, 0, "neither session came to an end meanwhile");
    pipeline.shutdown().await;
}

/// 4: An upstream failure was stored as the verdict `error`, and never tried again.
async fn original_fault_4_an_upstream_failure_is_no_verdict_and_is_tried_again() {
    let practice = holding(&family());
    practice.fail("", Fault::Status(502), 5);
    let rested = Rested::of(plan(&[ada("s")], practice)).await;
    rested.ended("s", "pass", "all_confirmed").await;
    assert_eq!(count(&rested.db, "SELECT COUNT(*) AS n FROM verdicts").await, 1);
    let asked = rested.practice().requests().len();
    assert_eq!(
        asked,
        5 + 4,
        "five failures, then three questions and the practice's zone"
    );
}

/// 5: Statuses written (`verified`, `failed`) were not the ones documented (`pass`, `fail`), so that counts were wrong.
async fn original_fault_5_every_status_written_is_a_documented_one_and_counts_add_up() {
    let sessions = bakery::every_way();
    let world = Plan::of(&sessions).model(bakery::model(&sessions)).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    for table in [
        "SELECT COUNT(*) AS n FROM verdicts WHERE status NOT IN ('pass', 'partial', 'fail', 'skipped', 'error')",
        "SELECT COUNT(*) AS n FROM monitoring_results
         WHERE verification_status NOT IN ('pass', 'partial', 'fail', 'skipped', 'error')",
        "SELECT COUNT(*) AS n FROM monitoring_results AS r JOIN verdicts AS v
         ON v.source = r.source AND v.session_id = r.session_id AND v.generation = r.generation
         WHERE v.status <> r.verification_status",
    ] {
        assert_eq!(count(&db, table).await, 0, "{table}");
    }
    let counted = |status: &str| sessions_with(status);
    let mut all = 0;
    for status in ["pass", "partial", "fail", "skipped", "error"] {
        all += count(&db, counted(status)).await;
    }
    assert_eq!(all, sessions.len() as u64);
}

fn sessions_with(status: &str) -> &'static str {
    match status {
        "pass" => "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'pass'",
        "partial" => "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'partial'",
        "fail" => "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'fail'",
        "skipped" => "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'skipped'",
        _ => "SELECT COUNT(*) AS n FROM monitoring_results WHERE verification_status = 'error'",
    }
}

/// 6: Diagnosis got no evidence; a failed diagnosis was final; 3 per cycle, newest first, starved the old ones.
async fn original_fault_6_a_diagnosis_sees_the_evidence_is_tried_again_and_starves_nobody() {
    let sessions: Vec<Session> = (0..7).map(|number| vanished(&format!("s-{number}"))).collect();
    let script = sessions.clone();
    let failed_once = std::sync::atomic::AtomicBool::new(false);
    let model = ScriptedModel::new(move |asked| {
        if asked.schema.as_deref() == Some("root_cause") {
            // The transcript, the tool's call and its answer are there.
            let sees = asked.text.contains("order a plum cake") && asked.text.contains("orderId");
            if !sees {
                return Reply::Error(400, "blind".to_owned(), "the evidence is missing".to_owned());
            }
            if !failed_once.swap(true, std::sync::atomic::Ordering::Relaxed) {
                return Reply::Error(503, "down".to_owned(), "try again".to_owned());
            }
        }
        bakery::answer(&script, asked)
    });
    let world = Plan::of(&sessions)
        .model(model)
        .set("limits", "diagnose_starts", "3")
        .set("limits", "diagnose_window", "'200ms'")
        .start()
        .await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    let diagnosed = "SELECT COUNT(*) AS n FROM monitoring_results WHERE diagnostic_status = 'complete'
        AND CAST(diagnostic_report_json AS text) LIKE '%The tool lost the order.%'";
    assert_eq!(count(&db, diagnosed).await, 7, "the oldest as well as the newest");
}

/// 7: `no_claims` on a booking counted as neither failure nor pass, so that the worst calls were not diagnosed.
async fn original_fault_7_a_booking_of_which_nothing_was_done_fails_and_is_diagnosed() {
    let session = Session::new("s").turn("I want to book an appointment for Ada Lind.", "Goodbye.");
    let rested = Rested::of(plan(&[session], holding(&[]))).await;
    rested.ended("s", "fail", "nothing_done").await;
    let diagnosed = "SELECT COUNT(*) AS n FROM monitoring_results WHERE diagnostic_status = 'complete'";
    assert_eq!(count(&rested.db, diagnosed).await, 1);
}

/// 8: A resumed call was never looked at again; a re-run overwrote the old verdict.
async fn original_fault_8_a_resumed_call_is_judged_again_and_old_verdicts_stay() {
    let first = Session::new("s").turn("I want to book an appointment for Ada Lind.", "Goodbye.");
    let world = plan(std::slice::from_ref(&first), holding(&family())).start().await;
    let db = world.db().await;
    world.run_until_idle(&db).await;
    assert_eq!(verdict(&db, "s").await.0, "fail");

    let resumed = book(
        first
            .clone()
            .turn("It is me again: please book it.", "You are all set."),
        1,
        &[("Ada", Fate::Booked(2, 102))],
    );
    let whole = resumed.lines();
    let more: Vec<&str> = whole.split_inclusive('\n').skip(first.observations.len()).collect();
    world.append(&more.concat());
    world.run_until_idle(&db).await;
    assert_eq!(document(&db, "s").await["status"], "pass");

    let mut tx = db.begin().await.unwrap();
    reprocess::reprocess(&mut tx, &SessionKey::new(SOURCE, "s"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.run_until_idle(&db).await;
    let rows = db
        .fetch_all("SELECT status FROM verdicts ORDER BY generation", &[])
        .await
        .unwrap();
    let statuses: Vec<String> = rows.iter().map(|row| row.get("status").unwrap()).collect();
    assert_eq!(statuses, ["fail", "pass", "pass"], "every generation keeps its verdict");
}

/// 9: Lookups were written to files and logs with personal data.
async fn original_fault_9_no_lookup_is_written_to_a_file_or_a_log_with_personal_data() {
    let canary = "Zebulon";
    let practice = holding(&[patient(1, "Anna"), patient(2, canary), appointment(102, 2, "Scheduled")]);
    // Some answers are errors that quote what was asked, as real ones do.
    let quoting = format!(
        "<GetDataResponse><ResponseStatus>Error</ResponseStatus><ErrorCode>0</ErrorCode>\
         <ErrorMessage>cannot read {canary} {}</ErrorMessage></GetDataResponse>",
        guid(2)
    );
    practice.fail("", Fault::Body(quoting), 2);
    let session = book(
        Session::new("s").turn(
            &format!("Please book an appointment for {canary} Lind."),
            "You are all set.",
        ),
        1,
        &[(canary, Fate::Booked(2, 102))],
    );
    let world = plan(&[session], practice).start().await;
    let folder = |world: &crate::support::world::World| -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(world.directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with("aftercall.db") && !name.starts_with("child-"))
            .collect();
        names.sort();
        names
    };
    let before = folder(&world);
    let ended = world.child(&[("AFTERCALL_LOG", "trace")]).ended().await;
    assert!(ended.status.success(), "{ended}");
    let db = world.db().await;
    assert_eq!(verdict(&db, "s").await.0, "pass");
    let log = ended.err;
    assert!(log.contains("records:practice"), "the outage is said: {log}");
    for private in [
        canary,
        &guid(1),
        &guid(2),
        &guid(102),
        "sandbox-password",
        "sandbox-client",
        "sandbox-user",
    ] {
        assert!(!log.contains(private), "{private} is in the log");
    }
    assert_eq!(folder(&world), before, "no file is written beside the database");
    let pipeline = world.pipeline(&db).await;
    idle(&pipeline).await;
    pipeline.shutdown().await;
}
