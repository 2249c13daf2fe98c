//! `init`, `check` and the exit codes.

use super::program::Program;

use crate::program_on_each_engine;

program_on_each_engine! {
    a_queue_can_be_paused_before_it_ever_had_a_job,
}

#[test]
fn what_init_writes_passes_check_and_is_never_overwritten() {
    let program = Program::new();
    program.run(&["init"]).exits(0);
    let written = std::fs::read_to_string(program.path().join("aftercall.toml")).unwrap();
    program.run(&["check"]).exits(0);
    let again = program.run(&["init"]).exits(1);
    assert!(again.stderr.contains("left as it is"), "{}", again.stderr);
    assert_eq!(
        std::fs::read_to_string(program.path().join("aftercall.toml")).unwrap(),
        written
    );
}

#[test]
fn check_reports_every_fault_of_configuration_and_playbook_with_file_and_line() {
    let program = Program::new();
    program.write("aftercall.toml", "[queue]\nleese = \"3s\"\ngrace = 7\n");
    program.write("mine.toml", "[playbook]\nname = \"mine\"\nversion = \"one\"\n");
    let ran = program.run(&["check", "--playbook", "mine.toml"]).exits(1);
    for line in [
        "aftercall.toml:2: queue.leese",
        "did you mean `lease`",
        "aftercall.toml:3: queue.grace",
        "mine.toml:3:",
    ] {
        assert!(ran.stdout.contains(line), "{line} is not in\n{}", ran.stdout);
    }
    let report = program.run(&["check", "--json"]).exits(1).json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["faults"].as_array().unwrap().len(), 2);
}

#[test]
fn check_says_where_webhooks_are_and_that_a_secret_is_too_short_and_never_shows_one() {
    let program = Program::new();
    program.write("sessions.jsonl", "");
    program.write("short", "hunter2-hunter2");
    program.write("long", "a-secret-that-nobody-may-see-0123456789");
    let write = |secrets: &str| {
        let source = "[[source]]\nname = \"calls\"\npath = \"sessions.jsonl\"\nplaybook = \"airline\"\n";
        let records = "[[records]]\nname = \"airline\"\nbase_url = \"http://127.0.0.1:1\"\n";
        let webhook = format!("[[source.webhook]]\nshape = \"vapi\"\nsecrets = {secrets}\n");
        program.write("aftercall.toml", &format!("{source}{webhook}{records}"));
    };
    write("[\"file:long\"]");
    let ran = program.run(&["check"]).exits(0);
    let line = "source.calls: webhook at /api/v1/sources/calls/webhooks/vapi, secrets: 1";
    assert!(ran.stdout.contains(line), "{}", ran.stdout);
    write("[\"file:long\", \"file:short\"]");
    let refused = program.run(&["check"]).exits(1);
    assert!(refused.stdout.contains("at least 32 bytes"), "{}", refused.stdout);
    for said in [ran, refused] {
        assert!(
            !said.stdout.contains("nobody-may-see") && !said.stdout.contains("hunter2"),
            "{}",
            said.stdout
        );
    }
    // Who is sent no requests needs no secret of theirs.
    write("[\"env:NOBODY_SET_THIS\"]");
    program.run(&["check"]).exits(1);
    program.run(&["run", "--until-idle"]).exits(0);
}

#[test]
fn check_finds_a_system_of_record_that_the_playbook_needs_and_nobody_configured() {
    let program = Program::new();
    program.write("sessions.jsonl", "");
    program.write(
        "aftercall.toml",
        "[[source]]\nname = \"calls\"\npath = \"sessions.jsonl\"\nplaybook = \"airline\"\n",
    );
    let ran = program.run(&["check"]).exits(1);
    assert!(ran.stdout.contains("no [[records]] has that name"), "{}", ran.stdout);
}

const SHOP: &str = r#"
[playbook]
name = "shop"
version = 1
[[record]]
kind = "order"
system = "shop"
[record.lookup]
LOOKUP
"#;

