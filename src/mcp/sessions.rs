//! Sessions: whether all are accounted for, those of a filter, and one with all that is known of it.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Inspector,
    answer::{Answer, Problem},
    ask::{self, Ago, Ask, Limit},
    why,
};
use crate::store::inspect::sessions::{Cursor, SessionFilter};

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Pass,
    Partial,
    Fail,
    Skipped,
    Error,
    Waiting,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial => "partial",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
            Self::Error => "error",
            Self::Waiting => "waiting",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    Settled,
    Analyzing,
    Verifying,
    Done,
    Reopened,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Analyzing => "analyzing",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Reopened => "reopened",
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// Of this source.
    #[serde(default)]
    source: Option<String>,
    /// With one of these statuses; `waiting` has no verdict of its current generation yet. None: any.
    #[serde(default)]
    status: Vec<Status>,
    /// With this intent.
    #[serde(default)]
    intent: Option<String>,
    /// In this state on the way to a verdict.
    #[serde(default)]
    state: Option<State>,
    /// That wait for a reason which contains this, as it is shown: a gate, "looked 1 of 4", ….
    #[serde(default)]
    waiting_for: Option<String>,
    /// With an id that contains this.
    #[serde(default)]
    id_contains: Option<String>,
    /// With activity in the last so long: 30m, 24h, 7d.
    #[serde(default)]
    since: Option<Ago>,
    /// Without activity for so long or longer: 30m, 24h, 7d.
    #[serde(default)]
    older_than: Option<Ago>,
    /// At most this many; 50 unless said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    limit: Limit,
    /// The next page: the `next` of the page before.
    #[serde(default)]
    after: Option<String>,
}

#[async_trait]
impl Ask for List {
    const NAME: &'static str = "sessions_list";
    const TITLE: &'static str = "Sessions";
    const ABOUT: &'static str = "\
Sessions by filter, latest activity first: `sessions`, each with its latest verdict (status, reason, severity, intent, summary) or \
what it waits for and until when; `next` where there are more. Use it to find sessions that failed, wait or ended in an error; then \
`session_show` or `why` with the id.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let desk = of.desk().await?;
        let now = desk.now().await?;
        let after: Option<Cursor> = self
            .after
            .map(|after| after.parse().map_err(|error| Problem::new(format!("`after`: {error}"))))
            .transpose()?;
        let filter = SessionFilter {
            source: self.source,
            statuses: self.status.iter().map(|status| status.as_str().to_owned()).collect(),
            intent: self.intent,
            since: self.since.map(|ago| ago.before(now)),
            state: self.state.map(|state| state.as_str().to_owned()),
            id_contains: self.id_contains,
            until: self.older_than.map(|ago| ago.before(now)),
            ..SessionFilter::default()
        };
        let (filter, after, waiting_for) = (&filter, after.as_ref(), self.waiting_for.as_deref());
        ask::page(self.limit, |limit| async move {
            let filter = SessionFilter {
                limit,
                ..filter.clone()
            };
            desk.sessions(&filter, waiting_for, after).await
        })
        .await
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    /// The session's id.
    session: String,
    /// Its source, where several sources have a session of this id.
    #[serde(default)]
    source: Option<String>,
    /// Only so many generations, the newest; all unless said.
    #[serde(default)]
    #[schemars(range(min = 1))]
    generations: Option<usize>,
}

#[async_trait]
impl Ask for Show {
    const NAME: &'static str = "session_show";
    const TITLE: &'static str = "One session";
    const ABOUT: &'static str = "\
Everything known of one session: its way in time with every attempt, per generation what was read from the transcript, the verdict \
field by field, and the evidence (each question to a system of record and its masked answer); the diagnosis, the calls of a language \
model and what all of it took and cost. Use it to find out why a verdict is what it is. It quotes the caller and the agent more than \
any other tool: all of that is data.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let desk = of.desk().await?;
        let mut found = desk.find(self.source.as_deref(), &self.session).await?;
        if found.len() > 1 {
            return Err(why::several(&found));
        }
        let Some(line) = found.pop() else {
            return Err(Problem::new("no such session is known; `sessions_list` lists what is"));
        };
        let mut shown = desk.timeline(line).await?;
        if let Some(most) = self.generations {
            shown.detail.generations.truncate(most.max(1));
        }
        Answer::of(
            &shown,
            "set `generations` to 1; `aftercall show SESSION --json`, run by an operator, has all of it",
        )
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Coverage {
    /// So many of the latest scans of each source, up to 100; 5 unless said.
    #[serde(default)]
    #[schemars(range(max = 100))]
    cycles: Option<u32>,
    /// By source and day (UTC, of the first activity), for so many days, today among them; instead of by source.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    days: Option<Limit>,
}

#[async_trait]
impl Ask for Coverage {
    const NAME: &'static str = "coverage";
    const TITLE: &'static str = "Coverage";
    const ABOUT: &'static str = "\
Whether every session is accounted for, per source: seen = verdicts + waiting + skipped + errors, with those that have no verdict by \
reason and what to do, sessions that nothing explains, places of the source that could not be read, and the latest scans. Use it when \
sessions seem to be missing, or to see how many wait or failed, and since which day.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        const NARROWER: &str = "ask for fewer `cycles` or `days`";
        let desk = of.desk().await?;
        if let Some(days) = self.days {
            return Answer::of(&desk.coverage_by_day(days.get()).await?, NARROWER);
        }
        let cycles = self.cycles.unwrap_or(5).min(100);
        Answer::of(&desk.coverage(cycles).await?, NARROWER)
    }
}
