//! `[queue]`: how the worker processes hold their jobs.

use std::time::Duration;

use serde::Serialize;

use super::{duration, section::Section};

/// `[queue]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueConfig {
    /// How long a job stays a process's own after its last sign of life; a dead process's jobs run elsewhere after this.
    /// The same in every process. Default 12s.
    #[serde(serialize_with = "duration::serialize")]
    pub lease: Duration,
    /// Time between signs of life. Default 3s; at most a quarter of the lease.
    #[serde(serialize_with = "duration::serialize")]
    pub heartbeat: Duration,
    /// How often to look for jobs that nobody announced. Default 100ms on a file, 1500ms on a server.
    #[serde(serialize_with = "duration::serialize_optional")]
    pub poll: Option<Duration>,
    /// How long running jobs may take to end when the process is told to stop. Default 30s.
    #[serde(serialize_with = "duration::serialize")]
    pub grace: Duration,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(12),
            heartbeat: Duration::from_secs(3),
            poll: None,
            grace: Duration::from_secs(30),
        }
    }
}

impl QueueConfig {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            lease: section.duration("lease", default.lease, Duration::from_millis(400)),
            heartbeat: section.duration("heartbeat", default.heartbeat, Duration::from_millis(50)),
            poll: section
                .is_set("poll")
                .then(|| section.duration("poll", Duration::ZERO, Duration::from_millis(10))),
            grace: section.duration("grace", default.grace, Duration::ZERO),
        };
        // A process starts no outside call past three quarters of a lease: two lost signs of life must not stop its work.
        if read.heartbeat * 4 > read.lease {
            section.fault_at("heartbeat", "should be at most a quarter of `lease`");
        }
        section.finish();
        read
    }
}
