//! Takes jobs: only as many as can start now, in one transaction for all queues of the process.
//!
//! The walk goes over limit keys, not over jobs: a key that is full, closed by its rate or paused costs one row, however
//! long its backlog is, and delays no other key. What is behind a shut gate is set aside ([`super::held`]); while none is shut,
//! nothing is asked about gates but whether there is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{
    attempt::Attempt,
    held::{self, Tended, postgres_shut, sqlite_shut},
    lease::{Lease, since_boot},
    marks::{Mark, Marks},
};
use crate::{
    db::{
        Db, DbError, Row, Sql, Tx,
        clock::{postgres_now, sqlite_now},
    },
    fault::{self, FaultPoint},
    params,
    telemetry::trace::Origin,
};

/// A job that is ours until its lease ends.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) queue: &'static str,
    pub(super) args: String,
    pub(super) attempt: u32,
    pub(super) snoozes: u32,
    pub(super) progress: Option<Json>,
    /// Where its trace comes from.
    pub(super) origin: Origin,
    pub(super) lease: Arc<Lease>,
}

/// A queue and how many of its jobs this process can start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) queue: &'static str,
    pub(super) free: usize,
}

/// What one pass found.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) claimed: Vec<Claimed>,
    pub(super) now: DateTime<Utc>,
    /// When the next job is due or the next rate window opens.
    pub(super) look_again: Option<DateTime<Utc>>,
}

/// Who claims.
#[derive(Debug)]
pub(super) struct Claimer {
    pub(super) db: Db,
    pub(super) worker: Arc<str>,
    pub(super) lease: Duration,
    /// Where the jobs of each key begin.
    pub(super) marks: Marks,
    /// Which key comes first: it moves on with each pass, so that none is always last.
    pub(super) turn: usize,
}

/// A limit key with work, and what of it may start.
struct Key {
    name: Arc<str>,
    queue: &'static str,
    /// `None`: its queue has no limit, and no slots.
    free_slots: Vec<Option<u32>>,
    /// Starts that the rate still allows; `None`: no rate.
    rate_left: Option<u32>,
}

/// A job picked in this pass.
struct Picked {
    id: Uuid,
    lease: Uuid,
    slot: Option<u32>,
    charge: bool,
    key: usize,
    attempt: u32,
    snoozes: u32,
    args: String,
    progress: Option<String>,
    trace_context: Option<String>,
    /// Known once it is claimed.
    started_at: DateTime<Utc>,
}

const DUE: Sql = Sql::each(
    concat!(
        "-- next_due\nSELECT ",
        sqlite_now!(),
        " AS now, EXISTS (SELECT 1 FROM gates WHERE state <> 'open' OR releasing) AS gated,
         (SELECT min(run_at) FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL) AS due"
    ),
    concat!(
        "-- next_due\nSELECT ",
        postgres_now!(),
        " AS now, EXISTS (SELECT 1 FROM gates WHERE state <> 'open' OR releasing) AS gated,
         (SELECT min(run_at) FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL) AS due"
    ),
);

