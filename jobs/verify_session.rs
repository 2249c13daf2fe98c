//! Checks one session's requests and claims against one system of record, and hands on to the next system's part; the last
//! part computes the verdict.
//!
//! One job at a time per system (its lane), at least the lane's pace between two calls, also across processes. What is not
//! found is looked for again later, by snoozing, before it is called missing. Safe to run twice: lookups only read, facts
//! and verdict are keyed by session and generation.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::analyze_session::load_case;
use crate::{
    adapters::mask,
    db::{DbError, Tx},
    domain::{
        judge::{self, Case},
        lookup::{Evidence, Fact, Facts, Lookup},
        session::{Generation, SessionKey, SessionState},
    },
    env::{Env, RecordsEntry, SourceEntry},
    fault::{self, FaultPoint},
    outside::{self, Called},
    ports::{UpstreamError, UpstreamReason},
    queue::{self, Job, JobContext, JobError, Limit, OrRetry as _, Outcome, Policy, gate, minutes},
    reprocess,
    store::{
        evidence, lanes,
        sessions::{self, StoredSession},
    },
    verdict_writer,
};

/// Answers kept in one transaction.
const KEPT: usize = 50;

/// Look up this system's part of this generation of this session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifySession {
    /// Name of the configured source.
    pub source: String,
    /// The application's id.
    pub session_id: String,
    /// Which analysis.
    pub generation: Generation,
    /// Name of the configured system of record: the lane.
    pub system: String,
}

impl Job for VerifySession {
    type Env = Env;
    const NAME: &'static str = "verify_session"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(8) // 10s, 20s, 40s, … 10m; outages snooze and burn none
        .timeout(minutes(10))
        .limit(Limit::partition(1));

    fn partition(&self) -> String {
        self.system.clone()
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!(
            "{}/{}#{}@{}",
            self.source, self.session_id, self.generation, self.system
        ))
    }

    fn gate(&self) -> Option<String> {
        Some(format!("records:{}", self.system))
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        let key = self.key();
        let (entry, system) = match (env.source(&self.source), env.system(&self.system)) {
            (Ok(entry), Ok(system)) => (entry, system),
            (Err(outage), _) | (_, Err(outage)) => {
                return env.hold(ctx, ctx.begin().await?, &self.source, &outage).await;
            }
        };
        let session = sessions::load(&env.db, &key).await?;
        let Some(session) = session.filter(|session| self.is_called_for_by(session)) else {
            return ctx.finish(ctx.begin().await?).await; // superseded, handed on, or done before a crash
        };
        let case = load_case(env, entry, &session).await?;
        let facts = evidence::load_facts(&env.db, &key, self.generation).await?;

        let mut look = Look {
            facts,
            evidence: Vec::new(),
            round: session.look_round,
        };
        if let Some(outage) = self.look_up_all(ctx, env, entry, system, &case, &mut look).await? {
            return self.wait_out(ctx, env, entry, &case, look, &outage).await;
        }
        fault::hit(FaultPoint::AfterLookup);

        let again = self.worth_another_look(entry, system, &case, &look.facts);
        if let (false, Some(wait)) = (again.is_empty(), env.look_again_wait(look.round)) {
            return self.look_again(ctx, &session, look, &again, wait).await;
        }
        self.hand_on(ctx, entry, &case, look).await
    }

    async fn on_discard(&self, tx: &mut Tx, reason: &str) -> Result<(), DbError> {
        verdict_writer::give_up(tx, &self.key(), self.generation, reason).await
    }

    async fn on_revive(&self, tx: &mut Tx) -> Result<bool, DbError> {
        reprocess::revive(tx, &self.key(), self.generation).await
    }
}

/// One look at a system: the answers so far, and how the new ones were learnt.
struct Look {
    facts: Facts,
    evidence: Vec<Evidence>,
    round: u32,
}

/// For how long the system has given this job nothing but answers that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Unreadable {
    /// Milliseconds.
    unreadable_for_ms: u64,
    /// When the latest came.
    last_at: DateTime<Utc>,
}

