//! Test helper: sessions in the legacy shape of the API (traces with observations inside) as snapshots.

use serde_json::Value;

use super::{
    lookup::{Fact, Facts, Lookup},
    observation::{Observation, Snapshot},
};

/// One of the complete examples under `tests/fixtures/orthodontics`.
pub(crate) fn orthodontics(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/orthodontics/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The traces of an example.
pub(crate) fn snapshot_of(example: &Value) -> Snapshot {
    let mut observations: Vec<Observation> = Vec::new();
    for trace in example.pointer("/langfuse/traces").and_then(Value::as_array).unwrap() {
        for observation in trace["observations"].as_array().unwrap() {
            let mut observation = observation.clone();
            observation["sessionId"] = trace["sessionId"].clone();
            observations.push(serde_json::from_value(observation).unwrap());
        }
    }
    observations.sort_by(|a, b| (a.start_time, &a.id).cmp(&(b.start_time, &b.id)));
    Snapshot {
        observations,
        cut: None,
    }
}

/// Answers a lookup from an example's `cloud9` records, as a records server with the playbook's layout would.
pub(crate) fn practice(example: &Value, lookup: &Lookup) -> Fact {
    let records = |kind: &str| example["cloud9"][kind].as_array().cloned().unwrap_or_default();
    let found: Vec<Value> = match lookup.record.as_str() {
        "patient" => {
            let id = lookup.id.clone().unwrap_or_default();
            let Some(found) = records("patients")
                .into_iter()
                .find(|patient| patient["PatientGUID"] == id)
            else {
                return Fact::Absent;
            };
            return Fact::Found { record: found };
        }
        "appointment" => {
            let patient = lookup.keys["patient"].clone();
            records("appointments")
                .into_iter()
                .filter(|appointment| appointment["PatientGUID"] == patient)
                .collect()
        }
        _ => {
            let name = lookup.keys["name"].to_lowercase();
            let full = |patient: &Value| {
                format!(
                    "{} {}",
                    patient["PatientFirstName"].as_str().unwrap(),
                    patient["PatientLastName"].as_str().unwrap()
                )
            };
            records("patients")
                .into_iter()
                .filter(|patient| full(patient).to_lowercase().contains(&name))
                .collect()
        }
    };
    if found.is_empty() {
        Fact::Absent
    } else {
        Fact::Found {
            record: Value::Array(found),
        }
    }
}

/// All answers that a case asks for.
pub(crate) fn ask(
    playbook: &super::playbook::Playbook,
    case: &super::judge::Case,
    answer: impl Fn(&Lookup) -> Fact,
) -> Facts {
    let mut facts = Facts::new();
    loop {
        let lookups = super::judge::plan(playbook, case, &facts);
        if lookups.is_empty() {
            return facts;
        }
        for lookup in lookups {
            let fact = answer(&lookup);
            assert!(facts.insert(lookup, fact).is_none(), "a lookup was asked twice");
        }
    }
}
