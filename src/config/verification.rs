//! `[verification]`: how patient aftercall is with a system of record.

use std::time::Duration;

use serde::Serialize;

use super::{duration, section::Section};

/// `[verification]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// A record that is not there is looked for again after each of these waits, one after another, before it is called
    /// missing. Default 1m, 5m, 30m; an empty list looks once.
    #[serde(serialize_with = "duration::serialize_list")]
    pub look_again: Vec<Duration>,
    /// A system of record that could not answer for this long ends its sessions with status `error`. Default 24h.
    #[serde(serialize_with = "duration::serialize")]
    pub give_up_after: Duration,
    /// First wait for a source, an LLM or a system of record that is down; doubled with each further try. Default 10s.
    #[serde(serialize_with = "duration::serialize")]
    pub outage_wait: Duration,
    /// Longest wait between two tries of one that is down. Default 10m.
    #[serde(serialize_with = "duration::serialize")]
    pub outage_wait_most: Duration,
}

impl Default for Verification {
    fn default() -> Self {
        Self {
            look_again: [1, 5, 30].map(Duration::from_mins).to_vec(),
            give_up_after: Duration::from_hours(24),
            outage_wait: Duration::from_secs(10),
            outage_wait_most: Duration::from_mins(10),
        }
    }
}

impl Verification {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            look_again: section.durations("look_again", &default.look_again),
            give_up_after: section.duration("give_up_after", default.give_up_after, Duration::from_millis(1)),
            outage_wait: section.duration("outage_wait", default.outage_wait, Duration::from_millis(10)),
            outage_wait_most: section.duration("outage_wait_most", default.outage_wait_most, Duration::from_millis(10)),
        };
        section.finish();
        read
    }
}
