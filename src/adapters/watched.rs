//! Says in the log when an upstream goes down, and when it is back.
//!
//! Jobs behind an upstream that is down only wait, so without this a person who reads the log at night would see nothing at
//! all. Every adapter is wrapped once, where it is built; jobs know nothing of it. A thousand jobs behind one upstream are
//! one line: it is said once, repeated every ten minutes while it lasts, and an upstream that flaps is not said again
//! within a minute.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    domain::{lookup::Lookup, observation::Snapshot},
    ports::{
        Answer, ChatAnswer, ChatRequest, LanguageModel, Probe, SessionRef, Slice, SystemOfRecord, TraceSource,
        UpstreamError, UpstreamReason,
    },
};

/// While it is down, it is said again after this.
const REPEAT: Duration = Duration::from_mins(10);

/// Nothing is said sooner than this after the last warning, not even that something else is wrong now.
const QUIET: Duration = Duration::from_mins(1);

/// An adapter whose outages are logged.
pub struct Watched<T: ?Sized> {
    adapter: Arc<T>,
    health: Mutex<Health>,
}

impl<T: ?Sized> Watched<T> {
    /// Watches it.
    pub fn new(adapter: Arc<T>) -> Self {
        Self {
            adapter,
            health: Mutex::new(Health::default()),
        }
    }

    fn note<A>(&self, upstream: &str, answer: Result<A, UpstreamError>) -> Result<A, UpstreamError> {
        let now = Instant::now();
        let line = {
            // What a panicking thread left is a note on when to log: still good.
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            match &answer {
                Ok(_) => health.answered(now),
                Err(outage) => health.failed(outage.reason, now),
            }
        };
        match (line, &answer) {
            (Some(Line::Down { since, calls }), Err(outage)) => tracing::warn!(
                upstream = outage.upstream,
                reason = outage.reason.as_str(),
                detail = outage.detail,
                down_for_s = since.as_secs(),
                failed_calls = calls,
                "an upstream is not available: its jobs wait and nothing is lost; {}",
                next_step(outage.reason)
            ),
            // A warning as well: who was told the one must be told the other.
            (Some(Line::Back { since, calls }), _) => tracing::warn!(
                upstream,
                down_for_s = since.as_secs(),
                failed_calls = calls,
                "the upstream answers again: its jobs go on by themselves"
            ),
            _ => {}
        }
        answer
    }
}

/// What a person can do about it.
fn next_step(reason: UpstreamReason) -> &'static str {
    match reason {
        UpstreamReason::AuthInvalid => "mend its credentials and restart this process",
        UpstreamReason::BillingExhausted => "it wants to be paid, then they go on by themselves",
        UpstreamReason::ModelUnavailable => "name a model that it serves and restart this process",
        UpstreamReason::BadAnswer => "look at what its address answers; they try again by themselves",
        UpstreamReason::RateLimited | UpstreamReason::Unreachable => "they go on by themselves when it is back",
        UpstreamReason::ClosedHours => "they go on by themselves when it opens",
        UpstreamReason::Budget => {
            "they go on by themselves when the budget's day is over; a higher one needs a restart"
        }
    }
}

/// What to say.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Down { since: Duration, calls: u64 },
    Back { since: Duration, calls: u64 },
}

/// What is known of an upstream, by the calls of this process.
#[derive(Debug, Default)]
struct Health {
    outage: Option<OngoingOutage>,
    warned_at: Option<Instant>,
}

#[derive(Debug)]
struct OngoingOutage {
    since: Instant,
    calls: u64,
    /// The reason that was said, if it was said at all.
    said: Option<UpstreamReason>,
}

impl Health {
    fn failed(&mut self, reason: UpstreamReason, now: Instant) -> Option<Line> {
        let outage = self.outage.get_or_insert(OngoingOutage {
            since: now,
            calls: 0,
            said: None,
        });
        outage.calls += 1;
        let silent_for = self.warned_at.map(|at| now.saturating_duration_since(at));
        let wait = if outage.said == Some(reason) { REPEAT } else { QUIET };
        if silent_for.is_some_and(|silent| silent < wait) {
            return None;
        }
        outage.said = Some(reason);
        self.warned_at = Some(now);
        Some(Line::Down {
            since: now.saturating_duration_since(outage.since),
            calls: outage.calls,
        })
    }

