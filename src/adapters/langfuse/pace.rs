//! How often the server is asked: within a budget per minute of our own, and not before the instant that it named.
//!
//! The budget is shared by scans and reads of this process. Without one, the limit that a 429 names is kept from then on:
//! it is the organisation's, and others need their share as well.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::header::HeaderMap;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_mins(1);

/// What the server said of its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HeadRoom {
    /// Requests in its window.
    pub(super) limit: Option<u32>,
    /// Of these, left.
    pub(super) remaining: Option<u32>,
}

/// One source's pace.
#[derive(Debug)]
pub(super) struct Pace {
    /// Starts of the last minute. Whoever waits for its turn holds the lock: first come, first served.
    starts: tokio::sync::Mutex<VecDeque<Instant>>,
    known: Mutex<Known>,
}

/// Whether something may be sent.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Now,
    At(Instant),
    Closed(Duration),
}

#[derive(Debug)]
struct Known {
    per_minute: Option<u32>,
    head_room: HeadRoom,
    closed_until: Option<Instant>,
}

impl Pace {
    /// With a budget of requests per minute, or without one.
    pub(super) fn new(per_minute: Option<u32>) -> Self {
        Self {
            starts: tokio::sync::Mutex::new(VecDeque::new()),
            known: Mutex::new(Known {
                per_minute,
                head_room: HeadRoom::default(),
                closed_until: None,
            }),
        }
    }

    /// Waits for a turn within the budget.
    ///
    /// # Errors
    /// How long the server still wants to be left alone: nothing may be sent.
    pub(super) async fn turn(&self) -> Result<(), Duration> {
        let mut starts = self.starts.lock().await;
        loop {
            match self.turn_at(&mut starts, Instant::now()) {
                Turn::Now => return Ok(()),
                Turn::At(instant) => tokio::time::sleep_until(instant).await,
                Turn::Closed(pause) => return Err(pause),
            }
        }
    }

    fn turn_at(&self, starts: &mut VecDeque<Instant>, now: Instant) -> Turn {
        let per_minute = {
            let known = self.known();
            if let Some(until) = known.closed_until.filter(|until| *until > now) {
                return Turn::Closed(until - now);
            }
            known.per_minute
        };
        while starts.front().is_some_and(|start| now.duration_since(*start) >= MINUTE) {
            starts.pop_front();
        }
        let Some(most) = per_minute else {
            return Turn::Now;
        };
        match starts.front() {
            Some(oldest) if starts.len() >= most.max(1) as usize => Turn::At(*oldest + MINUTE),
            _ => {
                starts.push_back(now);
                Turn::Now
            }
        }
    }

    /// Learns from the headers of an answer.
    pub(super) fn note(&self, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
        let mut known = self.known();
        if let Some(limit) = number("x-ratelimit-limit") {
            known.head_room.limit = Some(limit);
        }
        if let Some(remaining) = number("x-ratelimit-remaining") {
            known.head_room.remaining = Some(remaining);
        }
    }

    /// The server has had enough of us, and asks for this pause where it says one.
    pub(super) fn refused(&self, pause: Option<Duration>) {
        self.refused_at(pause, Instant::now());
    }

    fn refused_at(&self, pause: Option<Duration>, now: Instant) {
        let mut known = self.known();
        known.closed_until = pause.map(|pause| now + pause);
        // A limit of 30 lets 29 through; limits that count by the hour or day are not ours to keep.
        if let Some(limit) = known.head_room.limit
            && known.per_minute.is_none()
            && pause.is_some_and(|pause| pause <= MINUTE)
        {
            known.per_minute = Some(limit.saturating_sub(1).max(1));
        }
    }

    /// What the server said of its limit, as far as it did.
    pub(super) fn head_room(&self) -> HeadRoom {
        self.known().head_room
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nothing in here can be left half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_budget_holds_in_every_window_of_a_minute() {
        let pace = Pace::new(Some(3));
        let mut starts = VecDeque::new();
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        for second in [0, 20, 50] {
            assert_eq!(pace.turn_at(&mut starts, at(second)), Turn::Now);
        }
        assert_eq!(pace.turn_at(&mut starts, at(51)), Turn::At(at(60)));
        assert_eq!(pace.turn_at(&mut starts, at(60)), Turn::Now);
        assert_eq!(pace.turn_at(&mut starts, at(61)), Turn::At(at(80)));
    }

    #[test]
    fn nothing_is_sent_before_the_instant_that_the_server_named() {
        let pace = Pace::new(None);
        let mut starts = VecDeque::new();
        let begin = Instant::now();
        let pause = Duration::from_secs(41);
        assert_eq!(pace.turn_at(&mut starts, begin), Turn::Now);
        pace.refused_at(Some(pause), begin);
        assert_eq!(pace.turn_at(&mut starts, begin), Turn::Closed(pause));
        assert_eq!(pace.turn_at(&mut starts, begin + pause), Turn::Now);
    }

    #[test]
    fn a_limit_that_was_hit_is_kept_from_then_on() {
        let pace = Pace::new(None);
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-limit", HeaderValue::from_static("3"));
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        pace.note(&headers);
        let begin = Instant::now();
        pace.refused_at(Some(Duration::ZERO), begin);
        let mut starts = VecDeque::new();
        assert_eq!(pace.turn_at(&mut starts, begin), Turn::Now);
        assert_eq!(pace.turn_at(&mut starts, begin), Turn::Now);
        assert_eq!(pace.turn_at(&mut starts, begin), Turn::At(begin + MINUTE));
        assert_eq!(pace.head_room().remaining, Some(0));
    }
}
