//! Gates as the claim sees them: who is held, who may try, who is let go.
//!
//! A job behind a shut gate is not started: the pass that comes upon it sets it aside, a thousand at a time, so that jobs of
//! other upstreams under the same limit are not behind it. When a closed gate's time has come, one of those it holds becomes
//! its probe: the one that failed least, so that a single job which always fails does not keep the gate shut for the others.
//! A probe that ends without an answer, dies for good or does not come to run is replaced. An open gate lets go what it
//! holds, a thousand in a pass.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use uuid::Uuid;

use super::gate;
use crate::{
    db::{Db, DbError, Row, Sql, Tx},
    params,
};

/// Jobs set aside, or let go, in one transaction: some 10 ms.
pub(super) const MOVED: u32 = 1_000;

/// Whether job `j` is behind a shut gate, that of its upstream's part or that of the whole, whose probe it is not.
macro_rules! sqlite_shut {
    () => {
        "EXISTS (SELECT 1 FROM gates g WHERE g.state <> 'open' AND g.probe_job IS DISTINCT FROM j.id
            AND g.key IN (j.gate, substr(j.gate, 1, instr(j.gate, '/') - 1)))"
    };
}

/// Whether job `j` is behind a shut gate, that of its upstream's part or that of the whole, whose probe it is not.
macro_rules! postgres_shut {
    () => {
        "EXISTS (SELECT 1 FROM gates g WHERE g.state <> 'open' AND g.probe_job IS DISTINCT FROM j.id
            AND g.key IN (j.gate, split_part(j.gate, '/', 1)))"
    };
}

pub(super) use {postgres_shut, sqlite_shut};

macro_rules! gates_at_work {
    ($lock:literal) => {
        concat!(
            "-- gates_at_work
             SELECT g.key, g.state, g.probe_at, g.probe_job, g.releasing, p.state AS probe_state
             FROM gates g LEFT JOIN jobs p ON p.id = g.probe_job WHERE g.state <> 'open' OR g.releasing ORDER BY g.key ",
            $lock
        )
    };
}

const LOOK: &str = gates_at_work!("");

/// Locked on PostgreSQL: a gate that opens between this and the commit would never let go what is set aside here. One that
/// somebody else has at this moment is passed over, and then nothing is set aside: a process that was frozen in the middle of
/// a claim does not keep the others from claiming.
const LOCK: Sql = Sql::each(gates_at_work!(""), gates_at_work!("FOR NO KEY UPDATE OF g SKIP LOCKED"));

/// A gate that is shut, or has jobs to let go.
#[derive(Debug)]
pub(super) struct Gate {
    key: String,
    state: String,
    probe_at: Option<DateTime<Utc>>,
    probe_job: Option<Uuid>,
    probe_state: Option<String>,
    releasing: bool,
}

/// What is to be done about a gate.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// Let jobs go.
    Release,
    /// The probe runs longer than patience lasts: it lives, and may still answer.
    Extend,
    /// The probe is gone, or does not come to run.
    Replace,
    /// It is time for a probe.
    Probe,
    /// Nothing, before this.
    Wait(Option<DateTime<Utc>>),
}

impl Gate {
    fn call(&self, now: DateTime<Utc>) -> Call {
        let due = self.probe_at.is_some_and(|probe_at| probe_at <= now);
        match (self.state.as_str(), self.probe_state.as_deref()) {
            ("open", _) => Call::Release,
            ("half_open", Some("running")) if due => Call::Extend,
            ("half_open", Some("running")) => Call::Wait(self.probe_at),
            ("half_open", Some("available")) if !due => Call::Wait(self.probe_at),
            ("half_open", _) => Call::Replace,
            (_, _) if due => Call::Probe,
            (_, _) => Call::Wait(self.probe_at),
        }
    }
}

fn gate(row: &Row) -> Result<Gate, DbError> {
    Ok(Gate {
        key: row.get("key")?,
        state: row.get("state")?,
        probe_at: row.get("probe_at")?,
        probe_job: row.get("probe_job")?,
        probe_state: row.get("probe_state")?,
        releasing: row.get("releasing")?,
    })
}

/// What a look without the write lock found.
#[derive(Debug, Default)]
pub(super) struct Glance {
    /// A pass has to see to a gate.
    pub(super) any: bool,
    /// When it has to next.
    pub(super) look_again: Option<DateTime<Utc>>,
}

/// Whether a pass has to see to a gate. `served`: the queues of this process, as a JSON array.
pub(super) async fn glance(db: &Db, served: &Json, now: DateTime<Utc>) -> Result<Glance, DbError> {
    let mut glance = Glance::default();
    for row in db.fetch_all(LOOK, &[]).await? {
        let gate = gate(&row)?;
        match gate.call(now) {
            Call::Release | Call::Extend | Call::Replace => glance.any = true,
            Call::Probe => glance.any |= !db.fetch_all(CANDIDATE, &params![&gate.key, served]).await?.is_empty(),
            Call::Wait(until) => glance.look_again = glance.look_again.into_iter().chain(until).min(),
        }
    }
    Ok(glance)
}

