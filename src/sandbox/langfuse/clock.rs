//! The server's clock: what is visible already, when a rate window ends, when a score was written.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

/// A clock that can be moved. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Setting>>);

#[derive(Debug, Clone, Copy)]
enum Setting {
    /// The machine's clock, moved by this.
    Moved(TimeDelta),
    /// Stands still at this instant.
    Still(DateTime<Utc>),
}

impl Clock {
    /// The machine's clock.
    pub fn running() -> Self {
        Self(Arc::new(Mutex::new(Setting::Moved(TimeDelta::zero()))))
    }

    /// A clock that stands still until it is moved.
    pub fn still_at(instant: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(Setting::Still(instant))))
    }

    /// What time it is.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server of its own has a clock of its own, as a real one has"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Setting::Moved(by) => Utc::now() + by,
            Setting::Still(instant) => instant,
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        let mut setting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *setting {
            Setting::Moved(moved) => *moved += by,
            Setting::Still(instant) => *instant += by,
        }
    }
}
