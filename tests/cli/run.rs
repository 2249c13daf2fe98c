//! `run` on a file, without a configuration: the README's one command.

use serde_json::{Value, json};

use super::program::{Program, Ran};

use crate::program_on_each_engine;

program_on_each_engine! {
    one_command_judges_a_file_and_every_session_is_accounted_for,
    work_that_is_left_after_max_wait_exits_1_and_goes_on_at_the_next_run,
    a_system_of_record_that_is_down_is_not_a_verdict,
    what_is_down_is_listed_tried_and_closed_by_hand,
}

/// Looks once: nothing appears later here.
const LOOK_ONCE: (&str, &str) = ("AFTERCALL_VERIFICATION_LOOK_AGAIN", "none");

/// What a hostile caller may put anywhere.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";

/// A session of the airline's kind: the caller asks for a cancellation, the tool says that it is done.
fn session(id: &str, caller: &str) -> String {
    let observation = |observation: &str, kind: &str, name: &str, second: u32, input: Value, output: Value| {
        json!({
            "id": format!("{id}-{observation}"), "traceId": format!("{id}-t"), "sessionId": id, "type": kind, "name": name,
            "isRootObservation": kind == "AGENT", "level": "DEFAULT", "traceName": "turn",
            "startTime": format!("2026-05-15T15:00:{second:02}.000Z"), "endTime": format!("2026-05-15T15:00:{second:02}.500Z"),
            "input": input, "output": output
        })
        .to_string()
    };
    let record = reservation("active").to_string();
    let cancelled = reservation("cancelled").to_string();
    let read = json!({"reservation_id": "ABC123"}).to_string();
    [
        observation(
            "1",
            "AGENT",
            "turn-1",
            1,
            caller.into(),
            "Shall I cancel reservation ABC123?".into(),
        ),
        observation(
            "2",
            "TOOL",
            "get_reservation_details",
            2,
            read.clone().into(),
            record.into(),
        ),
        observation(
            "3",
            "AGENT",
            "turn-2",
            3,
            "Yes, please.".into(),
            "Your reservation ABC123 has been cancelled.".into(),
        ),
        observation("4", "TOOL", "cancel_reservation", 4, read.into(), cancelled.into()),
    ]
    .join("\n")
        + "\n"
}

fn reservation(status: &str) -> Value {
    let status = if status == "cancelled" {
        json!("cancelled")
    } else {
        Value::Null
    };
    json!({"reservation_id": "ABC123", "user_id": "u", "status": status, "payment_history": []})
}

fn run(program: &Program, url: &str) -> Ran {
    let arguments = [
        "run",
        "-vvv",
        "--until-idle",
        "--max-wait",
        "60s",
        "--json",
        "--bundle",
        "sessions.jsonl",
        "--playbook",
        "airline",
        "--records",
        url,
    ];
    program.run_with(&arguments, &[LOOK_ONCE])
}

fn one_command_judges_a_file_and_every_session_is_accounted_for() {
    let program = Program::new();
    let ask = "I want to cancel my reservation ABC123.";
    let odd = format!("calls/é{HOSTILE}");
    let text = session("kept-its-word", ask) + &session("did-not", ask) + "{broken\n" + &session(&odd, ask);
    program.write("sessions.jsonl", &text);
    program.write(
        "records/reservations_before.json",
        &json!({"ABC123": reservation("active")}).to_string(),
    );
    let after = json!({"kept-its-word": {"reservations/ABC123": reservation("cancelled")}});
    program.write("records/records_after.json", &after.to_string());
    let records = program.serve_records();

    let summary = run(&program, &records.url).exits(0).assert_safe().json();
    assert_eq!(summary["idle"], true);
    let coverage = &summary["coverage"][0];
    let of = |what: &str| coverage[what].as_u64().unwrap();
    assert_eq!(
        (of("seen"), of("waiting"), of("unexplained"), of("unreadable")),
        (3, 0, 0, 1),
        "{coverage}"
    );
    assert_eq!(
        of("pass") + of("partial") + of("fail") + of("skipped") + of("error"),
        3,
        "{coverage}"
    );

    let kept = program.run(&["show", "kept-its-word", "--json"]).exits(0).json();
    assert_eq!(kept["status"], "pass", "{kept}");
    let broken = program.run(&["show", "did-not", "--json"]).exits(0).json();
    assert_eq!(broken["status"], "fail", "{broken}");

    // The odd one is listed, shown and judged again, and nothing of it acts on the terminal.
    let listed = program.run(&["sessions"]).exits(0).assert_safe();
    assert!(listed.stdout.contains("calls/é\\x1b]0;owned\\x07"), "{}", listed.stdout);
    let shown = program.run(&["show", &odd]).exits(0).assert_safe();
    assert!(shown.stdout.contains("cancel"), "{}", shown.stdout);
    let as_json = program.run(&["show", &odd, "--json"]).exits(0).assert_safe().json();
    assert_eq!(as_json["session_id"], odd);
    program.run(&["jobs", "list"]).exits(0).assert_safe();
    program.run(&["queues"]).exits(0).assert_safe();

    // Judging again opens the next generation and keeps the old verdict.
    program.run(&["reprocess", "did-not", "--dry-run"]).exits(0);
    let again = program.run(&["reprocess", "did-not", "--json"]).exits(0).json();
    assert_eq!(again[0]["generation"], 2);
    run(&program, &records.url).exits(0);
    let broken = program.run(&["show", "did-not", "--json"]).exits(0).json();
    assert_eq!(broken["generations"].as_array().unwrap().len(), 2, "{broken}");
}