/// Whether a job of the key waits; `$marks` is where those of each key begin ([`Marks`]). OFFSET 0 keeps PostgreSQL from making
/// a join of it, which reads all jobs to find one of each key.
macro_rules! waits_from {
    ($marks:literal) => {
        concat!(
            "CASE WHEN ",
            $marks,
            " -> l.key IS NULL
                  THEN EXISTS (SELECT 1 FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available' OFFSET 0)
                  ELSE EXISTS (SELECT 1 FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available'
                           AND j.priority = (",
            $marks,
            " -> l.key ->> 'priority')::bigint AND j.run_at >= (",
            $marks,
            " -> l.key ->> 'from')::timestamptz OFFSET 0)
                    OR EXISTS (SELECT 1 FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available'
                           AND j.priority > (",
            $marks,
            " -> l.key ->> 'priority')::bigint OFFSET 0)
                    OR EXISTS (SELECT 1 FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available'
                           AND j.priority < (",
            $marks,
            " -> l.key ->> 'priority')::bigint OFFSET 0) END"
        )
    };
}

/// Whether a job of the key waits.
macro_rules! waits {
    () => {
        "EXISTS (SELECT 1 FROM jobs j WHERE j.limit_key = l.key AND j.state = 'available')"
    };
}

/// The same, and whether any job waits for its turn at all: all that a process with nothing to do asks.
const GLANCE: Sql = Sql::each(
    concat!(
        "-- glance\nSELECT ",
        sqlite_now!(),
        " AS now, EXISTS (SELECT 1 FROM gates WHERE state <> 'open' OR releasing) AS gated,
          (SELECT min(run_at) FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL) AS due,
          EXISTS (SELECT 1 FROM limits l WHERE ",
        waits!(),
        ") AS waiting"
    ),
    concat!(
        "-- glance\nSELECT ",
        postgres_now!(),
        " AS now, EXISTS (SELECT 1 FROM gates WHERE state <> 'open' OR releasing) AS gated,
          (SELECT min(run_at) FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL) AS due,
          EXISTS (SELECT 1 FROM limits l WHERE ",
        waits_from!("$1"),
        ") AS waiting"
    ),
);

/// Oldest first, and not all at once: after an outage there may be a hundred thousand. The next pass takes the rest.
const PROMOTE: Sql = Sql::each(
    "-- promote_due
     UPDATE jobs SET state = 'available', wait_reason = NULL WHERE id IN (
        SELECT id FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL AND run_at <= $1
        ORDER BY run_at LIMIT $2)",
    // Passed over: what another process promotes at this moment.
    "-- promote_due
     UPDATE jobs SET state = 'available', wait_reason = NULL WHERE id = ANY (ARRAY(
        SELECT id FROM jobs WHERE state IN ('scheduled', 'retryable') AND held_by IS NULL AND run_at <= $1
        ORDER BY run_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED))",
);
/// Jobs promoted in one transaction: some 10 ms.
const PROMOTED: u32 = 1_000;

/// The keys of `$1`'s queues with work, unless they are paused.
macro_rules! keys_with_work {
    ($queues:literal, $waits:expr) => {
        concat!(
            "l.queue IN (",
            $queues,
            ") AND ",
            $waits,
            " AND NOT EXISTS (SELECT 1 FROM queues q WHERE q.name = l.queue AND q.paused_at IS NOT NULL)"
        )
    };
}

/// Until the commit nobody else starts a job of these keys: what is counted after this stays true. A key that another process
/// has at this moment is passed over. In SQLite there is but one claim at a time, and no such lock.
const LOCK_KEYS: &str = concat!(
    "-- lock_limits
     SELECT l.key FROM limits l WHERE (l.max_running IS NOT NULL OR l.rate_max IS NOT NULL) AND ",
    keys_with_work!("SELECT jsonb_array_elements_text($1)", waits_from!("$2")),
    " ORDER BY l.key FOR NO KEY UPDATE OF l SKIP LOCKED"
);

macro_rules! plan {
    ($now:expr, $list:literal, $since:literal, $charged:literal, $queues:literal, $waits:expr, $which:literal) => {
        concat!(
            "-- claim_plan
             SELECT clock.now, l.key, l.queue, l.max_running, l.rate_max, l.rate_window_us,
                    CASE WHEN l.max_running IS NULL THEN NULL ELSE (SELECT ",
            $list,
            " FROM jobs j WHERE j.limit_key = l.key AND j.state = 'running') END AS used,
                    CASE WHEN l.rate_max IS NULL THEN 0 ELSE (SELECT count(*) FROM rate_starts r
                        WHERE r.limit_key = l.key AND r.started_at > ",
            $since,
            ") END AS charged,
                    CASE WHEN l.rate_max IS NULL THEN NULL ELSE (SELECT min(r.started_at) FROM rate_starts r
                        WHERE r.limit_key = l.key AND r.started_at > ",
            $since,
            ") END AS oldest,
                    l.rate_max IS NOT NULL AND EXISTS (SELECT 1 FROM jobs j
                        WHERE j.limit_key = l.key AND j.state = 'available' AND ",
            $charged,
            ") AS has_charged
             FROM (SELECT ",
            $now,
            " AS now) AS clock CROSS JOIN limits l WHERE ",
            keys_with_work!($queues, $waits),
            $which,
            " ORDER BY l.key"
        )
    };
}

/// What of each key may start.
const PLAN: Sql = Sql::each(
    plan!(
        sqlite_now!(),
        "group_concat(j.slot)",
        "clock.now - l.rate_window_us",
        "j.rate_charged = 1",
        "SELECT value FROM json_each($1)",
        waits!(),
        ""
    ),
    plan!(
        postgres_now!(),
        "string_agg(j.slot::text, ',')",
        "clock.now - l.rate_window_us * interval '1 microsecond'",
        "j.rate_charged",
        "SELECT jsonb_array_elements_text($1)",
        waits_from!("$2"),
        ""
    ),
);

/// The same, of the keys that this transaction has and of those that nobody needs to have.
///
/// The clock is read by this statement, after the commits that it sees: a start is never dated before the end that made room
/// for it.
const PLAN_OF_LOCKED: &str = plan!(
    postgres_now!(),
    "string_agg(j.slot::text, ',')",
    "clock.now - l.rate_window_us * interval '1 microsecond'",
    "j.rate_charged",
    "SELECT jsonb_array_elements_text($1)",
    waits_from!("$2"),
    " AND (l.key IN (SELECT jsonb_array_elements_text($3)) OR (l.max_running IS NULL AND l.rate_max IS NULL))"
);

macro_rules! columns {
    () => {
        "id, args, attempt, snoozes, progress, rate_charged, priority, run_at, trace_context"
    };
}

/// The next jobs of a limit key.
macro_rules! next_of_key {
    ($name:literal, $which:literal, $lock:literal) => {
        concat!(
            "-- ",
            $name,
            "\nSELECT ",
            columns!(),
            " FROM jobs WHERE limit_key = $1 AND state = 'available'",
            $which,
            " ORDER BY priority DESC, run_at, id LIMIT $2",
            $lock
        )
    };
}

/// The same past those that are behind a shut gate: in the order of the index, and not for ever. PostgreSQL joins in any order
/// that it likes, and is told once more which one counts.
macro_rules! next_past_gates {
    ($name:literal, $which:literal, $shut:expr, $order:literal) => {
        concat!(
            "-- ",
            $name,
            "\nSELECT ",
            columns!(),
            " FROM (SELECT * FROM jobs WHERE limit_key = $1 AND state = 'available'",
            $which,
            " ORDER BY priority DESC, run_at, id LIMIT 10000) AS j WHERE NOT ",
            $shut,
            $order,
            " LIMIT $2"
        )
    };
}

/// One way to ask for the next jobs of a key: as long as all gates are open, and past shut ones.
struct Next {
    open: Sql,
    gated: Sql,
}

impl Next {
    fn sql(&self, gated: bool) -> Sql {
        if gated { self.gated } else { self.open }
    }
}

const NEXT: Next = Next {
    open: Sql::each(
        next_of_key!("next_of_key", "", ""),
        next_of_key!("next_of_key", "", " FOR NO KEY UPDATE SKIP LOCKED"),
    ),
    gated: Sql::each(
        next_past_gates!("next_of_key_past_gates", "", sqlite_shut!(), ""),
        next_past_gates!(
            "next_of_key_past_gates",
            "",
            postgres_shut!(),
            " ORDER BY j.priority DESC, j.run_at, j.id"
        ),
    ),
};

const NEXT_ABOVE: &str = next_of_key!(
    "next_above_mark",
    " AND priority > $3",
    " FOR NO KEY UPDATE SKIP LOCKED"
);
const NEXT_FROM: &str = next_of_key!(
    "next_from_mark",
    " AND priority = $3 AND run_at >= $4",
    " FOR NO KEY UPDATE SKIP LOCKED"
);
const NEXT_BELOW: &str = next_of_key!(
    "next_below_mark",
    " AND priority < $3",
    " FOR NO KEY UPDATE SKIP LOCKED"
);

const NEXT_CHARGED: Next = Next {
    open: Sql::each(
        next_of_key!("next_charged_of_key", " AND rate_charged = 1", ""),
        next_of_key!(
            "next_charged_of_key",
            " AND rate_charged",
            " FOR NO KEY UPDATE SKIP LOCKED"
        ),
    ),
    gated: Sql::each(
        next_past_gates!("next_charged_past_gates", " AND rate_charged = 1", sqlite_shut!(), ""),
        next_past_gates!(
            "next_charged_past_gates",
            " AND rate_charged",
            postgres_shut!(),
            " ORDER BY j.priority DESC, j.run_at, j.id"
        ),
    ),
};

const NEXT_UNCHARGED: Next = Next {
    open: Sql::each(
        next_of_key!("next_uncharged_of_key", " AND rate_charged = 0", ""),
        next_of_key!(
            "next_uncharged_of_key",
            " AND NOT rate_charged",
            " FOR NO KEY UPDATE SKIP LOCKED"
        ),
    ),
    gated: Sql::each(
        next_past_gates!("next_uncharged_past_gates", " AND rate_charged = 0", sqlite_shut!(), ""),
        next_past_gates!(
            "next_uncharged_past_gates",
            " AND NOT rate_charged",
            postgres_shut!(),
            " ORDER BY j.priority DESC, j.run_at, j.id"
        ),
    ),
};

macro_rules! probes_of_key {
    ($shut:expr) => {
        concat!(
            "-- probes_of_key\nSELECT ",
            columns!(),
            // Crossed: the few gates first, never the many jobs.
            " FROM gates AS tried CROSS JOIN jobs AS j WHERE tried.state = 'half_open' AND j.id = tried.probe_job
                AND j.limit_key = $1 AND j.state = 'available' AND NOT ",
            $shut,
            " LIMIT $2"
        )
    };
}

/// Jobs that a gate waits for: others may be many, and how long they take says nothing of the upstream.
const PROBES: Sql = Sql::each(probes_of_key!(sqlite_shut!()), probes_of_key!(postgres_shut!()));

/// Answers those that were still there to be claimed. On PostgreSQL without a join, which may be done the wrong way round, and
/// with the state asked for in a way that no index answers: by that of the waiting jobs it would read them all.
/// Dated by the clock of this statement: a job is not claimed before whatever made it available, and what was counted for its
/// key before is not younger. And gates are asked for once more: one may have closed since the pass began. In a file nothing is
/// written in between, and it is the transaction's moment.
const CLAIM: Sql = Sql::each(
    "-- claim_jobs
     UPDATE jobs SET state = 'running', attempt = attempt + 1, rate_charged = 1, lease = c.value ->> 'lease',
            lease_expires_at = $4 + $2, worker = $3, slot = c.value ->> 'slot', started_at = $4,
            cancel_requested_at = NULL, wait_reason = NULL
     FROM json_each($1) AS c WHERE jobs.id = c.key AND jobs.state = 'available'
     RETURNING lease, started_at",
    concat!(
        "-- claim_jobs
         UPDATE jobs AS j SET state = 'running', attempt = attempt + 1, rate_charged = true,
                lease = ($1 -> id::text ->> 'lease')::uuid, slot = ($1 -> id::text ->> 'slot')::bigint,
                lease_expires_at = (SELECT ",
        postgres_now!(),
        ") + $2 * interval '1 microsecond', worker = $3, started_at = (SELECT ",
        postgres_now!(),
        "), cancel_requested_at = NULL, wait_reason = NULL
         WHERE id = ANY (ARRAY(SELECT jsonb_object_keys($1)::uuid)) AND state || '' = 'available'
            AND (NOT EXISTS (SELECT 1 FROM gates WHERE state <> 'open') OR NOT ",
        postgres_shut!(),
        ")
         RETURNING lease, started_at"
    ),
);

impl Claimer {
    /// Looks without the write lock whether anything can be claimed.
    pub(super) async fn glance(&self, wanted: &[Wanted]) -> Result<(bool, Pass), DbError> {
        let marks = self.marks.all();
        let params = params![&marks];
        let params = if self.db.is_server() { &params[..] } else { &[] };
        let Some(row) = self.db.fetch_optional(GLANCE, params).await? else {
            return Err(no_clock());
        };
        let now = row.get("now")?;
        let due: Option<DateTime<Utc>> = row.get("due")?;
        let mut pass = Pass {
            claimed: Vec::new(),
            now,
            look_again: due,
        };
        if due.is_some_and(|due| due <= now) {
            return Ok((true, pass));
        }
        let mut gates = held::Glance::default();
        if row.get("gated")? {
            gates = held::glance(&self.db, &served(wanted), now).await?;
        }
        if !row.get::<bool>("waiting")? {
            pass.look_again = earlier(due, gates.look_again);
            return Ok((gates.any, pass));
        }
        let params = params![names(wanted), marks];
        let params = if self.db.is_server() { &params[..] } else { &params[..1] };
        let rows = self.db.fetch_all(PLAN, params).await?;
        let (keys, opens) = keys(&rows, wanted, now)?;
        pass.look_again = earlier(earlier(due, opens), gates.look_again);
        Ok((gates.any || !keys.is_empty(), pass))
    }

    /// Claims all that can start now.
    pub(super) async fn claim(&mut self, wanted: &[Wanted]) -> Result<Pass, DbError> {
        let sent = since_boot();
        let mut tx = self.db.begin().await?;
        let Some(row) = tx.fetch_optional(DUE, &[]).await? else {
            return Err(no_clock());
        };
        let now = tx.take_now(&row)?;
        let mut due: Option<DateTime<Utc>> = row.get("due")?;
        if due.is_some_and(|due| due <= now) {
            tx.execute(PROMOTE, &params![now, PROMOTED]).await?;
            due = match tx.fetch_optional(DUE, &[]).await? {
                Some(row) => row.get("due")?,
                None => None,
            };
        }
        let mut gates = Tended::default();
        if row.get("gated")? {
            gates = held::tend(&mut tx, &served(wanted)).await?;
        }
        let rows = plan(&mut tx, wanted, &self.marks.all()).await?;
        let now = tx.now().await?;
        let (keys, opens) = keys(&rows, wanted, now)?;
        let mut picked = self.pick(&mut tx, &keys, wanted, &mut gates).await?;
        if !picked.is_empty() {
            self.write(&mut tx, &keys, &mut picked, now).await?;
        }
        tx.commit().await?;
        if !picked.is_empty() {
            fault::hit(FaultPoint::AfterClaim);
        }
        let claimed = picked
            .into_iter()
            .map(|job| Claimed {
                queue: keys[job.key].queue,
                attempt: job.attempt,
                snoozes: job.snoozes,
                progress: job.progress.and_then(|progress| serde_json::from_str(&progress).ok()),
                args: job.args,
                origin: Origin::read(job.trace_context.as_deref()),
                lease: {
                    let attempt = Attempt {
                        queue: keys[job.key].queue.into(),
                        limit_key: Arc::clone(&keys[job.key].name),
                        slot: job.slot,
                        number: job.attempt,
                        worker: Arc::clone(&self.worker),
                        started_at: job.started_at,
                    };
                    Arc::new(Lease::new(job.lease, job.id, attempt, self.lease, sent))
                },
            })
            .collect();
        Ok(Pass {
            claimed,
            now,
            look_again: earlier(earlier(due, opens), gates.look_again),
        })
    }

    async fn pick(
        &mut self,
        tx: &mut Tx,
        keys: &[Key],
        wanted: &[Wanted],
        gates: &mut Tended,
    ) -> Result<Vec<Picked>, DbError> {
        let now = tx.now().await?;
        let mut room = held::MOVED;
        let mut free: BTreeMap<&str, usize> = wanted.iter().map(|wanted| (wanted.queue, wanted.free)).collect();
        let mut picked = Vec::new();
        self.turn = self.turn.wrapping_add(1);
        for step in 0..keys.len() {
            let index = (self.turn + step) % keys.len();
            let key = &keys[index];
            let Some(permits) = free.get_mut(key.queue) else {
                continue;
            };
            let most = key.free_slots.len().min(*permits);
            if most == 0 {
                continue;
            }
            if gates.may_park && room > 0 {
                let parked = held::park(tx, &key.name, room).await?;
                room -= u32::try_from(parked).unwrap_or(room).min(room);
                if parked > 0 {
                    // There may be more of them, and one of them may be due as the gate's probe.
                    gates.look_again = Some(tx.now().await?);
                }
            }
            let marked = tx.is_on_server() && !gates.any_shut && key.rate_left.is_none();
            let rows = match self.marks.of(&key.name).filter(|_| marked) {
                Some(mark) => next_from(tx, key, most, mark).await?,
                None => next_of(tx, key, most, gates.any_shut).await?,
            };
            if let Some(last) = rows.last().filter(|_| marked) {
                self.marks.took(&key.name, last.get("priority")?, last.get("run_at")?);
            }
            let mut slots = key.free_slots.iter();
            for row in rows {
                // A row that another program wrote may hold anything: it must not stand in the way of the others.
                let Some(id) = readable(tx, &row).await? else { continue };
                let Some(slot) = slots.next() else { break };
                let charged: bool = row.get("rate_charged")?;
                picked.push(Picked {
                    id,
                    lease: Uuid::now_v7(),
                    slot: *slot,
                    charge: key.rate_left.is_some() && !charged,
                    key: index,
                    attempt: row.get::<u32>("attempt")? + 1,
                    snoozes: row.get("snoozes")?,
                    args: row.get("args")?,
                    progress: row.get("progress")?,
                    trace_context: row.get("trace_context")?,
                    started_at: now,
                });
                *permits -= 1;
            }
        }
        Ok(picked)
    }

    /// Claims what was picked; what somebody else changed in the meantime is no longer among it.
    async fn write(
        &self,
        tx: &mut Tx,
        keys: &[Key],
        picked: &mut Vec<Picked>,
        now: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let list: Json = picked
            .iter()
            .map(|job| (job.id.to_string(), json!({"lease": job.lease, "slot": job.slot})))
            .collect();
        let term = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX / 4);
        let mut params = params![&list, term, &*self.worker, now].to_vec();
        if tx.is_on_server() {
            params.pop();
        }
        let rows = tx.fetch_all(CLAIM, &params).await?;
        let mut claimed: BTreeMap<Uuid, DateTime<Utc>> = BTreeMap::new();
        for row in &rows {
            claimed.insert(row.get("lease")?, row.get("started_at")?);
        }
        picked.retain_mut(|job| {
            let started_at = claimed.get(&job.lease);
            job.started_at = started_at.copied().unwrap_or(now);
            started_at.is_some()
        });
        for job in picked.iter().filter(|job| job.charge) {
            tx.execute(
                "-- charge_start\nINSERT INTO rate_starts (limit_key, job_id, started_at) VALUES ($1, $2, $3)",
                &params![&*keys[job.key].name, job.id, job.started_at],
            )
            .await?;
        }
        Ok(())
    }
}

/// What may start, as of now: on PostgreSQL counted by a statement after the one that took the keys.
async fn plan(tx: &mut Tx, wanted: &[Wanted], marks: &Json) -> Result<Vec<Row>, DbError> {
    let queues = names(wanted);
    let rows = if tx.is_on_server() {
        let locked = tx.fetch_all(LOCK_KEYS, &params![&queues, marks]).await?;
        let locked: Vec<String> = locked.iter().map(|row| row.get("key")).collect::<Result<_, _>>()?;
        tx.fetch_all(PLAN_OF_LOCKED, &params![queues, marks, json!(locked)])
            .await?
    } else {
        tx.fetch_all(PLAN, &params![queues]).await?
    };
    // What was counted, and what is charged by it, is of one moment.
    if let Some(row) = rows.first() {
        tx.take_now(row)?;
    }
    Ok(rows)
}

/// The next jobs of a key from where they begin. What has a higher priority than those goes first, and what has a lower one
/// last.
async fn next_from(tx: &mut Tx, key: &Key, most: usize, mark: Mark) -> Result<Vec<Row>, DbError> {
    let mut next = Vec::new();
    for sql in [NEXT_ABOVE, NEXT_FROM, NEXT_BELOW] {
        let left = u32::try_from(most - next.len()).unwrap_or(u32::MAX);
        if left == 0 {
            break;
        }
        let params = params![&*key.name, left, mark.priority, mark.from];
        let params = if sql == NEXT_FROM { &params[..] } else { &params[..3] };
        next.extend(tx.fetch_all(sql, params).await?);
    }
    Ok(next)
}

/// The next jobs of a key: those whose start is charged already go first where a rate is, since they need none of it.
async fn next_of(tx: &mut Tx, key: &Key, most: usize, gated: bool) -> Result<Vec<Row>, DbError> {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let mut rows = Vec::new();
    if gated {
        rows = tx.fetch_all(PROBES, &params![&*key.name, most]).await?;
    }
    match key.rate_left {
        None => rows.extend(tx.fetch_all(NEXT.sql(gated), &params![&*key.name, most]).await?),
        Some(rate_left) => {
            rows.extend(
                tx.fetch_all(NEXT_CHARGED.sql(gated), &params![&*key.name, most])
                    .await?,
            );
            if rate_left > 0 {
                let uncharged = NEXT_UNCHARGED.sql(gated);
                rows.extend(tx.fetch_all(uncharged, &params![&*key.name, most]).await?);
            }
        }
    }
    let mut seen = BTreeSet::new();
    let mut rate_left = key.rate_left;
    let mut next = Vec::new();
    for row in rows {
        if next.len() >= most as usize {
            break;
        }
        // A probe is among the next as well.
        if gated && !seen.insert(row.get::<String>("id")?) {
            continue;
        }
        if let Some(left) = &mut rate_left
            && !row.get::<bool>("rate_charged")?
        {
            if *left == 0 {
                continue;
            }
            *left -= 1;
        }
        next.push(row);
    }
    Ok(next)
}

/// The job's id, unless the row cannot be worked with: then it is discarded with the reason.
async fn readable(tx: &mut Tx, row: &Row) -> Result<Option<Uuid>, DbError> {
    let id = row.get::<Uuid>("id");
    let fault = match (id, row.get::<u32>("attempt"), row.get::<u32>("snoozes")) {
        (Ok(id), Ok(_), Ok(_)) => return Ok(Some(id)),
        (Err(error), _, _) | (_, Err(error), _) | (_, _, Err(error)) => error.to_string(),
    };
    let raw: String = row.get("id")?;
    let now = tx.now().await?;
    tracing::error!(job = raw, fault, "a job's row cannot be read: it is discarded");
    tx.execute(
        Sql::each(
            "-- discard_unreadable
             UPDATE jobs SET state = 'discarded', last_error = $2, finished_at = $3 WHERE id = $1",
            "-- discard_unreadable
             UPDATE jobs SET state = 'discarded', last_error = $2, finished_at = $3 WHERE id = $1::uuid",
        ),
        &params![raw, format!("its row cannot be read: {fault}"), now],
    )
    .await?;
    Ok(None)
}

/// Names of all queues of this process, also those that have no room now.
fn served(wanted: &[Wanted]) -> Json {
    wanted.iter().map(|wanted| wanted.queue).collect()
}

fn names(wanted: &[Wanted]) -> Json {
    wanted
        .iter()
        .filter(|wanted| wanted.free > 0)
        .map(|wanted| wanted.queue)
        .collect()
}

fn no_clock() -> DbError {
    DbError::other("the database's clock gave no row")
}

fn earlier(one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    one.into_iter().chain(other).min()
}

/// Slots that a job may take now, at most `places` of them. `used` lists those that are taken.
fn free_slots(max_running: Option<u32>, used: Option<&str>, places: usize) -> Vec<Option<u32>> {
    let Some(max_running) = max_running else {
        return vec![None; places];
    };
    let used: BTreeSet<u32> = used
        .iter()
        .flat_map(|used| used.split(','))
        .filter_map(|slot| slot.parse().ok())
        .collect();
    // A lowered limit drains: more run than may, and none starts until fewer do.
    let free = usize::try_from(max_running)
        .unwrap_or(usize::MAX)
        .saturating_sub(used.len());
    (0..max_running)
        .filter(|slot| !used.contains(slot))
        .take(free.min(places))
        .map(Some)
        .collect()
}

/// The keys that something can start under, and when the first closed rate opens.
fn keys(rows: &[Row], wanted: &[Wanted], now: DateTime<Utc>) -> Result<(Vec<Key>, Option<DateTime<Utc>>), DbError> {
    let mut keys = Vec::new();
    let mut opens = None;
    for row in rows {
        let queue: String = row.get("queue")?;
        let Some(wanted) = wanted.iter().find(|wanted| wanted.queue == queue && wanted.free > 0) else {
            continue;
        };
        let used: Option<String> = row.get("used")?;
        let free_slots = free_slots(row.get("max_running")?, used.as_deref(), wanted.free);
        let rate_left = match row.get::<Option<u32>>("rate_max")? {
            None => None,
            Some(most) => {
                let left = most.saturating_sub(row.get("charged")?);
                if left == 0 {
                    let window: i64 = row.get("rate_window_us")?;
                    let oldest: Option<DateTime<Utc>> = row.get("oldest")?;
                    let opening = oldest.unwrap_or(now) + TimeDelta::microseconds(window);
                    opens = earlier(opens, Some(opening));
                    if !row.get::<bool>("has_charged")? {
                        continue;
                    }
                }
                Some(left)
            }
        };
        if !free_slots.is_empty() {
            keys.push(Key {
                name: row.get::<String>("key")?.into(),
                queue: wanted.queue,
                free_slots,
                rate_left,
            });
        }
    }
    Ok((keys, opens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Location;

    #[tokio::test]
    async fn a_claim_reads_only_what_it_may_take_however_many_jobs_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::sqlite(folder.path().join("test.db")))
            .await
            .unwrap();
        let now = db.now().await.unwrap();
        for (plan, index) in [
            (db.plan_of(DUE, &[]).await, "INDEX jobs_due"),
            (db.plan_of(GLANCE, &[]).await, "INDEX jobs_claim (limit_key=?)"),
            (
                db.plan_of(PROMOTE, &params![now, PROMOTED]).await,
                "INDEX jobs_due (run_at<?)",
            ),
            (
                db.plan_of(PLAN, &params![json!(["plain"])]).await,
                "INDEX jobs_claim (limit_key=?)",
            ),
            (
                db.plan_of(NEXT.open, &params!["plain", 8_u32]).await,
                "jobs_claim (limit_key=?)",
            ),
            (
                db.plan_of(NEXT_CHARGED.open, &params!["plain", 8_u32]).await,
                "jobs_claim_charged (limit_key=?)",
            ),
            (
                db.plan_of(NEXT_UNCHARGED.open, &params!["plain", 8_u32]).await,
                "jobs_claim (limit_key=?)",
            ),
            (
                db.plan_of(NEXT.gated, &params!["plain", 8_u32]).await,
                "jobs_claim (limit_key=?)",
            ),
            (
                db.plan_of(NEXT_CHARGED.gated, &params!["plain", 8_u32]).await,
                "jobs_claim_charged (limit_key=?)",
            ),
            (
                db.plan_of(NEXT_UNCHARGED.gated, &params!["plain", 8_u32]).await,
                "jobs_claim (limit_key=?)",
            ),
            (
                db.plan_of(PROBES, &params!["plain", 8_u32]).await,
                "sqlite_autoindex_jobs_1 (id=?)",
            ),
            (
                db.plan_of(CLAIM, &params![json!({}), 1_i64, "w", now]).await,
                "sqlite_autoindex_jobs_1 (id=?)",
            ),
        ] {
            assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
            assert!(
                !plan.iter().any(|step| step.starts_with("SCAN jobs")),
                "{index}: {plan:#?}"
            );
            // Only keys are sorted, never jobs.
            let sorts = plan.iter().any(|step| step.contains("FOR ORDER BY"));
            let of_keys = plan.iter().any(|step| step.contains("limits_queue"));
            assert!(!sorts || of_keys, "{index}: {plan:#?}");
        }
    }
}
