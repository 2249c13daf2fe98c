//! Which window of time a scan reads next. Pure: the clock is an argument, and everything it knows is in the watermark.
//!
//! ```text
//!        rescan: once an hour, for spans that came late          live: every cycle
//! ├──────────────────────────────────────────────────────┬─────────────┬──────────────┤
//! now - 24h                                          live begin     through          now
//!                                                        └── overlap ──┘
//! ```
//!
//! The API cannot be asked what arrived since, only what began when. So a live scan begins an overlap before the instant up
//! to which all was read, and reads to now, in slices, oldest first, page by page. `through` moves with a completed slice
//! only. A slice that is too much for the server is halved.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which generation of the API is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Generation {
    /// `GET /v2/observations`: v4, and v3 in preview.
    Observations,
    /// `GET /traces`: v2 and v3.
    Traces,
}

impl Generation {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Observations => "observations API (v2/observations)",
            Self::Traces => "traces API (traces)",
        }
    }
}

/// Slices are never halved below this: as many observations within it as a server cannot list are its trouble.
pub(super) const SHORTEST_SLICE: TimeDelta = TimeDelta::seconds(15);

/// A slice of more pages than this does not end by itself.
const MOST_PAGES: u32 = 20_000;

/// How far windows reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// What began this long before the very first scan is still read.
    pub since: Duration,
    /// A live scan begins this long before the instant up to which all was read.
    pub overlap: Duration,
    /// Longest window that is asked for at once.
    pub slice: Duration,
    /// What began this long ago is read again, for spans that came late.
    pub rescan: Duration,
    /// How often that happens.
    pub rescan_every: Duration,
}

/// How far the scans got: stored as the source's watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Read by this generation: the other one knows the same observations by other marks.
    api: Generation,
    /// Everything that began before this was read once.
    through: DateTime<Utc>,
    /// When late spans were last looked for; `None`: that is due now.
    rescanned_at: Option<DateTime<Utc>>,
    /// What is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cycle: Option<Cycle>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cycle {
    phase: Phase,
    /// The database's clock when it began.
    began_at: DateTime<Utc>,
    /// Where the live scan began: a rescan ends there.
    live_from: DateTime<Utc>,
    /// Where this phase ends.
    until: DateTime<Utc>,
    /// The slice under way.
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// Length of slices, in milliseconds: halved when one is too large for the server.
    span_ms: i64,
    /// Its next page, in the API's words; `None` is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Pages of the slice read so far.
    pages: u32,
    /// What the last page held: a server that gives the same one again and again is not read for ever.
    #[serde(default)]
    last_page: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    Live,
    Rescan,
}

/// One page to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// Inclusive.
    pub(super) from: DateTime<Utc>,
    /// Exclusive.
    pub(super) to: DateTime<Utc>,
    /// Which page, in the API's words; `None` is the first.
    pub(super) position: Option<String>,
}

/// What is left to do after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask on.
    More,
    /// The cycle is complete.
    Done,
    /// The slice did not end by itself and was left.
    Endless {
        /// There is another slice.
        more: bool,
    },
}

impl Plan {
    /// Goes on from a stored watermark. One that cannot be read is another source's: begin again.
    pub(super) fn resume(stored: Option<&Value>, api: Generation, now: DateTime<Utc>, windows: &Windows) -> Self {
        let Some(mut plan) = stored.and_then(|stored| Self::deserialize(stored).ok()) else {
            return Self {
                api,
                through: now - windows.since,
                rescanned_at: Some(now),
                cycle: None,
            };
        };
        if plan.api != api {
            // Everything young is read again at once, so that each session is known by one generation's marks.
            plan.api = api;
            plan.cycle = None;
            plan.rescanned_at = None;
        }
        // A clock that was ahead for a while must not leave a hole.
        plan.through = plan.through.min(now);
        plan
    }

    /// The page to ask for next; begins a cycle where none is under way.
    pub(super) fn ask(&mut self, now: DateTime<Utc>, windows: &Windows) -> Ask {
        let through = self.through;
        let cycle = self.cycle.get_or_insert_with(|| {
            let live_from = through - windows.overlap;
            let until = now.max(live_from + TimeDelta::seconds(1));
            let span = TimeDelta::from_std(windows.slice)
                .unwrap_or(TimeDelta::hours(1))
                .max(SHORTEST_SLICE);
            Cycle {
                phase: Phase::Live,
                began_at: now,
                live_from,
                until,
                from: live_from,
                to: until.min(live_from + span),
                span_ms: span.num_milliseconds(),
                position: None,
                pages: 0,
                last_page: String::new(),
            }
        });
        Ask {
            from: cycle.from,
            to: cycle.to,
            position: cycle.position.clone(),
        }
    }

