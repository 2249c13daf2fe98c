//! Whose turn it is to write, among all processes on one file.
//!
//! `SQLite` has no queue for its write lock: whoever is refused asks again a little later, and beside a process that goes from
//! one transaction straight into the next it may ask in vain for seconds: too long for a heartbeat. So whoever has been
//! refused for a while holds a lock on a file beside the database, and everybody else steps back before they begin until it
//! is let go. It is a courtesy, not a fence: `SQLite`'s own lock keeps the writers apart, and nothing is waited for for ever.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two tries.
pub(super) const AGAIN: Duration = Duration::from_millis(1);
/// Whoever waits longer than this for the write lock is served next.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// How long others are let go first: in a good run the next transaction's end.
const STEP_BACK: Duration = Duration::from_millis(250);
/// One who holds the turn and does not use it is frozen: not heeded for so long.
const UNHEEDED: Duration = Duration::from_secs(10);

/// The lock file of one database, as one connection holds it.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` where it cannot be made: then nobody has a turn, and all take their chance.
    file: Option<File>,
    unheeded_until: Mutex<Option<Instant>>,
}

/// It is ours until dropped.
pub(super) struct Held<'a>(&'a File);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // The end of the process lets go of it as well.
        let _ = self.0.unlock();
    }
}

impl Turn {
    pub(super) fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push("-turn");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(name);
        Self {
            file: file.ok(),
            unheeded_until: Mutex::new(None),
        }
    }

    /// Lets those go first who have waited for long.
    pub(super) async fn step_back(&self) {
        let Some(file) = &self.file else { return };
        let mut began: Option<Instant> = None;
        loop {
            match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => {}
                Ok(()) => {
                    let _ = file.unlock();
                    return;
                }
                // A file system without such locks.
                Err(TryLockError::Error(_)) => return,
            }
            if !self.is_heeded(*began.get_or_insert_with(Instant::now)) {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether to go on waiting for the one who has the turn.
    fn is_heeded(&self, began: Instant) -> bool {
        let mut unheeded = self.unheeded_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if unheeded.is_some_and(|until| now < until) {
            return false;
        }
        let heeded = now - began < STEP_BACK;
        *unheeded = (!heeded).then_some(now + UNHEEDED);
        heeded
    }

    /// Makes everybody else step back, unless somebody else has the turn.
    pub(super) fn take(&self) -> Option<Held<'_>> {
        let file = self.file.as_ref()?;
        file.try_lock().ok().map(|()| Held(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_holds_the_turn_is_let_go_first_and_who_never_uses_it_is_not_waited_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("test.db");
        let (one, other) = (Turn::beside(&database), Turn::beside(&database));
        let held = one.take().unwrap();
        assert!(other.take().is_none());
        let waits = other.step_back();
        tokio::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        drop(held);
        waits.await;

        let frozen = one.take().unwrap();
        other.step_back().await;
        // From now on it is not heeded: the first look is enough.
        let mut again = std::pin::pin!(other.step_back());
        assert!(futures::poll!(&mut again).is_ready());
        drop(frozen);
        assert!(other.take().is_some());
    }

    #[tokio::test]
    async fn where_no_lock_file_can_be_made_nobody_waits() {
        let nowhere = Turn::beside(Path::new("/proc/no such folder/test.db"));
        assert!(nowhere.take().is_none());
        nowhere.step_back().await;
    }
}
