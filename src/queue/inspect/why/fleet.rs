//! The state of the fleet that holds or moves jobs: who lives, what is paused, which gates are shut, how full a limit is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Code, Holder, NAMED, Reason};
use crate::{
    db::{Db, DbError, Row},
    params,
    queue::{
        Role,
        inspect::{self, Pause, WorkerRow, gates::GateLine, gates::Shut, service},
    },
};

/// A statement that reads nothing and takes longer than this says that the database is in trouble.
const SLOW: Duration = Duration::from_millis(500);

/// What holds or moves jobs, now.
pub struct Fleet {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// How long the database took to say so.
    answered_in: Duration,
    paused: BTreeMap<String, Pause>,
    /// Processes that give a sign of life, and that did.
    live: Vec<WorkerRow>,
    gone: Vec<WorkerRow>,
    shut: Shut,
}

impl Fleet {
    /// Reads it. `lease` is how long a process may be silent.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn read(db: &Db, lease: Duration) -> Result<Self, DbError> {
        let asked = Instant::now();
        let now = db.now().await?;
        let answered_in = asked.elapsed();
        let (live, gone) = inspect::workers(db)
            .await?
            .into_iter()
            .partition(|worker| worker.lives(now, lease));
        Ok(Self {
            now,
            answered_in,
            paused: service::paused(db).await?,
            live,
            gone,
            shut: Shut::read(db).await?,
        })
    }

    /// The database answers slowly.
    pub fn slow(&self) -> Option<Reason> {
        (self.answered_in > SLOW).then(|| {
            let took = self.answered_in.as_millis();
            Reason::new(
                Code::DatabaseSlow,
                format!("the database took {took} ms to answer a question that reads nothing"),
            )
            .act("`aftercall doctor` looks at the database")
        })
    }

    /// An operator holds the queue.
    pub(super) fn paused(&self, queue: &str) -> Option<Reason> {
        let pause = self.paused.get(queue)?;
        Some(
            Reason::new(
                Code::Paused,
                format!("{queue} is paused by {}: {}", pause.by, pause.reason),
            )
            .since(pause.at)
            .act(format!("`aftercall resume {queue}`")),
        )
    }

    /// Nobody serves the queue.
    pub(super) fn unserved(&self, queue: &str) -> Option<Reason> {
        if self.serving(queue) > 0 {
            return None;
        }
        let last = self.gone.iter().filter(|worker| serves(worker, queue));
        let last = last.max_by_key(|worker| worker.stopped_at.unwrap_or(worker.last_seen_at));
        let reason = match last {
            None => Reason::new(Code::NoWorker, format!("no process ever served {queue}")),
            Some(worker) => {
                let how = if worker.stopped_at.is_some() {
                    "stopped"
                } else {
                    "gave its last sign of life"
                };
                Reason::new(
                    Code::NoWorker,
                    format!(
                        "no live process serves {queue}; the last one was {}, which {how}",
                        worker.id
                    ),
                )
                .since(worker.stopped_at.unwrap_or(worker.last_seen_at))
            }
        };
        Some(reason.act(format!(
            "start one: `aftercall run`, or `aftercall worker --queues {queue}`"
        )))
    }

    /// How many live processes serve the queue.
    pub(super) fn serving(&self, queue: &str) -> usize {
        self.live.iter().filter(|worker| serves(worker, queue)).count()
    }

    /// Whether the process gives signs of life.
    pub(super) fn lives(&self, worker: &str) -> bool {
        self.live.iter().any(|live| live.id == worker)
    }

    /// Nobody fires the schedules.
    pub fn unscheduled(&self) -> Option<Reason> {
        let fires = |worker: &&WorkerRow| Role::of(worker.role.as_deref()).is_some_and(Role::fires_crons);
        if self.live.iter().any(|worker| fires(&worker)) {
            return None;
        }
        let last = self.gone.iter().filter(fires).map(|worker| worker.last_seen_at).max();
        Some(
            Reason::new(
                Code::NoScheduler,
                "no live process fires the schedules: nothing is scanned, rebuilt or alerted by the clock",
            )
            .since(last)
            .act("start one: `aftercall scheduler`"),
        )
    }

    pub(super) fn shut(&self) -> &Shut {
        &self.shut
    }
}

fn serves(worker: &WorkerRow, queue: &str) -> bool {
    worker.queues.iter().any(|served| served == queue)
}

