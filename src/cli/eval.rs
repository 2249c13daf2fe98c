//! `aftercall eval`: how good are the verdicts, on sessions whose truth is known?

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{context::Context, escape, failure::Failure, wiring};
use crate::{config::PlaybookName, eval};

/// Scores verdicts on sessions whose truth is known
#[derive(Debug, Args)]
pub(super) struct Eval {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(Verify),
}

const EXAMPLE: &str = "\
Examples:
  $ aftercall eval verify --bundle sessions.jsonl --labels labels.jsonl --records records/
  $ aftercall eval verify --bundle sessions.jsonl --labels labels.jsonl --records records/ --readings readings.jsonl \\
        --playbook airline --compare-too reservation.cabin --mutants 1000 --json

Labels are JSON Lines of {session_id, db_state_correct, records_missing, records_wrong, records_unwanted}; records are named
by their path in the folder that `aftercall sandbox records` serves, such as reservations/ZFA04Y. Without --readings the
offline classifier reads; no LLM is asked, and nothing is stored.";

/// Judges labelled sessions against a folder of records: accuracy, what was named, and what was overlooked
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
struct Verify {
    /// The sessions: observations, one JSON object per line
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The truth about them, one JSON object per line
    #[arg(long, value_name = "FILE")]
    labels: PathBuf,
    /// The records after them: records_after.json over KIND_before.json
    #[arg(long, value_name = "DIR")]
    records: PathBuf,
    /// Your own readings instead of the offline classifier: JSON Lines of {session_id, intent, confidence, requests,
    /// statements}
    #[arg(long, value_name = "FILE")]
    readings: Option<PathBuf>,
    /// A built-in playbook, or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "airline")]
    playbook: String,
    /// Score once more with these fields compared, although the playbook says that the system does not store them (may be
    /// given more than once)
    #[arg(long, value_name = "RECORD.FIELD")]
    compare_too: Vec<String>,
    /// Also change up to so many records behind the agent's back, one value at a time: does the verdict turn, and say where?
    #[arg(long, value_name = "N", default_value_t = 0, num_args = 0..=1, default_missing_value = "1000")]
    mutants: usize,
}

impl Eval {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        match self.what {
            What::Verify(verify) => verify.execute(context).await,
        }
    }
}

impl Verify {
    async fn execute(self, context: &Context) -> Result<(), Failure> {
        let playbook = PlaybookName::parse(&self.playbook, Path::new(""));
        let report = wiring::eval_verify(&playbook, |playbook| eval::Plan {
            bundle: self.bundle,
            labels: self.labels,
            records: self.records,
            readings: self.readings,
            playbook,
            also_compared: self.compare_too,
            mutants: self.mutants,
        })
        .await?;
        context.out.print(&report, |_| escape::visible_lines(&report.text()))
    }
}