fn work_that_is_left_after_max_wait_exits_1_and_goes_on_at_the_next_run() {
    let program = Program::new();
    program.write(
        "sessions.jsonl",
        &session("a", "I want to cancel my reservation ABC123."),
    );
    program.write(
        "records/reservations_before.json",
        &json!({"ABC123": reservation("active")}).to_string(),
    );
    let records = program.serve_records();
    let arguments = [
        "run",
        "--until-idle",
        "--max-wait",
        "8s",
        "--json",
        "--bundle",
        "sessions.jsonl",
        "--playbook",
        "airline",
        "--records",
        &records.url,
    ];
    // The record is not as the tool said: it is looked at again in an hour.
    let ran = program
        .run_with(&arguments, &[("AFTERCALL_VERIFICATION_LOOK_AGAIN", "1h")])
        .exits(1);
    assert!(ran.stderr.contains("--max-wait"), "{}", ran.stderr);
    let left = ran.json();
    assert_eq!(left["idle"], false);
    assert_eq!(left["coverage"][0]["waiting"], 1, "{left}");
    let waiting = program
        .run(&["sessions", "--status", "waiting", "--json"])
        .exits(0)
        .json();
    assert!(waiting["sessions"][0]["waiting_reason"].is_string(), "{waiting}");
}

fn a_system_of_record_that_is_down_is_not_a_verdict() {
    let program = Program::new();
    program.write(
        "sessions.jsonl",
        &session("a", "I want to cancel my reservation ABC123."),
    );
    let arguments = [
        "run",
        "--until-idle",
        "--max-wait",
        "8s",
        "--bundle",
        "sessions.jsonl",
        "--playbook",
        "airline",
        "--records",
        "http://127.0.0.1:9",
    ];
    let ran = program.run_with(&arguments, &[LOOK_ONCE]).exits(1);
    let said = ran.stderr.matches("an upstream is not available").count();
    assert_eq!(said, 1, "{}", ran.stderr);
    let queues = program.run(&["queues"]).exits(0).stdout;
    assert!(queues.contains("records:airline is not available"), "{queues}");
    let waiting = program.run(&["sessions", "--json"]).exits(0).json();
    assert_eq!(waiting["sessions"][0]["status"], "waiting");
    assert!(
        waiting["sessions"][0]["waiting_reason"]
            .as_str()
            .unwrap()
            .contains("records:"),
        "{waiting}"
    );
}

fn what_is_down_is_listed_tried_and_closed_by_hand() {
    let program = Program::new();
    program.write(
        "sessions.jsonl",
        &session("a", "I want to cancel my reservation ABC123."),
    );
    let arguments = ["run", "--until-idle", "--max-wait", "8s", "--bundle", "sessions.jsonl"];
    let where_to = ["--playbook", "airline", "--records", "http://127.0.0.1:9"];
    program
        .run_with(&[&arguments[..], &where_to].concat(), &[LOOK_ONCE])
        .exits(1);
    let gates = program.run(&["gate", "list", "--json"]).exits(0).json();
    let gate = &gates[0];
    assert_eq!(
        (&gate["key"], &gate["state"]),
        (&"records:airline".into(), &"closed".into())
    );
    assert_eq!(
        (&gate["reason"], &gate["held"]["verify_session"]),
        (&"unreachable".into(), &1.into())
    );
    let tried = program.run(&["gate", "open", "records:airline"]).exits(0).stdout;
    assert!(tried.contains("tried now"), "{tried}");

    let close = |key| ["gate", "close", key, "--reason", "maintenance"];
    let misspelt = program.run(&close("records:airlin")).exits(1).stderr;
    assert!(misspelt.contains("did you mean `records:airline`?"), "{misspelt}");
    program.run(&close("records:airline")).exits(0);
    let queues = program.run(&["queues"]).exits(0).stdout;
    assert!(
        queues.contains("closed_by_hand") && queues.contains("when opened by hand"),
        "{queues}"
    );
    program.run(&["gate", "open", "records:airline"]).exits(0);
    let not_shut = program.run(&["gate", "open", "records:airline"]).exits(1).stderr;
    assert!(not_shut.contains("not shut"), "{not_shut}");
}

#[test]
fn a_file_that_is_something_else_is_a_fault_and_no_flood() {
    let program = Program::new();
    program.write("sessions.csv", &"session,status\n".repeat(2_500));
    let arguments = [
        "run",
        "--until-idle",
        "--bundle",
        "sessions.csv",
        "--playbook",
        "airline",
    ];
    let arguments = [&arguments[..], &["--records", "http://127.0.0.1:9"]].concat();
    let ran = program.run_with(&arguments, &[LOOK_ONCE]).exits(1);
    assert!(ran.stderr.contains("nothing could be read"), "{}", ran.stderr);
    assert!(ran.stderr.lines().count() < 50, "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_new_database_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let program = Program::new();
    program.run(&["migrate"]).exits(0);
    let database = program.path().join("aftercall-data/aftercall.db");
    assert_eq!(std::fs::metadata(database).unwrap().permissions().mode() & 0o777, 0o600);
}