/// An upstream that is down. `held`: how many jobs wait for it, in words.
pub(super) fn shut_gate(gate: &GateLine, held: Option<&str>) -> Reason {
    let why = gate.why().unwrap_or_else(|| format!("{} is shut", gate.key));
    let held = held.map(|held| format!("; jobs held: {held}")).unwrap_or_default();
    let tried = match (gate.probe_job, gate.probe_at) {
        (Some(job), _) => format!("; job {job} tries it"),
        (None, None) => "; it is not tried before somebody opens it".to_owned(),
        (None, Some(_)) => String::new(),
    };
    let again = match gate.failures {
        0 | 1 => String::new(),
        failures => format!("; tries in a row that failed: {failures}"),
    };
    Reason::new(Code::GateShut, format!("{why}{again}{held}{tried}"))
        .since(gate.closed_at)
        .until(gate.probe_at)
        .act(format!("`aftercall gate open {}` tries it at once", gate.key))
}

/// The columns of `limits` that bind a key.
pub(super) struct Limit {
    max_running: Option<u32>,
    rate: Option<(u32, TimeDelta)>,
}

impl Limit {
    /// From a row with `max_running`, `rate_max` and `rate_window_us`.
    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        let max: Option<u32> = row.get("rate_max")?;
        let window_us: Option<i64> = row.get("rate_window_us")?;
        Ok(Self {
            max_running: row.get("max_running")?,
            rate: max.zip(window_us.map(TimeDelta::microseconds)),
        })
    }
}

/// The limit of a key, where it is reached.
pub(super) async fn limit(
    db: &Db,
    now: DateTime<Utc>,
    key: &str,
    rate_is_charged: bool,
) -> Result<Vec<Reason>, DbError> {
    let row = db
        .fetch_optional(
            "-- limit_of_key\nSELECT max_running, rate_max, rate_window_us FROM limits WHERE key = $1",
            &params![key],
        )
        .await?;
    match row {
        Some(row) => reached(db, now, key, &Limit::read(&row)?, rate_is_charged).await,
        None => Ok(Vec::new()),
    }
}

/// The same, of a limit that was read already.
pub(super) async fn reached(
    db: &Db,
    now: DateTime<Utc>,
    key: &str,
    limit: &Limit,
    rate_is_charged: bool,
) -> Result<Vec<Reason>, DbError> {
    let mut reasons = Vec::new();
    if let Some(max) = limit.max_running {
        let holders = running(db, key, max.saturating_add(1).max(NAMED)).await?;
        if holders.len() >= max as usize {
            let text = format!("the limit of {key} is reached: {}/{max} run", holders.len());
            let since = holders.iter().filter_map(|holder| holder.since).max();
            let mut reason = Reason::new(Code::LimitReached, text).since(since).by(holders);
            reason.by.truncate(NAMED as usize);
            reasons.push(reason.act(format!("wait for one to end, or `aftercall limit {key} N`")));
        }
    }
    if let (Some((max, window)), false) = (limit.rate, rate_is_charged) {
        reasons.extend(rate_reached(db, now, key, max, window).await?);
    }
    Ok(reasons)
}

/// The jobs of a key that run, the oldest first.
async fn running(db: &Db, key: &str, most: u32) -> Result<Vec<Holder>, DbError> {
    db.fetch_all(
        "-- running_of_key
         SELECT id, worker, started_at FROM jobs WHERE limit_key = $1 AND state = 'running' ORDER BY started_at, id LIMIT $2",
        &params![key, most],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(Holder {
            job: row.get("id")?,
            worker: row.get("worker")?,
            since: row.get("started_at")?,
        })
    })
    .collect()
}

async fn rate_reached(
    db: &Db,
    now: DateTime<Utc>,
    key: &str,
    max: u32,
    window: TimeDelta,
) -> Result<Option<Reason>, DbError> {
    let starts: Vec<DateTime<Utc>> = db
        .fetch_all(
            "-- starts_in_window
             SELECT started_at FROM rate_starts WHERE limit_key = $1 AND started_at > $2 ORDER BY started_at DESC LIMIT $3",
            &params![key, now - window, max],
        )
        .await?
        .iter()
        .map(|row| row.get("started_at"))
        .collect::<Result<_, DbError>>()?;
    if starts.len() < max as usize {
        return Ok(None);
    }
    let seconds = window.num_seconds();
    // The start that leaves the window first of the last `max`: then there is room for one.
    let opens = starts.last().map(|first| *first + window);
    Ok(Some(
        Reason::new(
            Code::RateReached,
            format!("{max} jobs of {key} started within {seconds} s, and no more may"),
        )
        .until(opens)
        .act("it goes on by itself when the window opens"),
    ))
}
