//! What holds something.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Inspector,
    answer::{Answer, Problem},
    ask::Ask,
};
use crate::{store::inspect::sessions::SessionLine, why::Found};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// The id of a session or a job, or the name of a queue.
    name: String,
    /// The session's source, where several sources have a session of this id.
    #[serde(default)]
    source: Option<String>,
}

#[async_trait]
impl Ask for Why {
    const NAME: &'static str = "why";
    const TITLE: &'static str = "Why it does not move";
    const ABOUT: &'static str = "\
Everything that holds a session, a job or a queue right now, in the order in which it has to give way; with since when, until when, \
which jobs and processes hold it, and in `act` what an operator can do. Use it first, whenever something does not move, has no \
verdict yet, or is slow. Codes are stable: gate_shut, scheduled, backing_off, look_again, settling, not_in_traces, paused, \
no_worker, no_scheduler, limit_reached, rate_reached, behind_others, unique_twin, worker_silent, cancel_requested, no_job, \
database_slow; where nothing holds it: running, ready, idle, ended, judged.";

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem> {
        match of.desk().await?.why(&self.name, self.source.as_deref()).await? {
            Found::One(answer) => Answer::of(&answer, "`jobs_show` has one of the jobs that hold it"),
            Found::Several(found) => Err(several(&found)),
            Found::Nothing => Err(Problem::new(
                "that is no queue, no job and no session that is known: `queues`, `jobs_list` and `sessions_list` list them",
            )),
        }
    }
}

/// One id, several sessions.
pub(super) fn several(found: &[SessionLine]) -> Problem {
    let sources: Vec<&str> = found.iter().map(|line| line.key.source.as_str()).collect();
    Problem::new(format!(
        "several sources have a session of this id: choose one with `source` ({})",
        sources.join(", ")
    ))
}
