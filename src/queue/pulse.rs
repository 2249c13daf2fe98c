//! Whether the workers of this process live: asked from any thread, and without the database.

use std::{sync::Weak, time::Duration};

use tokio_util::sync::CancellationToken;

use super::lease::{Leases, since_boot};

/// Whether the workers of this process live. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct Pulse {
    pub(super) leases: Leases,
    /// When its row was written: the first sign of life.
    pub(super) started: Duration,
    pub(super) lease: Duration,
    /// Lives as long as the claimer's thread does.
    pub(super) claimer: Weak<()>,
    pub(super) stopping: CancellationToken,
}

impl Pulse {
    /// Since when no sign of life has reached the database.
    pub fn silence(&self) -> Duration {
        since_boot().saturating_sub(self.leases.last_beat().max(self.started))
    }

    /// How long it may be silent before its jobs run elsewhere.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Whether the thread that claims jobs and fires what is due is there.
    pub fn claims(&self) -> bool {
        self.claimer.strong_count() > 0
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}
