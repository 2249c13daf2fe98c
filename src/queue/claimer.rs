//! The one loop of a process that claims, for all its queues, and fires what is due by the clock.
//!
//! It has a thread and a runtime of its own: were it polled by the threads that run jobs, jobs that block all of them could
//! stop it in the middle of a transaction, and with it everybody who waits for the write lock, the heartbeat included.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::mpsc::UnboundedSender, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    claim::{Claimed, Claimer, Pass, Wanted},
    counters,
    cron::Cron,
    lease::{Leases, Stop},
    marks::Marks,
};
use crate::{
    db::{Db, DbError},
    params,
};

/// How often to ask whether running jobs were cancelled, at most.
const CANCELS: Duration = Duration::from_millis(100);
/// The longest wait after the database refused.
const REFUSED_MOST: Duration = Duration::from_secs(1);
/// How often to look for what claims leave behind, and to add up what was noted meanwhile.
const BESIDE: Duration = Duration::from_secs(1);
/// How often a process that only fires ticks looks at the database's clock, which may be set meanwhile.
const CLOCK: Duration = Duration::from_secs(1);
/// When a tick could not be fired.
const CRON_AGAIN: TimeDelta = TimeDelta::seconds(1);

/// A queue that this process serves.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) queue: &'static str,
    pub(super) most: usize,
    /// Claimed and not yet ended.
    pub(super) running: Arc<AtomicUsize>,
    pub(super) lane: UnboundedSender<Claimed>,
}

/// The loop's state.
pub(super) struct Loop {
    pub(super) db: Db,
    pub(super) claimer: Claimer,
    pub(super) served: Vec<Served>,
    pub(super) leases: Leases,
    pub(super) crons: Vec<Cron>,
    pub(super) poll: Duration,
    pub(super) stop: CancellationToken,
    /// Whether this process changed jobs since it last added up what was noted of that. One that is idle adds up nothing.
    pub(super) worked: Arc<AtomicBool>,
    /// Dropped with the thread, however that ends: what tells others that it lives.
    pub(super) _alive: Arc<()>,
}

