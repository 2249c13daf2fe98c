//! A session: one finished conversation between a caller and an agent, as its source names it.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex::hex;

/// Counts the analyses of one session: reprocessing and reopening open the next. Starts at 1.
pub type Generation = u32;

/// Identity of a session: session ids are free text and unique only within their source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionKey {
    /// Name of the configured source.
    pub source: String,
    /// The application's own id: any text, may hold `/` and unicode.
    pub session_id: String,
}

impl SessionKey {
    /// A key from its two parts.
    pub fn new(source: impl Into<String>, session_id: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            session_id: session_id.into(),
        }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.session_id)
    }
}

/// Where a session is on its way to a verdict.
///
/// ```text
/// open ──► settled ──► analyzing ──► verifying ──► done ──► reopened
///                          └──────── skipped ───────▲          │
///              ▲                                               │
///              └───────────────────────────────────────────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Seen, but it may still be going on.
    Open,
    /// Over: its analysis is enqueued.
    Settled,
    /// Its content was read and a paid reading is under way.
    Analyzing,
    /// Read; waiting for the system of record.
    Verifying,
    /// Has its verdict.
    Done,
    /// Had a verdict, then new activity: waiting to settle again.
    Reopened,
}

impl SessionState {
    /// The stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Analyzing => "analyzing",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Reopened => "reopened",
        }
    }

    /// Reads the stored spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "open" => Self::Open,
            "settled" => Self::Settled,
            "analyzing" => Self::Analyzing,
            "verifying" => Self::Verifying,
            "done" => Self::Done,
            "reopened" => Self::Reopened,
            _ => return None,
        })
    }
}

/// The digest of a session's content: of how much there is, which, and when each was last changed. The order does not matter.
pub fn digest_of<'a>(observations: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut marks: Vec<(&str, &str)> = observations.into_iter().collect();
    marks.sort_unstable();
    marks.dedup();
    let mut hash = Sha256::new();
    hash.update(marks.len().to_le_bytes());
    for (id, mark) in marks {
        for part in [id, mark] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize()[..16])
}

/// When a session without an end signal counts as over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleRules {
    /// No activity for this long, and no change between two scans at least `steady` apart.
    pub settle_after: Duration,
    /// How long the content must have been the same.
    pub steady: Duration,
    /// No activity for this long: over even while its content still changes, flagged `incomplete`.
    pub settle_deadline: Duration,
    /// How long the last spans of a session take to reach its source after it ended, where a webhook tells that it did.
    pub trace_lag: Duration,
    /// How long the traces of a session that a webhook told of may take.
    pub trace_deadline: Duration,
}

impl SettleRules {
    /// Whether the deadline has come, counted from when both the last activity and our first sight of it lie behind.
    pub fn is_late(&self, last_activity_at: DateTime<Utc>, open_since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        now >= self.late_at(last_activity_at, open_since)
    }

    /// When it comes.
    pub fn late_at(&self, last_activity_at: DateTime<Utc>, open_since: DateTime<Utc>) -> DateTime<Utc> {
        last_activity_at.max(open_since) + self.settle_deadline
    }

    /// Whether an end that a webhook told is still the end: what came within `settle_after` after it belongs to it (a clock
    /// that is off, a span that closes late), and a session that was active later went on.
    pub fn stands(&self, told_at: DateTime<Utc>, last_activity_at: DateTime<Utc>) -> bool {
        last_activity_at <= told_at + self.settle_after
    }

    /// When a session whose end was told may be read: its last spans have had their time, both since its end and since its
    /// content was last seen to change. The webhook says nothing of what the source holds by then.
    pub fn whole_at(&self, told_at: DateTime<Utc>, digest_since: DateTime<Utc>) -> DateTime<Utc> {
        told_at.max(digest_since) + self.trace_lag
    }
}

/// Whether a session is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is.
    Yes {
        /// By the deadline, not by rest.
        incomplete: bool,
    },
    /// It may still be going on.
    NotYet {
        /// For a person.
        reason: String,
        /// The earliest instant at which this can change.
        until: DateTime<Utc>,
    },
}

