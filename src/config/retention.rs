//! `[retention]`: how long history is kept. Sessions and verdicts are never deleted.

use std::time::Duration;

use serde::Serialize;

use super::{duration, section::Section};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `[retention]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Jobs that ended. Default 7d.
    #[serde(serialize_with = "duration::serialize")]
    pub finished_jobs: Duration,
    /// Attempts of jobs, cron ticks and discovery cycles. Default 30d.
    #[serde(serialize_with = "duration::serialize")]
    pub attempts: Duration,
    /// Content of judged sessions, with the evidence: what a diagnosis and a dispute look back at. Personal data.
    /// Default 90d.
    #[serde(serialize_with = "duration::serialize")]
    pub snapshots: Duration,
    /// Paid answers of the LLM. Personal data. Default 90d.
    #[serde(serialize_with = "duration::serialize")]
    pub llm_answers: Duration,
    /// Who changed what, and alerts that are resolved. Default 365d.
    #[serde(serialize_with = "duration::serialize")]
    pub audit_log: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            finished_jobs: 7 * DAY,
            attempts: 30 * DAY,
            snapshots: 90 * DAY,
            llm_answers: 90 * DAY,
            audit_log: 365 * DAY,
        }
    }
}

impl Retention {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let hour = Duration::from_secs(60 * 60);
        let read = Self {
            finished_jobs: section.duration("finished_jobs", default.finished_jobs, hour),
            attempts: section.duration("attempts", default.attempts, hour),
            snapshots: section.duration("snapshots", default.snapshots, hour),
            llm_answers: section.duration("llm_answers", default.llm_answers, hour),
            audit_log: section.duration("audit_log", default.audit_log, hour),
        };
        section.finish();
        read
    }
}
