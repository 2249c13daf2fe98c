//! Two schedulers whose machines' clocks are ten minutes apart: the database's clock alone counts.

use std::{path::PathBuf, time::Duration};

use rustix::process::Signal;

use super::{Scale, Server, world};
use crate::support::{bakery, child::Child, state::count, until};

/// The library that gives a process another clock: Debian's `faketime`.
fn another_clock() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let library = folders
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|library: &PathBuf| library.exists());
    library
        .expect("Debian's package faketime is installed")
        .display()
        .to_string()
}

const TICKS: &str = "SELECT COUNT(*) AS n FROM cron_ticks WHERE name = 'evaluate_alerts'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i12_two_schedulers_with_clocks_ten_minutes_apart_fire_each_tick_once() {
    let scale = Scale::now();
    let server = Server::start();
    // Minutes at once must not end a lease.
    let world = world(&[bakery::ordered("s-1")], &server.url(), &scale, |plan| {
        plan.set("queue", "lease", "'1h'").set("queue", "poll", "'50ms'")
    })
    .await;
    let db = server.db().await;
    let library = another_clock();
    let clock = |offset| {
        [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME", offset),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    };
    let schedulers = [
        Child::start(&world, &["scheduler", "-v"], &clock("+600s")),
        Child::start(&world, &["scheduler", "-v"], &[]),
    ];
    until("both are there", async || {
        count(&db, "SELECT COUNT(*) AS n FROM workers WHERE stopped_at IS NULL").await == 2
    })
    .await;
    until("the tick at the start has fired", async || count(&db, TICKS).await >= 1).await;
    let before = count(&db, TICKS).await;
    let minutes = 12;
    for minute in 1..=minutes {
        db.advance_clock(Duration::from_mins(1)).await.unwrap();
        until("the next minute has fired", async || {
            count(&db, TICKS).await >= before + minute
        })
        .await;
    }
    for scheduler in &schedulers {
        scheduler.signal(Signal::TERM);
    }
    for scheduler in schedulers {
        let ended = scheduler.ended().await;
        assert_eq!(ended.status.code(), Some(0), "{ended}");
    }
    let fired = count(&db, TICKS).await;
    // The machine's own clock may have passed one minute meanwhile.
    assert!((before + minutes..=before + minutes + 1).contains(&fired), "{fired}");
    let jobs = "SELECT COUNT(*) AS n FROM jobs WHERE queue = 'evaluate_alerts'";
    assert_eq!(count(&db, jobs).await, fired, "one job for each tick");
    let early = "SELECT COUNT(*) AS n FROM cron_ticks WHERE tick > fired_at";
    assert_eq!(count(&db, early).await, 0, "none before its time");
}
