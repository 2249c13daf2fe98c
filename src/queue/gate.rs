//! An upstream that is down is one row that the whole fleet knows: its gate.
//!
//! ```text
//!              a call finds it down                 probe_at has come
//!   open ───────────────────────────► closed ───────────────────────► half_open
//!     ▲                                 ▲                                │   │
//!     │                                 └── the probe finds it down ─────┘   │
//!     └──────────────────── the probe is answered ───────────────────────────┘
//! ```
//!
//! While it is not open, one job at a time, the probe, may call; everybody else waits without a counted attempt, and is not
//! even started (`held.rs`). The database is authoritative: `gates.probe_job` says who may call. A gate is named by its
//! upstream (`llm:default`); one for a part of it has its name behind a slash (`llm:default/calls`), and a job behind the
//! part is also behind the whole.

use std::{fmt, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    context::{Fenced, JobContext},
    finish,
    job::{JobError, Outcome},
};
use crate::{
    db::{
        DbError, Row, Sql, Tx,
        clock::{postgres_now, sqlite_now},
    },
    params,
};

/// How long a probe may take to start, and to make its call, before another job is tried in its place.
pub(super) const PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// The longest wait that an upstream may ask for.
const ASKED_MOST: Duration = Duration::from_hours(24);

/// An upstream that cannot do its part now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Its gate: `records:airline`, `llm:default`, `source:calls`.
    pub gate: String,
    /// Why, as a stable code.
    pub reason: String,
    /// What happened, in words, without secrets and without content of a session.
    pub detail: String,
    /// When the upstream asks to be tried again.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            gate, reason, detail, ..
        } = self;
        write!(f, "{gate} is not available ({reason}): {detail}")
    }
}

/// How long to wait between two tries of an upstream that does not say so itself: the first wait, doubled for each further
/// failure up to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Waits {
    /// 10 s, 20 s, 40 s … 10 min; `failures` counts from 1.
    pub(super) fn after(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.first.saturating_mul(1 << doublings).min(self.most)
    }

    /// What the upstream asks for counts, also when that is longer than the longest of our own waits.
    fn of(self, outage: &Outage, failures: u32) -> Duration {
        match outage.retry_after {
            Some(asked) => asked.clamp(self.first.min(Duration::from_millis(100)), ASKED_MOST),
            None => self.after(failures),
        }
    }
}

/// The gate of the whole upstream, where this one is of a part of it.
pub fn parent(gate: &str) -> Option<&str> {
    gate.split_once('/').map(|(whole, _)| whole)
}

/// What a run knows of a gate since it last asked whether it may call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passage {
    /// By the database's clock.
    at: DateTime<Utc>,
    /// As the one job that may.
    probe: bool,
    /// It was shut: no call was made.
    shut: bool,
}

