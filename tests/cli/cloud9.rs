//! `sandbox cloud9` and a `[[records]]` of kind `cloud9`: a practice from its file to a verdict.

use serde_json::json;

use super::program::Program;

use crate::program_on_each_engine;

program_on_each_engine! {
    a_practice_served_from_its_file_confirms_a_booking_and_no_credential_is_printed,
}

const CREDENTIALS: [(&str, &str); 3] = [
    ("CLOUD9_CLIENT_ID", "client-7f3a"),
    ("CLOUD9_USER", "user-7f3a"),
    ("CLOUD9_PASSWORD", "password-7f3a & co"),
];

const CONFIG: &str = r#"
[[source]]
name = "calls"
path = "calls.jsonl"
[[records]]
name = "practice"
kind = "cloud9"
url = "URL"
client_id = "env:CLOUD9_CLIENT_ID"
user = "env:CLOUD9_USER"
password = "env:CLOUD9_PASSWORD"
timezone = "America/New_York"
pace = "0s"
[records.procedure_pace]
GetPatientInformation = "10ms"
"#;

fn practice() -> Program {
    let program = Program::new();
    let records = json!({
        "patients": [
            {"PatientGUID": "5108d45a-3a0b-4176-82fd-502cdbf880d8", "PatientFirstName": "Ines", "PatientLastName": "Okafor"},
        ],
        "appointments": [
            {"AppointmentGUID": "ee8f6454-f178-4ec7-b609-912fe2e7a724", "PatientGUID": "5108d45a-3a0b-4176-82fd-502cdbf880d8",
             "AppointmentDateTime": "3/17/2026 9:50:00 AM", "AppointmentStatusDescription": "Scheduled"},
        ],
    });
    program.write("practice.json", &records.to_string());
    let observation = |id: &str, kind: &str, name: &str, input: serde_json::Value, output: serde_json::Value| {
        json!({"id": id, "traceId": "t", "sessionId": "s", "type": kind, "name": name, "isRootObservation": kind == "AGENT",
            "startTime": "2026-03-02T15:00:01.000Z", "endTime": "2026-03-02T15:00:02.000Z", "input": input, "output": output})
        .to_string()
    };
    let lines = [
        observation(
            "1",
            "AGENT",
            "turn",
            "I want to book an appointment for Ines Okafor.".into(),
            "You are all set.".into(),
        ),
        observation(
            "2",
            "TOOL",
            "schedule_appointment_ortho",
            json!({"action": "book_child", "childName": "Ines Okafor", "patientGUID": "5108D45A-3A0B-4176-82FD-502CDBF880D8"}),
            json!({"appointmentGUID": "EE8F6454-F178-4EC7-B609-912FE2E7A724", "startTime": "2026-03-17T09:50:00-04:00"}),
        ),
    ];
    program.write("calls.jsonl", &(lines.join("\n") + "\n"));
    program
}

fn a_practice_served_from_its_file_confirms_a_booking_and_no_credential_is_printed() {
    let program = practice();
    let server = program.serve(&[
        "sandbox",
        "cloud9",
        "practice.json",
        "--upper-guids",
        "--credentials",
        CREDENTIALS[0].1,
        CREDENTIALS[1].1,
        CREDENTIALS[2].1,
    ]);
    program.write("aftercall.toml", &CONFIG.replace("URL", &server.url));
    program.run_with(&["check"], &CREDENTIALS).exits(0);
    let run = ["run", "-vvv", "--until-idle", "--max-wait", "60s", "--json"];
    let ran = program.run_with(&run, &CREDENTIALS).exits(0).assert_safe();
    let shown = program.run_with(&["show", "s", "--json"], &CREDENTIALS).exits(0);
    assert!(shown.stdout.contains("\"pass\""), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("GetAppointmentListByPatient(patGUID="),
        "{}",
        shown.stdout
    );
    for (_, secret) in CREDENTIALS {
        for text in [&ran.stdout, &ran.stderr, &shown.stdout, &shown.stderr] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_cloud9_is_said_at_once_with_its_place() {
    let program = practice();
    let config = CONFIG
        .replace("URL", "https://h/GetData.ashx")
        .replace("America/New_York", "Middle-earth")
        .replace("GetPatientInformation", "SetPatient")
        .replace("\"env:CLOUD9_USER\"", "\"plain words\"")
        .replace("pace = \"0s\"", "allowed_hours = \"2-6\"\nmethod = \"put\"")
        .replace("password = \"env:CLOUD9_PASSWORD\"\n", "");
    program.write("aftercall.toml", &config);
    let checked = program.run_with(&["check"], &CREDENTIALS).exits(1);
    let said = checked.stdout + &checked.stderr;
    for (setting, reason) in [
        ("records.practice.timezone", "IANA"),
        (
            "records.practice.procedure_pace.SetPatient",
            "known here: GetPatientInformation",
        ),
        ("records.practice.user", "a secret is not written here"),
        ("records.practice.allowed_hours", "02:00-06:00"),
        ("records.practice.method", "get-with-body"),
        ("records.practice.password", "is missing"),
    ] {
        let line = said
            .lines()
            .find(|line| line.contains(setting))
            .unwrap_or_else(|| panic!("{setting}: {said}"));
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_playbook_whose_records_cloud9_does_not_keep_is_refused() {
    let program = practice();
    let config = CONFIG
        .replace("URL", "https://h/GetData.ashx")
        .replace(
            "path = \"calls.jsonl\"",
            "path = \"calls.jsonl\"\nplaybook = \"airline\"",
        )
        .replace("name = \"practice\"", "name = \"airline\"");
    program.write("aftercall.toml", &config);
    let ran = program.run_with(&["run", "--until-idle"], &CREDENTIALS);
    assert_ne!(ran.code, 0);
    assert!(
        ran.stderr.contains("there are `patient` and `appointment`"),
        "{}",
        ran.stderr
    );
}
