//! `aftercall migrate`: brings the schema up to date, and sets the counters right on request.

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure};
use crate::{db, queue::counters};

const EXAMPLE: &str = "\
Examples:
  $ aftercall migrate --db aftercall-data/aftercall.db
  $ aftercall migrate --recount";

/// Makes the database, or brings its schema up to date (`run` does the same by itself)
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Migrate {
    /// Also set the counters of the queues by a count of all jobs, when `aftercall doctor` says that they differ; everybody may
    /// go on meanwhile
    #[arg(long)]
    recount: bool,
}

impl Migrate {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let config = context.config_to_look()?;
        let db = context.open(&config).await?;
        let version = db::applied_version(&db).await?;
        let database = config.database.location().to_string();
        if !self.recount {
            let answer = json!({ "database": database, "schema": version });
            return context
                .out
                .print(&answer, |_| format!("{database} is at schema {version}"));
        }
        let jobs = counters::recount(&db).await?;
        let all: u64 = jobs.values().sum();
        let answer = json!({ "database": database, "schema": version, "recounted": jobs });
        context.out.print(&answer, |_| {
            format!("{database} is at schema {version}; its counters say what was counted, number of jobs: {all}")
        })
    }
}
