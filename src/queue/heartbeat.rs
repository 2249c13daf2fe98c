//! Keeps this process's leases alive from a thread of its own.
//!
//! The thread has its own runtime and its own connections: jobs that block every thread of the main runtime, or hold all
//! its connections, do not cost the process its leases. Renewal is one statement for all of them.

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    thread,
    time::Duration,
};

use futures::FutureExt;
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    job::Registry,
    lease::{Leases, Stop, since_boot},
    machine, rescue,
};
use crate::{
    db::{
        Db, DbError, Sql,
        clock::{postgres_now, sqlite_now},
    },
    params,
};

/// How finely the process watches how long its own leases are certain.
const FENCE: Duration = Duration::from_millis(100);
/// How often to look for jobs of dead workers, at least.
const RESCUE: Duration = Duration::from_millis(1500);

/// What the thread works with.
pub(super) struct Heart<E> {
    pub(super) db: Db,
    pub(super) registry: Arc<Registry<E>>,
    pub(super) leases: Leases,
    pub(super) worker: Arc<str>,
    pub(super) lease: Duration,
    pub(super) every: Duration,
    /// How long a process that has just started leaves expired leases alone.
    pub(super) newcomer: Duration,
    pub(super) stop: CancellationToken,
}

/// Also those that ran out, as long as nobody took the job: the database may have been away for everybody. On PostgreSQL a row
/// that a transaction holds is passed over: that is our own run's end, or somebody's who takes it, and nobody's lease is to run
/// out because of it.
const RENEW: Sql = Sql::each(
    concat!(
        "-- renew_all_leases
         UPDATE jobs SET lease_expires_at = ",
        sqlite_now!(),
        " + $2 WHERE state = 'running' AND lease IN (SELECT value FROM json_each($1))
         RETURNING lease, cancel_requested_at IS NOT NULL AS cancelled"
    ),
    concat!(
        "-- renew_all_leases
         UPDATE jobs SET lease_expires_at = ",
        postgres_now!(),
        " + $2 * interval '1 microsecond'
         WHERE id = ANY (ARRAY(
             SELECT id FROM jobs WHERE id = ANY (ARRAY(SELECT jsonb_object_keys($1)::uuid)) AND lease = ($1 ->> id::text)::uuid
             FOR NO KEY UPDATE SKIP LOCKED))
         RETURNING lease, cancel_requested_at IS NOT NULL AS cancelled"
    ),
);

const SEEN: Sql = Sql::each(
    concat!(
        "-- worker_seen\nUPDATE workers SET last_seen_at = ",
        sqlite_now!(),
        ", clock_at = $2 WHERE id = $1"
    ),
    concat!(
        "-- worker_seen\nUPDATE workers SET last_seen_at = ",
        postgres_now!(),
        ", clock_at = $2 WHERE id = $1"
    ),
);

/// Leases that were not renewed and are still ours: their rows were held at that moment. And those that this process ended by
/// itself a moment ago, while their runs are still on the list.
const STILL_OURS: Sql = Sql::each(
    "-- leases_still_ours
     SELECT lease FROM jobs WHERE state = 'running' AND lease IN (SELECT value FROM json_each($1))
     UNION ALL
     SELECT lease FROM job_attempts WHERE lease IN (SELECT value FROM json_each($1)) AND outcome <> 'rescued'",
    "-- leases_still_ours
     SELECT lease FROM jobs
     WHERE id = ANY (ARRAY(SELECT jsonb_object_keys($1)::uuid)) AND lease = ($1 ->> id::text)::uuid
     UNION ALL
     SELECT lease FROM job_attempts
     WHERE lease = ANY (ARRAY(SELECT value::uuid FROM jsonb_each_text($1))) AND outcome <> 'rescued'",
);

