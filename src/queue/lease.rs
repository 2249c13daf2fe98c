//! What this process may still believe about the jobs it runs.
//!
//! A lease is dated from the moment when the statement that last renewed it was *sent*, on a clock that also counts while
//! the machine sleeps. Past three quarters of its term the process fences itself, well before another process may take the
//! job: it starts no outside call and cancels those in flight. The run itself goes on, since whatever it writes carries the
//! lease: when the database was away for everybody, the row is still ours once it is back. Only the row says that it is lost.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{attempt::Attempt, claimer::Permit};

/// Time since boot, suspend included. Never goes back, and does not stop while the machine sleeps.
pub(super) fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// Why a run is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// This process stops.
    ShuttingDown,
    /// The row has another lease.
    Lost,
}

/// The lease of one running job.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: Uuid,
    pub(super) job: Uuid,
    pub(super) attempt: Attempt,
    term: Duration,
    /// Microseconds since boot.
    certain_until: AtomicU64,
    stop: AtomicU8,
    token: CancellationToken,
    /// Cancelled while the lease is not certain; a new one once it is again.
    outside: Mutex<CancellationToken>,
}

impl Lease {
    /// A lease whose claim was sent at `sent`.
    pub(super) fn new(id: Uuid, job: Uuid, attempt: Attempt, term: Duration, sent: Duration) -> Self {
        let lease = Self {
            id,
            job,
            attempt,
            term,
            certain_until: AtomicU64::new(0),
            stop: AtomicU8::new(0),
            token: CancellationToken::new(),
            outside: Mutex::default(),
        };
        lease.renewed(sent);
        lease
    }

    /// Cancels the outside calls in flight, if the lease is no longer certain. Answers whether it did so now.
    pub(super) fn fence(&self) -> bool {
        let outside = self.outside();
        if !self.certain_for().is_zero() || outside.is_cancelled() {
            return false;
        }
        outside.cancel();
        true
    }

    /// Cancelled as soon as no outside call may go on. Taken anew for each call.
    pub(super) fn outside_calls(&self) -> CancellationToken {
        let mut outside = self.outside();
        if outside.is_cancelled() && !self.certain_for().is_zero() {
            *outside = CancellationToken::new();
        }
        outside.clone()
    }