const GATE_OF_CALL: Sql = Sql::each(
    concat!(
        "-- gate_of_call
         SELECT clock.now AS now, g.key, g.state, g.reason, g.detail, g.probe_at, g.probe_job
         FROM (SELECT ",
        sqlite_now!(),
        " AS now) AS clock LEFT JOIN gates g ON g.key IN ($1, $2) AND g.state <> 'open' ORDER BY g.key"
    ),
    concat!(
        "-- gate_of_call
         SELECT clock.now AS now, g.key, g.state, g.reason, g.detail, g.probe_at, g.probe_job
         FROM (SELECT ",
        postgres_now!(),
        " AS now) AS clock LEFT JOIN gates g ON g.key IN ($1, $2) AND g.state <> 'open' ORDER BY g.key"
    ),
);

const LOCK: Sql = Sql::each(
    "-- gate
     SELECT state, failures, opened_at, probe_at, probe_job FROM gates WHERE key = $1",
    "-- gate
     SELECT state, failures, opened_at, probe_at, probe_job FROM gates WHERE key = $1 FOR UPDATE",
);

/// The row of a gate.
struct Stored {
    state: String,
    failures: u32,
    opened_at: Option<DateTime<Utc>>,
    probe_at: Option<DateTime<Utc>>,
    probe_job: Option<uuid::Uuid>,
}

async fn lock(tx: &mut Tx, key: &str) -> Result<Option<Stored>, DbError> {
    let row = tx.fetch_optional(LOCK, &params![key]).await?;
    row.map(|row| {
        Ok(Stored {
            state: row.get("state")?,
            failures: row.get("failures")?,
            opened_at: row.get("opened_at")?,
            probe_at: row.get("probe_at")?,
            probe_job: row.get("probe_job")?,
        })
    })
    .transpose()
}

impl JobContext {
    /// Whether the upstream behind this gate may be called now. `Some`: no; it is known to be down, and the job is to be
    /// [held](JobContext::hold). The first to come when its probe is due becomes the probe.
    ///
    /// # Errors
    /// [`JobError::Snooze`] when the database is away.
    pub async fn admit(&self, gate: &str) -> Result<Option<Outage>, JobError> {
        let rows = self.db.fetch_all(GATE_OF_CALL, &params![gate, parent(gate)]).await?;
        let mut passages = Vec::new();
        for row in &rows {
            let at: DateTime<Utc> = row.get("now")?;
            for key in [Some(gate), parent(gate)].into_iter().flatten() {
                let passage = Passage {
                    at,
                    probe: false,
                    shut: false,
                };
                self.note(key, passage);
            }
            let Some(key) = row.get::<Option<String>>("key")? else {
                continue;
            };
            let probe = self.may_probe(row, &key, at).await?;
            passages.push((
                key,
                Passage {
                    at,
                    probe,
                    shut: !probe,
                },
                row,
            ));
        }
        let mut closed = None;
        for (key, passage, row) in passages {
            self.note(&key, passage);
            if passage.shut && closed.is_none() {
                closed = Some(Outage {
                    gate: key,
                    reason: row.get::<Option<String>>("reason")?.unwrap_or_default(),
                    detail: row.get::<Option<String>>("detail")?.unwrap_or_default(),
                    retry_after: None,
                });
            }
        }
        Ok(closed)
    }

    /// Whether this job is the gate's probe, or becomes it now.
    async fn may_probe(&self, row: &Row, key: &str, now: DateTime<Utc>) -> Result<bool, DbError> {
        if row.get::<Option<uuid::Uuid>>("probe_job")? == Some(self.id()) {
            return Ok(true);
        }
        let due = row
            .get::<Option<DateTime<Utc>>>("probe_at")?
            .is_some_and(|probe_at| probe_at <= now);
        if row.get::<String>("state")? != "closed" || !due {
            return Ok(false);
        }
        let mut tx = self.db.begin().await?;
        let became = become_probe(&mut tx, key, self.id()).await?;
        tx.commit().await?;
        Ok(became)
    }

    /// The upstream answered. Opens the gate if this job was its probe; that a call succeeded which began before the gate
    /// was shut says nothing.
    pub async fn answered(&self, gate: &str) {
        for key in [Some(gate), parent(gate)].into_iter().flatten() {
            let Some(passage) = self.noted(key).filter(|passage| passage.probe) else {
                continue;
            };
            // What was answered may have been paid for: it counts whether or not the gate can be opened. If not, the next
            // probe opens it.
            match self.open_as_probe(key).await {
                Ok(()) => self.note(
                    key,
                    Passage {
                        probe: false,
                        ..passage
                    },
                ),
                Err(error) => tracing::warn!(gate = key, %error, "a gate could not be opened: its next probe does it"),
            }
        }
    }

    async fn open_as_probe(&self, key: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        if lock(&mut tx, key)
            .await?
            .is_some_and(|gate| gate.probe_job == Some(self.id()))
        {
            open(&mut tx, key).await?;
        }
        tx.commit().await
    }

    /// Commits, and lets the job wait behind the gate of an upstream that is down, without a counted attempt. If the job
    /// found that out itself, the gate closes in the same transaction; calls that fail together are one failure. `needs` is
    /// the gate that the job goes on at.
    ///
    /// # Errors
    /// As [`JobContext::snooze`].
    pub async fn hold(
        &self,
        mut fenced: Fenced,
        outage: &Outage,
        needs: &str,
        waits: Waits,
    ) -> Result<Outcome, JobError> {
        let now = fenced.now().await?;
        let passage = self.noted(&outage.gate).unwrap_or(Passage {
            at: now,
            probe: false,
            shut: false,
        });
        let is_shut = if passage.shut {
            let gate = lock(&mut fenced, &outage.gate).await?;
            gate.is_some_and(|gate| gate.state != "open")
        } else {
            self.report(&mut fenced, outage, passage, waits).await?
        };
        let hold = finish::Hold {
            gate: needs,
            held_by: is_shut.then_some(outage.gate.as_str()),
            found_down: !passage.shut,
            waits,
            reason: outage,
        };
        self.held(fenced, hold).await
    }

    /// Tells the gate that a call found its upstream down. Answers whether it is shut now.
    async fn report(&self, tx: &mut Tx, outage: &Outage, passage: Passage, waits: Waits) -> Result<bool, DbError> {
        let now = tx.now().await?;
        let key = &outage.gate;
        let asked = outage.retry_after.map(|_| now + waits.of(outage, 1));
        match lock(tx, key).await? {
            // It was tried and found well after this call began: this is old news.
            Some(gate) if gate.state == "open" && gate.opened_at.is_some_and(|opened| passage.at < opened) => Ok(false),
            Some(gate) if gate.state == "open" || gate.probe_job == Some(self.id()) => {
                let failures = gate.failures.saturating_add(1);
                close(tx, outage, failures, Some(now + waits.of(outage, failures))).await?;
                Ok(true)
            }
            // A call that was under way when it closed. It may still have learnt when to come back.
            Some(gate) => {
                if gate.state == "closed"
                    && gate
                        .probe_at
                        .is_some_and(|probe_at| asked.is_some_and(|asked| asked > probe_at))
                {
                    // Until then it waits for this, whatever closed it.
                    tx.execute(
                        "-- put_off_probe
                         UPDATE gates SET probe_at = $2, updated_at = $3, reason = $4, detail = $5 WHERE key = $1",
                        &params![key, asked, now, &outage.reason, &outage.detail],
                    )
                    .await?;
                }
                Ok(true)
            }
            None => {
                close(tx, outage, 1, Some(now + waits.of(outage, 1))).await?;
                Ok(true)
            }
        }
    }

    /// Gives the right to call back to the gates that this job tries, in the job's transaction: what came was no answer, but
    /// it may have been about this one job. Another job tries after the gate's wait.
    ///
    /// # Errors
    /// When the database refuses it.
    pub async fn give_back(&self, tx: &mut Tx, waits: Waits) -> Result<(), DbError> {
        let now = tx.now().await?;
        let gates = tx
            .fetch_all(
                "-- gates_probed_by\nSELECT key, failures FROM gates WHERE probe_job = $1 AND state = 'half_open' ORDER BY key",
                &params![self.id()],
            )
            .await?;
        for gate in gates {
            let wait = waits.after(gate.get("failures")?);
            tx.execute(
                "-- give_back_gate
                 UPDATE gates SET state = 'closed', probe_job = NULL, probe_at = $2, updated_at = $3
                 WHERE key = $1 AND probe_job = $4",
                &params![gate.get::<String>("key")?, now + wait, now, self.id()],
            )
            .await?;
        }
        Ok(())
    }
}

/// Makes a job the probe of a closed gate whose time has come. `false`: another was faster.
pub(super) async fn become_probe(tx: &mut Tx, key: &str, job: uuid::Uuid) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- become_probe
             UPDATE gates SET state = 'half_open', probe_job = $2, probe_at = $4, updated_at = $3
             WHERE key = $1 AND state = 'closed' AND probe_at <= $3",
            &params![key, job, now, now + PATIENCE],
        )
        .await?;
    Ok(changed == 1)
}