    fn answered(&mut self, now: Instant) -> Option<Line> {
        let outage = self.outage.take()?;
        outage.said?;
        Some(Line::Back {
            since: now.saturating_duration_since(outage.since),
            calls: outage.calls,
        })
    }
}

#[async_trait]
impl SystemOfRecord for Watched<dyn SystemOfRecord> {
    fn name(&self) -> &str {
        self.adapter.name()
    }

    fn doubts_absence(&self) -> bool {
        self.adapter.doubts_absence()
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<Answer, UpstreamError> {
        let answer = self.adapter.look_up(lookup).await;
        self.note(&format!("records:{}", self.name()), answer)
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.adapter.probe().await
    }
}

#[async_trait]
impl LanguageModel for Watched<dyn LanguageModel> {
    fn upstream(&self) -> &str {
        self.adapter.upstream()
    }

    fn model(&self) -> &str {
        self.adapter.model()
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatAnswer, UpstreamError> {
        let answer = self.adapter.complete(request).await;
        self.note(self.upstream(), answer)
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.adapter.probe().await
    }
}

#[async_trait]
impl TraceSource for Watched<dyn TraceSource> {
    fn name(&self) -> &str {
        self.adapter.name()
    }

    async fn scan(&self, watermark: Option<&Value>, now: DateTime<Utc>) -> Result<Slice, UpstreamError> {
        let slice = self.adapter.scan(watermark, now).await;
        self.note(&format!("source:{}", self.name()), slice)
    }

    async fn read(&self, session: &SessionRef) -> Result<Option<(Snapshot, String)>, UpstreamError> {
        let content = self.adapter.read(session).await;
        self.note(&format!("source:{}", self.name()), content)
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.adapter.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_thousand_calls_that_fail_are_one_line_until_it_is_back() {
        let start = Instant::now();
        let mut health = Health::default();
        assert_eq!(health.answered(start), None);
        let first = health.failed(UpstreamReason::Unreachable, start);
        assert_eq!(
            first,
            Some(Line::Down {
                since: seconds(0),
                calls: 1
            })
        );
        for call in 1..1_000 {
            assert_eq!(
                health.failed(UpstreamReason::Unreachable, start + seconds(call / 2)),
                None
            );
        }
        let back = Some(Line::Back {
            since: seconds(540),
            calls: 1_000,
        });
        assert_eq!(health.answered(start + seconds(540)), back);
        assert_eq!(health.answered(start + seconds(541)), None);
    }

    #[test]
    fn an_outage_that_lasts_is_said_again_every_ten_minutes() {
        let start = Instant::now();
        let mut health = Health::default();
        let said = (0..=3_600)
            .filter(|second| {
                health
                    .failed(UpstreamReason::Unreachable, start + seconds(*second))
                    .is_some()
            })
            .collect::<Vec<u64>>();
        assert_eq!(said, [0, 600, 1_200, 1_800, 2_400, 3_000, 3_600]);
    }

    #[test]
    fn an_upstream_that_flaps_is_two_lines_a_minute_at_most() {
        let start = Instant::now();
        let mut health = Health::default();
        let mut lines = 0;
        for second in 0..600 {
            lines += usize::from(
                health
                    .failed(UpstreamReason::RateLimited, start + seconds(second))
                    .is_some(),
            );
            lines += usize::from(health.answered(start + seconds(second)).is_some());
        }
        assert_eq!(lines, 20);
    }

    #[test]
    fn another_reason_is_said_but_not_each_time_it_changes() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(health.failed(UpstreamReason::Unreachable, start).is_some());
        assert!(health.failed(UpstreamReason::AuthInvalid, start + seconds(5)).is_none());
        assert!(
            health
                .failed(UpstreamReason::AuthInvalid, start + seconds(61))
                .is_some()
        );
        assert!(
            health
                .failed(UpstreamReason::AuthInvalid, start + seconds(200))
                .is_none()
        );
    }
}
