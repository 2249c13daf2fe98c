//! `aftercall bench`: how fast this machine is.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};

use super::{context::Context, failure::Failure};
use crate::bench::pipeline;

/// Measures this machine
#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Pipeline(Pipeline),
}

const EXAMPLE: &str = "\
Example:
  $ aftercall bench pipeline --sessions 10000";

/// Sends tiny sessions through the whole pipeline, and the same SQL by hand as the limit
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
struct Pipeline {
    /// How many sessions
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    sessions: u64,
    /// How many jobs that do nothing, through the queue and by hand
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    jobs: u64,
    /// Where its database goes: on the disk to be measured; the folder is made and removed
    #[arg(long, default_value = "aftercall-data/bench", value_name = "DIR")]
    dir: PathBuf,
}

impl Bench {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let What::Pipeline(what) = self.what;
        // Never somebody's own folder: it is removed at the end.
        if what.dir.exists() {
            return Err(Failure::Usage(format!(
                "{} is there already: name a new folder with --dir",
                what.dir.display()
            )));
        }
        fs::create_dir_all(&what.dir)
            .map_err(|error| Failure::Storage(format!("cannot make {}: {error}", what.dir.display())))?;
        let measured = pipeline::run(&what.dir, what.sessions, what.jobs).await;
        let removed = fs::remove_dir_all(&what.dir);
        let report = measured.map_err(|error| Failure::of_start(&error))?;
        removed?;
        context.out.print(&report, |_| report.lines().join("\n"))
    }
}
