//! Calls to the outside world from inside a job: not made while the upstream's gate is shut, stopped when the job is
//! cancelled or its lease is no longer certain; and an upstream that cannot answer is told apart from a failure.

use std::future::Future;

use crate::{
    ports::{UpstreamError, UpstreamReason},
    queue::{JobContext, JobError, gate},
    telemetry::trace,
};

/// Why a call was not made, or dropped.
const UNCERTAIN: &str = "the database was away for too long to be certain that no other worker has the job";

/// What came of a call.
#[derive(Debug)]
pub enum Called<T> {
    /// It answered.
    Answer(T),
    /// It cannot answer now: never a verdict.
    Outage(UpstreamError),
}

/// Makes one call to the upstream behind `gate`, unless the job must stop or the upstream is known to be down.
///
/// # Errors
/// When the job was cancelled, the process stops, or the lease is no longer certain: then the call is not made, or dropped.
/// When the database is away.
pub async fn call<T>(
    ctx: &JobContext,
    gate: &str,
    call: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<Called<T>, JobError> {
    match shut(ctx, gate).await? {
        Some(outage) => Ok(Called::Outage(outage)),
        None => call_admitted(ctx, gate, call).await,
    }
}

/// Whether the upstream behind `gate` is known to be down: then no call is made, and the job is to wait.
///
/// # Errors
/// When the database is away.
pub async fn shut(ctx: &JobContext, gate: &str) -> Result<Option<UpstreamError>, JobError> {
    Ok(ctx.admit(gate).await?.map(|outage| UpstreamError {
        // What only an operator or the configuration says has no code of its own here; its gate keeps it.
        reason: UpstreamReason::parse(&outage.reason).unwrap_or(UpstreamReason::Unreachable),
        upstream: outage.gate,
        detail: outage.detail,
        retry_after: None,
    }))
}

/// Makes one call to an upstream that [`shut`] did not know to be down a moment ago.
///
/// # Errors
/// As [`call`].
pub async fn call_admitted<T>(
    ctx: &JobContext,
    gate: &str,
    call: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<Called<T>, JobError> {
    let outside_calls = ctx.outside_calls();
    if ctx.certain_for().is_zero() {
        return Err(JobError::interrupted(UNCERTAIN));
    }
    let trace = trace::Call::start(gate);
    let answer = tokio::select! {
        biased;
        () = ctx.cancelled().cancelled() => Err(JobError::Cancelled),
        () = outside_calls.cancelled() => Err(JobError::interrupted(UNCERTAIN)),
        answer = call => Ok(answer),
    };
    trace.end(match &answer {
        Ok(Ok(_)) => None,
        Ok(Err(outage)) => Some(outage.reason.as_str()),
        Err(_) => Some("dropped"),
    });
    match answer? {
        Ok(answer) => {
            ctx.answered(gate).await;
            Ok(Called::Answer(answer))
        }
        Err(outage) => Ok(Called::Outage(outage)),
    }
}

impl From<&UpstreamError> for gate::Outage {
    fn from(error: &UpstreamError) -> Self {
        Self {
            gate: error.upstream.clone(),
            reason: error.reason.as_str().to_owned(),
            detail: error.detail.clone(),
            retry_after: error.retry_after,
        }
    }
}
