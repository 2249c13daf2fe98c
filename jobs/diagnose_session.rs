//! Explains one failed session: expected steps against calls, the rule-based cause, and the experts that the playbook
//! routes it to, one after another.
//!
//! Never changes the verdict. At most 3 at a time and 3 starts in any 5 minutes, so that an outage does not become a storm
//! of LLM calls. An expert that cannot be reached snoozes the job: a model that is down is never a completed diagnosis.

use serde::{Deserialize, Serialize};

use super::analyze_session::load_case;
use crate::{
    db::{DbError, Tx},
    domain::{
        diagnosis::{self, ExpertReport},
        judge::Case,
        session::{Generation, SessionKey},
        verdict::Verdict,
    },
    env::{Env, SourceEntry},
    expert::{self, Consulted, Question},
    queue::{Job, JobContext, JobError, Limit, Outcome, Policy, minutes},
    store::{diagnoses, sessions, verdicts},
};

/// Explain this generation of this session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnoseSession {
    /// Name of the configured source.
    pub source: String,
    /// The application's id.
    pub session_id: String,
    /// Which analysis.
    pub generation: Generation,
}

impl Job for DiagnoseSession {
    type Env = Env;
    const NAME: &'static str = "diagnose_session"; // stored in rows: never rename, only retire
    const POLICY: Policy = Policy::new()
        .attempts(8) // 10s, 20s, 40s, … 10m; outages snooze and burn none
        .timeout(minutes(15))
        .limit(Limit::queue(3))
        .rate(3, minutes(5));

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}/{}#{}", self.source, self.session_id, self.generation))
    }

    /// Without an LLM nobody ever closes it.
    fn gate(&self) -> Option<String> {
        Some(format!("llm:default/{}", self.source))
    }

    async fn run(&self, ctx: &JobContext, env: &Env) -> Result<Outcome, JobError> {
        let key = self.key();
        let entry = match env.source(&self.source) {
            Ok(entry) => entry,
            Err(outage) => return env.hold(ctx, ctx.begin().await?, &self.source, &outage).await,
        };
        let mut tx = ctx.begin().await?;
        if !diagnoses::is_pending(&mut tx, &key, self.generation).await? {
            return ctx.finish(tx).await; // superseded, or explained already: nothing is to be paid for
        }
        drop(tx);
        let Some((case, verdict)) = self.load(env, entry).await? else {
            return ctx.finish(ctx.begin().await?).await; // superseded
        };
        let explanation = diagnosis::explain(&entry.playbook, &case, &verdict);
        let mut reports = Vec::new();
        for route in &explanation.experts {
            let question = Question {
                generation: self.generation,
                case: &case,
                verdict: &verdict,
                explanation: &explanation,
            };
            let result = match expert::consult(ctx, env, entry, question, route).await? {
                Consulted::Result(result) => result,
                Consulted::Outage(outage) => {
                    return env.wait_for(ctx, ctx.begin().await?, &self.source, &outage).await;
                }
            };
            reports.push(ExpertReport {
                expert: route.expert.clone(),
                why: route.why.clone(),
                result,
            });
        }
        let report = diagnosis::assemble(explanation, reports);

        let mut tx = ctx.begin().await?;
        if diagnoses::is_pending(&mut tx, &key, self.generation).await? {
            diagnoses::save(&mut tx, &key, self.generation, &report).await?;
        }
        ctx.finish(tx).await
    }

    async fn on_discard(&self, tx: &mut Tx, reason: &str) -> Result<(), DbError> {
        diagnoses::give_up(tx, &self.key(), self.generation, reason).await
    }

    async fn on_revive(&self, tx: &mut Tx) -> Result<bool, DbError> {
        // The job itself does it; it only has to be called for again.
        diagnoses::ask_again_of(tx, &self.key(), self.generation).await?;
        Ok(false)
    }
}

impl DiagnoseSession {
    fn key(&self) -> SessionKey {
        SessionKey::new(&self.source, &self.session_id)
    }

    /// What the verdict saw; `None` when this generation no longer counts.
    async fn load(&self, env: &Env, entry: &SourceEntry) -> Result<Option<(Case, Verdict)>, JobError> {
        let key = self.key();
        let session = sessions::load(&env.db, &key).await?;
        let Some(session) = session.filter(|session| session.generation == self.generation) else {
            return Ok(None);
        };
        let Some(verdict) = verdicts::load(&env.db, &key, self.generation).await? else {
            return Ok(None);
        };
        Ok(Some((load_case(env, entry, &session).await?, verdict)))
    }
}
