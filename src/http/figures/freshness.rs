//! How old the picture is.

use chrono::{DateTime, Utc};

use super::age;
use crate::{http::exposition::Metric, queue::inspect::schedules::LastTick, store::inspect::freshness::Ingestion};

/// How far the scans of the sources are behind.
pub(in crate::http) fn of_sources(sources: &[Ingestion], now: DateTime<Utc>) -> Metric {
    let mut delay = Metric::gauge(
        "aftercall_ingestion_delay_seconds",
        "How long ago the latest scan of a source began that came to its end: what happened before that has been seen.",
        &["source"],
    );
    for source in sources {
        delay.set([&source.source], age(Some(source.seen_until), now));
    }
    delay
}

/// Whether the schedules are fired.
pub(in crate::http) fn of_schedules(schedules: &[LastTick], now: DateTime<Utc>) -> [Metric; 2] {
    let mut last = Metric::gauge(
        "aftercall_schedule_last_tick_age_seconds",
        "How long ago the latest tick of a schedule was that somebody fired.",
        &["schedule"],
    );
    let mut late = Metric::gauge(
        "aftercall_schedule_late_seconds",
        "How long after its time the latest tick of a schedule was fired.",
        &["schedule"],
    );
    for schedule in schedules {
        last.set([&schedule.name], age(Some(schedule.tick), now));
        late.set([&schedule.name], schedule.late_us as f64 / 1e6);
    }
    [last, late]
}

/// Whether anything is judged.
pub(in crate::http) fn of_last_verdict(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Metric {
    let mut verdict = Metric::gauge(
        "aftercall_last_verdict_age_seconds",
        "How long ago the latest verdict was written; no sample before the first.",
        &[],
    );
    if at.is_some() {
        verdict.set([], age(at, now));
    }
    verdict
}
