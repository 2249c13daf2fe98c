//! A check that cannot fail is worthless: each rule is broken once, by hand.

use std::time::Instant;

use proptest::prelude::*;

use super::{
    overlap::{Span, crowds},
    *,
};

const KEY: &str = "q";
const EXACT: Duration = Duration::from_micros(1);

fn job(number: u128, from: i64, to: i64) -> Job {
    Job {
        id: Uuid::from_u128(number),
        queue: "q".to_owned(),
        unique_key: None,
        state: "completed".to_owned(),
        created_at_us: from,
        finished_at_us: Some(to),
    }
}

fn attempt(job: u128, lease: u128, slot: u32, from: i64, to: i64) -> Attempt {
    Attempt {
        job_id: Uuid::from_u128(job),
        lease: Uuid::from_u128(0x1000 + lease),
        queue: "q".to_owned(),
        limit_key: KEY.to_owned(),
        slot: Some(slot),
        worker: "w".to_owned(),
        started_at_us: from,
        finished_at_us: Some(to),
        outcome: Some("completed".to_owned()),
    }
}

fn ended(mut attempt: Attempt, outcome: &str) -> Attempt {
    attempt.outcome = Some(outcome.to_owned());
    attempt
}

fn charge(job: u128, at: i64) -> RateStart {
    RateStart {
        limit_key: KEY.to_owned(),
        job_id: Uuid::from_u128(job),
        started_at_us: at,
    }
}

/// Two at once, three starts in any 100 µs; one job waits, one is retried, one is rescued, and all keep to it.
fn sound() -> History {
    History {
        attempts: vec![
            attempt(1, 1, 0, 0, 50),
            ended(attempt(2, 2, 1, 10, 30), "snoozed"),
            ended(attempt(3, 3, 1, 30, 60), "retried"),
            attempt(2, 4, 0, 50, 90),
            ended(attempt(4, 5, 1, 100, 150), "rescued"),
            attempt(4, 6, 1, 150, 160),
            attempt(3, 7, 0, 110, 120),
        ],
        rate_starts: vec![
            charge(1, 0),
            charge(2, 10),
            charge(3, 30),
            charge(4, 100),
            charge(3, 110),
        ],
        limits: vec![Limit {
            key: KEY.to_owned(),
            max_running: Some(2),
            rate_max: Some(3),
            rate_window_us: Some(100),
        }],
        jobs: vec![job(1, 0, 50), job(2, 0, 90), job(3, 0, 120), job(4, 0, 160)],
    }
}

/// Only this is wrong, and these words are in the sentence that says so.
#[track_caller]
fn breaks(history: &History, words: &[&str]) {
    let found = history.violations(EXACT);
    assert_eq!(found.len(), 1, "{found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{word}: {found:#?}");
    }
}

#[test]
fn a_sound_history_breaks_nothing() {
    assert_eq!(sound().violations(EXACT), Vec::<String>::new());
    assert_eq!(sound().violations(MILLISECOND), Vec::<String>::new());
    assert_eq!(History::default().violations(EXACT), Vec::<String>::new());
}

#[test]
fn more_than_the_limit_at_once() {
    let mut history = sound();
    // Begins while the first two still run, in a slot of its own.
    history.attempts[2] = ended(attempt(3, 3, 2, 29, 60), "retried");
    history.rate_starts[2] = charge(3, 29);
    breaks(
        &history,
        &[
            "limit key q: 3 ran at once at 00:00:00.000029, 2 may",
            "lease 00000000-0000-0000-0000-000000001003 of q job",
        ],
    );
    history.limits[0].max_running = None;
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
}

#[test]
fn a_key_that_nothing_limits() {
    let mut history = sound();
    history.limits.clear();
    breaks(&history, &["limit key q", "no row says how many may"]);
}

#[test]
fn a_slot_held_twice() {
    let mut history = sound();
    history.attempts[3].slot = Some(1);
    breaks(
        &history,
        &[
            "slot 1 was held twice at 00:00:00.000050",
            "(00:00:00.000030 to 00:00:00.000060, retried)",
        ],
    );
}

#[test]
fn a_job_that_runs_twice_at_once() {
    let mut history = sound();
    // The rescuer was too early: the first run had not ended.
    history.attempts[5] = attempt(4, 6, 0, 149, 160);
    breaks(
        &history,
        &["job 00000000-0000-0000-0000-000000000004: ran twice at once at 00:00:00.000149"],
    );
}

