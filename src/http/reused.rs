//! An answer that is worked out once for all who ask at the same time, and kept for a moment.
//!
//! A task of its own works it out: a client that hangs up and asks again does not start it anew.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// Those who may wait for an answer: more than there are connections.
const ASKERS: usize = 256;

/// Where to ask for it.
pub(super) struct Reused<T>(mpsc::Sender<oneshot::Sender<T>>);

impl<T> Clone for Reused<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Send + 'static> Reused<T> {
    /// `kept_for` says how long an answer that took so long to work out is kept.
    pub(super) fn new<F>(mut work_out: impl FnMut() -> F + Send + 'static, kept_for: fn(Duration) -> Duration) -> Self
    where
        F: Future<Output = T> + Send,
    {
        let (ask, mut askers) = mpsc::channel::<oneshot::Sender<T>>(ASKERS);
        tokio::spawn(async move {
            let mut last: Option<(Instant, T)> = None;
            while let Some(asker) = askers.recv().await {
                let answer = match &last {
                    Some((until, answer)) if Instant::now() < *until => answer.clone(),
                    _ => {
                        let began = Instant::now();
                        let answer = work_out().await;
                        last = Some((Instant::now() + kept_for(began.elapsed()), answer.clone()));
                        answer
                    }
                };
                // Whoever hung up misses nothing.
                let _ = asker.send(answer);
            }
        });
        Self(ask)
    }

    /// `None` when working it out panicked.
    pub(super) async fn get(&self) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures::{FutureExt as _, future::join_all};
    use tokio::sync::Semaphore;

    use super::*;

    /// Counts how often it was worked out; each time needs a permit.
    fn counted(go: &Arc<Semaphore>, kept_for: fn(Duration) -> Duration) -> Reused<u32> {
        let (worked, go) = (Arc::new(AtomicU32::new(0)), Arc::clone(go));
        let work_out = move || {
            let (worked, go) = (Arc::clone(&worked), Arc::clone(&go));
            async move {
                go.acquire().await.unwrap().forget();
                worked.fetch_add(1, Ordering::SeqCst) + 1
            }
        };
        Reused::new(work_out, kept_for)
    }

    #[tokio::test]
    async fn all_who_ask_while_it_is_worked_out_and_a_moment_later_get_the_same() {
        let go = Arc::new(Semaphore::new(0));
        let reused = counted(&go, |_| Duration::from_hours(1));
        // One that hangs up neither stops it nor starts it twice.
        assert!(reused.get().now_or_never().is_none());
        let all = tokio::spawn({
            let reused = reused.clone();
            async move { join_all((0..50).map(|_| reused.get())).await }
        });
        go.add_permits(1);
        assert_eq!(all.await.unwrap(), vec![Some(1); 50]);
        assert_eq!(reused.get().await, Some(1));
    }

    #[tokio::test]
    async fn an_answer_that_is_kept_no_longer_is_worked_out_again() {
        let reused = counted(&Arc::new(Semaphore::new(2)), |_| Duration::ZERO);
        assert_eq!(reused.get().await, Some(1));
        assert_eq!(reused.get().await, Some(2));
    }
}
