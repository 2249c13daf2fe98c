//! `aftercall run`: all roles in one process, for ever or until nothing is left to do.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    context::Context, failure::Failure, health, health::Health, progress::Progress, signals::Signals, sources,
    summary::Summary, wiring,
};
use crate::config::{Config, Overrides, PlaybookName, SourceConfig, duration, url};

const EXAMPLE: &str = "\
Examples:
  $ aftercall run
  $ aftercall run --until-idle --max-wait 1h
  $ aftercall run --until-idle --bundle sessions.jsonl --playbook airline --records http://127.0.0.1:8090 --look-again none

The last one needs no configuration file: it judges the sessions of one file, long over, against one system of record.
With --until-idle, work that is due later (looking again for a record, a full rate window) counts as work to do.";

/// Name of the source that `--bundle` describes.
const FLAG_SOURCE: &str = "bundle";

/// Runs discovery, analysis, verification, diagnosis and alerts in this process
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Run {
    /// Stop as soon as every session has its verdict and nothing is left to do
    #[arg(long)]
    until_idle: bool,
    /// With --until-idle: stop after so long, with exit code 1 when work is left [default: no bound]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "until_idle")]
    max_wait: Option<Duration>,
    /// Your own readings instead of a reader: JSON Lines of {session_id, intent, confidence, requests, statements}
    #[arg(long, value_name = "FILE")]
    readings: Option<PathBuf>,
    /// Waits before looking again for what is not there yet, such as 1s,5s, or none for sessions long over [default:
    /// 1m,5m,30m]
    #[arg(long, value_name = "DURATIONS", value_parser = parse_waits)]
    look_again: Option<Waits>,
    /// Diagnoses that may start within limits.diagnose_window [default: 3 in 5m]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    diagnose_starts: Option<u32>,
    /// Judge the sessions of this file: observations, one JSON object per line
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// With --bundle: a built-in playbook, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "orthodontics", requires = "bundle")]
    playbook: String,
    /// With --bundle: address of the system of record, in place of the configured one
    #[arg(long, value_name = "URL", value_parser = url::check, requires = "bundle")]
    records: Option<String>,
    #[command(flatten)]
    health: Health,
}

impl Run {
    pub(super) fn until_idle(&self) -> bool {
        self.until_idle
    }

    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let config = context.config(self.overrides()?)?;
        sources::require_files(&config)?;
        let signals = Signals::listen()?;
        let bound = self.health.bind()?;
        let start = async {
            let db = context.open(&config).await?;
            let pipeline = wiring::start(&config, &db).await?;
            Ok::<_, Failure>((db, pipeline))
        };
        let Some(started) = signals.unless_told(start).await else {
            return if self.until_idle { Err(stopped_early()) } else { Ok(()) };
        };
        let (db, pipeline) = started?;
        let server = health::serve(bound, &db, pipeline.pulse(), None)?;
        say_what_runs(&config);
        pipeline.look_now().await?;
        let ended = if self.until_idle {
            let mut progress = Progress::start(context.out.is_json());
            let ended = tokio::select! {
                state = pipeline.until_idle(self.max_wait, |state| progress.update(state)) => {
                    state.map(|state| if state.is_idle() { Ended::Idle } else { Ended::MaxWait })
                }
                () = signals.told() => Ok(Ended::Signal),
            };
            progress.finish();
            ended
        } else {
            signals.told().await;
            Ok(Ended::Signal)
        };
        tracing::info!("stopping: running jobs end first, a second signal leaves at once");
        pipeline.shutdown().await;
        if let Some(server) = server {
            server.stop().await;
        }
        tracing::info!("stopped");
        let ended = ended?;
        if !self.until_idle {
            db.close().await;
            return Ok(());
        }
        let summary = Summary::read(&db).await?;
        context.out.print(&summary, |out| summary.text(out))?;
        db.close().await;
        match ended {
            Ended::Idle if summary.is_all_unreadable() => Err(Failure::Fault(
                "nothing could be read: a source is a file of observations, one JSON object per line".to_owned(),
            )),
            Ended::Idle => Ok(()),
            Ended::MaxWait => Err(Failure::Fault(
                "work is left after --max-wait: run it again to go on".to_owned(),
            )),
            Ended::Signal => Err(stopped_early()),
        }
    }

    fn overrides(&self) -> Result<Overrides, Failure> {
        let mut overrides = Overrides {
            readings: self.readings.clone(),
            look_again: self.look_again.clone().map(|waits| waits.0),
            diagnose_starts: self.diagnose_starts,
            ..Overrides::default()
        };
        if let Some(readings) = &self.readings
            && !readings.is_file()
        {
            return Err(Failure::Usage(format!(
                "--readings: there is no file {}",
                readings.display()
            )));
        }
        let Some(bundle) = &self.bundle else {
            return Ok(overrides);
        };
        let playbook = PlaybookName::parse(&self.playbook, Path::new(""));
        if let Some(url) = &self.records {
            overrides.records = wiring::records_at(url, &playbook)?;
        }
        overrides.source = Some(SourceConfig::bundle(FLAG_SOURCE, bundle, playbook));
        Ok(overrides)
    }
}

fn stopped_early() -> Failure {
    Failure::Fault("stopped before everything was done: run it again to go on".to_owned())
}

/// Waits, one after another.
#[derive(Debug, Clone)]
struct Waits(Vec<Duration>);

fn parse_waits(text: &str) -> Result<Waits, String> {
    if text == "none" {
        return Ok(Waits(Vec::new()));
    }
    text.split(',')
        .map(duration::parse)
        .collect::<Result<_, _>>()
        .map(Waits)
}

/// What a person who reads the log later wants to know first.
fn say_what_runs(config: &Config) {
    let names = |names: Vec<&str>| names.join(", ");
    let sources = config.sources.iter().filter(|source| source.enabled);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        database = %config.database.location(),
        sources = names(sources.map(|source| source.name.as_str()).collect()),
        records = names(config.records.iter().map(|records| records.name.as_str()).collect()),
        reader = match (&config.readings, &config.llm) {
            (Some(_), _) => "your readings",
            (None, Some(llm)) => llm.model.as_str(),
            (None, None) => "offline classifier",
        },
        "running until it is told to stop (Ctrl-C or SIGTERM)"
    );
}

enum Ended {
    Idle,
    MaxWait,
    Signal,
}
