//! The truth about sessions: JSON Lines of `{session_id, db_state_correct, records_missing, records_wrong, records_unwanted}`.
//! Other members are left alone.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::score::Kind;

/// The truth about one session.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Label {
    /// The source's id of it.
    pub session_id: String,
    /// Whether the system of record held afterwards what it should.
    #[serde(alias = "correct")]
    pub db_state_correct: bool,
    /// Keys of records that should have been changed or made, and were not: `reservations/ZFA04Y`.
    #[serde(default)]
    pub records_missing: Vec<String>,
    /// Keys of records that were changed otherwise than they should.
    #[serde(default)]
    pub records_wrong: Vec<String>,
    /// Keys of records that should not have been touched.
    #[serde(default)]
    pub records_unwanted: Vec<String>,
}

impl Label {
    /// Keys of all records that are not as they should be.
    pub(super) fn records(&self) -> impl Iterator<Item = &String> {
        self.records_missing
            .iter()
            .chain(&self.records_wrong)
            .chain(&self.records_unwanted)
    }

    /// In which way a record is not as it should be; by the first list that names it.
    pub(super) fn kind_of(&self, key: &String) -> Option<Kind> {
        let lists = [&self.records_missing, &self.records_wrong, &self.records_unwanted];
        let mut kinds = Kind::ALL.into_iter().zip(lists);
        kinds.find(|(_, list)| list.contains(key)).map(|(kind, _)| kind)
    }
}

/// Reads a whole file.
pub(super) fn load(path: &Path) -> anyhow::Result<BTreeMap<String, Label>> {
    let file = File::open(path).with_context(|| format!("cannot read the labels {}", path.display()))?;
    let mut labels = BTreeMap::new();
    let mut faults = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let place = format!("{}:{}", path.display(), index + 1);
        let line = line.with_context(|| format!("cannot read {place}"))?;
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Label>(&line) {
            Ok(label) => {
                if labels.insert(label.session_id.clone(), label).is_some() {
                    faults.push(format!("{place}: a second label of one session"));
                }
            }
            Err(error) => faults.push(format!("{place}: {error}")),
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    if labels.is_empty() {
        bail!(
            "{} holds no label: one JSON object per line, {{\"session_id\": …, \"db_state_correct\": true}}",
            path.display()
        );
    }
    Ok(labels)
}
