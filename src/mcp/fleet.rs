//! Queues, gates, processes, and what operators do to many.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Inspector,
    answer::{Answer, Problem},
    ask::{Ask, Limit},
};
use crate::operate::queues;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Queues {
    /// This queue only.
    #[serde(default)]
    queue: Option<String>,
}

#[async_trait]
impl Ask for Queues {
    const NAME: &'static str = "queues";
    const TITLE: &'static str = "Queues";
    const ABOUT: &'static str = "\
Every queue: jobs by state, the oldest that waits, what runs, limits and their use, pauses (who, why), what gates hold, what is due \
later and why, and the pace of the last 15 minutes (growing, shrinking, steady). Use it for the state of the whole program, and to \
find which queue is behind; then `why` with the queue's name.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let mut shown = of.desk().await?.queues().await?;
        if let Some(queue) = &self.queue {
            let known = shown.iter().map(|line| line.depth.queue.clone()).collect();
            queues::among(known, queue).map_err(Problem::new)?;
        }
        shown.retain(|line| self.queue.as_ref().is_none_or(|queue| line.depth.queue == *queue));
        Answer::of(&shown, "name one `queue`")
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Gates {
    /// Only those that are not open: upstreams that are down or closed by hand now.
    #[serde(default)]
    shut_only: bool,
}

#[async_trait]
impl Ask for Gates {
    const NAME: &'static str = "gates";
    const TITLE: &'static str = "Gates";
    const ABOUT: &'static str = "\
Every upstream (source, system of record, language model) that was ever down or closed by hand: its gate's state (open, closed, \
half_open), the reason, since when, failures in a row, how many jobs it holds, and when it is tried next. Use it when jobs wait for an \
upstream, or to see whether something outside is down.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let mut shown = of.desk().await?.gates().await?;
        shown.retain(|gate| !self.shut_only || gate.state != "open");
        Answer::of(&shown, "set `shut_only`")
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Workers {
    /// Those that stopped, too.
    #[serde(default)]
    all: bool,
}

#[async_trait]
impl Ask for Workers {
    const NAME: &'static str = "workers";
    const TITLE: &'static str = "Processes";
    const ABOUT: &'static str = "\
The processes of the fleet: host, pid, version (and whether it is outdated), role, queues served, state (live, dead, stopped), last \
sign of life, and the jobs that each one runs. Use it to see whether anybody works at all, who died, and what runs for how long.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let shown = of.desk().await?.processes(self.all).await?;
        Answer::of(&shown, "leave out `all`")
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Operations {
    /// At most this many, newest first; 50 unless said.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    limit: Limit,
}

#[async_trait]
impl Ask for Operations {
    const NAME: &'static str = "operations_list";
    const TITLE: &'static str = "Operations";
    const ABOUT: &'static str = "\
What operators did to many jobs or sessions at once, newest first: what, to which (the filter), who, why, how many matched and were \
changed or left alone, and whether it still runs. Use it to find out whether somebody cancelled, discarded, retried, moved or judged \
again what you look at.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        let shown = of.desk().await?.operations(self.limit.get()).await?;
        Answer::of(&shown, "lower `limit`")
    }
}