    /// A page was read: `next` is where the slice goes on, `held` tells this page from others.
    pub(super) fn read(&mut self, next: Option<String>, held: String, windows: &Windows) -> Step {
        let Some(cycle) = &mut self.cycle else {
            return Step::Done;
        };
        cycle.pages += 1;
        let Some(next) = next else {
            return if self.end_slice(windows) {
                Step::More
            } else {
                Step::Done
            };
        };
        let repeated = cycle.position.as_ref() == Some(&next) || (!held.is_empty() && held == cycle.last_page);
        if repeated || cycle.pages >= MOST_PAGES {
            return Step::Endless {
                more: self.end_slice(windows),
            };
        }
        cycle.position = Some(next);
        cycle.last_page = held;
        Step::More
    }

    /// Halves the slice under way, and begins it again. `false`: it is as short as it gets.
    pub(super) fn halve(&mut self) -> bool {
        let Some(cycle) = &mut self.cycle else {
            return false;
        };
        let half = (cycle.to - cycle.from) / 2;
        if half < SHORTEST_SLICE {
            return false;
        }
        cycle.span_ms = half.num_milliseconds();
        cycle.to = cycle.from + half;
        self.begin_slice_again();
        true
    }

    /// Begins the slice under way again.
    pub(super) fn begin_slice_again(&mut self) {
        if let Some(cycle) = &mut self.cycle {
            cycle.position = None;
            cycle.pages = 0;
            cycle.last_page.clear();
        }
    }

    /// Leaves the slice under way as if it was read. Whether there is another one.
    pub(super) fn leave_slice(&mut self, windows: &Windows) -> bool {
        self.end_slice(windows)
    }

    /// Whether the slice under way was begun: the next page is not its first.
    pub(super) fn is_inside_slice(&self) -> bool {
        self.cycle.as_ref().is_some_and(|cycle| cycle.position.is_some())
    }