/// Decides whether a session is over: by its end signal, by rest, or by the deadline.
///
/// `scan_began` is when the scan began that has just been completed: a content is steady once such a scan, `steady` or more
/// after the one that first saw it, found nothing else. That time went by proves nothing while the source cannot be asked.
///
/// The deadline counts from when both its last activity and our first sight of it lie behind: a session that is first seen
/// long after it ended still gets its two scans.
pub fn settled(
    rules: &SettleRules,
    ended: bool,
    last_activity_at: DateTime<Utc>,
    open_since: DateTime<Utc>,
    digest_since: DateTime<Utc>,
    scan_began: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Settled {
    if ended {
        return Settled::Yes { incomplete: false };
    }
    let rests_at = last_activity_at + rules.settle_after;
    let steady_at = digest_since + rules.steady;
    if now >= rests_at && scan_began >= steady_at {
        return Settled::Yes { incomplete: false };
    }
    if rules.is_late(last_activity_at, open_since, now) {
        return Settled::Yes { incomplete: true };
    }
    let (reason, until) = if now < rests_at {
        (
            "no end signal, and it was active lately: waiting for it to rest",
            rests_at,
        )
    } else {
        (
            "it was seen once, or still changes: waiting for two equal scans",
            steady_at,
        )
    };
    Settled::NotYet {
        reason: reason.to_owned(),
        until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_what_there_is_and_not_of_its_order() {
        let one = digest_of([("a", "1"), ("b", "2")]);
        assert_eq!(one, digest_of([("b", "2"), ("a", "1"), ("a", "1")]));
        assert_ne!(one, digest_of([("a", "1")]));
        assert_ne!(one, digest_of([("a", "1"), ("b", "3")]));
        assert_ne!(digest_of([("ab", "1")]), digest_of([("a", "b1")]));
    }

    const RULES: SettleRules = SettleRules {
        settle_after: Duration::from_mins(5),
        steady: Duration::from_mins(1),
        settle_deadline: Duration::from_mins(30),
        trace_lag: Duration::from_secs(30),
        trace_deadline: Duration::from_hours(24),
    };

    fn at(minute: u32) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::from(minute) * 60, 0).expect("a small number of minutes is an instant")
    }

    #[test]
    fn an_end_signal_settles_at_once() {
        assert_eq!(
            settled(&RULES, true, at(10), at(10), at(10), at(10), at(10)),
            Settled::Yes { incomplete: false }
        );
    }

    #[test]
    fn an_end_that_was_told_stands_until_the_session_goes_on_and_its_content_gets_its_time() {
        assert!(RULES.stands(at(10), at(15)) && !RULES.stands(at(10), at(16)));
        let half = Duration::from_secs(30);
        assert_eq!(RULES.whole_at(at(10), at(3)), at(10) + half);
        assert_eq!(RULES.whole_at(at(10), at(12)), at(12) + half);
    }

    #[test]
    fn rest_needs_both_silence_and_an_unchanged_content() {
        let quiet_but_changed_lately = settled(&RULES, false, at(0), at(0), at(9), at(9), at(9));
        assert!(matches!(quiet_but_changed_lately, Settled::NotYet { until, .. } if until == at(10)));
        let unchanged_but_active_lately = settled(&RULES, false, at(8), at(0), at(0), at(9), at(9));
        assert!(matches!(unchanged_but_active_lately, Settled::NotYet { until, .. } if until == at(13)));
        assert_eq!(
            settled(&RULES, false, at(0), at(0), at(8), at(9), at(9)),
            Settled::Yes { incomplete: false }
        );
    }

    #[test]
    fn one_scan_however_long_ago_is_no_two_scans() {
        let scanned_once = settled(&RULES, false, at(0), at(0), at(3), at(3), at(20));
        assert!(matches!(scanned_once, Settled::NotYet { .. }));
    }

    #[test]
    fn content_that_never_rests_is_settled_by_the_deadline_and_flagged() {
        assert_eq!(
            settled(&RULES, false, at(0), at(0), at(30), at(30), at(30)),
            Settled::Yes { incomplete: true }
        );
    }

    #[test]
    fn an_old_session_seen_for_the_first_time_is_not_flagged() {
        assert!(matches!(
            settled(&RULES, false, at(0), at(500), at(500), at(500), at(500)),
            Settled::NotYet { .. }
        ));
        assert_eq!(
            settled(&RULES, false, at(0), at(500), at(500), at(501), at(501)),
            Settled::Yes { incomplete: false }
        );
    }
}