impl<E: Send + Sync + 'static> Heart<E> {
    /// Starts the thread.
    pub(super) fn start(self) -> Result<thread::JoinHandle<()>, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DbError::other(format!("no runtime for the heartbeat: {error}")))?;
        thread::Builder::new()
            .name("aftercall-heartbeat".to_owned())
            .spawn(move || runtime.block_on(self.run()))
            .map_err(|error| DbError::other(format!("no thread for the heartbeat: {error}")))
    }

    async fn run(self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            // Side by side: while the database does not answer, the fence still falls in time.
            () = async { tokio::join!(self.fence(), self.beat()); } => {}
        }
    }

    /// Cancels the outside calls of runs whose lease is no longer certain.
    async fn fence(&self) {
        loop {
            let fenced = self.leases.all().iter().filter(|lease| lease.fence()).count();
            if fenced > 0 {
                tracing::warn!(
                    jobs = fenced,
                    "leases could not be renewed in time: outside calls are cancelled until they are certain again"
                );
            }
            tokio::time::sleep(FENCE).await;
        }
    }

    async fn beat(&self) {
        let db = loop {
            match self.db.reopen(self.lease / 4).await {
                Ok(db) => break db,
                Err(error) => {
                    tracing::warn!(%error, "the heartbeat has no connection yet");
                    tokio::time::sleep(FENCE).await;
                }
            }
        };
        let mut last_contact = since_boot();
        // An expiry counts only one full lease after the first contact that follows a failure: until then the others,
        // who lost the database as well, had no chance to renew.
        let mut trusted_from = since_boot() + self.newcomer;
        let mut server = None;
        let mut beat_at = Instant::now() + self.every;
        let mut rescue_at = Instant::now();
        let mut failed = false;
        loop {
            tokio::time::sleep_until(beat_at.min(rescue_at)).await;
            let now = Instant::now();
            // A gap in our own beats, as after a suspended machine, is a failure of contact too.
            failed |= since_boot().saturating_sub(last_contact) > self.lease / 2;
            if now >= beat_at || failed {
                beat_at = now + self.every;
                match AssertUnwindSafe(self.renew(&db)).catch_unwind().await {
                    Ok(Ok(())) => {
                        self.leases.beaten();
                        if failed {
                            trusted_from = since_boot() + self.lease;
                            failed = false;
                        }
                        last_contact = since_boot();
                    }
                    Ok(Err(error)) => {
                        failed = true;
                        tracing::warn!(%error, "the heartbeat did not get through");
                        // Sooner than the next beat: the leases are running out.
                        beat_at = now + self.every / 4;
                    }
                    Err(_) => failed = true,
                }
            }
            if now >= rescue_at {
                rescue_at = now + self.every.min(RESCUE);
                if failed || since_boot() < trusted_from {
                    continue;
                }
                match AssertUnwindSafe(self.rescue(&db, &mut server)).catch_unwind().await {
                    Ok(Ok(true)) => {}
                    // Nobody could renew while it was away: it counts as a failure, also where none of ours fell into it.
                    Ok(Ok(false)) => trusted_from = since_boot() + self.lease,
                    Ok(Err(error)) => {
                        failed |= error.is_passing();
                        tracing::warn!(%error, "dead workers' jobs cannot be freed yet");
                    }
                    Err(_) => tracing::error!("freeing a dead worker's job panicked"),
                }
            }
        }
    }

    /// Frees the jobs of dead workers. `false`: the server is another one than at the last look, or was started again.
    async fn rescue(&self, db: &Db, server: &mut Option<String>) -> Result<bool, DbError> {
        let expired = rescue::expired(db).await?;
        let same = server.as_ref().is_none_or(|known| *known == expired.server);
        *server = Some(expired.server.clone());
        if same {
            rescue::free_all(db, &self.registry, &self.leases, &expired).await?;
        }
        Ok(same)
    }

    async fn renew(&self, db: &Db) -> Result<(), DbError> {
        let leases = self.leases.all();
        let sent = since_boot();
        if leases.is_empty() {
            let seen = &params![&*self.worker, machine::clock()];
            return db.write_alone(SEEN, seen).await.map(drop);
        }
        let ours: Json = leases
            .iter()
            .map(|lease| (lease.job.to_string(), json!(lease.id)))
            .collect();
        let term = i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX / 4);
        let clock = machine::clock();
        let mut tx = db.begin().await?;
        tx.execute(SEEN, &params![&*self.worker, clock]).await?;
        let mut held: HashMap<Uuid, bool> = HashMap::new();
        for row in tx.fetch_all(RENEW, &params![ours, term]).await? {
            held.insert(row.get("lease")?, row.get("cancelled")?);
        }
        // At once: who wants one of these jobs comes by, or waits.
        tx.commit().await?;
        for lease in &leases {
            let Some(cancelled) = held.get(&lease.id) else { continue };
            lease.renewed(sent);
            if *cancelled {
                lease.stop(Stop::Cancelled);
            }
        }
        let missing: Json = leases
            .iter()
            .filter(|lease| !held.contains_key(&lease.id))
            .map(|lease| (lease.job.to_string(), json!(lease.id)))
            .collect();
        let mut still_ours: HashSet<Uuid> = HashSet::new();
        if missing.as_object().is_some_and(|missing| !missing.is_empty()) {
            for row in db.fetch_all(STILL_OURS, &params![missing]).await? {
                still_ours.insert(row.get("lease")?);
            }
        }
        for lease in leases {
            // Renewed; or held at this moment; or its end is committed, and its run about to say so.
            if held.contains_key(&lease.id) || still_ours.contains(&lease.id) {
                continue;
            }
            // Given to somebody else, or off the list in the meantime.
            if self.leases.get(lease.id).is_some() {
                lease.stop(Stop::Lost);
            }
        }
        Ok(())
    }
}
