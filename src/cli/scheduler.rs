//! `aftercall scheduler`: fires the schedules, one process of a fleet.

use clap::Args;

use super::{context::Context, failure::Failure, health::Health, process, signals::Signals, sources, wiring};

const EXAMPLE: &str = "\
Examples:
  $ aftercall scheduler
  $ aftercall scheduler --health 127.0.0.1:7702

Each tick fires once, however many schedulers run: start two, and one may die. It calls nobody and
reads no secret: it needs [database], [schedule], [queue] and the names of the sources.";

/// Fires the schedules and frees the jobs of dead workers, until it is told to stop; serves no queue
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Scheduler {
    #[command(flatten)]
    health: Health,
}

impl Scheduler {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let config = context.config_to_look()?;
        sources::require(&config)?;
        let signals = Signals::listen()?;
        let bound = self.health.bind()?;
        let start = async {
            let db = context.open(&config).await?;
            let running = wiring::start_scheduler(&config, &db).await?;
            Ok::<_, Failure>((db, running))
        };
        let Some(started) = signals.unless_told(start).await else {
            return Ok(());
        };
        let (db, running) = started?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            worker = running.worker_id(),
            "firing the schedules until it is told to stop (Ctrl-C or SIGTERM)"
        );
        process::until_told(&signals, &db, running, bound, None).await
    }
}