/// Closes a gate: jobs behind it are not started. `probe_at` is when the first of them tries it, `None` never: then it is
/// closed until somebody opens it. For a closed gate it says what is wrong now; since when it is closed stays.
///
/// # Errors
/// When the database refuses it.
pub async fn close(
    tx: &mut Tx,
    outage: &Outage,
    failures: u32,
    probe_at: Option<DateTime<Utc>>,
) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- close_gate
         INSERT INTO gates (key, state, reason, detail, failures, closed_at, probe_at, updated_at)
         VALUES ($1, 'closed', $2, $3, $4, $6, $5, $6)
         ON CONFLICT (key) DO UPDATE SET
             closed_at = CASE WHEN gates.state = 'open' THEN excluded.closed_at ELSE gates.closed_at END,
             state = 'closed', reason = excluded.reason, detail = excluded.detail, failures = excluded.failures,
             probe_at = excluded.probe_at, probe_job = NULL, releasing = $7, updated_at = excluded.updated_at",
        &params![
            &outage.gate,
            &outage.reason,
            &outage.detail,
            failures,
            probe_at,
            now,
            false
        ],
    )
    .await?;
    tx.wake_fleet();
    Ok(())
}

/// Opens a gate: the jobs that it holds go on. Answers whether it was shut.
///
/// # Errors
/// When the database refuses it.
pub async fn open(tx: &mut Tx, key: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- open_gate
             UPDATE gates SET state = 'open', reason = NULL, detail = NULL, failures = 0, closed_at = NULL, probe_at = NULL,
                    probe_job = NULL, opened_at = $2, releasing = $3, updated_at = $2
             WHERE key = $1 AND state <> 'open'",
            &params![key, now, true],
        )
        .await?;
    tx.wake_fleet();
    Ok(changed == 1)
}

