//! What a practice holds: patients, appointments, locations, as JSON objects of texts under Cloud9's names.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

const LISTS: [&str; 3] = ["patients", "appointments", "locations"];

/// How many looks at its patient do not show an appointment.
const AFTER_LOOKS: &str = "after_looks";

/// Why a practice cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PracticeError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no JSON.
    #[error("{path}, line {line}, column {column}: not valid JSON")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// It is another JSON.
    #[error(
        "{path}: should hold lists of objects with names of letters and digits, {{\"patients\": [], \"appointments\": [], \"locations\": []}}, also inside `cloud9`"
    )]
    Misshapen {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing.
    #[error("{path} holds no *.json file")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

type Record = Map<String, Value>;

#[derive(Debug, Default)]
pub(super) struct Data {
    patients: Vec<Record>,
    appointments: Vec<Record>,
    locations: Vec<Record>,
    /// Looks at a patient's appointments so far, by GUID in lower case.
    looks: BTreeMap<String, u64>,
}

impl Data {
    pub(super) fn load(path: &Path) -> Result<Self, PracticeError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| PracticeError::Unreadable { path, source }
        };
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(unreadable(path))? {
                let file = entry.map_err(unreadable(path))?.path();
                if file.extension().is_some_and(|extension| extension == "json") {
                    files.push(file);
                }
            }
            files.sort();
            if files.is_empty() {
                return Err(PracticeError::Empty { path: path.to_owned() });
            }
        } else {
            files.push(path.to_owned());
        }
        let mut data = Self::default();
        for file in files {
            let bytes = fs::read(&file).map_err(unreadable(&file))?;
            let records: Value = serde_json::from_slice(&bytes).map_err(|error| PracticeError::Broken {
                path: file.clone(),
                line: error.line(),
                column: error.column(),
            })?;
            if !is_practice(&records) {
                return Err(PracticeError::Misshapen { path: file });
            }
            data.add(&records);
        }
        Ok(data)
    }

    pub(super) fn add(&mut self, records: &Value) {
        let records = records.get("cloud9").unwrap_or(records);
        for (list, id) in [
            ("patients", "PatientGUID"),
            ("appointments", "AppointmentGUID"),
            ("locations", "LocationGUID"),
        ] {
            let into = match list {
                "patients" => &mut self.patients,
                "appointments" => &mut self.appointments,
                _ => &mut self.locations,
            };
            for record in records[list].as_array().into_iter().flatten() {
                let Some(record) = record
                    .as_object()
                    .filter(|record| record.keys().all(|name| is_name(name)))
                else {
                    continue;
                };
                let guid = text(record, id);
                into.retain(|known| guid.is_empty() || !is_about(known, id, guid));
                into.push(record.clone());
            }
        }
    }

    pub(super) fn remove_appointment(&mut self, guid: &str) {
        self.appointments
            .retain(|appointment| !is_about(appointment, "AppointmentGUID", guid));
    }

    /// `GetPatientInformation`: the patient with the full name as the system writes it. `None` for nobody.
    pub(super) fn patient(&self, guid: &str) -> Option<Vec<Value>> {
        let patient = self.find(guid)?;
        let mut record = patient.clone();
        if !record.contains_key("PatientFullName") {
            record.insert("PatientFullName".to_owned(), format!("{} ", full_name(patient)).into());
        }
        Some(vec![Value::Object(record)])
    }

    /// `GetAppointmentListByPatient`, which counts as a look. `None` for nobody.
    pub(super) fn appointments(&mut self, guid: &str) -> Option<Vec<Value>> {
        let looks = self.looks.entry(guid.to_lowercase()).or_default();
        *looks += 1;
        let look = *looks;
        let theirs: Vec<Value> = self
            .appointments
            .iter()
            .filter(|appointment| is_about(appointment, "PatientGUID", guid))
            .filter(|appointment| appointment.get(AFTER_LOOKS).and_then(Value::as_u64).unwrap_or(0) < look)
            .map(|appointment| {
                let mut shown = appointment.clone();
                shown.remove(AFTER_LOOKS);
                Value::Object(shown)
            })
            .collect();
        if theirs.is_empty() && self.find(guid).is_none() {
            return None;
        }
        Some(theirs)
    }

    /// `GetPortalPatientLookup`: `Last, First`, either of them from its beginning, in any case.
    pub(super) fn patients_like(&self, filter: &str) -> Vec<Value> {
        let (last, first) = filter.split_once(',').unwrap_or((filter, ""));
        let begins = |patient: &Record, field: &str, start: &str| {
            text(patient, field)
                .trim()
                .to_lowercase()
                .starts_with(&start.trim().to_lowercase())
        };
        self.patients
            .iter()
            .filter(|patient| begins(patient, "PatientLastName", last) && begins(patient, "PatientFirstName", first))
            .map(|patient| {
                let name = format!(
                    "{}, {}",
                    text(patient, "PatientLastName"),
                    text(patient, "PatientFirstName")
                );
                json!({
                    "PatientGUID": text(patient, "PatientGUID"), "PatientName": name,
                    "PatientBirthDate": text(patient, "PatientBirthDate"),
                })
            })
            .collect()
    }

    /// `GetLocations`: one in New York where the data names none.
    pub(super) fn locations(&self) -> Vec<Value> {
        if self.locations.is_empty() {
            return vec![json!({
                "LocationGUID": "424b1fee-9709-4315-85d9-5954058b4714", "LocationName": "Main", "TimeZone": "America/New_York",
            })];
        }
        self.locations.iter().cloned().map(Value::Object).collect()
    }

    fn find(&self, guid: &str) -> Option<&Record> {
        self.patients
            .iter()
            .find(|patient| is_about(patient, "PatientGUID", guid))
    }
}

fn text<'r>(record: &'r Record, name: &str) -> &'r str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_about(record: &Record, id: &str, guid: &str) -> bool {
    text(record, id).eq_ignore_ascii_case(guid)
}

fn full_name(patient: &Record) -> String {
    format!(
        "{} {}",
        text(patient, "PatientFirstName"),
        text(patient, "PatientLastName")
    )
}

fn is_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn is_practice(records: &Value) -> bool {
    let records = records.get("cloud9").unwrap_or(records);
    let lists: Vec<&Value> = LISTS.iter().filter_map(|list| records.get(list)).collect();
    let is_list = |list: &Value| {
        list.as_array().is_some_and(|records| {
            records.iter().all(|record| {
                record
                    .as_object()
                    .is_some_and(|record| record.keys().all(|name| is_name(name)))
            })
        })
    };
    !lists.is_empty() && lists.into_iter().all(is_list)
}