/// What a pass made of the gates.
#[derive(Debug, Default)]
pub(super) struct Tended {
    /// Jobs may be behind a shut gate: look before you start one.
    pub(super) any_shut: bool,
    /// They may be set aside: no gate opens until the commit.
    pub(super) may_park: bool,
    /// When a pass has to see to a gate next.
    pub(super) look_again: Option<DateTime<Utc>>,
}

/// Lets go what open gates hold, and sees that every closed gate whose time has come has its probe. In a claim, before jobs
/// are picked.
pub(super) async fn tend(tx: &mut Tx, served: &Json) -> Result<Tended, DbError> {
    let now = tx.now().await?;
    let mut tended = Tended::default();
    let mut wait = |until: Option<DateTime<Utc>>| {
        tended.look_again = tended.look_again.into_iter().chain(until).min();
    };
    let locked = tx.fetch_all(LOCK, &[]).await?;
    if tx.is_on_server() {
        // Read after the lock: what was passed over counts as well.
        let all = tx.fetch_all(LOOK, &[]).await?;
        tended.any_shut = all
            .iter()
            .map(|row| row.get::<String>("state"))
            .try_fold(false, |any, state| Ok::<_, DbError>(any || state? != "open"))?;
        tended.may_park = tended.any_shut && all.len() == locked.len();
    }
    for row in locked {
        let gate = gate(&row)?;
        tended.any_shut |= gate.state != "open";
        tended.may_park |= gate.state != "open" && !tx.is_on_server();
        match gate.call(now) {
            Call::Release => {
                if gate.releasing && !release(tx, &gate.key).await? {
                    wait(Some(now));
                }
            }
            Call::Extend => {
                tx.execute(
                    "-- extend_patience\nUPDATE gates SET probe_at = $2, updated_at = $3 WHERE key = $1",
                    &params![&gate.key, now + gate::PATIENCE, now],
                )
                .await?;
                wait(Some(now + gate::PATIENCE));
            }
            Call::Replace => {
                dismiss(tx, &gate).await?;
                wait(probe(tx, &gate.key, served).await?);
            }
            Call::Probe => wait(probe(tx, &gate.key, served).await?),
            Call::Wait(until) => wait(until),
        }
    }
    Ok(tended)
}

/// Those that wait for a time of their own as well keep waiting for it.
const RELEASE: Sql = Sql::each(
    "-- release_held
     UPDATE jobs SET held_by = NULL, state = CASE WHEN run_at <= $2 THEN 'available' ELSE 'scheduled' END
     WHERE id IN (SELECT id FROM jobs WHERE held_by = $1 ORDER BY outages, priority DESC, run_at, id LIMIT $3)",
    // An array: a thousand ids are looked up, where the planner would rather read a table that is not very large yet from end to
    // end. Waits for one that somebody cancels at this moment: it is not to be counted as let go.
    "-- release_held
     UPDATE jobs SET held_by = NULL, state = CASE WHEN run_at <= $2 THEN 'available' ELSE 'scheduled' END
     WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE held_by = $1 ORDER BY outages, priority DESC, run_at, id LIMIT $3
                           FOR NO KEY UPDATE))",
);

/// Answers whether that was all.
async fn release(tx: &mut Tx, key: &str) -> Result<bool, DbError> {
    let now = tx.now().await?;
    let released = tx.execute(RELEASE, &params![key, now, MOVED]).await?;
    if released == u64::from(MOVED) {
        return Ok(false);
    }
    tx.execute(
        "-- all_released\nUPDATE gates SET releasing = $2, updated_at = $3 WHERE key = $1",
        &params![key, false, now],
    )
    .await?;
    Ok(true)
}

/// A probe that did not come to run waits with the others again, behind them.
async fn dismiss(tx: &mut Tx, gate: &Gate) -> Result<(), DbError> {
    let now = tx.now().await?;
    tx.execute(
        "-- dismiss_probe
         UPDATE jobs SET state = 'scheduled', held_by = $2, outages = outages + 1 WHERE id = $1 AND state = 'available'",
        &params![gate.probe_job, &gate.key],
    )
    .await?;
    tx.execute(
        "-- without_probe
         UPDATE gates SET state = 'closed', probe_job = NULL, probe_at = $2, updated_at = $2 WHERE key = $1",
        &params![&gate.key, now],
    )
    .await?;
    Ok(())
}