impl Loop {
    /// Starts the thread. It ends after the pass that it is in once `stop` is cancelled.
    pub(super) fn start(self) -> Result<thread::JoinHandle<()>, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DbError::other(format!("no runtime for the claimer: {error}")))?;
        thread::Builder::new()
            .name("aftercall-claimer".to_owned())
            .spawn(move || runtime.block_on(self.run()))
            .map_err(|error| DbError::other(format!("no thread for the claimer: {error}")))
    }

    async fn run(mut self) {
        if self.served.is_empty() && self.crons.is_empty() {
            // Whatever changes in the database is nothing to this process.
            self.stop.cancelled().await;
            return;
        }
        if self.db.is_server() {
            match self.db.reopen(self.claimer.lease).await {
                Ok(db) => {
                    self.claimer.db = db.clone();
                    self.db = db;
                }
                Err(error) => tracing::warn!(%error, "the claimer shares its connections with the jobs"),
            }
        }
        if self.served.is_empty() {
            self.fire_until_stopped().await;
            return;
        }
        let stop = self.stop.clone();
        let (db, marks, worked) = (self.db.clone(), self.claimer.marks.clone(), Arc::clone(&self.worked));
        tokio::select! {
            () = self.claim_until_stopped() => {}
            () = async { tokio::join!(db.listen(), beside(&db, &marks, &worked), stop.cancelled()); } => {}
        }
    }

    async fn claim_until_stopped(&mut self) {
        let mut refused = Duration::from_millis(50);
        let mut counter = self.db.change_counter().await.ok().flatten();
        let mut cancels_at = Instant::now();
        let mut ticks: BTreeMap<usize, DateTime<Utc>> = BTreeMap::new();
        // Whether the last pass took all it could have and there may be more.
        let mut full = false;
        while !self.stop.is_cancelled() {
            let look_again = match self.pass(full, &mut ticks).await {
                Ok((pass, took_all)) => {
                    refused = Duration::from_millis(50);
                    full = took_all;
                    let next_tick = ticks.values().min().copied();
                    pass.look_again.into_iter().chain(next_tick).min().map(|at| {
                        let wait = (at - pass.now).to_std().unwrap_or_default();
                        Instant::now() + wait.max(Duration::from_millis(1))
                    })
                }
                Err(error) => {
                    tracing::warn!(%error, "no job can be claimed now: it is tried again");
                    let again = Instant::now() + refused;
                    refused = (refused * 2).min(REFUSED_MOST);
                    Some(again)
                }
            };
            if Instant::now() >= cancels_at {
                cancels_at = Instant::now() + CANCELS;
                self.heed_cancels().await;
            }
            self.wait(look_again, &mut counter).await;
        }
    }

    /// Serves no queue: what becomes of jobs is nothing to it, and the clock alone wakes it.
    async fn fire_until_stopped(&self) {
        let mut ticks = BTreeMap::new();
        while !self.stop.is_cancelled() {
            let mut wait = CLOCK;
            match self.db.now().await {
                Ok(now) => {
                    self.fire(now, &mut ticks).await;
                    if let Some(next) = ticks.values().min() {
                        wait = (*next - now).to_std().unwrap_or_default().min(CLOCK);
                    }
                }
                Err(error) => tracing::warn!(%error, "no schedule can be fired now: it is tried again"),
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// One look at the database. The flag says whether there may be more to take at once.
    async fn pass(&mut self, full: bool, ticks: &mut BTreeMap<usize, DateTime<Utc>>) -> Result<(Pass, bool), DbError> {
        let wanted: Vec<Wanted> = self
            .served
            .iter()
            .map(|served| Wanted {
                queue: served.queue,
                free: served.most.saturating_sub(served.running.load(Ordering::Acquire)),
            })
            .collect();
        let nothing = if full {
            None
        } else {
            let (any, glance) = self.claimer.glance(&wanted).await?;
            (!any).then_some(glance)
        };
        let mut pass = if let Some(nothing) = nothing {
            nothing
        } else {
            let claimed = self.claimer.claim(&wanted).await?;
            self.worked.store(true, Ordering::Release);
            claimed
        };
        let took = pass.claimed.len();
        for claimed in pass.claimed.drain(..) {
            self.hand_over(claimed);
        }
        self.fire(pass.now, ticks).await;
        Ok((pass, took > 0))
    }

    fn hand_over(&self, claimed: Claimed) {
        let Some(served) = self.served.iter().find(|served| served.queue == claimed.queue) else {
            return;
        };
        // Held from here on: what runs and what only waits in the lane both count.
        served.running.fetch_add(1, Ordering::AcqRel);
        let lease = Arc::clone(&claimed.lease);
        self.leases.add(
            &lease,
            Permit {
                running: Arc::clone(&served.running),
                worked: Arc::clone(&self.worked),
                db: self.db.clone(),
            },
        );
        if served.lane.send(claimed).is_err() {
            // The workers are gone: the process ends, and the lease says the rest.
            self.leases.remove(lease.id);
        }
    }

    async fn fire(&self, now: DateTime<Utc>, ticks: &mut BTreeMap<usize, DateTime<Utc>>) {
        for (index, cron) in self.crons.iter().enumerate() {
            if ticks.get(&index).is_some_and(|tick| *tick > now) {
                continue;
            }
            match cron.fire_due(&self.db).await {
                Ok(_) => {
                    if let Some(next) = cron.next(now) {
                        ticks.insert(index, next);
                    }
                }
                Err(error) => {
                    tracing::warn!(cron = cron.name, %error, "a tick cannot be fired yet");
                    ticks.insert(index, now + CRON_AGAIN);
                }
            }
        }
    }

    /// Passes on cancels of jobs that run here, sooner than the next heartbeat would.
    async fn heed_cancels(&self) {
        if self.leases.is_empty() {
            return;
        }
        let rows = self
            .db
            .fetch_all(
                "-- cancels_here
                 SELECT lease FROM jobs WHERE state = 'running' AND cancel_requested_at IS NOT NULL AND worker = $1",
                &params![&*self.claimer.worker],
            )
            .await;
        // The heartbeat reads the same flags: nothing is lost when this does not get through.
        for row in rows.unwrap_or_default() {
            if let Ok(id) = row.get("lease")
                && let Some(lease) = self.leases.get(id)
            {
                lease.stop(Stop::Cancelled);
            }
        }
    }

    /// Until something may have changed: a job of this process was enqueued or ended, another process wrote, or it is time.
    async fn wait(&self, look_again: Option<Instant>, counter: &mut Option<i64>) {
        loop {
            let poll = Instant::now() + self.poll;
            let until = look_again.map_or(poll, |at| at.min(poll));
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.db.jobs_changed() => return,
                () = tokio::time::sleep_until(until) => {}
            }
            if look_again.is_some_and(|at| Instant::now() >= at) {
                return;
            }
            // Registered before the queries that follow: a change between this look and them is seen by them.
            match self.db.change_counter().await {
                Ok(now) if now.is_some() && now == *counter => {}
                Ok(now) => {
                    *counter = now;
                    return;
                }
                Err(_) => return,
            }
        }
    }
}

/// What is done beside the claims, on the connection that they leave. Never ends.
async fn beside(db: &Db, marks: &Marks, worked: &AtomicBool) {
    loop {
        tokio::time::sleep(BESIDE).await;
        marks.look_behind(db).await;
        // Forgotten before it is added up: what is noted meanwhile is added up the next time.
        if worked.swap(false, Ordering::AcqRel)
            && let Err(error) = counters::add_up(db).await
        {
            // Nothing is lost by it: whoever looks adds up what is noted by itself.
            tracing::debug!(%error, "what changed in the queues is not added up yet");
            worked.store(true, Ordering::Release);
        }
    }
}

/// One of a queue's places in this process, free again when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    running: Arc<AtomicUsize>,
    worked: Arc<AtomicBool>,
    db: Db,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
        self.worked.store(true, Ordering::Release);
        self.db.wake();
    }
}
