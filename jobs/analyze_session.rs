//! Reads one session: what was asked, what was said and what the tools claim.
//!
//! The content is read once and kept; if it no longer has the digest that discovery saw, the session is not over yet and
//! goes back to waiting. Where a webhook told the end, nothing says what the source holds by then: it is read until it is the
//! same for `trace_lag`. A session that needs no look at a system of record gets its verdict here, every other goes on to
//! `verify_session`. Safe to run twice: snapshot, reading and verdict are keyed by session and generation, and a paid
//! answer is stored before it is used.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;

use super::VerifySession;
use crate::{
    db::{DbError, Tx},
    domain::{
        judge::{self, Case},
        observation::Snapshot,
        session::{Generation, SessionKey, SessionState},
        transcript::Transcript,
    },
    ending,
    env::{Env, SourceEntry},
    fault::{self, FaultPoint},
    outside::{self, Called},
    ports::SessionRef,
    queue::{self, Job, JobContext, JobError, Limit, OrRetry, Outcome, Policy, minutes},
    reader::{self, Read},
    reprocess,
    store::{
        readings::{self, StoredReading},
        seen,
        sessions::{self, StoredSession},
        snapshots::{self, Packed},
    },
    verdict_writer,
};

/// Compressed bytes above which a session is large: some megabytes of text.
const LARGE: usize = 1 << 20;

/// Why an analysis waits whose session was told to be over.
const AFTER_ITS_END: &str = "the session ended: its last spans may still be on their way";

/// Analyse this generation of this session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyzeSession {
    /// Name of the configured source.
    pub source: String,
    /// The application's id.
    pub session_id: String,
    /// Which analysis.
    pub generation: Generation,
}

impl Job for AnalyzeSession {
    type Env = Env;
    const NAME: &'static str = "analyze_session"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(8) // 10s, 20s, 40s, … 10m; outages snooze and burn none
        .timeout(minutes(10))
        .limit(Limit::queue(8));

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}/{}#{}", self.source, self.session_id, self.generation))
    }

    fn gate(&self) -> Option<String> {
        Some(format!("source:{}", self.source))
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        let key = self.key();
        let entry = match env.source(&self.source) {
            Ok(entry) => entry,
            Err(outage) => return env.hold(ctx, ctx.begin().await?, &self.source, &outage).await,
        };
        let session = sessions::load(&env.db, &key).await?;
        let Some(session) = session.filter(|session| self.is_called_for_by(session)) else {
            return ctx.finish(ctx.begin().await?).await; // superseded, or done before a crash
        };

        let told = ending::told(&entry.settle, &session);
        if let Some(read_at) = ending::read_at(&entry.settle, &session)
            && let Ok(wait) = (read_at - env.db.now().await?).to_std()
            && wait > Duration::ZERO
        {
            return ctx.snooze(ctx.begin().await?, wait, AFTER_ITS_END).await;
        }
        let (snapshot, digest, stored) = match snapshots::load(&env.db, &key, self.generation).await? {
            Some((snapshot, digest)) => (snapshot, digest, true),
            None => match self.read_content(ctx, env, entry, &session).await? {
                Called::Answer(Some((snapshot, digest))) => (snapshot, digest, false),
                Called::Answer(None) if session.is_untraced() => {
                    let reason = ending::not_in_traces(&entry.settle, session.open_since, env.db.now().await?);
                    let mut tx = ctx.begin().await?;
                    sessions::wait_for_traces(&mut tx, &key, self.generation, &reason).await?;
                    return ctx.finish(tx).await;
                }
                Called::Answer(None) => {
                    let error = format!("source {} no longer holds session {key}", self.source);
                    return Err(JobError::fail(format!(
                        "{error}: restore it there, then `aftercall reprocess`"
                    )));
                }
                Called::Outage(outage) => return env.wait_out(ctx, ctx.begin().await?, &key, &outage).await,
            },
        };
        if !stored
            && let Some(told) = told
            && digest != session.digest
            && !session.incomplete
        {
            // It holds more than was seen before its end: is that all of it?
            let mut tx = ctx.begin().await?;
            let now = tx.now().await?;
            if !entry.settle.is_late(told, session.open_since, now) {
                let until = now + entry.settle.trace_lag;
                sessions::read_again(&mut tx, &key, self.generation, &digest, until).await?;
                return ctx.snooze(tx, entry.settle.trace_lag, AFTER_ITS_END).await;
            }
        }
        if !stored && goes_on(&session, told.is_some(), &digest) {
            let mut tx = ctx.begin().await?;
            sessions::unsettle(&mut tx, &key, self.generation, &digest).await?;
            return ctx.finish(tx).await;
        }

        let snapshot = Arc::new(snapshot);
        let packed = snapshots::pack(&snapshot).await?;
        // Held to the end: what a large session takes is many times what is stored of it.
        let _room = if packed.bytes() > LARGE {
            Some(room_for_large(ctx, env).await?)
        } else {
            None
        };
        let transcript = Transcript::of(&snapshot, &entry.playbook);
        let read = match readings::load(&env.db, &key, self.generation).await? {
            Some(stored) => Read::Reading(stored),
            None if reader::is_paid(env, &key) => {
                if !stored {
                    self.keep_snapshot(ctx, &key, &packed, &digest).await?;
                }
                reader::read(ctx, env, entry, &key, self.generation, &transcript).await?
            }
            None => reader::read(ctx, env, entry, &key, self.generation, &transcript).await?,
        };
        let stored_reading = match read {
            Read::Reading(reading) => reading,
            Read::Outage(outage) => return env.wait_out(ctx, ctx.begin().await?, &key, &outage).await,
        };

        let mut tx = ctx.begin().await?;
        // Traces before the session: a scan takes them in this order, and neither may wait for the other.
        seen::use_end_signals(&mut tx, &key).await?;
        if !sessions::is_current(&mut tx, &key, self.generation).await? {
            drop(tx);
            return ctx.finish(ctx.begin().await?).await;
        }
        snapshots::save(&mut tx, &key, self.generation, &packed, &digest).await?;
        sessions::set_analyzed_digest(&mut tx, &key, &digest, &session.digest, session.told_at).await?;
        readings::save(&mut tx, &key, self.generation, &stored_reading).await?;
        let case = case_of(&session, entry, &snapshot, transcript, stored_reading);
        self.hand_on(&mut tx, entry, &case).await?;
        ctx.finish(tx).await
    }

    async fn on_discard(&self, tx: &mut Tx, reason: &str) -> Result<(), DbError> {
        verdict_writer::give_up(tx, &self.key(), self.generation, reason).await
    }

    async fn on_revive(&self, tx: &mut Tx) -> Result<bool, DbError> {
        reprocess::revive(tx, &self.key(), self.generation).await
    }
}

