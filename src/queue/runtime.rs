//! Starts the workers of this process and ends them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use futures::FutureExt;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    backend::{Lane, RunFn, run_workers},
    claim::Claimer,
    claimer::{Loop, Served},
    completions::Completions,
    cron::Cron,
    heartbeat::Heart,
    job::Registry,
    lease::{Leases, Stop, since_boot},
    limits::{self, LimitSetting},
    marks::Marks,
    policy::Policy,
    pulse::Pulse,
    role::Role,
    run::Runner,
};
use crate::{
    db::{Db, DbError},
    params,
};

/// How a process works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// What it does for the fleet, for people who look.
    pub role: Role,
    /// How long a claim holds without a heartbeat.
    pub lease: Duration,
    /// How often all leases of this process are renewed, and dead workers looked for.
    pub heartbeat: Duration,
    /// How often to look for what nobody announced; `None`: 100 ms on a file, where that is a look at a number, 1.5 s on a
    /// server.
    pub poll: Option<Duration>,
    /// How long this process leaves expired leases alone after its start; `None`: a whole lease on a server, which may have
    /// been away for everybody a moment ago, and no time on a file.
    pub newcomer: Option<Duration>,
    /// How long running jobs may go on after [`Running::shutdown`].
    pub grace: Duration,
    /// The queues to serve; `None`: all that the registry knows. A process that serves none changes no limit.
    pub queues: Option<Vec<String>>,
    /// How many jobs of a queue run at once in this process; where absent, only the fleet's limits bind.
    pub concurrency: BTreeMap<String, usize>,
    /// Whether also jobs without effects have a commit each.
    pub each_end_alone: bool,
    /// What holds instead of the policies' limits, by queue.
    pub limits: BTreeMap<String, LimitSetting>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            role: Role::default(),
            lease: Duration::from_secs(12),
            heartbeat: Duration::from_secs(3),
            poll: None,
            newcomer: None,
            grace: Duration::from_secs(30),
            queues: None,
            concurrency: BTreeMap::new(),
            each_end_alone: false,
            limits: BTreeMap::new(),
        }
    }
}

/// The workers of this process. Dropped, it ends them at once as [`Running::abort`] does.
#[derive(Debug)]
pub struct Running {
    db: Db,
    worker: Arc<str>,
    leases: Leases,
    grace: Duration,
    stop_claiming: CancellationToken,
    stop_workers: CancellationToken,
    stop_heart: CancellationToken,
    claimer: Option<thread::JoinHandle<()>>,
    workers: Option<JoinHandle<()>>,
    heart: Option<thread::JoinHandle<()>>,
    pulse: Pulse,
}

impl Running {
    /// The id of this process as a worker: fresh at every start.
    pub fn worker_id(&self) -> &str {
        &self.worker
    }

    /// Whether nothing runs here.
    pub fn is_idle(&self) -> bool {
        self.leases.is_empty()
    }

    /// The longest time so far between two signs of life that reached the database. Past three quarters of a lease the jobs
    /// of this process are lost.
    pub fn longest_silence(&self) -> Duration {
        self.leases.longest_silence()
    }

    /// Whether all this lives, for whoever asks from outside.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Claims no more, lets running jobs go on for the grace, hands back what is left.
    pub async fn shutdown(mut self) {
        self.stop_claiming.cancel();
        join(self.claimer.take()).await;
        if tokio::time::timeout(self.grace, self.leases.emptied()).await.is_err() {
            for lease in self.leases.all() {
                lease.stop(Stop::ShuttingDown);
            }
            // Each hands itself back; whatever does not is left to its lease.
            if tokio::time::timeout(HAND_BACK, self.leases.emptied()).await.is_err() {
                let left = self.leases.all().len();
                tracing::warn!(
                    left,
                    "jobs did not end in time: they run elsewhere once their lease ends"
                );
            }
        }
        if let Err(error) = self.say_goodbye().await {
            tracing::warn!(%error, "the worker's row could not be closed");
        }
        self.end().await;
    }

    /// Ends at once as if the process was killed: nothing is handed back. For tests.
    pub async fn abort(mut self) {
        self.end().await;
    }

    async fn say_goodbye(&self) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        let now = tx.now().await?;
        tx.execute(
            "-- worker_stopped\nUPDATE workers SET stopped_at = $2, last_seen_at = $2 WHERE id = $1",
            &params![&*self.worker, now],
        )
        .await?;
        tx.commit().await
    }

    /// Ends all tasks and waits until they are gone.
    async fn end(&mut self) {
        self.stop_all();
        // The claimer first: what it still claims is dropped with the workers.
        join(self.claimer.take()).await;
        if let Some(workers) = self.workers.take() {
            workers.abort();
            let _ = workers.await;
        }
        // The aborted jobs' tasks let go of their leases when they are dropped.
        let _ = tokio::time::timeout(ABORT, self.leases.emptied()).await;
        join(self.heart.take()).await;
    }

    fn stop_all(&self) {
        self.stop_claiming.cancel();
        self.stop_workers.cancel();
        self.stop_heart.cancel();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop_all();
        if let Some(workers) = &self.workers {
            workers.abort();
        }
    }
}

