//! A poll strategy that cannot lose a wake-up.

use std::task::{Context, Poll};

use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};

/// Asks the strategy within until it waits.
///
/// The strategies of apalis-core 1.0 are asked once: when their time has come they say so without registering a waker for the
/// next time, and if the fetch that follows ends within the same poll the worker sleeps until its next heartbeat.
pub(super) struct Rearm<S>(pub(super) S);

impl<S: PollStrategy> PollStrategy for Rearm<S> {
    fn poll_drive(&mut self, cx: &mut Context<'_>, snapshot: &PollSnapshot) -> Poll<Option<()>> {
        let mut fired = false;
        loop {
            match self.0.poll_drive(cx, snapshot) {
                Poll::Ready(Some(())) => fired = true,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if fired => return Poll::Ready(Some(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn on_poll(&mut self, snapshot: &PollSnapshot) {
        self.0.on_poll(snapshot);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};

    use super::Rearm;

    /// Fires so often, then waits.
    struct Fires(usize);

    impl PollStrategy for Fires {
        fn poll_drive(&mut self, _: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Poll::Ready(Some(()))
                }
                None => Poll::Pending,
            }
        }
    }

    #[test]
    fn it_has_fired_and_waits_for_the_next_time_in_one_poll() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut strategy = Rearm(Fires(3));
        assert_eq!(
            strategy.poll_drive(&mut cx, &PollSnapshot::new()),
            Poll::Ready(Some(()))
        );
        assert_eq!(strategy.poll_drive(&mut cx, &PollSnapshot::new()), Poll::Pending);
    }
}
