//! `eval verify`: labelled sessions of a bakery, judged against a folder of records.

use serde_json::{Value, json};

use super::program::Program;
use crate::support::bakery;

const VERIFY: [&str; 11] = [
    "eval",
    "verify",
    "--bundle",
    "sessions.jsonl",
    "--labels",
    "labels.jsonl",
    "--records",
    "records",
    "--playbook",
    "./bakery.toml",
    "--json",
];

/// Three callers order a plum cake each: one gets it, one gets a nut cake, one gets none; a fourth only asks.
fn bakery() -> Program {
    let program = Program::new();
    let sessions = [
        bakery::ordered("got"),
        bakery::other_cake("other"),
        bakery::vanished("none"),
        bakery::question("asked"),
    ];
    program.write_bakery(&sessions);
    program.write(
        "labels.jsonl",
        &[
            json!({"session_id": "got", "db_state_correct": true}),
            json!({"session_id": "other", "db_state_correct": false, "records_wrong": ["orders/o-other"]}),
            json!({"session_id": "none", "db_state_correct": false, "records_missing": ["orders/o-none"]}),
            json!({"session_id": "asked", "db_state_correct": true}),
        ]
        .map(|label| format!("{label}\n"))
        .concat(),
    );
    program
}

#[test]
fn verdicts_are_scored_against_labels_and_records_changed_behind_the_agents_back_are_named() {
    let program = bakery();
    let report = program.run(&[&VERIFY[..], &["--mutants"]].concat()).exits(0).json();
    let sessions = report["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 4);
    for session in sessions {
        assert_eq!(session["agrees"], true, "{session}");
    }
    let of = |id: &str| sessions.iter().find(|session| session["session_id"] == id).unwrap();
    assert_eq!(of("other")["records"]["wrong"], json!(["orders/o-other"]));
    assert_eq!(of("none")["records"]["missing"], json!(["orders/o-none"]));
    assert_eq!(of("none")["verdict"], "fail");

    let summary = &report["summary"];
    let counts = |share: &Value| (share["count"].as_u64().unwrap(), share["of"].as_u64().unwrap());
    assert_eq!(counts(&summary["agreement"]), (4, 4));
    assert_eq!(counts(&summary["precision_of_fail"]), (2, 2));
    assert_eq!(counts(&summary["recall_of_fail"]), (2, 2));
    assert_eq!(counts(&summary["recall_of_records"]), (2, 2));
    assert_eq!(counts(&summary["precision_of_records"]), (2, 2));
    assert_eq!(summary["confusion"]["pass all_confirmed"], json!([1, 0]));
    // The order is gone; its cake is another; its cake is not said.
    assert_eq!(counts(&summary["mutants"]["named"]), (3, 3), "{summary}");
    let judges = summary["judges"].as_array().unwrap();
    let noticed: Vec<u64> = judges.iter().map(|judge| counts(&judge["mutants_noticed"]).0).collect();
    assert_eq!(noticed, [3, 0, 1, 0, 0], "{judges:#?}");
    let agreeing: Vec<u64> = judges.iter().map(|judge| counts(&judge["agreement"]).0).collect();
    assert_eq!(agreeing, [4, 2, 3, 2, 2], "{judges:#?}");
    // Nothing is stored.
    assert!(!program.path().join("aftercall-data").exists());
}

#[test]
fn disagreements_are_listed_with_their_reason() {
    let program = bakery();
    program.write(
        "labels.jsonl",
        "{\"session_id\": \"other\", \"db_state_correct\": true}\n",
    );
    let ran = program.run(&VERIFY[..10]).exits(0);
    assert!(
        ran.stdout.contains("disagreements: 1") && ran.stdout.contains("other: fail (fields_wrong)"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("sessions without a label"), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_scored_is_named_with_its_file_and_line() {
    let program = bakery();
    let said = |program: &Program, code| program.run(&VERIFY[..10]).exits(code).stderr;
    program.write("labels.jsonl", "\n{\"session_id\": \"got\"}\nnonsense\n");
    let error = said(&program, 1);
    for part in ["labels.jsonl:2: missing field `db_state_correct`", "labels.jsonl:3: "] {
        assert!(error.contains(part), "{error}");
    }
    program.write(
        "labels.jsonl",
        "{\"session_id\": \"nobody\", \"db_state_correct\": true}\n",
    );
    let error = said(&program, 1);
    assert!(error.contains("none of the 1 labels"), "{error}");
    program.write(
        "labels.jsonl",
        "{\"session_id\": \"got\", \"db_state_correct\": true}\n",
    );
    let no_field = program
        .run(&[&VERIFY[..10], &["--compare-too", "order.icing"]].concat())
        .exits(1);
    assert!(
        no_field.stderr.contains("`order.icing` is no field"),
        "{}",
        no_field.stderr
    );
    assert!(no_field.stderr.contains("order.cake"), "{}", no_field.stderr);
    std::fs::remove_file(program.path().join("sessions.jsonl")).unwrap();
    let error = said(&program, 1);
    assert!(error.contains("sessions.jsonl: no such file"), "{error}");
    program.write("bakery.toml", "[playbook]\n");
    let error = said(&program, 2);
    assert!(error.contains("bakery.toml"), "{error}");
}
