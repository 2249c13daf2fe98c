//! `[retention]`: how long history is kept. Sessions, verdicts and their evidence are never deleted.

use std::time::Duration;

use serde::Serialize;

use super::{duration, section::Section};

const HOUR: Duration = Duration::from_hours(1);

/// `[retention]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retention {
    /// Jobs that ended, with their attempts, cron ticks and discovery cycles. Default 7d.
    #[serde(serialize_with = "duration::serialize")]
    pub finished_jobs: Duration,
    /// Content of judged sessions: what a diagnosis and a dispute look back at. Personal data. Default 90d.
    #[serde(serialize_with = "duration::serialize")]
    pub snapshots: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            finished_jobs: 7 * 24 * HOUR,
            snapshots: 90 * 24 * HOUR,
        }
    }
}

impl Retention {
    /// `longest_window` is the longest rate window: the starts counted in it must outlive it.
    pub(super) fn read(mut section: Section<'_>, longest_window: Duration) -> Self {
        let default = Self::default();
        let read = Self {
            finished_jobs: section.duration("finished_jobs", default.finished_jobs, HOUR),
            snapshots: section.duration("snapshots", default.snapshots, HOUR),
        };
        if read.finished_jobs <= longest_window {
            section.fault_at(
                "finished_jobs",
                "should be longer than `limits.diagnose_window`, whose starts it deletes",
            );
        }
        section.finish();
        read
    }
}
