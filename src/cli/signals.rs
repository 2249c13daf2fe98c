//! SIGINT and SIGTERM: the first asks a process to stop, the second ends it at once.
//!
//! They are heard on a thread of their own, so that they are also heard while jobs block every thread of the runtime, and
//! while the process still starts.

use std::{process, thread};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;

/// What a process ends with that was told twice.
const AT_ONCE: i32 = 130;

/// Hears the signals from now on.
pub(super) struct Signals {
    told: CancellationToken,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let told = CancellationToken::new();
        let tell = told.clone();
        thread::Builder::new()
            .name("aftercall-signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    either(&mut interrupt, &mut terminate).await;
                    tell.cancel();
                    either(&mut interrupt, &mut terminate).await;
                    // Whatever it holds is left to its leases.
                    process::exit(AT_ONCE);
                });
            })?;
        Ok(Self { told })
    }

    /// Resolves once the process was told to stop.
    pub(super) async fn told(&self) {
        self.told.cancelled().await;
    }

    /// Does something unless the process was told to stop before it was done.
    pub(super) async fn unless_told<T>(&self, something: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = something => Some(done),
            () = self.told() => None,
        }
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
