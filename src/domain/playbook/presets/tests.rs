use super::*;
use crate::domain::lookup::RecordLookup;
use crate::domain::{compare::Rule, http_api::PageBy, playbook::Playbook};

fn head(rest: &str) -> String {
    format!("[playbook]\nname = \"x\"\nversion = 1\n{rest}")
}

fn parse(rest: &str) -> Playbook {
    Playbook::parse("x.toml", &head(rest)).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn faults(rest: &str) -> Vec<String> {
    let found = Playbook::parse("x.toml", &head(rest)).map(|_| ()).unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn the_presets_that_ship_hold_no_fault() {
    let mut tables = 0;
    for preset in names("record") {
        let (file, name) = preset.split_once('/').unwrap();
        // A record may stand alone; what it takes keys from is a record of the same file.
        let patient = if name == "patient" {
            String::new()
        } else {
            format!("[[record]]\npreset = \"{file}/patient\"\nsystem = \"s\"\n")
        };
        let playbook = parse(&format!("[[record]]\npreset = \"{preset}\"\nsystem = \"s\"\n{patient}"));
        assert!(playbook.records[0].lookup.is_some(), "{preset}");
        assert!(!playbook.records[0].fields.is_empty(), "{preset}");
        tables += 1;
    }
    for preset in names("search") {
        let (file, _) = preset.split_once('/').unwrap();
        let playbook = parse(&format!(
            "[[record]]\npreset = \"{file}/patient\"\nsystem = \"s\"\n[[search]]\nname = \"found\"\npreset = \"{preset}\"\nsystem = \"s\"\n"
        ));
        assert!(playbook.searches[0].lookup.is_some(), "{preset}");
        tables += 1;
    }
    assert_eq!(tables, 8);
    for (name, text) in PRESETS {
        let (document, syntax) = DeTable::parse_recoverable(text);
        assert!(syntax.is_empty(), "{name}: {syntax:?}");
        let faults = Faults::new(name, text);
        let root = Table::new(document.get_ref(), document.span(), "", &faults);
        let _ = parse::system(&root);
        for section in ["record", "search"] {
            root.tables(section);
        }
        root.finish();
        assert_eq!(faults.into_sorted(), [], "{name}");
    }
}

#[test]
fn a_system_behaves_as_its_preset_says() {
    let fhir = api("fhir-r4").unwrap();
    assert_eq!(fhir.headers["Accept"], "application/fhir+json");
    assert_eq!(fhir.probe.as_deref(), Some("/metadata"));
    assert!(matches!(fhir.pages.unwrap().by, PageBy::Link { .. }));
    let nexhealth = api("nexhealth").unwrap();
    assert!(matches!(nexhealth.pages.unwrap().by, PageBy::Cursor { .. }));
    assert_eq!(api("nothing"), None);
}

#[test]
fn what_the_playbook_says_stands_over_the_preset() {
    let playbook = parse(
        r#"[[record]]
preset = "fhir-r4/appointment"
kind = "visit"
system = "ehr"
cancelled = 'record.status in ["cancelled", "noshow"]'
[record.lookup]
path = "/Appointment/{{ id }}?_elements=id,status,start"
[[record.field]]
name = "start"
path = "$.start"
compare = "date"
[[record.field]]
name = "room"
path = "$.participant[?@.type == 'room'].actor.display"
"#,
    );
    let visit = playbook.record("visit").unwrap();
    let Some(RecordLookup::Http(lookup)) = &visit.lookup else {
        panic!("it is over HTTP")
    };
    assert_eq!(lookup.path, "/Appointment/{{ id }}?_elements=id,status,start");
    assert_eq!(
        visit.cancelled.as_ref().unwrap().text(),
        r#"record.status in ["cancelled", "noshow"]"#
    );
    assert!(visit.absent.is_some() && visit.replaceable, "the preset says the rest");
    let names: Vec<&str> = visit.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        ["start", "room", "end", "status", "patient", "type", "description"]
    );
    assert!(matches!(visit.field("start").unwrap().compare, Rule::Date { .. }));
}

#[test]
fn a_playbook_without_presets_keeps_its_hash_and_one_with_them_has_theirs_in_it() {
    use sha2::{Digest as _, Sha256};
    let plain = head("");
    let hash = Playbook::parse("x.toml", &plain).unwrap().reference().hash;
    assert_eq!(hash, crate::domain::hex::hex(&Sha256::digest(plain.as_bytes())));
    let rest = "[[record]]\npreset = \"fhir-r4/patient\"\nsystem = \"s\"\n";
    let own = crate::domain::hex::hex(&Sha256::digest(head(rest).as_bytes()));
    assert_ne!(parse(rest).reference().hash, own);
}

#[test]
fn faults_around_a_preset_name_a_line_of_the_playbook() {
    let found = faults("[[record]]\npreset = \"fhir-r4/apointment\"\nsystem = \"s\"\n");
    let unknown =
        "x.toml:5: [[record]]: preset: unknown preset \"fhir-r4/apointment\" (did you mean \"fhir-r4/appointment\"?)";
    assert!(found.iter().any(|fault| fault == unknown), "{found:?}");
    let found =
        faults("[[record]]\npreset = 4\nkind = \"x\"\nsystem = \"s\"\n[[record]]\npreset = \"fhir-r4/patient\"\n");
    assert!(
        found
            .iter()
            .any(|fault| fault.contains("x.toml:5: [[record]]: preset: must be a text")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|fault| fault.contains("[[record]] patient: system: is missing")),
        "{found:?}"
    );
}

#[test]
fn names_and_numbers_of_a_fhir_patient_are_found() {
    let playbook = parse("[[record]]\npreset = \"fhir-r4/patient\"\nsystem = \"s\"\n");
    let patient = serde_json::json!({
        "resourceType": "Patient", "id": "p",
        "name": [{"use": "old", "family": "Berg", "given": ["Ada"]}, {"use": "official", "family": "Lind", "given": ["Ada", "Maria"]}],
        "telecom": [{"system": "email", "value": "a@b.example"}, {"system": "phone", "value": "(555) 010-2030"}],
        "birthDate": "2016-05-04",
    });
    let record = playbook.record("patient").unwrap();
    assert_eq!(record.field("name").unwrap().of(&patient), Some("Ada Lind".into()));
    assert_eq!(
        record.field("phone").unwrap().of(&patient),
        Some(serde_json::json!(["(555) 010-2030"]))
    );
    let text = serde_json::json!({"name": [{"text": "Ada Lind"}]});
    assert_eq!(record.field("name").unwrap().of(&text), Some("Ada Lind".into()));
}

#[test]
fn a_fhir_patient_is_called_by_the_name_in_use_and_reached_by_numbers_in_use() {
    let playbook = parse("[[record]]\npreset = \"fhir-r4/patient\"\nsystem = \"s\"\n");
    let record = playbook.record("patient").unwrap();
    let called = |name: serde_json::Value| record.field("name").unwrap().of(&serde_json::json!({"name": name}));
    let lind = serde_json::json!({"use": "official", "family": "Lind", "given": ["Ada", "Maria"]});
    for before in [
        serde_json::json!({"use": "nickname", "given": ["Addie"]}),
        serde_json::json!({"use": "maiden", "family": "Berg", "given": ["Ada"]}),
        serde_json::json!({"use": "old", "family": "Berg", "given": ["Ada"], "text": "Ada Berg"}),
        serde_json::json!({"use": "anonymous", "family": "Doe", "given": ["Jane"]}),
        serde_json::json!({"family": "Lind"}),
    ] {
        assert_eq!(
            called(serde_json::json!([before, lind])),
            Some("Ada Lind".into()),
            "{before}"
        );
    }
    let text = serde_json::json!([{"use": "old", "text": "Ada Berg"}, {"text": "Ada Lind"}]);
    assert_eq!(called(text), Some("Ada Lind".into()));
    assert_eq!(called(serde_json::json!([{"family": "Lind"}])), Some("Lind".into()));
    let telecom = serde_json::json!({"telecom": [
        {"system": "phone", "use": "old", "value": "1"}, {"system": "phone", "use": "mobile", "value": "2"},
        {"system": "fax", "value": "3"}, {"system": "sms", "value": "4"}]});
    assert_eq!(
        record.field("phone").unwrap().of(&telecom),
        Some(serde_json::json!(["2", "4"]))
    );
}

#[test]
fn each_status_of_a_fhir_appointment_is_there_cancelled_or_absent() {
    let playbook = parse(
        "[[record]]\npreset = \"fhir-r4/appointment\"\nsystem = \"s\"\n[[record]]\npreset = \"fhir-r4/patient\"\nsystem = \"s\"\n",
    );
    let appointment = playbook.record("appointment").unwrap();
    // All of http://hl7.org/fhir/R4/valueset-appointmentstatus.html.
    for (status, is) in [
        ("proposed", "absent"),
        ("pending", "absent"),
        ("booked", "there"),
        ("arrived", "there"),
        ("fulfilled", "there"),
        ("cancelled", "cancelled"),
        ("noshow", "there"),
        ("entered-in-error", "absent"),
        ("checked-in", "there"),
        ("waitlist", "absent"),
    ] {
        let record = serde_json::json!({"resourceType": "Appointment", "id": "a", "status": status, "participant": [
            {"actor": {"reference": "Patient/17"}, "status": "accepted"}, {"actor": {"reference": "Practitioner/3"}}]});
        let holds = |condition: &Option<crate::domain::playbook::Expression>| {
            condition
                .as_ref()
                .unwrap()
                .holds(&serde_json::json!({"record": record}))
        };
        let found = match (holds(&appointment.absent), holds(&appointment.cancelled)) {
            (true, false) => "absent",
            (false, true) => "cancelled",
            (false, false) => "there",
            (true, true) => "both",
        };
        assert_eq!(found, is, "{status}");
        let patients = appointment.field("patient").unwrap().of(&record);
        assert_eq!(patients, Some(serde_json::json!(["Patient/17", "Practitioner/3"])));
    }
}
