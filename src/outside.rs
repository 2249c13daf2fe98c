//! Calls to the outside world from inside a job: stopped when the job is cancelled or its lease is no longer certain, and
//! an upstream that cannot answer is told apart from a failure.

use std::future::Future;

use crate::{
    ports::UpstreamError,
    queue::{JobContext, JobError},
};

/// What came of a call.
#[derive(Debug)]
pub enum Called<T> {
    /// It answered.
    Answer(T),
    /// It cannot answer now: never a verdict.
    Outage(UpstreamError),
}

/// Makes one call, unless the job must stop.
///
/// # Errors
/// When the job was cancelled, the process stops, or the lease is no longer certain: then the call is not made, or dropped.
pub async fn call<T>(
    ctx: &JobContext,
    call: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<Called<T>, JobError> {
    if ctx.certain_for().is_zero() {
        return Err(JobError::LostLease);
    }
    tokio::select! {
        biased;
        () = ctx.cancelled().cancelled() => Err(JobError::Cancelled),
        answer = call => Ok(match answer {
            Ok(answer) => Called::Answer(answer),
            Err(outage) => Called::Outage(outage),
        }),
    }
}
