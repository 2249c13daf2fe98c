//! The least time between two calls of one procedure, in this process.
//!
//! The lane keeps the pace of the system as a whole, across processes. Some procedures need a longer pause of their own; as
//! a lane is worked by one job at a time, keeping it here is enough.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::procedure::Procedure;

/// When each procedure may be called next.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    pauses: BTreeMap<Procedure, Duration>,
    next: Mutex<BTreeMap<Procedure, Instant>>,
}

impl Pauses {
    pub(super) fn new(pauses: BTreeMap<Procedure, Duration>) -> Self {
        Self {
            pauses,
            next: Mutex::default(),
        }
    }

    /// Takes the procedure's next place, and waits for it.
    pub(super) async fn wait(&self, procedure: Procedure) {
        if let Some(at) = self.take(procedure, Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// When the procedure may be called; `None` for one without a pause of its own.
    fn take(&self, procedure: Procedure, now: Instant) -> Option<Instant> {
        let pause = self.pauses.get(&procedure).filter(|pause| !pause.is_zero())?;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.get(&procedure).map_or(now, |next| now.max(*next));
        next.insert(procedure, at + *pause);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_procedure_keeps_its_own_pause() {
        let slow = Procedure::GetAppointmentListByPatient;
        let pauses = Pauses::new(BTreeMap::from([(slow, Duration::from_secs(2))]));
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(pauses.take(slow, start), Some(start));
        assert_eq!(pauses.take(slow, start), Some(start + 2 * second));
        assert_eq!(pauses.take(slow, start + second), Some(start + 4 * second));
        assert_eq!(pauses.take(Procedure::GetPatientInformation, start), None);
        let late = start + 60 * second;
        assert_eq!(
            pauses.take(slow, late),
            Some(late),
            "a pause that is over costs nothing"
        );
    }
}