#[test]
fn an_attempt_that_never_ended_runs_for_ever() {
    let mut history = sound();
    history.attempts[4].finished_at_us = None;
    history.attempts[4].outcome = None;
    history.attempts[5].slot = Some(0);
    let found = history.violations(EXACT);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("ran twice at once"), "{found:#?}");
    assert!(
        found[1].contains("has not ended, and its job is completed"),
        "{found:#?}"
    );
}

#[test]
fn two_live_jobs_with_one_key() {
    let mut history = sound();
    for (index, from, to) in [(0, 0, 50), (3, 50, 160)] {
        history.jobs[index].unique_key = Some("k".to_owned());
        history.jobs[index].created_at_us = from;
        history.jobs[index].finished_at_us = Some(to);
    }
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
    // Called for while the other was just ending: it waited for that.
    history.jobs[3].created_at_us = 49;
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
    history.jobs[1].unique_key = Some("k".to_owned());
    breaks(
        &history,
        &["queue q, unique key k: 2 jobs were live at once at 00:00:00.000010"],
    );
    history.jobs[1].queue = "other".to_owned();
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
    // One that never ran lived from when it was called for.
    history.jobs.push(Job {
        unique_key: Some("k".to_owned()),
        state: "cancelled".to_owned(),
        ..job(9, 20, 40)
    });
    breaks(
        &history,
        &["queue q, unique key k: 2 jobs were live at once at 00:00:00.000020"],
    );
}

#[test]
fn ends_that_cannot_be() {
    let mut history = sound();
    history.attempts[1].outcome = None;
    breaks(&history, &["ended without an outcome"]);

    let mut history = sound();
    history.attempts[5].finished_at_us = Some(149);
    breaks(&history, &["ended before it began"]);

    let mut history = sound();
    history.attempts[6].finished_at_us = None;
    breaks(&history, &["has an outcome and no end"]);

    let mut history = sound();
    history.jobs[0].finished_at_us = None;
    breaks(
        &history,
        &[
            "job 00000000-0000-0000-0000-000000000001 (completed",
            "is over and has no end",
        ],
    );

    let mut history = sound();
    history.attempts.push(ended(attempt(5, 8, 0, 200, 210), "snoozed"));
    history.rate_starts.push(charge(5, 200));
    let waits = |state: &str| Job {
        state: state.to_owned(),
        ..job(5, 0, 210)
    };
    history.jobs.push(waits("scheduled"));
    breaks(&history, &["(scheduled", "is live and has an end"]);
}

#[test]
fn a_job_completed_twice() {
    let mut history = sound();
    history.attempts[4].outcome = Some("completed".to_owned());
    // It was completed, and yet went on.
    breaks(
        &history,
        &[
            "job 00000000-0000-0000-0000-000000000004: completed 2 times",
            "000000001005",
            "000000001006",
        ],
    );
}

#[test]
fn a_job_that_nobody_completed() {
    let mut history = sound();
    history.attempts[5].outcome = Some("cancelled".to_owned());
    breaks(
        &history,
        &["job 00000000-0000-0000-0000-000000000004", "no attempt completed it"],
    );
    history.jobs[3].state = "cancelled".to_owned();
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
    history.attempts[5].outcome = Some("completed".to_owned());
    breaks(&history, &["is not completed, and lease"]);
}

#[test]
fn one_start_too_many_in_a_window_wherever_it_begins() {
    let mut history = sound();
    history.rate_starts[3] = charge(4, 99);
    history.attempts[4].started_at_us = 99;
    breaks(
        &history,
        &[
            "limit key q: 4 starts from 00:00:00.000000",
            "to 00:00:00.000099",
            "3 may start in 100 µs",
        ],
    );
}

#[test]
fn a_start_that_was_not_counted() {
    let mut history = sound();
    history.rate_starts.remove(1);
    breaks(&history, &["the start of lease", "000000001002", "was not counted"]);

    let mut history = sound();
    history.rate_starts.pop();
    breaks(&history, &["000000001007", "was not counted"]); // a retry is a start
}

#[test]
fn a_start_that_was_counted_and_is_none() {
    let mut history = sound();
    history.rate_starts.push(charge(4, 150));
    breaks(&history, &["000000001006", "was counted again"]); // a rescue is none

    let mut history = sound();
    history.rate_starts.push(charge(1, 210));
    breaks(&history, &["was counted at 00:00:00.000210, and it did not start then"]);

    // Starts outlive the attempts that they were of.
    let mut history = sound();
    history.rate_starts.push(charge(9, 250));
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
}

