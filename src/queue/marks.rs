//! Where the waiting jobs of a key begin, as far as this process knows.
//!
//! Whoever claims on PostgreSQL walks along an index past what was claimed before, until the server has cleaned that up. As
//! long as anybody on the server has a transaction open it cleans up nothing, and after some minutes each claim walks past a
//! hundred thousand rows that are gone. So a process remembers how far it has come with a key, and begins there. Jobs of
//! another priority are seen at once all the same; one of the same priority that was due before, since it was tried before or
//! its transaction was long, is looked for beside the claims, and found within a second or so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::{
    db::{Db, DbError},
    params,
};

/// Jobs that were due so long before the last one that was claimed are still seen at once: those whose transactions took a
/// moment to commit.
const SLACK: TimeDelta = TimeDelta::seconds(2);
/// A key without a claim for so long begins at its beginning again.
const FORGOTTEN: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) priority: i64,
    pub(super) from: DateTime<Utc>,
    used: Instant,
}

/// By limit key. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks(Arc<Mutex<HashMap<String, Mark>>>);

impl Marks {
    pub(super) fn of(&self, key: &str) -> Option<Mark> {
        self.map().get(key).copied()
    }

    /// For the statements: by key, the priority and since when.
    pub(super) fn all(&self) -> Json {
        let from = |mark: &Mark| mark.from.to_rfc3339_opts(SecondsFormat::Micros, true);
        self.map()
            .iter()
            .map(|(key, mark)| (key.clone(), json!({"priority": mark.priority, "from": from(mark)})))
            .collect()
    }

    /// A job of this key was taken, and it was the first.
    pub(super) fn took(&self, key: &str, priority: i64, run_at: DateTime<Utc>) {
        let mut marks = self.map();
        let before = marks.get(key).filter(|mark| mark.priority == priority);
        let from = run_at - SLACK;
        let mark = Mark {
            priority,
            from: before.map_or(from, |mark| mark.from.max(from)),
            used: Instant::now(),
        };
        marks.insert(key.to_owned(), mark);
    }

    /// Looks for jobs that were left behind: to be done about once a second.
    pub(super) async fn look_behind(&self, db: &Db) {
        let marks: Vec<(String, Mark)> = self.map().iter().map(|(key, mark)| (key.clone(), *mark)).collect();
        for (key, mark) in marks {
            if mark.used.elapsed() >= FORGOTTEN {
                self.map().remove(&key);
                db.wake();
                continue;
            }
            match left_behind(db, &key, mark).await {
                Ok(Some(run_at)) => {
                    self.step_back(&key, mark.priority, run_at);
                    db.wake();
                }
                Ok(None) => {}
                // Then it begins at the beginning.
                Err(_) => {
                    self.map().remove(&key);
                }
            }
        }
    }

    fn step_back(&self, key: &str, priority: i64, run_at: DateTime<Utc>) {
        if let Some(mark) = self.map().get_mut(key)
            && mark.priority == priority
        {
            mark.from = mark.from.min(run_at);
        }
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<String, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the first job was due that a mark leaves out.
async fn left_behind(db: &Db, key: &str, mark: Mark) -> Result<Option<DateTime<Utc>>, DbError> {
    let row = db
        .fetch_optional(
            "-- left_behind
             SELECT run_at FROM jobs WHERE limit_key = $1 AND state = 'available' AND priority = $2 AND run_at < $3
             ORDER BY priority DESC, run_at, id LIMIT 1",
            &params![key, mark.priority, mark.from],
        )
        .await?;
    row.map(|row| row.get("run_at")).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_moves_on_with_what_is_taken_and_back_to_what_was_left_behind() {
        let at = |seconds: i64| DateTime::from_timestamp(1_000 + seconds, 0).unwrap();
        let marks = Marks::default();
        assert_eq!(marks.all(), json!({}));
        marks.took("plain", 0, at(10));
        marks.took("plain", 0, at(7));
        assert_eq!(
            marks.of("plain").unwrap().from,
            at(8),
            "it never falls back by what is taken"
        );
        assert_eq!(
            marks.all(),
            json!({"plain": {"priority": 0, "from": "1970-01-01T00:16:48.000000Z"}})
        );
        marks.step_back("plain", 5, at(0));
        assert_eq!(marks.of("plain").unwrap().from, at(8), "that was of another priority");
        marks.step_back("plain", 0, at(1));
        assert_eq!(marks.of("plain").unwrap().from, at(1));
        marks.took("plain", 5, at(3));
        assert_eq!(
            marks.of("plain").unwrap().from,
            at(1),
            "another priority, another beginning"
        );
        assert_eq!(marks.of("plain").unwrap().priority, 5);
    }
}