impl AnalyzeSession {
    fn key(&self) -> SessionKey {
        SessionKey::new(&self.source, &self.session_id)
    }

    async fn read_content(
        &self,
        ctx: &JobContext,
        env: &Env,
        entry: &SourceEntry,
        session: &StoredSession,
    ) -> Result<Called<Option<(Snapshot, String)>>, JobError> {
        let gate = format!("source:{}", self.source);
        outside::call(ctx, &gate, entry.source.read(&session_ref(env, session).await?)).await
    }

    /// Whether the session still waits for just this analysis. Reconcile enqueues by what it read a moment ago: by now the
    /// session may have moved on to its systems of record, and to begin again would ask them a second time.
    fn is_called_for_by(&self, session: &StoredSession) -> bool {
        let waits = match session.state {
            SessionState::Settled | SessionState::Analyzing => true,
            SessionState::Verifying => session.system.is_none(),
            SessionState::Open | SessionState::Done | SessionState::Reopened => false,
        };
        waits && session.generation == self.generation
    }

    /// Before money is spent on it: what the verdict saw must survive a crash.
    async fn keep_snapshot(
        &self,
        ctx: &JobContext,
        key: &SessionKey,
        packed: &Packed,
        digest: &str,
    ) -> Result<(), JobError> {
        let mut tx = ctx.begin().await?;
        if sessions::is_current(&mut tx, key, self.generation).await? {
            snapshots::save(&mut tx, key, self.generation, packed, digest).await?;
            sessions::set_state(&mut tx, key, SessionState::Analyzing, Some("being read")).await?;
        }
        ctx.progress(tx).await?;
        fault::hit(FaultPoint::AfterSnapshot);
        Ok(())
    }

    /// Writes the verdict where no system of record is needed for it, else calls for the first system's part.
    async fn hand_on(&self, tx: &mut Tx, entry: &SourceEntry, case: &Case) -> Result<(), DbError> {
        if let Some(verdict) = judge::early_verdict(&entry.playbook, case) {
            return verdict_writer::save(tx, &case.session, self.generation, &verdict).await;
        }
        let facts = crate::domain::lookup::Facts::new();
        let plan = judge::plan(&entry.playbook, case, &facts);
        let Some(first) = plan.first() else {
            let verdict = judge::judge(&entry.playbook, case, &facts, 0);
            return verdict_writer::save(tx, &case.session, self.generation, &verdict).await;
        };
        sessions::verify_at(tx, &case.session, &first.system).await?;
        queue::enqueue(
            tx,
            &VerifySession {
                source: self.source.clone(),
                session_id: self.session_id.clone(),
                generation: self.generation,
                system: first.system.clone(),
            },
        )
        .await
        .map(drop)
    }
}

/// Waits until few other large sessions are in memory.
async fn room_for_large<'e>(ctx: &JobContext, env: &'e Env) -> Result<SemaphorePermit<'e>, JobError> {
    tokio::select! {
        biased;
        () = ctx.cancelled().cancelled() => Err(JobError::Cancelled),
        permit = env.large_sessions.acquire() => permit.or_retry(),
    }
}