#[test]
fn a_clock_that_counts_milliseconds_leaves_a_doubt_and_no_more() {
    let history = |second_from: i64| History {
        attempts: vec![attempt(1, 1, 0, 1_000, 5_000), attempt(2, 2, 0, second_from, 9_000)],
        limits: vec![Limit {
            key: KEY.to_owned(),
            max_running: Some(1),
            rate_max: None,
            rate_window_us: None,
        }],
        jobs: vec![job(1, 0, 5_000), job(2, 0, 9_000)],
        ..History::default()
    };
    assert_eq!(history(5_000).violations(MILLISECOND), Vec::<String>::new());
    assert_eq!(
        history(4_000).violations(MILLISECOND).len(),
        2,
        "the limit and the slot"
    );
    assert_eq!(
        history(4_000).violations(Duration::from_millis(2)),
        Vec::<String>::new()
    );
}

#[test]
fn a_run_that_broke_a_rule_a_thousand_times_is_told_briefly() {
    let mut history = sound();
    history.attempts.clear();
    history.rate_starts.clear();
    history.jobs.clear();
    history.limits[0].rate_max = None;
    for number in 0..1_000 {
        history.jobs.push(job(number, 0, 9));
        history
            .attempts
            .push(attempt(number, number, u32::try_from(number).unwrap(), 0, 9));
    }
    let found = history.violations(EXACT);
    assert_eq!(found.len(), TOLD + 1, "{found:#?}");
    assert!(found[TOLD - 1].ends_with(" others"), "{found:#?}");
    assert_eq!(found[TOLD], "… and 978 more like the last one");
}

#[test]
fn twenty_thousand_attempts_take_no_time() {
    let mut history = History::default();
    for key in 0..20 {
        history.limits.push(Limit {
            key: format!("q/{key}"),
            max_running: Some(8),
            rate_max: Some(8),
            rate_window_us: Some(10),
        });
    }
    for number in 0..20_000_u32 {
        let at = i64::from(number / 8) * 10;
        let (id, key) = (u128::from(number), format!("q/{}", number / 8 % 20));
        let mut attempt = attempt(id, id, number % 8, at, at + 10);
        attempt.limit_key.clone_from(&key);
        history.attempts.push(attempt);
        history.jobs.push(Job {
            unique_key: Some(format!("k{}", number % 100)),
            ..job(id, at, at + 10)
        });
        history.rate_starts.push(RateStart {
            limit_key: key,
            ..charge(id, at)
        });
    }
    let began = Instant::now();
    assert_eq!(history.violations(EXACT), Vec::<String>::new());
    let sound = began.elapsed();
    // All at once: the worst that it may be given.
    for attempt in &mut history.attempts {
        attempt.limit_key = "q/0".to_owned();
        attempt.finished_at_us = Some(1_000_000);
    }
    let began = Instant::now();
    assert!(!history.violations(EXACT).is_empty());
    println!("20,000 attempts: {sound:?}, and {:?} when all overlap", began.elapsed());
    assert!(sound < Duration::from_secs(5), "{sound:?}");
}

/// Whether they overlap however the clock rounded.
fn surely_overlap((one_from, one_to): (i64, i64), (other_from, other_to): (i64, i64), clock: i64) -> bool {
    one_from + clock <= other_to && other_from + clock <= one_to
}

/// The most that were there at once for certain, by looking at every group.
fn most_at_once(spans: &[(i64, i64)], clock: i64) -> usize {
    let groups = 0..1_usize << spans.len();
    let members = |group: usize| {
        spans
            .iter()
            .enumerate()
            .filter(move |(index, _)| group >> index & 1 == 1)
    };
    let is_crowd = |group: &usize| {
        members(*group).all(|(index, one)| {
            members(*group).all(|(other_index, other)| index == other_index || surely_overlap(*one, *other, clock))
        })
    };
    groups
        .filter(is_crowd)
        .map(|group| members(group).count())
        .max()
        .unwrap_or_default()
}

proptest! {
    #[test]
    fn the_sweep_finds_exactly_what_looking_at_every_group_finds(
        spans in prop::collection::vec((0..30_i64, 0..12_i64), 0..9),
        clock in 1..5_i64,
        most in 1..4_usize,
    ) {
        let spans: Vec<(i64, i64)> = spans.into_iter().map(|(from, length)| (from, from + length)).collect();
        let mut swept: Vec<Span<'_, (i64, i64)>> = spans
            .iter()
            .map(|what| Span { from: what.0, to: what.1, what })
            .collect();
        let found = crowds(&mut swept, most, clock).iter().map(|crowd| crowd.count).max();
        let expected = most_at_once(&spans, clock);
        prop_assert_eq!(found, (expected > most).then_some(expected));
    }
}