#[test]
fn check_finds_a_lookup_that_the_kind_of_its_system_cannot_be_asked_in() {
    let by_path = "path = \"/orders/{{ id }}\"";
    let by_sql = "sql = \"SELECT * FROM orders WHERE id = :id\"";
    let by_question = "sql = \"SELECT * FROM orders WHERE id = ? AND shop = :id\"";
    let http = "kind = \"http\"\nbase_url = \"http://127.0.0.1:1\"";
    let file = "kind = \"sql\"\nurl = \"sqlite:shop.db\"";
    let server = "kind = \"sql\"\nurl = \"postgres://127.0.0.1:1/shop\"";
    for (lookup, records, says) in [
        (
            by_sql,
            http,
            "`order`, kept in `shop`, has a lookup by `sql`, but that system is of kind http",
        ),
        (
            by_path,
            file,
            "has a lookup by `path`, but that system is of kind sql: give it `sql = \"SELECT …\"`",
        ),
        (
            by_question,
            file,
            "`?` is a placeholder of SQLite: write parameters as `:name`",
        ),
        (by_path, http, ""),
        (by_sql, file, ""),
        (by_sql, server, ""),
        (by_question, server, ""),
    ] {
        let program = Program::new();
        program.write("calls.jsonl", "");
        program.write("shop.toml", &SHOP.replace("LOOKUP", lookup));
        let source = "[[source]]\nname = \"calls\"\npath = \"calls.jsonl\"\nplaybook = \"./shop.toml\"\n";
        program.write(
            "aftercall.toml",
            &format!("{source}[[records]]\nname = \"shop\"\n{records}\n"),
        );
        let checked = program.run(&["check"]).exits(i32::from(!says.is_empty()));
        assert!(checked.stdout.contains(says), "{says} is not in\n{}", checked.stdout);
        if !says.is_empty() {
            let ran = program.run(&["run", "--until-idle"]);
            assert_ne!(ran.code, 0);
            assert!(ran.stderr.contains(says), "{}", ran.stderr);
        }
    }
}

#[test]
fn check_names_the_line_of_a_statement_that_does_not_read() {
    let program = Program::new();
    program.write("shop.toml", &SHOP.replace("LOOKUP", "sql = \"DELETE FROM orders\""));
    let ran = program.run(&["check", "--playbook", "shop.toml"]).exits(1);
    let says = "shop.toml:9: [[record]] order: lookup: sql: begins with \"DELETE\": only a SELECT, or a WITH … SELECT, is sent";
    assert!(ran.stdout.contains(says), "{}", ran.stdout);
}

#[test]
fn check_finds_what_a_preset_needs_of_the_configuration_and_faults_of_credentials() {
    let program = Program::new();
    program.write("sessions.jsonl", "");
    program.write(
        "mine.toml",
        "[playbook]\nname = \"mine\"\nversion = 1\n[[record]]\npreset = \"nexhealth/appointment\"\nsystem = \"practice\"\n",
    );
    program.write("key", "hidden-key");
    let config = "[[source]]\nname = \"calls\"\npath = \"sessions.jsonl\"\nplaybook = \"./mine.toml\"\n\
                  [[records]]\nname = \"practice\"\nkind = \"http\"\npreset = \"nexhealth\"\nbase_url = \"https://nexhealth.info\"\n\
                  [records.auth]\nkind = \"api_key\"\napi_key = \"file:key\"\n";
    program.write("aftercall.toml", config);
    let ran = program.run(&["check"]).exits(1);
    let says = "write subdomain = \"…\" into [records.values]";
    assert!(ran.stdout.contains(says), "{}", ran.stdout);
    program.write(
        "aftercall.toml",
        &format!("{config}[records.values]\nsubdomain = \"demo\"\n"),
    );
    let ran = program.run(&["check"]).exits(0);
    assert!(!ran.stdout.contains("hidden"), "{}", ran.stdout);

    let mistyped = config
        .replace("nexhealth\"\nbase", "nexhelth\"\nbase")
        .replace("\"api_key\"\n", "\"apikey\"\n");
    program.write("aftercall.toml", &mistyped);
    let ran = program.run(&["check"]).exits(1);
    for line in [
        "aftercall.toml:8: records.practice.preset: there is no \"nexhelth\" here; did you mean `nexhealth`?",
        "aftercall.toml:11: records.practice.auth.kind: there is no \"apikey\" here; did you mean `api_key`?",
    ] {
        assert!(ran.stdout.contains(line), "{line} is not in\n{}", ran.stdout);
    }
}

