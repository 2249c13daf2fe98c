//! Tells the other processes that there may be work: `NOTIFY`, not more often than somebody could hear it.
//!
//! Outside of the transaction that made the work: a commit that notifies takes a lock which all such commits of the whole
//! database share. What is not announced because the process died in between is found by the others' next poll.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{connection::Use, pool::Pool};

/// The channel that every process listens on.
pub(super) const CHANNEL: &str = "aftercall_jobs";
/// Between two announcements of a process.
const GAP: Duration = Duration::from_millis(5);

const ANNOUNCE: &str = "-- announce\nSELECT pg_notify('aftercall_jobs', '')";

pub(in crate::db) struct Announcer {
    pool: Pool,
    /// One is due, and a task will make it.
    due: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

impl Announcer {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            due: AtomicBool::new(false),
            last: Mutex::default(),
        }
    }

    /// After the commit. The first goes out at once; those that follow closely become one.
    pub(in crate::db) fn announce(self: &Arc<Self>) {
        if self.due.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let announcer = Arc::clone(self);
        let wait = self
            .last()
            .map_or(Duration::ZERO, |last| GAP.saturating_sub(last.elapsed()));
        runtime.spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            announcer.flush().await;
        });
    }

    /// Makes what is due.
    pub(in crate::db) async fn flush(&self) {
        // Not due from here on: a commit after this asks for another.
        if !self.due.swap(false, Ordering::AcqRel) {
            return;
        }
        *self.last() = Some(Instant::now());
        if let Ok(mut connection) = self.pool.acquire(Use::Work).await
            && let Err(error) = connection.command(ANNOUNCE).await
        {
            tracing::debug!(%error, "work could not be announced: the others find it by their polls");
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