impl Unreadable {
    /// One more. What passed while the system was down does not count: the give-up clock stands still.
    async fn after(ctx: &JobContext, tx: &mut Tx, gate: &str) -> Result<Self, DbError> {
        let now = tx.now().await?;
        let last = ctx.last_progress().map(Self::deserialize).and_then(Result::ok);
        let mut all = last.unwrap_or(Self {
            unreadable_for_ms: 0,
            last_at: now,
        });
        if !gate::was_shut_since(tx, gate, all.last_at).await? {
            let passed = (now - all.last_at).num_milliseconds();
            all.unreadable_for_ms = all.unreadable_for_ms.saturating_add(passed.try_into().unwrap_or(0));
        }
        all.last_at = now;
        Ok(all)
    }
}

impl VerifySession {
    fn key(&self) -> SessionKey {
        SessionKey::new(&self.source, &self.session_id)
    }

    fn is_called_for_by(&self, session: &StoredSession) -> bool {
        session.state == SessionState::Verifying
            && session.generation == self.generation
            && session.system.as_deref() == Some(self.system.as_str())
    }

    /// Asks this system everything that the judge wants to know, also what only an answer makes it want to know.
    async fn look_up_all(
        &self,
        ctx: &JobContext,
        env: &Env,
        entry: &SourceEntry,
        system: &RecordsEntry,
        case: &Case,
        look: &mut Look,
    ) -> Result<Option<UpstreamError>, JobError> {
        let gate = format!("records:{}", self.system);
        loop {
            let plan: Vec<Lookup> = self.part_of(judge::plan(&entry.playbook, case, &look.facts));
            if plan.is_empty() {
                return Ok(None);
            }
            for lookup in plan {
                // Before the lane: a call that is not made takes no turn, and none is late because of the question.
                if let Some(outage) = outside::shut(ctx, &gate).await? {
                    return Ok(Some(outage));
                }
                let asked_at = wait_for_lane(ctx, env, system).await?;
                let started = Instant::now();
                let (called, ()) = futures::future::join(
                    outside::call_admitted(ctx, &gate, system.system.look_up(&lookup)),
                    keep_pause(env, system, asked_at, started),
                )
                .await;
                let answer = match called? {
                    Called::Answer(answer) => answer,
                    Called::Outage(outage) => return Ok(Some(outage)),
                };
                let (masked, request) = mask::asked(&lookup, &answer.request);
                look.evidence.push(Evidence {
                    lookup: masked,
                    request,
                    status: answer.status,
                    fact: mask::fact(&answer.fact),
                    at: asked_at,
                    latency_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    round: look.round,
                });
                look.facts.insert(lookup, answer.fact);
                if look.evidence.len() >= KEPT {
                    self.keep(ctx, &case.session, look).await?;
                }
            }
        }
    }

    /// A session with a thousand records takes its time: what was answered is kept on the way, so that a time-out or a crash
    /// does not ask the system for all of it again.
    async fn keep(&self, ctx: &JobContext, key: &SessionKey, look: &mut Look) -> Result<(), JobError> {
        let mut tx = ctx.begin().await?;
        self.save(&mut tx, key, look).await?;
        ctx.progress(tx).await?;
        look.evidence.clear();
        Ok(())
    }

    /// Stores what was learnt so far.
    async fn save(&self, tx: &mut Tx, key: &SessionKey, look: &Look) -> Result<(), JobError> {
        evidence::append(tx, key, self.generation, &look.evidence).await?;
        evidence::save_facts(tx, key, self.generation, &look.facts).await?;
        Ok(())
    }

    fn part_of(&self, plan: Vec<Lookup>) -> Vec<Lookup> {
        plan.into_iter().filter(|lookup| lookup.system == self.system).collect()
    }

    fn worth_another_look(
        &self,
        entry: &SourceEntry,
        system: &RecordsEntry,
        case: &Case,
        facts: &Facts,
    ) -> BTreeSet<Lookup> {
        let mut again = judge::look_again(&entry.playbook, case, facts);
        if system.system.doubts_absence() {
            again.extend(judge::absences(&entry.playbook, case, facts));
        }
        self.part_of(again).into_iter().collect()
    }

    /// Systems of record are eventually consistent too: what is not there yet is looked for again.
    async fn look_again(
        &self,
        ctx: &JobContext,
        session: &StoredSession,
        mut look: Look,
        again: &BTreeSet<Lookup>,
        wait: Duration,
    ) -> Result<Outcome, JobError> {
        for lookup in again {
            look.facts.remove(lookup);
        }
        let reason = format!(
            "{} of its records not found in {} at look {}: looking again",
            again.len(),
            self.system,
            look.round + 1
        );
        let mut tx = ctx.begin().await?;
        self.save(&mut tx, &session.key, &look).await?;
        sessions::look_again_in(&mut tx, &session.key, self.generation, look.round + 1, wait, &reason).await?;
        let outcome = ctx.snooze(tx, wait, &reason).await;
        fault::hit(FaultPoint::AfterFactsStored);
        outcome
    }

