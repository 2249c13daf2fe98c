//! Sessions of traces that name none: the same caller, with short gaps in between.
//!
//! Only where a source asks for it, and only for traces that have come to rest: the one that names the session may arrive
//! last. A group keeps its id however many earlier or later traces join it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::hex::hex;

/// Longest pause between two traces of one session.
pub const GAP: Duration = Duration::from_mins(1);

/// Longest session of a caller who is not named: two of them may speak at once, and are not to become one for ever.
pub const ANONYMOUS_AT_MOST: Duration = Duration::from_mins(5);

/// A stretch of time: of one trace, or of all traces of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Earliest start.
    pub started_at: DateTime<Utc>,
    /// Latest end.
    pub ended_at: DateTime<Utc>,
}

impl Span {
    fn with(self, other: Self) -> Self {
        Self {
            started_at: self.started_at.min(other.started_at),
            ended_at: self.ended_at.max(other.ended_at),
        }
    }
}

/// Whether a trace of the same caller belongs to the group.
pub fn joins(group: Span, trace: Span, anonymous: bool) -> bool {
    let gap = TimeDelta::from_std(GAP).unwrap_or_default();
    let near = trace.started_at <= group.ended_at + gap && group.started_at <= trace.ended_at + gap;
    let whole = group.with(trace);
    let most = TimeDelta::from_std(ANONYMOUS_AT_MOST).unwrap_or_default();
    near && (!anonymous || whole.ended_at - whole.started_at <= most)
}

/// The id of a group, from its source, its caller and the start of the trace that began it.
pub fn group_id(source: &str, user_hash: &str, started_at: DateTime<Utc>) -> String {
    let digest = hash_of(&[source, user_hash, &started_at.timestamp_micros().to_string()]);
    format!("grouped-{digest}")
}

/// The caller as a hash: who it is does not matter, only that it is the same one. Empty when nobody is named.
pub fn user_hash(source: &str, user: Option<&str>) -> String {
    user.map(|user| hash_of(&[source, user])).unwrap_or_default()
}

fn hash_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        Span {
            started_at: at(from),
            ended_at: at(to),
        }
    }

    #[test]
    fn a_gap_of_a_minute_is_one_session_and_a_longer_one_is_two() {
        assert!(joins(span(0, 10), span(70, 80), false));
        assert!(!joins(span(0, 10), span(71, 80), false));
        assert!(
            joins(span(70, 80), span(0, 10), false),
            "an earlier trace that arrives late"
        );
        assert!(joins(span(0, 100), span(20, 30), false));
    }

    #[test]
    fn a_caller_who_is_not_named_speaks_for_five_minutes_at_most() {
        assert!(joins(span(0, 250), span(260, 300), true));
        assert!(!joins(span(0, 250), span(260, 301), true));
        assert!(joins(span(0, 250), span(260, 301), false));
    }

    #[test]
    fn an_id_tells_nothing_of_the_caller_and_is_the_same_again() {
        let user = user_hash("calls", Some("+1 555 0100"));
        let id = group_id("calls", &user, span(0, 0).started_at);
        assert_eq!(id, group_id("calls", &user, span(0, 5).started_at));
        assert!(!id.contains("555") && !user.contains("555"));
        assert_ne!(user, user_hash("other", Some("+1 555 0100")));
        assert_eq!(user_hash("calls", None), "");
    }
}
