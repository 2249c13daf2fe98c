//! `aftercall worker`: serves queues, one process of a fleet.

use clap::Args;

use super::{context::Context, failure::Failure, health::Health, process, signals::Signals, sources, wiring};
use crate::config::Overrides;

const EXAMPLE: &str = "\
Examples:
  $ aftercall worker
  $ aftercall worker --queues analyze_session=8,diagnose_session
  $ aftercall worker --queues verify_session --health 127.0.0.1:7701

Start as many as you like, and one `aftercall scheduler` at least: a worker fires no schedule.
=N bounds this process only; `aftercall limit` is for the whole fleet.";

/// Serves all queues, or those that are named, until it is told to stop
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Worker {
    /// Queues to serve, each with how many of its jobs run at once in this process [default: all]
    #[arg(long, value_name = "NAME[=N],…", value_delimiter = ',', value_parser = parse)]
    queues: Vec<Wanted>,
    #[command(flatten)]
    health: Health,
}

/// A queue as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its name, known or not.
    pub(super) name: String,
    /// Its jobs at once in this process.
    pub(super) at_once: Option<usize>,
}

fn parse(text: &str) -> Result<Wanted, String> {
    let (name, at_once) = match text.split_once('=') {
        None => (text, None),
        Some((name, at_once)) => (name, Some(at_once)),
    };
    let at_once = at_once
        .map(|number| match number.trim().parse::<u16>() {
            Ok(number @ 1..=10_000) => Ok(usize::from(number)),
            _ => Err(format!(
                "`{number}` is no number of jobs: write NAME=N, N from 1 to 10000"
            )),
        })
        .transpose()?;
    let name = name.trim();
    if name.is_empty() {
        return Err("write NAME or NAME=N, with a comma between two".to_owned());
    }
    Ok(Wanted {
        name: name.to_owned(),
        at_once,
    })
}

impl Worker {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let served = wiring::served(&self.queues)?;
        let config = context.config(Overrides::default())?;
        if wiring::reads_sources(&served) {
            sources::require_files(&config)?;
        } else {
            sources::require(&config)?;
        }
        let signals = Signals::listen()?;
        let bound = self.health.bind()?;
        let start = async {
            let db = context.open(&config).await?;
            let running = wiring::start_worker(&config, &db, served.clone()).await?;
            Ok::<_, Failure>((db, running))
        };
        let Some(started) = signals.unless_told(start).await else {
            return Ok(());
        };
        let (db, running) = started?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            worker = running.worker_id(),
            queues = served
                .queues
                .map_or_else(|| "all".to_owned(), |queues| queues.join(", ")),
            "working until it is told to stop (Ctrl-C or SIGTERM)"
        );
        process::until_told(&signals, &db, running, bound, None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_with_or_without_a_number() {
        let wanted = |name: &str, at_once| Wanted {
            name: name.to_owned(),
            at_once,
        };
        assert_eq!(parse("verify_session"), Ok(wanted("verify_session", None)));
        assert_eq!(parse(" analyze_session = 8"), Ok(wanted("analyze_session", Some(8))));
        for broken in ["", " ", "=3", "a=", "a=0", "a=-1", "a=many", "a=10001", "a=1=2"] {
            assert!(parse(broken).is_err(), "{broken:?}");
        }
    }
}