    /// The system cannot answer now: keep what it said so far, and wait. After the give-up time an unreadable answer counts as
    /// an answer; being down never does, and does not bring the end nearer.
    async fn wait_out(
        &self,
        ctx: &JobContext,
        env: &Env,
        entry: &SourceEntry,
        case: &Case,
        mut look: Look,
        outage: &UpstreamError,
    ) -> Result<Outcome, JobError> {
        let mut tx = ctx.begin().await?;
        if outage.reason == UpstreamReason::BadAnswer {
            let unreadable = Unreadable::after(ctx, &mut tx, &outage.upstream).await?;
            if Duration::from_millis(unreadable.unreadable_for_ms) > env.settings.give_up_after {
                drop(tx);
                for lookup in self.part_of(judge::plan(&entry.playbook, case, &look.facts)) {
                    let reason = outage.to_string();
                    look.facts.insert(lookup, Fact::Unknown { reason });
                }
                return self.hand_on(ctx, entry, case, look).await;
            }
            tx.set_progress(serde_json::to_value(unreadable).or_fail()?);
        }
        self.save(&mut tx, &case.session, &look).await?;
        env.wait_out(ctx, tx, &case.session, outage).await
    }

    /// Goes on at the next system, or computes the verdict when every question has its answer.
    async fn hand_on(
        &self,
        ctx: &JobContext,
        entry: &SourceEntry,
        case: &Case,
        look: Look,
    ) -> Result<Outcome, JobError> {
        let key = &case.session;
        let mut tx = ctx.begin().await?;
        if !sessions::is_current(&mut tx, key, self.generation).await? {
            return ctx.finish(tx).await;
        }
        evidence::append(&mut tx, key, self.generation, &look.evidence).await?;
        let others: BTreeSet<String> = judge::plan(&entry.playbook, case, &look.facts)
            .into_iter()
            .map(|lookup| lookup.system)
            .collect();
        if let Some(next) = others.into_iter().find(|system| *system != self.system) {
            evidence::save_facts(&mut tx, key, self.generation, &look.facts).await?;
            sessions::verify_at(&mut tx, key, &next).await?;
            queue::enqueue(
                &mut tx,
                &Self {
                    system: next,
                    ..self.clone()
                },
            )
            .await?;
            return ctx.finish(tx).await;
        }
        let looks = evidence::looks(&mut tx, key, self.generation).await?;
        let verdict = judge::judge(&entry.playbook, case, &look.facts, looks);
        fault::hit(FaultPoint::BeforeVerdict);
        verdict_writer::save(&mut tx, key, self.generation, &verdict).await?;
        ctx.finish(tx).await
    }
}

/// Holds the pace: reserves the lane's next call and waits for it. Answers when that is: now.
async fn wait_for_lane(ctx: &JobContext, env: &Env, system: &RecordsEntry) -> Result<DateTime<Utc>, JobError> {
    if system.pace.is_zero() {
        return Ok(env.db.now().await?);
    }
    let reserved = lanes::reserve(&env.db, system.name(), system.pace).await?;
    tokio::select! {
        biased;
        () = ctx.cancelled().cancelled() => Err(JobError::Cancelled),
        () = tokio::time::sleep_until(reserved.instant().into()) => Ok(reserved.now()),
    }
}

/// What a call takes from here to the wire.
const LEAVING: Duration = Duration::from_millis(1);

/// While the call is on its way, and whatever comes of it: the pause counts from when it has surely left.
async fn keep_pause(env: &Env, system: &RecordsEntry, asked_at: DateTime<Utc>, started: Instant) {
    if system.pace.is_zero() {
        return;
    }
    // On a machine where this wakes up late, the call has left late as well.
    tokio::time::sleep(LEAVING).await;
    let left_at = asked_at + started.elapsed();
    if let Err(error) = lanes::left_at(&env.db, system.name(), system.pace, left_at).await {
        tracing::warn!(system = system.name(), %error, "when a call left cannot be noted: the next one keeps to the plan");
    }
}
