//! Finds the sessions of one source, and calls for the analysis of each that is over.
//!
//! Never depends on a lucky window: the scan goes on from a stored watermark, which moves with each slice in the
//! transaction that stores the slice's sessions. Safe to run twice: sessions are keyed by source and id, analyses by
//! generation. No transaction is open while the source is asked.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    db::{DbError, Tx},
    domain::session::{Settled, settled},
    ending,
    env::{Env, Reanalyze, SourceEntry},
    fault::{self, FaultPoint},
    outside::{self, Called},
    ports::Slice,
    queue::{Job, JobContext, JobError, Limit, Outcome, Policy, minutes},
    reprocess,
    store::{
        seen,
        sessions::{self, StoredSession},
        sources::{self, CycleCounts},
    },
};

/// Sessions settled in one transaction: short enough that claims do not wait for it.
const BATCH: u32 = 200;

/// Places of one slice that cannot be read, named in the log at most.
const FAULTS_LOGGED: usize = 10;

/// Scan this source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoverSessions {
    /// Name of the configured source.
    pub source: String,
}

impl DiscoverSessions {
    /// Name of its schedule.
    pub const CRON: &'static str = "discover_sessions";
}

impl Job for DiscoverSessions {
    type Env = Env;
    const NAME: &'static str = "discover_sessions"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(5) // 10s, 20s, 40s, 80s; the next tick comes anyway
        .timeout(minutes(30))
        .limit(Limit::partition(1));

    fn partition(&self) -> String {
        self.source.clone()
    }

    fn unique_key(&self) -> Option<String> {
        Some(self.source.clone())
    }

    fn gate(&self) -> Option<String> {
        Some(format!("source:{}", self.source))
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        let entry = match env.source(&self.source) {
            Ok(entry) => entry,
            Err(outage) => return env.hold(ctx, ctx.begin().await?, &self.source, &outage).await,
        };
        let gate = format!("source:{}", self.source);
        let now = env.db.now().await?;
        let mut cycle = Cycle::resumed(ctx.last_progress(), now);
        loop {
            let watermark = sources::watermark(&env.db, &self.source).await?;
            let now = env.db.now().await?;
            let slice = match outside::call(ctx, &gate, entry.source.scan(watermark.as_ref(), now)).await? {
                Called::Answer(slice) => slice,
                Called::Outage(outage) => {
                    let mut tx = ctx.begin().await?;
                    let error = Some(outage.to_string());
                    sources::save_cycle(
                        &mut tx,
                        ctx.id(),
                        &self.source,
                        cycle.began,
                        &cycle.counts,
                        false,
                        error.as_deref(),
                    )
                    .await?;
                    tx.set_progress(json!(cycle));
                    return env.wait_for(ctx, tx, &self.source, &outage).await;
                }
            };
            let mut tx = ctx.begin().await?;
            self.store_slice(&mut tx, entry, &slice, &mut cycle).await?;
            sources::save_cycle(&mut tx, ctx.id(), &self.source, cycle.began, &cycle.counts, false, None).await?;
            tx.set_progress(json!(cycle));
            ctx.progress(tx).await?;
            fault::hit(FaultPoint::AfterSlice);
            if !slice.more {
                break;
            }
        }
        self.reopen_changed(ctx, entry, &mut cycle).await?;
        self.group_loose(ctx, entry, &mut cycle).await?;
        self.settle_all(ctx, entry, &mut cycle).await?;

        let mut tx = ctx.begin().await?;
        sources::save_cycle(&mut tx, ctx.id(), &self.source, cycle.began, &cycle.counts, true, None).await?;
        tracing::info!(
            source = self.source,
            seen = cycle.counts.seen,
            new = cycle.counts.new,
            settled = cycle.counts.settled,
            reopened = cycle.counts.reopened,
            waiting = cycle.counts.waiting,
            faults = cycle.counts.faults,
            "sessions discovered"
        );
        ctx.finish(tx).await
    }
}

/// How far this job is, over all of its runs: kept on the job's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Cycle {
    /// When its first run began. A run that goes on after an outage or a crash does not scan again what an earlier one did:
    /// it is the same scan, not a second one that finds nothing else.
    began: DateTime<Utc>,
    /// Also what was counted before: those sessions are stored, and not seen as new again.
    #[serde(flatten)]
    counts: CycleCounts,
}

impl Cycle {
    fn resumed(progress: Option<&Value>, now: DateTime<Utc>) -> Self {
        let began = progress.and_then(|before| before.get("began"));
        Self {
            began: began.and_then(|began| DateTime::deserialize(began).ok()).unwrap_or(now),
            counts: progress
                .and_then(|before| CycleCounts::deserialize(before).ok())
                .unwrap_or_default(),
        }
    }
}

