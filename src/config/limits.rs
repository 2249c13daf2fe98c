//! `[limits]`: how much may run at once in the whole fleet. Verification has no setting: it is one at a time for each
//! system of record, paced by `records.pace`.

use std::time::Duration;

use serde::Serialize;

use super::{duration, section::Section};

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Sessions read at once. Default 8.
    pub analyze_session: u32,
    /// Diagnoses at once. Default 3.
    pub diagnose_session: u32,
    /// Diagnoses that may start within any `diagnose_window`. Default 3.
    pub diagnose_starts: u32,
    /// See `diagnose_starts`. Default 5m.
    #[serde(serialize_with = "duration::serialize")]
    pub diagnose_window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            analyze_session: 8,
            diagnose_session: 3,
            diagnose_starts: 3,
            diagnose_window: Duration::from_mins(5),
        }
    }
}

impl Limits {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            analyze_session: section.whole("analyze_session", default.analyze_session, 1, 10_000),
            diagnose_session: section.whole("diagnose_session", default.diagnose_session, 1, 10_000),
            diagnose_starts: section.whole("diagnose_starts", default.diagnose_starts, 1, 1_000_000),
            diagnose_window: section.duration("diagnose_window", default.diagnose_window, Duration::from_millis(1)),
        };
        section.finish();
        read
    }
}