#[test]
fn a_wrong_configuration_exits_2_and_prints_no_secret() {
    let program = Program::new();
    program.write(
        "aftercall.toml",
        "[llm]\nbase_url = \"http://127.0.0.1:1\"\nmodel = \"m\"\napi_key = \"sk-very-secret\"\n",
    );
    let ran = program.run(&["sessions"]).exits(2);
    assert!(
        ran.stderr.contains("aftercall.toml:4: llm.api_key") && ran.stderr.contains("env:NAME"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("very-secret"));
}

#[test]
fn commands_that_only_look_need_no_secret_and_make_no_database() {
    let program = Program::new();
    program.write(
        "aftercall.toml",
        "[llm]\nbase_url = \"http://127.0.0.1:1\"\nmodel = \"m\"\napi_key = \"env:NOT_SET\"\n",
    );
    let ran = program.run(&["sessions"]).exits(3);
    assert!(ran.stderr.contains("there is no database"), "{}", ran.stderr);
    assert!(!program.path().join("aftercall-data").exists());
    program.run(&["migrate"]).exits(0);
    assert_eq!(
        program.run(&["sessions", "--json"]).exits(0).json(),
        serde_json::json!({ "sessions": [], "next": null })
    );
}

#[test]
fn a_file_that_is_no_database_is_named_and_left_alone() {
    let program = Program::new();
    program.write("notes.db", &"These are my notes. ".repeat(200));
    let ran = program.run(&["sessions", "--db", "notes.db"]).exits(3);
    assert!(ran.stderr.contains("notes.db"), "{}", ran.stderr);
    assert!(
        std::fs::read_to_string(program.path().join("notes.db"))
            .unwrap()
            .starts_with("These are my notes.")
    );
}

#[test]
fn run_without_anything_to_do_says_what_to_do() {
    let ran = Program::new().run(&["run"]).exits(2);
    assert!(
        ran.stderr.contains("--bundle") && ran.stderr.contains("aftercall demo"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_mistyped_environment_variable_is_refused() {
    let program = Program::new();
    for name in ["AFTERCALL_QUEUE_LEESE", "AFTERCALL_LLM_BASEURL"] {
        let ran = program.run_with(&["check"], &[(name, "x")]);
        assert_ne!(ran.code, 0, "{name}");
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(name), "{}", ran.stderr);
    }
    let fine = [
        ("AFTERCALL_LLM_MAX_TOKENS", "100"),
        ("AFTERCALL_MY_TOKEN", "x"),
        ("AFTERCALL_QUEUE_LEASE", "20s"),
    ];
    program.run_with(&["check"], &fine).exits(0);
}

fn a_queue_can_be_paused_before_it_ever_had_a_job() {
    let program = Program::new();
    program.run(&["migrate"]).exits(0);
    program
        .run(&["pause", "verify_session", "--reason", "maintenance"])
        .exits(0);
    let queues = program.run(&["queues"]).exits(0).stdout;
    assert!(queues.contains("maintenance"), "{queues}");
    let ran = program.run(&["pause", "verify_sesion"]).exits(1);
    assert!(ran.stderr.contains("did you mean `verify_session`?"), "{}", ran.stderr);
}