impl DiscoverSessions {
    async fn store_slice(
        &self,
        tx: &mut Tx,
        entry: &SourceEntry,
        slice: &Slice,
        cycle: &mut Cycle,
    ) -> Result<(), DbError> {
        for seen in &slice.sessions {
            cycle.counts.seen += 1;
            cycle.counts.new += u64::from(sessions::save_seen(tx, &self.source, seen).await?);
        }
        let merged = seen::merge(tx, &self.source, &slice.observations).await?;
        cycle.counts.seen += merged.changed;
        cycle.counts.new += merged.new;
        for (index, fault) in slice.faults.iter().enumerate() {
            // A file that is something else altogether must not flood the log: all of them are stored and counted.
            if index < FAULTS_LOGGED {
                tracing::warn!(
                    source = self.source,
                    position = fault.position,
                    reason = fault.reason,
                    "cannot be read: left out"
                );
            }
            sources::save_fault(tx, &self.source, fault).await?;
        }
        if slice.faults.len() > FAULTS_LOGGED {
            tracing::warn!(
                source = self.source,
                more = slice.faults.len() - FAULTS_LOGGED,
                "more cannot be read: is it a file of observations, one JSON object per line?"
            );
        }
        cycle.counts.faults += slice.faults.len() as u64;
        cycle.counts.slices += 1;
        sources::save_watermark(tx, &self.source, entry.kind, &slice.watermark).await
    }

    /// A session that was resumed after its verdict is looked at again, where the policy says so.
    async fn reopen_changed(&self, ctx: &JobContext, entry: &SourceEntry, cycle: &mut Cycle) -> Result<(), JobError> {
        if entry.reanalyze == Reanalyze::Never {
            return Ok(());
        }
        loop {
            let mut tx = ctx.begin().await?;
            let changed = sessions::changed_since_verdict(&mut tx, &self.source, BATCH).await?;
            if changed.is_empty() {
                return Ok(());
            }
            for session in &changed {
                sessions::reopen(&mut tx, &session.key).await?;
                cycle.counts.reopened += 1;
            }
            tx.set_progress(json!(cycle));
            ctx.progress(tx).await?;
        }
    }

    /// Makes sessions of traces that name none, where the source asks for it, once those have come to rest.
    async fn group_loose(&self, ctx: &JobContext, entry: &SourceEntry, cycle: &mut Cycle) -> Result<(), JobError> {
        if !entry.group_without_session {
            return Ok(());
        }
        loop {
            let mut tx = ctx.begin().await?;
            let now = tx.now().await?;
            let rested_at = now - entry.settle.settle_after;
            let (traces, merged) = seen::group_loose(&mut tx, &self.source, rested_at, BATCH).await?;
            if traces == 0 {
                return Ok(());
            }
            cycle.counts.seen += merged.changed;
            cycle.counts.new += merged.new;
            tx.set_progress(json!(cycle));
            ctx.progress(tx).await?;
        }
    }

    async fn settle_all(&self, ctx: &JobContext, entry: &SourceEntry, cycle: &mut Cycle) -> Result<(), JobError> {
        // A cycle counts those that it has seen: what only a webhook knows may be there for ever, and no scan walks it.
        cycle.counts.waiting = 0;
        loop {
            let mut tx = ctx.begin().await?;
            let changed = ending::wait_for_traces(&mut tx, &self.source, &entry.settle, BATCH).await?;
            ctx.progress(tx).await?;
            if changed < u64::from(BATCH) {
                break;
            }
        }
        let mut after = None;
        loop {
            let mut tx = ctx.begin().await?;
            let waiting = sessions::unsettled_after(&mut tx, &self.source, after.as_deref(), BATCH).await?;
            let Some(last) = waiting.last() else {
                return Ok(());
            };
            after = Some(last.key.session_id.clone());
            for session in &waiting {
                settle(&mut tx, entry, session, cycle).await?;
            }
            tx.set_progress(json!(cycle));
            ctx.progress(tx).await?;
        }
    }
}

async fn settle(tx: &mut Tx, entry: &SourceEntry, session: &StoredSession, cycle: &mut Cycle) -> Result<(), DbError> {
    let now = tx.now().await?;
    let told = ending::told(&entry.settle, session);
    match settled(
        &entry.settle,
        session.ended || told.is_some(),
        session.last_activity_at,
        session.open_since,
        session.digest_since,
        cycle.began,
        now,
    ) {
        Settled::Yes { incomplete } => {
            let incomplete = incomplete || never_rests(entry, session, now);
            cycle.counts.settled += 1;
            let called_for = StoredSession {
                incomplete,
                ..session.clone()
            };
            let read_at = ending::read_at(&entry.settle, &called_for);
            reprocess::settle(tx, session, incomplete, read_at).await.map(drop)
        }
        Settled::NotYet { reason, until } => {
            cycle.counts.waiting += 1;
            sessions::set_waiting(tx, &session.key, &reason, Some(until)).await
        }
    }
}

/// Whether it looked settled before, was another content when it was read, and its deadline has come since: it is read as it
/// is, or it would be settled and read for ever.
fn never_rests(entry: &SourceEntry, session: &StoredSession, now: DateTime<Utc>) -> bool {
    let was_unsettled = session.settled_at.is_some_and(|at| at > session.open_since);
    was_unsettled && entry.settle.is_late(session.last_activity_at, session.open_since, now)
}
