//! `aftercall enqueue`: calls for one piece of work now, by hand.

use clap::{Args, Subcommand};

use super::{context::Context, failure::Failure};
use crate::{desk::Desk, domain::session::SessionKey, operate::work::CalledFor};

/// Calls for one piece of work now
#[derive(Debug, Args)]
pub(super) struct Enqueue {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Discover(Discover),
    Analyze(Analyze),
    Diagnose(Diagnose),
}

const DISCOVER_EXAMPLE: &str = "\
Examples:
  $ aftercall enqueue discover          # every source
  $ aftercall enqueue discover calls";

/// Scans sources now, without waiting for the next tick
#[derive(Debug, Args)]
#[command(after_help = DISCOVER_EXAMPLE)]
struct Discover {
    /// Names of sources [default: all that are enabled]
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
}

const ANALYZE_EXAMPLE: &str = "\
Example:
  $ aftercall enqueue analyze airline-00-0

For a session that has its verdict, use `aftercall reprocess`.";

/// Judges a session now, whether or not it has come to rest
#[derive(Debug, Args)]
#[command(after_help = ANALYZE_EXAMPLE)]
struct Analyze {
    #[command(flatten)]
    session: OneSession,
}

const DIAGNOSE_EXAMPLE: &str = "\
Example:
  $ aftercall enqueue diagnose airline-00-0";

/// Diagnoses a failed session again
#[derive(Debug, Args)]
#[command(after_help = DIAGNOSE_EXAMPLE)]
struct Diagnose {
    #[command(flatten)]
    session: OneSession,
}

/// One session, by its id.
#[derive(Debug, Args)]
struct OneSession {
    /// The session's id
    #[arg(value_name = "SESSION")]
    session: String,
    /// Its source, where several sources have a session of this id
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

impl OneSession {
    async fn find(&self, desk: &Desk) -> Result<SessionKey, Failure> {
        let found = desk.find(self.source.as_deref(), &self.session).await?;
        match <[_; 1]>::try_from(found) {
            Ok([line]) => Ok(line.key),
            Err(found) => Err(super::show::not_one(&self.session, &found)),
        }
    }
}

impl Enqueue {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let mut jobs = Vec::new();
        match self.what {
            What::Discover(discover) => {
                let desk = context.desk_to_begin().await?;
                let mut sources = discover.sources;
                if sources.is_empty() {
                    sources = desk.scanned_sources().await?;
                }
                for source in sources {
                    jobs.push(desk.discover(&source).await?);
                }
            }
            What::Analyze(analyze) => {
                let desk = context.desk().await?;
                let key = analyze.session.find(&desk).await?;
                jobs.push(desk.analyze(&key).await?);
            }
            What::Diagnose(diagnose) => {
                let desk = context.desk().await?;
                let key = diagnose.session.find(&desk).await?;
                jobs.push(desk.diagnose(&key).await?);
            }
        }
        context.out.print(&jobs, |_| said(&jobs))
    }
}

fn said(jobs: &[CalledFor]) -> String {
    let line = |CalledFor { job, new }: &CalledFor| {
        if *new {
            format!("enqueued as {job}")
        } else {
            format!("already on its way as {job}")
        }
    };
    let lines: Vec<String> = jobs.iter().map(line).collect();
    if lines.is_empty() {
        "no source is configured and enabled: nothing to scan".to_owned()
    } else {
        lines.join("\n")
    }
}
