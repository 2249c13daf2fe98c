//! Which jobs: the filter that `list` and the changes share.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, builder::NonEmptyStringValueParser};

use crate::{
    config::duration,
    queue::inspect::{ArgIs, JobFilter},
};

const STATES: [&str; 7] = [
    "available",
    "scheduled",
    "running",
    "retryable",
    "completed",
    "cancelled",
    "discarded",
];

/// Jobs by filter.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// Of this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    state: Option<String>,
    /// In this partition
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Whose unique key contains this (a session's id)
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    key: Option<String>,
    /// Whose last error contains this
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    error: Option<String>,
    /// Whose arguments hold this value, such as session_id=call-7
    #[arg(long, value_name = "PATH=VALUE")]
    arg: Option<ArgIs>,
    /// Enqueued so long ago or longer (30m, 24h, 7d)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Enqueued in the last so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    newer_than: Option<Duration>,
    /// With so many attempts, or more
    #[arg(long, value_name = "N")]
    attempts: Option<u32>,
}

impl Which {
    /// As a filter, where now is by the database's clock.
    pub(super) fn filter(&self, now: DateTime<Utc>) -> JobFilter {
        let before = |ago: Duration| -> DateTime<Utc> { now - chrono::Duration::from_std(ago).unwrap_or_default() };
        JobFilter {
            queue: self.queue.clone(),
            state: self.state.clone(),
            partition: self.partition.clone(),
            key_contains: self.key.clone(),
            error_contains: self.error.clone(),
            arg: self.arg.clone(),
            created_since: self.newer_than.map(before),
            created_until: self.older_than.map(before),
            attempts: self.attempts,
            ids: Vec::new(),
        }
    }
}
