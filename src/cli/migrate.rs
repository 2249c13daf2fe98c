//! `aftercall migrate`: brings the schema up to date.

use clap::Args;
use serde_json::json;

use super::{context::Context, failure::Failure};
use crate::db;

const EXAMPLE: &str = "\
Example:
  $ aftercall migrate --db aftercall-data/aftercall.db";

/// Makes the database, or brings its schema up to date (`run` does the same by itself)
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let config = context.config_to_look()?;
        let db = context.open(&config).await?;
        let version = db::applied_version(&db).await?;
        let database = config.database.location().to_string();
        context
            .out
            .print(&json!({ "database": database, "schema": version }), |_| {
                format!("{database} is at schema {version}")
            })
    }
}
