//! `aftercall sessions`: sessions by filter, each with its latest verdict.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    config::duration,
    store::inspect::sessions::{Cursor, SessionFilter, SessionLine, SessionPage},
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall sessions --status fail --status partial
  $ aftercall sessions --status waiting --source calls
  $ aftercall sessions --waiting-for records:practice --older-than 1h
  $ aftercall sessions --since 24h --json | jq -r '.sessions[].session_id'
  $ aftercall sessions --after WzE3ODgwMDAwMDAwMDAwMDAsImNhbGxzIiwiYS8xIl0     # the next page";

/// Lists sessions with their latest verdict, or why they have none yet
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Sessions {
    #[command(flatten)]
    which: Which,
    /// In this state on the way to a verdict
    #[arg(long, value_name = "STATE", value_parser = ["open", "settled", "analyzing", "verifying", "done", "reopened"])]
    state: Option<String>,
    /// That wait for a reason which contains this, as it is shown: a gate, "looked 1 of 4", …
    #[arg(long, value_name = "TEXT")]
    waiting_for: Option<String>,
    /// With an id that contains this
    #[arg(long, value_name = "TEXT")]
    id_contains: Option<String>,
    /// Without activity for so long or longer (30m, 24h, 7d)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// At most this many, latest activity first
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// The next page: the last line of the page before says after what
    #[arg(long, value_name = "CURSOR")]
    after: Option<Cursor>,
}

/// Which sessions: shared by the commands that take a filter.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// Of this source
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// With this status: pass, partial, fail, skipped, error, or waiting (may be given more than once)
    #[arg(long, value_name = "STATUS", value_parser = ["pass", "partial", "fail", "skipped", "error", "waiting"])]
    pub(super) status: Vec<String>,
    /// With this intent
    #[arg(long, value_name = "INTENT")]
    pub(super) intent: Option<String>,
    /// With activity in the last so long (30m, 24h, 7d)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) since: Option<Duration>,
}

impl Which {
    /// Whether it names anything at all.
    pub(super) fn is_empty(&self) -> bool {
        self.source.is_none() && self.status.is_empty() && self.intent.is_none() && self.since.is_none()
    }

    /// As a filter, where now is by the database's clock.
    pub(super) fn filter(&self, now: DateTime<Utc>, limit: u32) -> SessionFilter {
        let since = self
            .since
            .map(|since| now - chrono::Duration::from_std(since).unwrap_or_default());
        SessionFilter {
            source: self.source.clone(),
            session_id: None,
            statuses: self.status.clone(),
            intent: self.intent.clone(),
            since,
            limit,
            ..SessionFilter::default()
        }
    }
}

impl Sessions {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        let now = desk.now().await?;
        let filter = SessionFilter {
            state: self.state,
            id_contains: self.id_contains,
            until: self
                .older_than
                .map(|ago| now - chrono::Duration::from_std(ago).unwrap_or_default()),
            ..self.which.filter(now, self.limit)
        };
        let page = desk
            .sessions(&filter, self.waiting_for.as_deref(), self.after.as_ref())
            .await?;
        context.out.print(&page, |out| text(out, &page, now))
    }
}

fn text(out: &Output, page: &SessionPage, now: DateTime<Utc>) -> String {
    if page.sessions.is_empty() {
        return "no such sessions".to_owned();
    }
    let text = rows(out, &page.sessions, now);
    match &page.next {
        Some(next) => format!("{text}\n\nthere are more: --after {next}"),
        None => text,
    }
}

/// The table of sessions, as `run` prints it, too.
pub(super) fn rows(out: &Output, lines: &[SessionLine], now: DateTime<Utc>) -> String {
    let mut grid = Grid::new([
        "session",
        "source",
        "status",
        "intent",
        "diagnosis",
        "age",
        "until",
        "why",
    ]);
    for line in lines {
        let verdict = line.verdict.as_ref();
        grid.row([
            Cell::from(&line.key.session_id),
            Cell::from(&line.key.source),
            Cell::toned(&line.status, Tone::of_status(&line.status)),
            Cell::from(verdict.map_or("", |verdict| verdict.intent.as_str())),
            Cell::from(
                verdict
                    .and_then(|verdict| verdict.diagnosis.as_deref())
                    .unwrap_or_default(),
            ),
            Cell::from(when::age(now, line.last_activity_at)),
            Cell::from(
                line.waiting_until
                    .filter(|_| line.status == "waiting")
                    .map(|until| when::until(now, until))
                    .unwrap_or_default(),
            ),
            Cell::from(why(line)),
        ]);
    }
    out.table(&grid)
}

fn why(line: &SessionLine) -> &str {
    if line.status == "waiting" {
        return line.waiting_reason.as_deref().unwrap_or(line.state.as_str());
    }
    line.verdict.as_ref().map_or("", |verdict| verdict.summary.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::session::SessionKey, store::inspect::sessions::VerdictLine};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn line(id: &str, status: &str) -> SessionLine {
        SessionLine {
            key: SessionKey::new("calls", id),
            status: status.to_owned(),
            state: if status == "waiting" { "verifying" } else { "done" }.to_owned(),
            generation: 1,
            environment: None,
            first_activity_at: at(0),
            last_activity_at: at(60),
            observations: 3,
            waiting_reason: (status == "waiting").then(|| "not found yet: looked 1 of 4 times".to_owned()),
            waiting_until: (status == "waiting").then(|| at(420)),
            incomplete: false,
            verdict: (status != "waiting").then(|| VerdictLine {
                generation: 1,
                status: status.to_owned(),
                reason: None,
                severity: None,
                intent: "booking".to_owned(),
                confidence: 0.9,
                summary: "said \u{1b}[32mdone\u{1b}[0m, not there".to_owned(),
                diagnosis: Some("pending".to_owned()),
                at: at(90),
            }),
        }
    }

    #[test]
    fn sessions_show_their_verdict_or_what_they_wait_for() {
        let next: Cursor = "WzYwLCJjYWxscyIsImMiXQ".parse().unwrap();
        let page = |next: Option<Cursor>| SessionPage {
            sessions: vec![line("a/b", "fail"), line("c", "waiting")],
            next,
        };
        let shown_page = text(&Output::plain(), &page(None), at(120));
        for shown in [
            "a/b",
            "fail",
            "booking",
            "pending",
            "said \\x1b[32mdone",
            "not found yet: looked 1 of 4 times",
            "in 5m",
        ] {
            assert!(shown_page.contains(shown), "{shown} is not in\n{shown_page}");
        }
        assert!(!shown_page.contains('\u{1b}') && !shown_page.contains("--after"));
        let more = text(&Output::plain(), &page(Some(next)), at(120));
        assert!(more.ends_with("--after WzYwLCJjYWxscyIsImMiXQ"), "{more}");
        let none = SessionPage {
            sessions: Vec::new(),
            next: None,
        };
        assert_eq!(text(&Output::plain(), &none, at(120)), "no such sessions");
    }
}
