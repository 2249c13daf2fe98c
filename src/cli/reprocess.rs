//! `aftercall reprocess`: judges sessions again; the old verdicts stay beside the new ones.

use clap::Args;
use serde_json::json;

use super::{
    context::{self, Context},
    failure::Failure,
    output::{Cell, Grid},
    sessions::{self, Which},
    show, wiring,
};
use crate::{
    db::Db,
    store::inspect::{
        session,
        sessions::{self as listed, SessionLine},
    },
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall reprocess airline-00-0 airline-00-1
  $ aftercall reprocess --status error --since 24h --dry-run
  $ aftercall reprocess --status fail --intent booking";

/// Judges sessions again, each as its next generation; old verdicts stay, with what changed
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Reprocess {
    /// Ids of sessions
    #[arg(value_name = "SESSION", conflicts_with_all = ["status", "intent", "since"])]
    ids: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Show which sessions, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Reprocess {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        if self.ids.is_empty() && self.which.is_empty() {
            return Err(Failure::Usage(
                "name sessions by id, or filter them with --status, --since, --intent or --source".to_owned(),
            ));
        }
        let db = context.open_existing().await?;
        let lines = self.lines(&db).await?;
        if self.dry_run {
            let now = db.now().await?;
            return context.out.print(&lines, |out| {
                let table = if lines.is_empty() {
                    String::new()
                } else {
                    sessions::rows(out, &lines, now)
                };
                format!("{table}\n{} session(s) would be judged again", lines.len())
            });
        }
        let mut done = Vec::new();
        for line in &lines {
            // One transaction each: a worker must never wait for a long list.
            if let Some(generation) = wiring::reprocess(&db, &line.key, &context::actor()).await? {
                done.push((&line.key, generation));
            }
        }
        let rows: Vec<_> = done
            .iter()
            .map(|(key, generation)| json!({ "source": key.source, "session_id": key.session_id, "generation": generation }))
            .collect();
        context.out.print(&rows, |out| {
            let mut grid = Grid::new(["session", "source", "generation"]);
            for (key, generation) in &done {
                grid.row([
                    Cell::from(&key.session_id),
                    Cell::from(&key.source),
                    Cell::from(generation.to_string()),
                ]);
            }
            format!(
                "{}\n{} session(s) are judged again as soon as a worker runs",
                out.table(&grid),
                done.len()
            )
        })
    }

    async fn lines(&self, db: &Db) -> Result<Vec<SessionLine>, Failure> {
        if self.ids.is_empty() {
            let filter = self.which.filter(db, u32::MAX).await?;
            return Ok(listed::list(db, &filter).await?);
        }
        let mut lines = Vec::new();
        for id in &self.ids {
            let found = session::find(db, self.which.source.as_deref(), id).await?;
            match <[_; 1]>::try_from(found) {
                Ok([line]) => lines.push(line),
                Err(found) => return Err(show::not_one(id, &found)),
            }
        }
        Ok(lines)
    }
}
