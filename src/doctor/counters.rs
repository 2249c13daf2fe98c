//! Whether the counters of the queues say what a count says.

use super::{Depth, Finding};
use crate::{
    db::Db,
    queue::counters::{self, Comparison, Difference},
};

const CHECK: &str = "counters";
/// Jobs that are counted without being asked to: a moment.
const QUICK: u64 = 100_000;
/// Differences that are named.
const NAMED: usize = 5;

pub(super) async fn look(db: &Db, depth: Depth) -> Vec<Finding> {
    let most = match depth {
        Depth::Quick => Some(QUICK),
        Depth::Everything => None,
    };
    vec![match counters::compare(db, most).await {
        Ok(Comparison::TooMany) => Finding::ok(
            CHECK,
            format!(
                "not compared with the jobs, since there are more than {QUICK}: `aftercall doctor --deep` counts them all"
            ),
        ),
        Ok(Comparison::Counted { jobs, differences }) if differences.is_empty() => Finding::ok(
            CHECK,
            format!("the counters of the queues say what a count says; number of jobs: {jobs}"),
        ),
        Ok(Comparison::Counted { differences, .. }) => Finding::warn(
            CHECK,
            format!("the counters of the queues are wrong: {}", named(&differences)),
            "`aftercall migrate --recount` sets them right while everybody goes on; triggers of the table `jobs` may be missing or \
             have been switched off, as by a restore",
        ),
        Err(error) => Finding::fail(CHECK, error.to_string(), "see the check `database`"),
    }]
}

fn named(differences: &[Difference]) -> String {
    let mut named: Vec<String> = differences
        .iter()
        .take(NAMED)
        .map(|difference| {
            let Difference {
                queue,
                state,
                held_by,
                counter,
                jobs,
            } = difference;
            let held = held_by
                .as_ref()
                .map(|gate| format!(", held by {gate}"))
                .unwrap_or_default();
            format!("{queue} {state}{held}: {counter}, and there are {jobs}")
        })
        .collect();
    if differences.len() > NAMED {
        named.push(format!("and {} more", differences.len() - NAMED));
    }
    named.join("; ")
}