/// Who tries a gate: of those it holds the one that failed least, whose queue this process serves and nobody paused, and
/// whom no other gate would hold. Far down among those that cannot run nobody looks. PostgreSQL joins in any order that it likes, and
/// is told once more which one counts; SQLite keeps it, and would look at all of them to sort what is sorted.
macro_rules! candidate {
    ($name:literal, $names:literal, $whole:literal, $more:literal, $order:literal) => {
        concat!(
            "-- ",
            $name,
            "
             SELECT j.id FROM (SELECT id, queue, limit_key, rate_charged, gate, outages, priority, run_at FROM jobs
                               WHERE held_by = $1 ORDER BY outages, priority DESC, run_at, id LIMIT 10000) AS j
             WHERE j.queue IN (SELECT ",
            $names,
            ")
                AND NOT EXISTS (SELECT 1 FROM queues q WHERE q.name = j.queue AND q.paused_at IS NOT NULL)
                AND NOT EXISTS (SELECT 1 FROM gates g WHERE g.state <> 'open' AND g.key <> $1
                                AND g.key IN (j.gate, ",
            $whole,
            "))",
            $more,
            $order,
            " LIMIT 1"
        )
    };
}

const CANDIDATE: Sql = Sql::each(
    candidate!(
        "probe_candidate",
        "value FROM json_each($2)",
        "substr(j.gate, 1, instr(j.gate, '/') - 1)",
        "",
        ""
    ),
    candidate!(
        "probe_candidate",
        "jsonb_array_elements_text($2)",
        "split_part(j.gate, '/', 1)",
        "",
        " ORDER BY j.outages, j.priority DESC, j.run_at, j.id"
    ),
);

/// The same, of those that may start now: whose start is charged, or whose rate is not used up.
const CANDIDATE_IN_RATE: Sql = Sql::each(
    candidate!(
        "probe_candidate_in_rate",
        "value FROM json_each($2)",
        "substr(j.gate, 1, instr(j.gate, '/') - 1)",
        " AND (j.rate_charged = 1 OR NOT EXISTS (SELECT 1 FROM limits l WHERE l.key = j.limit_key AND l.rate_max <= (
              SELECT count(*) FROM rate_starts r WHERE r.limit_key = l.key AND r.started_at > $3 - l.rate_window_us)))",
        ""
    ),
    candidate!(
        "probe_candidate_in_rate",
        "jsonb_array_elements_text($2)",
        "split_part(j.gate, '/', 1)",
        " AND (j.rate_charged OR NOT EXISTS (SELECT 1 FROM limits l WHERE l.key = j.limit_key AND l.rate_max <= (
              SELECT count(*) FROM rate_starts r WHERE r.limit_key = l.key
                  AND r.started_at > $3::timestamptz - l.rate_window_us * interval '1 microsecond')))",
        " ORDER BY j.outages, j.priority DESC, j.run_at, j.id"
    ),
);

/// Makes one of those that the gate holds its probe; when nobody is, the first to arrive will be. Answers when to look
/// after it.
async fn probe(tx: &mut Tx, key: &str, served: &Json) -> Result<Option<DateTime<Utc>>, DbError> {
    let now = tx.now().await?;
    let mut found = tx.fetch_optional(CANDIDATE_IN_RATE, &params![key, served, now]).await?;
    if found.is_none() {
        found = tx.fetch_optional(CANDIDATE, &params![key, served]).await?;
    }
    let Some(row) = found else { return Ok(None) };
    let job: Uuid = row.get("id")?;
    if !gate::become_probe(tx, key, job).await? {
        return Ok(None);
    }
    tx.execute(
        "-- let_probe_go
         UPDATE jobs SET held_by = NULL, state = 'available', wait_reason = NULL,
                run_at = CASE WHEN run_at > $2 THEN $2 ELSE run_at END
         WHERE id = $1",
        &params![job, now],
    )
    .await?;
    Ok(Some(now + gate::PATIENCE))
}

/// The gate of the whole before that of the part: that is the order in which they open.
const PARK: Sql = Sql::each(
    concat!(
        "-- park
         UPDATE jobs SET state = 'scheduled',
                held_by = (SELECT g.key FROM gates g WHERE g.state <> 'open' AND g.probe_job IS DISTINCT FROM jobs.id
                    AND g.key IN (jobs.gate, substr(jobs.gate, 1, instr(jobs.gate, '/') - 1)) ORDER BY g.key LIMIT 1)
         WHERE id IN (SELECT j.id FROM (SELECT id, gate FROM jobs WHERE limit_key = $1 AND state = 'available'
                      ORDER BY priority DESC, run_at, id LIMIT $2) AS j WHERE ",
        sqlite_shut!(),
        ") AND state = 'available'"
    ),
    concat!(
        "-- park
         UPDATE jobs SET state = 'scheduled',
                held_by = (SELECT g.key FROM gates g WHERE g.state <> 'open' AND g.probe_job IS DISTINCT FROM jobs.id
                    AND g.key IN (jobs.gate, split_part(jobs.gate, '/', 1)) ORDER BY g.key LIMIT 1)
         WHERE id = ANY (ARRAY(SELECT j.id FROM (SELECT id, gate FROM jobs WHERE limit_key = $1 AND state = 'available'
                      ORDER BY priority DESC, run_at, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) AS j WHERE ",
        postgres_shut!(),
        "))"
    ),
);

/// Sets aside those of the next jobs of a limit key that are behind a shut gate. Answers how many.
pub(super) async fn park(tx: &mut Tx, limit_key: &str, among: u32) -> Result<u64, DbError> {
    tx.execute(PARK, &params![limit_key, among]).await
}

#[cfg(test)]
#[cfg(feature = "fault-points")]
mod tests;
