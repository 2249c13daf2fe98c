//! How records are named in labels: as the system of record's paths name them, without the session.

use crate::domain::{
    lookup::RecordLookup,
    playbook::Playbook,
    verdict::{Finding, Outcome, RecordRef},
};

/// Stands for the id of a record that was asked for and never made.
const NOT_MADE: &str = "?";

/// The kinds' names in keys: `reservations/ZFA04Y`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a>(pub(super) &'a Playbook);

impl Keys<'_> {
    /// `reservations` where records are looked up at `/{{ session }}/reservations/{{ id }}`, else the kind.
    fn folder(self, kind: &str) -> String {
        let path = self
            .0
            .record(kind)
            .and_then(|record| record.lookup.as_ref())
            .and_then(|lookup| match lookup {
                RecordLookup::Http(http) => Some(http.path.as_str()),
                RecordLookup::Sql(_) => None,
            });
        let parts: Vec<&str> = path
            .unwrap_or_default()
            .split('/')
            .filter(|part| !part.is_empty() && !part.contains("{{"))
            .collect();
        if parts.is_empty() {
            kind.to_owned()
        } else {
            parts.join("/")
        }
    }

    pub(super) fn of(self, record: &RecordRef) -> String {
        format!("{}/{}", self.folder(&record.record), record.id)
    }

    /// The key of a finding's record; of one that was never made, `reservations/?`.
    pub(super) fn of_finding(self, finding: &Finding) -> Option<String> {
        match &finding.id {
            Some(id) => Some(format!("{}/{id}", self.folder(&finding.record))),
            None if finding.outcome == Outcome::Missing => Some(format!("{}/{NOT_MADE}", self.folder(&finding.record))),
            None => None,
        }
    }

    /// The folder of a key that stands for a record never made.
    pub(super) fn not_made(key: &str) -> Option<&str> {
        key.strip_suffix(NOT_MADE)?.strip_suffix('/')
    }
}
