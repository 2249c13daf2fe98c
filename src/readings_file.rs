//! The user's own readings (`--readings FILE`): JSON Lines of `{session_id, intent, confidence, requests[], statements[]}`,
//! the form of `docs/readings.md`. They replace every reader; the verdict is computed as always.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::domain::reading::Reading;

/// Readings by session id.
#[derive(Debug, Clone, Default)]
pub struct ReadingsFile {
    readings: BTreeMap<String, Reading>,
}

#[derive(Deserialize)]
struct Line {
    session_id: String,
    #[serde(flatten)]
    reading: Reading,
}

impl ReadingsFile {
    /// Reads the whole file.
    ///
    /// # Errors
    /// With every line that does not hold, by its number.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read the readings {}", path.display()))?;
        let mut readings = BTreeMap::new();
        let mut faults = Vec::new();
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.with_context(|| format!("cannot read line {} of {}", index + 1, path.display()))?;
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str::<Line>(&line) {
                Ok(Line { session_id, reading }) => {
                    if readings.insert(session_id.clone(), reading).is_some() {
                        faults.push(format!(
                            "{}:{}: a second reading of one session",
                            path.display(),
                            index + 1
                        ));
                    }
                }
                Err(error) => faults.push(format!("{}:{}: {error}", path.display(), index + 1)),
            }
        }
        if !faults.is_empty() {
            bail!("{}", faults.join("\n"));
        }
        Ok(Self { readings })
    }

    /// The reading of a session, where the file has one.
    pub fn of(&self, session_id: &str) -> Option<&Reading> {
        self.readings.get(session_id)
    }
}
