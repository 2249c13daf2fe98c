//! The one file that names apalis: its workers run our jobs, fed from a channel.
//!
//! A raw `Backend`, which never answers an error: to apalis any error from a backend is the end of its worker. Claiming,
//! leases, outcomes and the deadlines of a shutdown are ours; apalis polls, spawns, traces and isolates.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use apalis::layers::{catch_panic::CatchPanicLayer, tracing::TraceLayer};
use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    error::BoxDynError,
    monitor::Monitor,
    task::{Task, task_id::TaskId},
    worker::{builder::WorkerBuilder, context::WorkerContext, ext::parallelize::ParallelizeExt},
};
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tower::layer::util::Identity;

use super::claim::Claimed;
use crate::telemetry::trace::Subject;

/// Runs one claimed job to its end, whatever that is.
pub(super) type RunFn = Arc<dyn Fn(Claimed) -> BoxFuture<'static, ()> + Send + Sync>;

/// The claimed jobs of one queue. Shared, since apalis may build its worker anew.
#[derive(Debug, Clone)]
pub(super) struct Lane(Arc<Mutex<UnboundedReceiver<Claimed>>>);

impl Lane {
    pub(super) fn new(claimed: UnboundedReceiver<Claimed>) -> Self {
        Self(Arc::new(Mutex::new(claimed)))
    }
}

impl Backend for Lane {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Self::Task, Infallible>>> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed
            .poll_recv(cx)
            .map(|claimed| claimed.map(|claimed| Ok(Task::new(claimed))))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Lane {
    type Args = Claimed;
    type Id = TaskId;
    /// Nothing to decode: the durable part is our tables.
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Runs one worker per lane until `stop`. Dropping the future aborts the jobs.
pub(super) async fn run_workers(
    worker: Arc<str>,
    lanes: Vec<(&'static str, Lane)>,
    run: RunFn,
    stop: CancellationToken,
) {
    let mut monitor = Monitor::new().should_restart(|_, _| true);
    for (queue, lane) in lanes {
        let name = format!("{queue}-{worker}");
        let run = Arc::clone(&run);
        monitor = monitor.register(move |restarts| {
            let run = Arc::clone(&run);
            WorkerBuilder::new(format!("{name}-{restarts}").as_str())
                .backend(lane.clone())
                // On a task of its own: a job that blocks its thread does not keep the others from starting.
                .parallelize(spawn)
                .layer(TraceLayer::new().make_span_with(span_of))
                // A job's panic is caught and counted where it runs; this net is for our own.
                .layer(CatchPanicLayer::new())
                .build(move |claimed: Claimed| {
                    let run = Arc::clone(&run);
                    async move {
                        run(claimed).await;
                        Ok::<(), BoxDynError>(())
                    }
                })
        });
    }
    let stopped = async move {
        stop.cancelled().await;
        Ok(())
    };
    if let Err(error) = monitor.run_with_signal(stopped).await {
        tracing::error!(%error, "the workers ended badly");
    }
}

fn spawn<F>(job: F) -> AbortOnDropHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    AbortOnDropHandle::new(tokio::spawn(job))
}

fn span_of(task: &Task<Claimed>) -> tracing::Span {
    let claimed = &task.args;
    let subject = Subject::of(&claimed.args);
    // At the highest level, so that also a log of errors alone says which job, and for whom. Text is escaped as it is written.
    tracing::error_span!(
        "job",
        queue = claimed.queue,
        job_id = %claimed.lease.job,
        attempt = claimed.attempt,
        source = subject.source.as_deref(),
        session_id = subject.session_id.as_deref(),
        trace_id = %claimed.origin.trace_id()
    )
}
