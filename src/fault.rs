//! Named points where a test kills the process, to see that nothing is lost and nothing is done twice.
//!
//! Compiled in only with the feature `fault-points`. `AFTERCALL_FAULT=after_claim:3` kills this process with `SIGKILL` when
//! it comes by `after_claim` for the third time.

macro_rules! fault_points {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)+) => {
        /// A point between two effects that must not come apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FaultPoint {
            $($(#[$doc])* $variant,)+
        }

        impl FaultPoint {
            /// Every point, so that a test can visit them all.
            pub const fn all() -> &'static [Self] {
                &[$(Self::$variant),+]
            }

            /// Its name in `AFTERCALL_FAULT`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

fault_points! {
    /// Jobs are claimed and committed, none has started.
    AfterClaim => "after_claim",
    /// Everything of a run's end is written, not committed.
    BeforeFinishCommit => "before_finish_commit",
    /// A run's end is committed.
    AfterFinishCommit => "after_finish_commit",
    /// An intermediate transaction of a long job is committed.
    AfterProgressCommit => "after_progress_commit",
    /// A job's row is written, not committed.
    BeforeEnqueueCommit => "before_enqueue_commit",
    /// A cron tick and its jobs are committed.
    AfterCronTick => "after_cron_tick",
    /// A dead worker's jobs are free again.
    AfterRescue => "after_rescue",
    /// A slice of a source's range is stored.
    AfterSlice => "after_slice",
    /// A session's content is stored.
    AfterSnapshot => "after_snapshot",
    /// A paid call stands in the ledger, not yet made.
    AfterLlmLedger => "after_llm_ledger",
    /// A paid answer is stored, not yet used.
    AfterLlmAnswer => "after_llm_answer",
    /// A system of record answered, nothing stored yet.
    AfterLookup => "after_lookup",
    /// The answers of a system of record are stored.
    AfterFactsStored => "after_facts_stored",
    /// The verdict is computed, not stored.
    BeforeVerdict => "before_verdict",
}

/// Dies here when the test asked for it. Without the feature `fault-points` it is nothing.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub fn hit(_: FaultPoint) {}

/// Dies here when the test asked for it.
#[cfg(feature = "fault-points")]
pub fn hit(point: FaultPoint) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var("AFTERCALL_FAULT").ok()?;
        let (name, nth) = wanted.split_once(':').unwrap_or((wanted.as_str(), "1"));
        Some((name.to_owned(), nth.parse().unwrap_or(1)))
    });
    static SEEN: AtomicU64 = AtomicU64::new(0);

    if let Some((name, nth)) = &*WANTED
        && name == point.name()
        && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        // SIGKILL and not abort: nothing may run on the way out.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::FaultPoint;

    #[test]
    fn every_fault_point_has_a_name_of_its_own() {
        let mut names: Vec<_> = FaultPoint::all().iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FaultPoint::all().len());
    }
}