async fn session_ref(env: &Env, session: &StoredSession) -> Result<SessionRef, JobError> {
    Ok(SessionRef {
        session_id: session.key.session_id.clone(),
        trace_ids: seen::traces_of(&env.db, &session.key).await?,
        first_activity: session.first_activity_at,
        last_activity: session.last_activity_at,
    })
}

/// Whether its content has changed since it was settled: then it was not over. One that the deadline settled is read as it is,
/// since it would never come to rest; so is one that no scan has seen: it was called for by hand, and nothing is known to compare.
fn goes_on(session: &StoredSession, told: bool, digest: &str) -> bool {
    if session.incomplete || session.is_untraced() {
        return false;
    }
    let ended = session.ended || told;
    let scanned_anew = !ended && session.settled_at.is_some_and(|settled| session.digest_since > settled);
    scanned_anew || digest != session.digest
}

/// Everything that the judge needs of a session that was analysed.
pub(super) async fn load_case(env: &Env, entry: &SourceEntry, session: &StoredSession) -> Result<Case, JobError> {
    let (key, generation) = (&session.key, session.generation);
    let snapshot = snapshots::load(&env.db, key, generation).await?;
    let reading = readings::load(&env.db, key, generation).await?;
    let (Some((snapshot, _)), Some(reading)) = (snapshot, reading) else {
        return Err(JobError::fail(format!(
            "the snapshot or the reading of session {key} is gone: `aftercall reprocess` reads it again"
        )));
    };
    let transcript = Transcript::of(&snapshot, &entry.playbook);
    Ok(case_of(session, entry, &snapshot, transcript, reading))
}

/// Everything that the judge needs of a session, from what is stored of it.
fn case_of(
    session: &StoredSession,
    entry: &SourceEntry,
    snapshot: &Snapshot,
    transcript: Transcript,
    stored: StoredReading,
) -> Case {
    Case::new(
        &entry.playbook,
        session.key.clone(),
        transcript,
        (stored.reading, stored.reader),
        session.incomplete || snapshot.cut.is_some(),
    )
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    /// Settled at second 100, its content last scanned as new at second 50.
    fn session() -> StoredSession {
        StoredSession {
            key: SessionKey::new("calls", "s-1"),
            state: SessionState::Settled,
            generation: 1,
            environment: None,
            first_activity_at: at(30),
            last_activity_at: at(40),
            digest: "scanned".to_owned(),
            digest_since: at(50),
            open_since: at(50),
            ended: false,
            incomplete: false,
            analyzed_digest: None,
            system: None,
            look_round: 0,
            settled_at: Some(at(100)),
            told_at: None,
            observations: 3,
        }
    }

    #[test]
    fn a_session_that_changed_after_it_was_settled_was_not_over() {
        assert!(!goes_on(&session(), false, "scanned"));
        assert!(goes_on(&session(), false, "newer than the scan"));
        let scanned_anew = StoredSession {
            digest_since: at(101),
            ..session()
        };
        assert!(goes_on(&scanned_anew, false, "scanned"));
        assert!(!goes_on(&scanned_anew, true, "scanned"));
        let ended = StoredSession {
            ended: true,
            ..scanned_anew
        };
        assert!(!goes_on(&ended, false, "scanned"));
    }

    #[test]
    fn a_session_that_the_deadline_settled_is_read_as_it_is_and_does_not_wait_for_ever() {
        let restless = StoredSession {
            incomplete: true,
            ..session()
        };
        assert!(!goes_on(&restless, false, "changed once more"));
    }

    #[test]
    fn a_session_that_no_scan_has_seen_is_judged_by_the_first_analysis_that_is_called_for_by_hand() {
        let untraced = StoredSession {
            observations: 0,
            digest: String::new(),
            ..session()
        };
        assert!(!goes_on(&untraced, false, "what the source holds"));
    }

    #[test]
    fn an_analysis_is_called_for_until_the_session_waits_for_a_system_of_record() {
        let job = AnalyzeSession {
            source: "calls".to_owned(),
            session_id: "s-1".to_owned(),
            generation: 1,
        };
        let in_state = |state, system: Option<&str>, generation| StoredSession {
            state,
            system: system.map(str::to_owned),
            generation,
            ..session()
        };
        for (state, system, generation, called_for) in [
            (SessionState::Settled, None, 1, true),
            (SessionState::Analyzing, None, 1, true),
            (SessionState::Verifying, None, 1, true), // nothing else would ever take it up
            (SessionState::Verifying, Some("kitchen"), 1, false),
            (SessionState::Open, None, 1, false),
            (SessionState::Done, None, 1, false),
            (SessionState::Settled, None, 2, false),
        ] {
            let session = in_state(state, system, generation);
            assert_eq!(job.is_called_for_by(&session), called_for, "{session:?}");
        }
    }
}