    /// Moves to the next slice; `false` when the cycle is complete.
    fn end_slice(&mut self, windows: &Windows) -> bool {
        let Some(cycle) = &mut self.cycle else {
            return false;
        };
        if cycle.phase == Phase::Live {
            self.through = self.through.max(cycle.to);
        }
        cycle.from = cycle.to;
        if cycle.from >= cycle.until {
            let due = self
                .rescanned_at
                .is_none_or(|last| cycle.began_at >= last + windows.rescan_every);
            // What the last one could not see yet began at most so long before it.
            let rescan_from = self.rescanned_at.unwrap_or(cycle.began_at).min(cycle.began_at) - windows.rescan;
            if cycle.phase == Phase::Rescan || !due || rescan_from >= cycle.live_from {
                if cycle.phase == Phase::Rescan || due {
                    self.rescanned_at = Some(cycle.began_at);
                }
                self.cycle = None;
                return false;
            }
            cycle.phase = Phase::Rescan;
            cycle.from = rescan_from;
            cycle.until = cycle.live_from;
        }
        cycle.to = cycle.until.min(cycle.from + TimeDelta::milliseconds(cycle.span_ms));
        self.begin_slice_again();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows() -> Windows {
        Windows {
            since: Duration::from_hours(3),
            overlap: Duration::from_mins(30),
            slice: Duration::from_hours(1),
            rescan: Duration::from_hours(24),
            rescan_every: Duration::from_hours(1),
        }
    }

    /// Minutes after midnight of a day.
    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_478_400 + minutes * 60, 0).unwrap()
    }

    fn fresh(now: DateTime<Utc>) -> Plan {
        Plan::resume(None, Generation::Observations, now, &windows())
    }

    /// Reads each slice in one page to the end of the cycle. Gives the slices.
    fn cycle(plan: &mut Plan, now: DateTime<Utc>) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let mut slices = Vec::new();
        loop {
            let ask = plan.ask(now, &windows());
            assert!(ask.from < ask.to, "a slice is never empty");
            slices.push((ask.from, ask.to));
            match plan.read(None, String::new(), &windows()) {
                Step::Done => return slices,
                step => assert_eq!(step, Step::More),
            }
            assert!(slices.len() < 1_000, "a cycle ends");
        }
    }

    #[test]
    fn the_first_cycle_reads_from_far_enough_back_oldest_first_and_leaves_no_hole() {
        let mut plan = fresh(at(600));
        let slices = cycle(&mut plan, at(600));
        assert_eq!(slices.first().unwrap().0, at(600 - 180 - 30));
        assert_eq!(slices.last().unwrap().1, at(600));
        assert!(slices.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!(plan.through, at(600));
    }

    #[test]
    fn a_later_cycle_reads_the_overlap_and_what_is_new() {
        let mut plan = fresh(at(600));
        cycle(&mut plan, at(600));
        assert_eq!(cycle(&mut plan, at(605)), [(at(570), at(605))]);
        assert_eq!(cycle(&mut plan, at(610)), [(at(575), at(610))]);
    }

    #[test]
    fn once_an_hour_a_day_is_read_again_up_to_the_live_window() {
        let mut plan = fresh(at(2_000));
        cycle(&mut plan, at(2_000));
        assert_eq!(
            cycle(&mut plan, at(2_055)).len(),
            2,
            "live only: an hour and a half in two slices"
        );
        let slices = cycle(&mut plan, at(2_060));
        let (live, again) = slices.split_at(1);
        assert_eq!(live, [(at(2_025), at(2_060))]);
        // A day before the last look for late spans, so that nothing falls between two of them.
        assert_eq!(again.first().unwrap().0, at(2_000 - 1_440));
        assert_eq!(again.last().unwrap().1, at(2_025));
        assert_eq!(cycle(&mut plan, at(2_065)).len(), 1);
    }

    #[test]
    fn a_long_silence_is_read_from_where_it_began() {
        let mut plan = fresh(at(600));
        cycle(&mut plan, at(600));
        let slices = cycle(&mut plan, at(600 + 3 * 1_440));
        assert_eq!(slices.first().unwrap().0, at(570));
        assert!(slices.iter().any(|slice| slice.1 == at(600 + 3 * 1_440)));
        assert!(
            slices.iter().any(|slice| slice.0 == at(600 - 1_440)),
            "the day before as well"
        );
    }

    #[test]
    fn the_instant_moves_with_a_completed_slice_only_and_pages_survive_a_restart() {
        let mut plan = fresh(at(600));
        let first = plan.ask(at(600), &windows());
        assert_eq!(
            plan.read(Some("c1".to_owned()), "p1".to_owned(), &windows()),
            Step::More
        );
        assert_eq!(plan.through, at(420));
        let stored = serde_json::to_value(&plan).unwrap();
        let mut plan = Plan::resume(Some(&stored), Generation::Observations, at(603), &windows());
        let ask = plan.ask(at(603), &windows());
        assert_eq!(
            (ask.from, ask.to, ask.position.as_deref()),
            (first.from, first.to, Some("c1"))
        );
        assert_eq!(plan.read(None, "p2".to_owned(), &windows()), Step::More);
        assert_eq!(plan.through, at(450));
    }

    #[test]
    fn a_slice_that_is_too_large_is_halved_to_a_minimum_and_grows_back_with_the_next_cycle() {
        let mut plan = fresh(at(600));
        plan.ask(at(600), &windows());
        plan.read(Some("c1".to_owned()), "p1".to_owned(), &windows());
        assert!(plan.halve());
        let ask = plan.ask(at(600), &windows());
        assert_eq!((ask.to - ask.from, ask.position), (TimeDelta::minutes(30), None));
        let mut halvings = 1;
        while plan.halve() {
            halvings += 1;
        }
        assert_eq!(halvings, 7); // 30m, 15m, 7m30s, …, 28s
        let slices = cycle(&mut plan, at(600));
        assert!(slices.windows(2).all(|pair| pair[0].1 == pair[1].0), "no hole");
        assert_eq!(cycle(&mut plan, at(605)).len(), 1);
    }

    #[test]
    fn a_slice_that_never_empties_is_left() {
        for next in ["same", "other"] {
            let mut plan = fresh(at(600));
            plan.ask(at(600), &windows());
            assert_eq!(
                plan.read(Some("same".to_owned()), "p".to_owned(), &windows()),
                Step::More
            );
            plan.ask(at(600), &windows());
            let held = if next == "same" { "q" } else { "p" };
            let step = plan.read(Some(next.to_owned()), held.to_owned(), &windows());
            assert_eq!(step, Step::Endless { more: true }, "{next}");
        }
    }

    #[test]
    fn a_foreign_watermark_begins_again() {
        let foreign = serde_json::json!({"offset": 17, "line": 2, "fingerprint": "", "cycle": 0});
        let plan = Plan::resume(Some(&foreign), Generation::Traces, at(600), &windows());
        assert_eq!(plan.through, at(420));
    }

    #[test]
    fn another_generation_reads_all_that_is_young_again_at_once() {
        let mut plan = Plan::resume(None, Generation::Traces, at(2_000), &windows());
        cycle(&mut plan, at(2_000));
        plan.ask(at(2_005), &windows());
        plan.read(Some("2".to_owned()), "p".to_owned(), &windows());
        let stored = serde_json::to_value(&plan).unwrap();
        let mut plan = Plan::resume(Some(&stored), Generation::Observations, at(2_010), &windows());
        let slices = cycle(&mut plan, at(2_010));
        assert_eq!(slices.first().unwrap().0, at(1_970));
        assert!(slices.iter().any(|slice| slice.0 == at(2_010 - 1_440)));
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_no_hole() {
        let mut plan = fresh(at(900));
        cycle(&mut plan, at(900));
        let stored = serde_json::to_value(&plan).unwrap();
        let mut plan = Plan::resume(Some(&stored), Generation::Observations, at(600), &windows());
        assert_eq!(plan.ask(at(600), &windows()).from, at(570));
    }
}
