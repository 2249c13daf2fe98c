//! `playbook test` and `playbook show`.

use serde_json::Value;

use super::program::Program;
use crate::support::bakery;

/// Two sessions in a file, a folder of records, and the bakery's playbook.
fn bakery() -> Program {
    let program = Program::new();
    program.write_bakery(&[bakery::ordered("got"), bakery::other_cake("other")]);
    program
}

#[test]
fn every_stage_of_a_session_is_shown_and_nothing_is_written() {
    let program = bakery();
    let records = program.serve_records();
    let url = records.url.clone();
    let test = |session: &'static str, more: &[&str]| {
        let given = [
            "playbook",
            "test",
            "./bakery.toml",
            "--session",
            session,
            "--bundle",
            "sessions.jsonl",
            "--records",
            &url,
        ];
        program.run(&[&given[..], more].concat())
    };
    let page = test("other", &[]).exits(0).stdout;
    let mut at = 0;
    for part in [
        "other  judged by bakery 1",
        "1. turns",
        "order a plum cake",
        "2. tool calls",
        "kitchen",
        "3. claims",
        "create order o-other",
        "4. requests",
        "5. lookups",
        "GET /other/orders/o-other",
        "offline classifier",
        "6. comparisons",
        "wrong",
        "plum",
        "nut",
        "7. verdict",
        "fail, because of fields_wrong",
    ] {
        let found = page[at..].find(part);
        at += found.unwrap_or_else(|| panic!("`{part}` is not (in this order) in\n{page}"));
    }
    let trial: Value = test("got", &["--json"]).exits(0).json();
    assert_eq!(trial["verdict"]["status"], "pass");
    assert_eq!(trial["lookups"].as_array().unwrap().len(), 1);
    assert!(!program.path().join("aftercall-data").exists());

    // A system that is away is shown as that, and a session that is not there is said.
    drop(records);
    let away = test("got", &[]).exits(0).stdout;
    assert!(
        away.contains("no answer:") && away.contains("error, because of records_unreadable"),
        "{away}"
    );
    let nobody = test("nobody", &[]).exits(1).stderr;
    assert!(
        nobody.contains("no session `nobody`") && nobody.contains("got"),
        "{nobody}"
    );
}

#[test]
fn a_stored_session_is_judged_anew_with_its_stored_reading() {
    let program = bakery();
    let records = program.serve_records();
    let url = records.url.clone();
    program.judge_bakery(&records);
    // Another member of the record is compared: the stored session shows at once what comes of it.
    let stricter = include_str!("../support/bakery.toml").replace("\"$.cake\"", "\"$.kind\"");
    program.write("stricter.toml", &stricter);
    let test = [
        "playbook",
        "test",
        "stricter.toml",
        "--session",
        "got",
        "--records",
        &url,
        "--json",
    ];
    let trial: Value = program.run(&test).exits(0).json();
    assert_eq!(trial["verdict"]["reason"], "fields_wrong", "{trial}");
    assert_ne!(trial["playbook"]["hash"], Value::Null);
    let stored = program.run(&["show", "got", "--json"]).exits(0).json();
    assert_eq!(stored["generations"][0]["verdict"]["status"], "pass", "{stored}");
    assert_eq!(stored["generations"].as_array().unwrap().len(), 1);
}

#[test]
fn a_playbook_that_ships_can_be_printed_checked_and_changed() {
    let program = Program::new();
    let text = program.run(&["playbook", "show", "airline"]).exits(0).stdout;
    program.write("mine.toml", &text);
    program.run(&["check", "--playbook", "mine.toml"]).exits(0);
    let unknown = program.run(&["playbook", "show", "airlines"]).exits(1).stderr;
    assert!(unknown.contains("there are: orthodontics, airline"), "{unknown}");
    program.write("mine.toml", &text.replace("[[intent]]", "[[intend]]"));
    let broken = program
        .run(&[
            "playbook",
            "test",
            "mine.toml",
            "--session",
            "s",
            "--bundle",
            "mine.toml",
        ])
        .exits(2);
    assert!(broken.stderr.contains("mine.toml:"), "{}", broken.stderr);
}
