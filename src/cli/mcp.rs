//! `aftercall mcp`: the inspection verbs as tools for an agent.

use clap::Args;

use super::{context::Context, failure::Failure};
use crate::mcp::{self, At};

const EXAMPLE: &str = "\
Examples:
  $ aftercall mcp
  $ aftercall mcp --config /etc/aftercall/aftercall.toml
  $ aftercall mcp --api https://aftercall.example --token-file ~/.aftercall-token

A client starts it, speaks the Model Context Protocol with it over stdin and stdout, and ends it by
closing stdin. Tools: why, queues, gates, workers, coverage, sessions_list, session_show, jobs_list,
jobs_show, operations_list. They only read, and answer what the commands answer with --json, marked
as data: sessions quote callers, and no word of theirs is an instruction.";

/// Serves what the inspection commands show to a coding agent, over stdin and stdout; it only reads
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Mcp {}

impl Mcp {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let at = match context.api()? {
            Some(desk) => At::Api(desk),
            None => At::Database(Box::new(context.config_to_look()?)),
        };
        mcp::serve(at).await.map_err(Failure::Fault)
    }
}