/// Lets a job try a closed gate now. Answers whether it is closed and may be tried.
///
/// # Errors
/// When the database refuses it.
pub async fn probe_now(tx: &mut Tx, key: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let changed = tx
        .execute(
            "-- probe_now
             UPDATE gates SET probe_at = $2, updated_at = $2 WHERE key = $1 AND state = 'closed' AND probe_at IS NOT NULL",
            &params![key, now],
        )
        .await?;
    tx.wake_fleet();
    Ok(changed == 1)
}

/// Whether the gate was shut at any moment since then, or is.
///
/// # Errors
/// When the database cannot answer.
pub async fn was_shut_since(tx: &mut Tx, key: &str, since: DateTime<Utc>) -> Result<bool, DbError> {
    let row = tx
        .fetch_optional(
            "-- gate_was_shut
             SELECT 1 AS yes FROM gates WHERE key = $1 AND (state <> 'open' OR opened_at > $2)",
            &params![key, since],
        )
        .await?;
    Ok(row.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Waits = Waits {
        first: Duration::from_secs(10),
        most: Duration::from_mins(10),
    };

    fn outage(retry_after: Option<Duration>) -> Outage {
        Outage {
            gate: "records:practice".to_owned(),
            reason: "closed_hours".to_owned(),
            detail: "opens at 8".to_owned(),
            retry_after,
        }
    }

    #[test]
    fn a_wait_doubles_up_to_the_longest_unless_the_upstream_names_it() {
        let seconds: Vec<u64> = (1..=8)
            .map(|failures| WAITS.of(&outage(None), failures).as_secs())
            .collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(WAITS.of(&outage(None), u32::MAX), Duration::from_mins(10));
        let asked = |wait| WAITS.of(&outage(Some(wait)), 3);
        assert_eq!(asked(Duration::from_hours(11)), Duration::from_hours(11));
        assert_eq!(asked(Duration::from_hours(99)), Duration::from_hours(24));
        assert_eq!(asked(Duration::ZERO), Duration::from_millis(100));
    }

    #[test]
    fn a_part_of_an_upstream_is_behind_the_whole() {
        assert_eq!(parent("llm:default/calls"), Some("llm:default"));
        assert_eq!(parent("llm:default"), None);
    }

    #[test]
    fn an_outage_reads_as_a_sentence() {
        assert_eq!(
            outage(None).to_string(),
            "records:practice is not available (closed_hours): opens at 8"
        );
    }
}
