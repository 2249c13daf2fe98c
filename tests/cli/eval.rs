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
    let mutants = &summary["mutants"];
    assert_eq!(
        (&mutants["sessions"], &mutants["records"], &mutants["possible"]),
        (&json!(1), &json!(1), &json!(3))
    );
    assert_eq!(counts(&mutants["sessions_named"]), (1, 1));
    assert_eq!(
        mutants["by_session"],
        json!([{"session_id": "got", "records": 1, "mutants": 3, "named": 3}])
    );
    // Both are named as what they are.
    assert_eq!(counts(&summary["kind_of_records"]), (2, 2));
    let named_as = |kind: &str| {
        let cells = &summary["kinds_of_records"][kind];
        ["missing", "wrong", "unwanted"].map(|named| cells[named].as_u64().unwrap())
    };
    assert_eq!(named_as("missing"), [1, 0, 0]);
    assert_eq!(named_as("wrong"), [0, 1, 0]);
    assert_eq!(named_as("unwanted"), [0, 0, 0]);
    let judges = summary["judges"].as_array().unwrap();
    let undecided: Vec<u64> = judges
        .iter()
        .map(|judge| judge["undecided"].as_u64().unwrap())
        .collect();
    assert_eq!(undecided, [0; 5]);
    let noticed: Vec<u64> = judges.iter().map(|judge| counts(&judge["mutants_noticed"]).0).collect();
    assert_eq!(noticed, [3, 0, 1, 0, 0], "{judges:#?}");
    let agreeing: Vec<u64> = judges.iter().map(|judge| counts(&judge["agreement"]).0).collect();
    assert_eq!(agreeing, [4, 2, 3, 2, 2], "{judges:#?}");
    // Nothing is stored.
    assert!(!program.path().join("aftercall-data").exists());
}

#[test]
fn a_record_named_as_something_else_is_named_and_its_kind_is_not() {
    let program = bakery();
    program.write(
        "labels.jsonl",
        "{\"session_id\": \"other\", \"db_state_correct\": false, \"records_unwanted\": [\"orders/o-other\"]}\n",
    );
    let report = program.run(&VERIFY).exits(0).json();
    let summary = &report["summary"];
    assert_eq!(summary["recall_of_records"]["count"], 1, "{summary}");
    assert_eq!(summary["kind_of_records"]["count"], 0, "{summary}");
    assert_eq!(
        summary["kinds_of_records"]["unwanted"],
        json!({"missing": 0, "wrong": 1, "unwanted": 0})
    );
    let text = program.run(&[&VERIFY[..10], &["--mutants"]].concat()).exits(0).stdout;
    for part in [
        "of them named as what they are",
        "records named, by their label",
        "sessions all of whose changes are named",
        "3 of 3 changes, to 1 record of 1 session",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
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
