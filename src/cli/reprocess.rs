//! `aftercall reprocess`: judges sessions again; the old verdicts stay beside the new ones.

use clap::Args;
use serde_json::json;

use super::{
    context::Context,
    failure::Failure,
    operations,
    output::{Cell, Grid},
    sessions::{self, Which},
    show,
};
use crate::{
    desk::Desk,
    operate::many::{Preview, SESSIONS_SHOWN},
    operation::Task,
    store::inspect::sessions::SessionLine,
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall reprocess airline-00-0 airline-00-1
  $ aftercall reprocess --status error --since 24h        # shows how many, and some
  $ aftercall reprocess --status error --since 24h --yes  # does it
  $ aftercall reprocess --status fail --intent booking --yes --background";

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
    #[command(flatten)]
    how: operations::How,
}

impl Reprocess {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        if self.ids.is_empty() && self.which.is_empty() {
            return Err(Failure::Usage(
                "name sessions by id, or filter them with --status, --since, --intent or --source".to_owned(),
            ));
        }
        let desk = context.desk().await?;
        if self.ids.is_empty() {
            return self.by_filter(context, &desk).await;
        }
        let lines = self.lines(&desk).await?;
        if self.dry_run {
            return preview(context, &desk, &lines, lines.len() as u64).await;
        }
        let mut done = Vec::new();
        for line in &lines {
            // One transaction each: a worker must never wait for a long list.
            if let Some(generation) = desk.reprocess(&line.key).await? {
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

    /// Shows how many match and some of them; with `--yes` they are judged again.
    async fn by_filter(&self, context: &Context, desk: &Desk) -> Result<(), Failure> {
        let filter = self.which.filter(desk.now().await?, SESSIONS_SHOWN);
        let Preview { matched, sample, .. } = desk.preview_sessions(&filter).await?;
        if self.dry_run || !self.how.yes {
            return preview(context, desk, &sample, matched).await;
        }
        let task = Task::Sessions { filter };
        operations::perform(context, desk, &task, matched, None, self.how.background).await?;
        Ok(())
    }

    async fn lines(&self, desk: &Desk) -> Result<Vec<SessionLine>, Failure> {
        let mut lines = Vec::new();
        for id in &self.ids {
            let found = desk.find(self.which.source.as_deref(), id).await?;
            match <[_; 1]>::try_from(found) {
                Ok([line]) => lines.push(line),
                Err(found) => return Err(show::not_one(id, &found)),
            }
        }
        Ok(lines)
    }
}

async fn preview(context: &Context, desk: &Desk, lines: &[SessionLine], matched: u64) -> Result<(), Failure> {
    let now = desk.now().await?;
    let shown = json!({ "matches": matched, "acted": false, "sample": lines });
    context.out.print(&shown, |out| {
        let table = if lines.is_empty() {
            String::new()
        } else {
            sessions::rows(out, lines, now)
        };
        let some = if (lines.len() as u64) < matched {
            "; these are the latest"
        } else {
            ""
        };
        format!("{table}\n{matched} session(s) would be judged again{some}")
    })
}