    fn outside(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn term(&self) -> Duration {
        self.term
    }

    /// A renewal that was sent at `sent` succeeded.
    pub(super) fn renewed(&self, sent: Duration) {
        let certain_until = sent + self.term * 3 / 4;
        self.certain_until.fetch_max(
            u64::try_from(certain_until.as_micros()).unwrap_or(u64::MAX),
            Ordering::AcqRel,
        );
    }

    /// For how long the row is certainly still ours.
    pub(super) fn certain_for(&self) -> Duration {
        if self.stopped() == Some(Stop::Lost) {
            return Duration::ZERO;
        }
        Duration::from_micros(self.certain_until.load(Ordering::Acquire)).saturating_sub(since_boot())
    }

    /// Asks the run to end. What was asked first stays, except that a lost lease outweighs everything.
    pub(super) fn stop(&self, why: Stop) {
        let code = match why {
            Stop::Cancelled => 1,
            Stop::ShuttingDown => 2,
            Stop::Lost => 3,
        };
        if why == Stop::Lost {
            self.stop.store(code, Ordering::Release);
        } else {
            let _ = self.stop.compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        }
        self.token.cancel();
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Acquire) {
            1 => Some(Stop::Cancelled),
            2 => Some(Stop::ShuttingDown),
            3 => Some(Stop::Lost),
            _ => None,
        }
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// All leases of this process, each with its place among what its queue runs here.
#[derive(Debug, Default, Clone)]
pub(super) struct Leases(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    leases: Mutex<HashMap<Uuid, (Arc<Lease>, Permit)>>,
    removed: Notify,
    /// Microseconds since boot: when the last heartbeat got through, and the longest time between two that did.
    beat: AtomicU64,
    longest_silence: AtomicU64,
}

impl Leases {
    pub(super) fn add(&self, lease: &Arc<Lease>, permit: Permit) {
        self.map().insert(lease.id, (Arc::clone(lease), permit));
    }

    pub(super) fn remove(&self, id: Uuid) {
        let removed = self.map().remove(&id);
        // The permit wakes the claimer when it goes: not under the lock.
        drop(removed);
        self.0.removed.notify_waiters();
    }

    pub(super) fn get(&self, id: Uuid) -> Option<Arc<Lease>> {
        self.map().get(&id).map(|(lease, _)| Arc::clone(lease))
    }

    pub(super) fn all(&self) -> Vec<Arc<Lease>> {
        self.map().values().map(|(lease, _)| Arc::clone(lease)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map().is_empty()
    }

    /// A heartbeat got through.
    pub(super) fn beaten(&self) {
        let now = u64::try_from(since_boot().as_micros()).unwrap_or(u64::MAX);
        let before = self.0.beat.swap(now, Ordering::AcqRel);
        if before > 0 {
            self.0
                .longest_silence
                .fetch_max(now.saturating_sub(before), Ordering::AcqRel);
        }
    }

    /// When the last heartbeat got through, since boot; zero before the first.
    pub(super) fn last_beat(&self) -> Duration {
        Duration::from_micros(self.0.beat.load(Ordering::Acquire))
    }

    /// The longest time so far between two heartbeats that got through.
    pub(super) fn longest_silence(&self) -> Duration {
        Duration::from_micros(self.0.longest_silence.load(Ordering::Acquire))
    }

    /// Resolves once no lease is left.
    pub(super) async fn emptied(&self) {
        loop {
            let removed = self.0.removed.notified();
            tokio::pin!(removed);
            // Registered before the look: a removal in between is not missed.
            removed.as_mut().enable();
            if self.is_empty() {
                return;
            }
            removed.await;
        }
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, (Arc<Lease>, Permit)>> {
        // A panic while it was held leaves a map that is still whole: every change is one insert or remove.
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(sent: Duration) -> Lease {
        let attempt = Attempt {
            queue: "plain".into(),
            limit_key: "plain".into(),
            slot: Some(0),
            number: 1,
            worker: "w".into(),
            started_at: chrono::DateTime::default(),
        };
        Lease::new(Uuid::nil(), Uuid::nil(), attempt, Duration::from_secs(12), sent)
    }

    #[test]
    fn i4_a_lease_is_certain_for_three_quarters_of_its_term_from_when_it_was_sent() {
        let sent = since_boot();
        let lease = lease(sent);
        let certain = lease.certain_for();
        assert!(
            certain <= Duration::from_secs(9) && certain > Duration::from_secs(8),
            "{certain:?}"
        );
    }

    #[test]
    fn i4_outside_calls_are_cancelled_while_a_lease_is_not_certain_and_may_begin_again_after_it() {
        let now = since_boot();
        let lease = lease(now.saturating_sub(Duration::from_secs(10)));
        assert_eq!(lease.certain_for(), Duration::ZERO);
        let in_flight = lease.outside_calls();
        assert!(!in_flight.is_cancelled());
        assert!(lease.fence() && !lease.fence(), "it is fenced once");
        assert!(in_flight.is_cancelled() && lease.outside_calls().is_cancelled());
        assert!(!lease.token().is_cancelled(), "the run itself goes on");
        lease.renewed(now);
        assert!(!lease.outside_calls().is_cancelled());
        assert!(in_flight.is_cancelled() && !lease.fence());
    }

    #[test]
    fn a_lost_lease_outweighs_a_cancel() {
        let lease = lease(since_boot());
        lease.stop(Stop::Cancelled);
        lease.stop(Stop::ShuttingDown);
        assert_eq!(lease.stopped(), Some(Stop::Cancelled));
        lease.stop(Stop::Lost);
        assert_eq!(lease.stopped(), Some(Stop::Lost));
        assert_eq!(lease.certain_for(), Duration::ZERO);
        assert!(lease.token().is_cancelled());
    }
}
