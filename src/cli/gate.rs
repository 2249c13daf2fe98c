//! `aftercall gate`: which upstreams are down, and closing or trying one by hand.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::queue::{control::Opened, inspect::gates::GateLine};

/// Shows, opens and closes gates: what holds the jobs of an upstream that is down
#[derive(Debug, Args)]
pub(super) struct Gate {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(List),
    Open(Open),
    Close(Close),
}

const LIST_EXAMPLE: &str = "\
Examples:
  $ aftercall gate list
  $ aftercall gate list --json | jq '.[] | select(.state != \"open\")'";

/// Lists every gate that was ever shut: state, reason, since when, what it holds, when it is tried next
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLE)]
struct List {}

const OPEN_EXAMPLE: &str = "\
Example:
  $ aftercall gate open llm:default";

/// Tries an upstream that is down now, without waiting; opens a gate that was closed by hand
#[derive(Debug, Args)]
#[command(after_help = OPEN_EXAMPLE)]
struct Open {
    /// The gate, as `aftercall queues` shows it
    #[arg(value_name = "KEY")]
    key: String,
}

const CLOSE_EXAMPLE: &str = "\
Examples:
  $ aftercall gate close records:practice --reason \"maintenance until 14:00\"
  $ aftercall gate close llm:default --reason \"too expensive today\"";

/// Holds all jobs that need an upstream, in the whole fleet, until the gate is opened by hand
#[derive(Debug, Args)]
#[command(after_help = CLOSE_EXAMPLE)]
struct Close {
    /// source:NAME, records:NAME, llm:default, or llm:default/SOURCE for one source's use of it
    #[arg(value_name = "KEY")]
    key: String,
    /// Why, for the next person who looks
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Gate {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        match self.verb {
            Verb::List(List {}) => {
                let gates = desk.gates().await?;
                let now = desk.now().await?;
                context.out.print(&gates, |out| {
                    if gates.is_empty() {
                        return "no upstream was ever down".to_owned();
                    }
                    table(out, &gates, now)
                })
            }
            Verb::Open(Open { key }) => {
                let (result, text) = match desk.open_gate(&key).await? {
                    Opened::Open => ("open", format!("{key} is open: its jobs go on")),
                    Opened::Tried => (
                        "tried",
                        format!("{key} is tried now: it opens when the upstream answers"),
                    ),
                    Opened::NotShut => {
                        return Err(Failure::Fault(format!(
                            "{key} is not shut; `aftercall gate list` shows which are"
                        )));
                    }
                };
                context.out.print(&json!({ "gate": key, "result": result }), |_| text)
            }
            Verb::Close(Close { key, reason }) => {
                desk.close_gate(&key, &reason).await?;
                context.out.print(&json!({ "gate": key, "result": "closed" }), |_| {
                    format!("{key} is closed; `aftercall gate open {key}` opens it again")
                })
            }
        }
    }
}

/// One row per gate, as `queues` prints it, too.
pub(super) fn table(out: &Output, gates: &[GateLine], now: DateTime<Utc>) -> String {
    let mut grid = Grid::new([
        "upstream", "gate", "reason", "for", "failures", "holds", "tried", "detail",
    ]);
    for gate in gates {
        let since = gate.closed_at.map(|closed_at| when::age(now, closed_at));
        let tried = match (gate.state.as_str(), gate.probe_at) {
            ("half_open", _) => "now".to_owned(),
            ("closed", Some(probe_at)) => when::until(now, probe_at),
            ("closed", None) => "when opened by hand".to_owned(),
            _ => String::new(),
        };
        let tone = match gate.state.as_str() {
            "open" => Tone::Good,
            "half_open" => Tone::Warn,
            _ => Tone::Bad,
        };
        grid.row([
            Cell::from(&gate.key),
            Cell::toned(gate.state.replace('_', " "), tone),
            Cell::from(gate.reason.clone().unwrap_or_default()),
            Cell::from(since.unwrap_or_default()),
            Cell::count(gate.failures.into()),
            Cell::count(gate.held_jobs()),
            Cell::from(tried),
            Cell::from(gate.detail.clone().unwrap_or_default()),
        ]);
    }
    out.table(&grid)
}
