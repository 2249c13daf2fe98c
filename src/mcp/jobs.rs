//! Jobs by filter, and one with its history.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    Inspector,
    answer::{Answer, Problem},
    ask::{self, Ago, Ask, Limit},
};
use crate::queue::inspect::{ArgIs, JobFilter};

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Available,
    Scheduled,
    Running,
    Retryable,
    Completed,
    Cancelled,
    Discarded,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Retryable => "retryable",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// Of this queue.
    #[serde(default)]
    queue: Option<String>,
    /// In this state.
    #[serde(default)]
    state: Option<State>,
    /// In this partition.
    #[serde(default)]
    partition: Option<String>,
    /// Whose unique key contains this: a session's id.
    #[serde(default)]
    key: Option<String>,
    /// Whose last error contains this.
    #[serde(default)]
    error: Option<String>,
    /// Whose arguments hold this value, as PATH=VALUE: session_id=call-7.
    #[serde(default)]
    arg: Option<String>,
    /// Enqueued so long ago or longer: 30m, 24h, 7d.
    #[serde(default)]
    older_than: Option<Ago>,
    /// Enqueued in the last so long: 30m, 24h, 7d.
    #[serde(default)]
    newer_than: Option<Ago>,
    /// With so many attempts, or more.
    #[serde(default)]
    attempts: Option<u32>,
    /// At most this many; 50 unless said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    limit: Limit,
    /// The next page: the `next` of the page before.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    after: Option<Uuid>,
}

#[async_trait]
impl Ask for List {
    const NAME: &'static str = "jobs_list";
    const TITLE: &'static str = "Jobs";
    const ABOUT: &'static str = "\
Jobs by filter, newest first: `jobs`, each with its queue, state, arguments, attempts, last error and what it waits for; `next` where \
there are more. Use it to find what was given up (state discarded), what fails again and again (state retryable), or all jobs of a \
session (key).";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let desk = of.desk().await?;
        let now = desk.now().await?;
        let arg: Option<ArgIs> = self.arg.map(|arg| arg.parse().map_err(Problem::new)).transpose()?;
        let filter = JobFilter {
            queue: self.queue,
            state: self.state.map(|state| state.as_str().to_owned()),
            partition: self.partition,
            key_contains: self.key,
            error_contains: self.error,
            arg,
            created_since: self.newer_than.map(|ago| ago.before(now)),
            created_until: self.older_than.map(|ago| ago.before(now)),
            attempts: self.attempts,
            ids: Vec::new(),
        };
        ask::page(self.limit, |most| desk.jobs(&filter, self.after, most)).await
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    /// The job's id.
    #[schemars(with = "String")]
    job: Uuid,
}

#[async_trait]
impl Ask for Show {
    const NAME: &'static str = "jobs_show";
    const TITLE: &'static str = "One job";
    const ABOUT: &'static str = "\
One job with every attempt: when it started, how long it took, what came of it, on which process, and each error. Use it after \
`jobs_list` or `why`, to see how a job failed over time.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        match of.desk().await?.job(self.job).await? {
            Some(detail) => Answer::of(&detail, "`aftercall jobs show`, run by an operator, has all of it"),
            None => Err(Problem::new(format!(
                "there is no job {}; finished jobs are deleted after `retention.finished_jobs`. `jobs_list` lists those there are",
                self.job
            ))),
        }
    }
}