/// Waits for a thread without blocking the runtime.
async fn join(thread: Option<thread::JoinHandle<()>>) {
    if let Some(thread) = thread {
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// How long the tasks of aborted jobs may take to be dropped.
const ABORT: Duration = Duration::from_secs(1);
/// How long jobs that were told to hand themselves back may take to write it.
const HAND_BACK: Duration = Duration::from_secs(5);
/// Jobs of one queue at once in one process, where the settings say nothing: the fleet's limits bind before this does.
const CONCURRENCY: usize = 64;

/// Starts this process's workers.
///
/// # Errors
/// When the settings name a queue that the registry does not know, or the database refuses the worker's row or the limits.
pub async fn start<E: Send + Sync + 'static>(
    db: &Db,
    registry: Arc<Registry<E>>,
    env: Arc<E>,
    crons: Vec<Cron>,
    settings: WorkerSettings,
) -> Result<Running, DbError> {
    let queues = served_queues(&registry, &settings)?;
    let worker: Arc<str> = Uuid::now_v7().to_string().into();
    introduce(db, &worker, &registry, &queues, &settings).await?;
    let started = since_boot();

    let leases = Leases::default();
    let [stop_claiming, stop_workers, stop_heart] = [(); 3].map(|()| CancellationToken::new());
    let heart = Heart {
        db: db.clone(),
        registry: Arc::clone(&registry),
        leases: leases.clone(),
        worker: Arc::clone(&worker),
        lease: settings.lease,
        every: settings.heartbeat,
        newcomer: settings
            .newcomer
            .unwrap_or(if db.is_server() { settings.lease } else { Duration::ZERO }),
        stop: stop_heart.clone(),
    }
    .start()?;

    let mut served = Vec::new();
    let mut lanes = Vec::new();
    for queue in queues {
        let (lane, claimed) = mpsc::unbounded_channel();
        served.push(Served {
            queue,
            most: settings.concurrency.get(queue).copied().unwrap_or(CONCURRENCY),
            running: Arc::default(),
            lane,
        });
        lanes.push((queue, Lane::new(claimed)));
    }
    let runner = Arc::new(Runner {
        db: db.clone(),
        registry,
        env,
        leases: leases.clone(),
        worker: Arc::clone(&worker),
        completions: if settings.each_end_alone {
            Completions::alone(db.clone())
        } else {
            Completions::together(db.clone())
        },
    });
    let run: RunFn = Arc::new(move |claimed| {
        let runner = Arc::clone(&runner);
        async move { runner.run(claimed).await }.boxed()
    });
    let workers = tokio::spawn(run_workers(Arc::clone(&worker), lanes, run, stop_workers.clone()));
    let alive = Arc::new(());
    let pulse = Pulse {
        leases: leases.clone(),
        started,
        lease: settings.lease,
        claimer: Arc::downgrade(&alive),
        stopping: stop_claiming.clone(),
    };
    let claimer = Loop {
        db: db.clone(),
        claimer: Claimer {
            db: db.clone(),
            worker: Arc::clone(&worker),
            lease: settings.lease,
            marks: Marks::default(),
            turn: 0,
        },
        served,
        leases: leases.clone(),
        crons,
        poll: settings.poll.unwrap_or_else(|| db.usual_poll()),
        stop: stop_claiming.clone(),
        // Others may have left something.
        worked: Arc::new(AtomicBool::new(true)),
        _alive: alive,
    }
    .start()?;
    Ok(Running {
        db: db.clone(),
        worker,
        leases,
        grace: settings.grace,
        stop_claiming,
        stop_workers,
        stop_heart,
        claimer: Some(claimer),
        workers: Some(workers),
        heart: Some(heart),
        pulse,
    })
}

fn served_queues<E: Send + Sync + 'static>(
    registry: &Registry<E>,
    settings: &WorkerSettings,
) -> Result<Vec<&'static str>, DbError> {
    let known = registry.names();
    let Some(wanted) = &settings.queues else {
        return Ok(known);
    };
    wanted
        .iter()
        .map(|wanted| {
            known.iter().copied().find(|name| name == wanted).ok_or_else(|| {
                DbError::other(format!(
                    "there is no queue `{wanted}`: the queues are {}",
                    known.join(", ")
                ))
            })
        })
        .collect()
}

/// Writes the worker's row, and the limits of all queues, so that each has its limit whoever serves and enqueues it.
async fn introduce<E: Send + Sync + 'static>(
    db: &Db,
    worker: &str,
    registry: &Registry<E>,
    queues: &[&'static str],
    settings: &WorkerSettings,
) -> Result<(), DbError> {
    let policies: BTreeMap<&'static str, Policy> = registry
        .names()
        .into_iter()
        .filter_map(|queue| Some((queue, registry.get(queue)?.policy())))
        .collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut tx = db.begin().await?;
    // One that serves no queue may have been started with a part of the configuration only.
    limits::apply(&mut tx, &policies, &settings.limits, !queues.is_empty()).await?;
    let now = tx.now().await?;
    // A gate that is open holds nobody, whatever came in between when it opened.
    tx.execute(
        "-- holds_nobody
         UPDATE gates SET releasing = $1 WHERE state = 'open' AND EXISTS (SELECT 1 FROM jobs WHERE held_by = gates.key)",
        &params![true],
    )
    .await?;
    tx.execute(
        "-- introduce_worker
         INSERT INTO workers (id, host, pid, version, role, queues, started_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        &params![
            worker,
            host.trim(),
            std::process::id(),
            env!("CARGO_PKG_VERSION"),
            settings.role.as_str(),
            serde_json::json!(queues),
            now
        ],
    )
    .await?;
    tx.commit().await
}
