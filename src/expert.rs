//! Asks one expert of the playbook why a session failed, with the evidence that the verdict saw, and holds the answer
//! against it: a step that does not exist or a quote that is not in the text rejects it.

use crate::{
    adapters::{
        expert::{ExpertBrief, ExpertDialog},
        llm_reader::Step,
    },
    domain::{
        diagnosis::{self, ExpertResult, Explanation, Route},
        judge::Case,
        session::Generation,
        verdict::Verdict,
    },
    env::{Env, SourceEntry},
    outside::Called,
    paid::{self, Purpose},
    ports::{UpstreamError, UpstreamReason},
    queue::{JobContext, JobError},
    reader,
};

/// What came of asking.
#[derive(Debug)]
pub enum Consulted {
    /// An answer that held, or the reason why none did.
    Result(ExpertResult),
    /// The LLM cannot answer now: never a completed diagnosis.
    Outage(UpstreamError),
}

/// What an expert is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The generation that failed.
    pub generation: Generation,
    /// What the verdict saw.
    pub case: &'a Case,
    /// The verdict.
    pub verdict: &'a Verdict,
    /// What rules say.
    pub explanation: &'a Explanation,
}

/// Asks one expert.
///
/// # Errors
/// When the job must stop, or the database is away.
pub async fn consult(
    ctx: &JobContext,
    env: &Env,
    entry: &SourceEntry,
    question: Question<'_>,
    route: &Route,
) -> Result<Consulted, JobError> {
    let (Some(model), Some(expert)) = (
        &env.model,
        entry.playbook.experts.iter().find(|expert| expert.id == route.expert),
    ) else {
        return Ok(Consulted::Result(ExpertResult::NotAsked));
    };
    let Question {
        generation,
        case,
        verdict,
        explanation,
    } = question;
    let artifacts = entry.artifacts_of(expert);
    let brief = ExpertBrief {
        prompt: &expert.prompt,
        why: &route.why,
        transcript: &case.transcript,
        steps: &explanation.steps,
        verdict,
        artifacts: &artifacts,
    };
    let (mut dialog, mut request) = ExpertDialog::start(brief, reader::dialog_settings(model));
    loop {
        let purpose = Purpose {
            name: "expert",
            session: &case.session,
            generation,
        };
        let answer = match paid::ask(ctx, &env.db, model, purpose, &request).await? {
            Called::Answer(answer) => answer,
            // As for a reading: a server that refuses just this question would be asked for ever.
            Called::Outage(outage)
                if outage.reason == UpstreamReason::BadAnswer && ctx.snoozes() >= reader::BAD_ANSWERS =>
            {
                let reason = format!("the LLM gave no usable answer: {outage}");
                return Ok(Consulted::Result(ExpertResult::Rejected { reason }));
            }
            Called::Outage(outage) => return Ok(Consulted::Outage(outage)),
        };
        let check =
            |finding: &diagnosis::RootCause| diagnosis::check(finding.clone(), case).err().into_iter().collect();
        match dialog.answer(&answer, check) {
            Step::Done { found, .. } => {
                let model = answer.model;
                return Ok(Consulted::Result(ExpertResult::Answered { finding: found, model }));
            }
            Step::Ask(next) => request = next,
            Step::Unusable(reason) => return Ok(Consulted::Result(ExpertResult::Rejected { reason })),
        }
    }
}
