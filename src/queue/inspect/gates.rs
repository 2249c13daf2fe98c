//! Gates and what they hold, for people.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    queue::gate::{self, Outage},
};

/// A gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GateLine {
    /// `source:calls`, `llm:default`, `llm:default/calls`, `records:practice`.
    pub key: String,
    /// `open`, `half_open` while one job tries it, `closed`.
    pub state: String,
    /// Why it is shut, as a code.
    pub reason: Option<String>,
    /// What happened, in words.
    pub detail: Option<String>,
    /// Tries in a row that found the upstream down.
    pub failures: u32,
    /// Since when it is shut.
    pub closed_at: Option<DateTime<Utc>>,
    /// When it is tried next; none: not before somebody opens it.
    pub probe_at: Option<DateTime<Utc>>,
    /// The job that tries it now.
    pub probe_job: Option<Uuid>,
    /// When it opened last.
    pub opened_at: Option<DateTime<Utc>>,
    /// Jobs that it holds, by queue.
    pub held: BTreeMap<String, u64>,
}

impl GateLine {
    /// Jobs that it holds.
    pub fn held_jobs(&self) -> u64 {
        self.held.values().sum()
    }

    /// Why its jobs wait, in words; `None` when it is open.
    pub fn why(&self) -> Option<String> {
        if self.state == "open" {
            return None;
        }
        let outage = Outage {
            gate: self.key.clone(),
            reason: self.reason.clone().unwrap_or_default(),
            detail: self.detail.clone().unwrap_or_default(),
            retry_after: None,
        };
        Some(outage.to_string())
    }
}

/// All gates that were ever shut, by key.
///
/// # Errors
/// When the database cannot answer.
pub async fn all(db: &Db) -> Result<Vec<GateLine>, DbError> {
    let mut gates = read(db).await?;
    for (gate, queue, count) in held_jobs(db).await? {
        if let Some(gate) = gates.iter_mut().find(|line| line.key == gate) {
            gate.held.insert(queue, count);
        }
    }
    Ok(gates)
}

/// The same, without what they hold: that may be many.
async fn read(db: &Db) -> Result<Vec<GateLine>, DbError> {
    db.fetch_all("-- gates\nSELECT * FROM gates ORDER BY key", &[])
        .await?
        .iter()
        .map(|row| {
            Ok(GateLine {
                held: BTreeMap::new(),
                key: row.get("key")?,
                state: row.get("state")?,
                reason: row.get("reason")?,
                detail: row.get("detail")?,
                failures: row.get("failures")?,
                closed_at: row.get("closed_at")?,
                probe_at: row.get("probe_at")?,
                probe_job: row.get("probe_job")?,
                opened_at: row.get("opened_at")?,
            })
        })
        .collect()
}

/// Gate, queue, and how many of its jobs the gate holds.
async fn held_jobs(db: &Db) -> Result<Vec<(String, String, u64)>, DbError> {
    db.fetch_all(
        "-- held_jobs
         SELECT held_by, queue, CAST(sum(n) AS bigint) AS n FROM queue_depths WHERE held_by <> '' GROUP BY held_by, queue
         HAVING sum(n) > 0",
        &[],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("held_by")?, row.get("queue")?, row.get("n")?)))
    .collect()
}

/// Gates that are not open, by key.
pub(super) struct Shut(BTreeMap<String, GateLine>);

impl Shut {
    pub(super) async fn read(db: &Db) -> Result<Self, DbError> {
        let gates = read(db).await?.into_iter().filter(|gate| gate.state != "open");
        Ok(Self(gates.map(|gate| (gate.key.clone(), gate)).collect()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&GateLine> {
        self.0.get(key)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &GateLine> {
        self.0.values()
    }

    /// The shut gate that a job is behind, unless it is the one that tries it.
    pub(super) fn before(&self, gate: &str, job: Uuid) -> Option<&GateLine> {
        [gate::parent(gate), Some(gate)]
            .into_iter()
            .flatten()
            .filter_map(|key| self.get(key))
            .find(|gate| gate.probe_job != Some(job))
    }
}
