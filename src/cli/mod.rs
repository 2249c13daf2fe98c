//! The command line: one file per command.
//!
//! A command reads its arguments, calls the library, and prints a table for people or JSON for programs (`--json`).

mod api;
mod bench;
mod check;
mod context;
mod coverage;
mod demo;
mod doctor;
mod enqueue;
mod escape;
mod eval;
mod export;
mod failure;
mod gate;
mod health;
mod healthcheck;
mod init;
mod jobs;
mod limit;
mod mcp;
mod migrate;
mod operations;
mod output;
mod pause;
mod playbook;
mod process;
mod progress;
mod queues;
mod reprocess;
mod run;
mod sandbox;
mod scheduler;
mod sessions;
mod show;
mod signals;
mod sources;
mod summary;
mod token;
mod top;
mod when;
mod why;
mod wiring;
mod worker;
mod workers;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};

use self::{
    context::Context,
    failure::{EXIT_CODES, Failure},
};
use crate::telemetry::{self, Telemetry};

/// How long the last spans may take to be sent: a receiver that is down keeps no process from ending.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Checks after every finished agent session, in the system of record, whether the caller really got what they asked for.
///
/// Keeps one verdict per session and explains every failure.
#[derive(Debug, Parser)]
#[command(name = "aftercall", version, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Globals {
    /// Configuration file [default: aftercall.toml, where it exists]
    #[arg(
        long,
        global = true,
        env = "AFTERCALL_CONFIG",
        value_name = "FILE",
        help_heading = "Everywhere"
    )]
    config: Option<PathBuf>,
    /// Database file or postgres:// address, in place of the configured one
    #[arg(long, global = true, value_name = "FILE|URL", help_heading = "Everywhere")]
    db: Option<PathBuf>,
    /// Ask and change at another aftercall's HTTP API in place of a database [env: AFTERCALL_API=]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        conflicts_with = "db",
        help_heading = "Everywhere"
    )]
    api: Option<String>,
    /// File with the token for --api; without it the variable AFTERCALL_TOKEN is the token
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    token_file: Option<PathBuf>,
    /// Let the token for --api go to another machine over http://, for everybody on the way to read
    #[arg(long, global = true, help_heading = "Everywhere")]
    insecure_http: bool,
    /// Print JSON for programs instead of tables
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// Log more (-v info, -vv debug, -vvv trace), to stderr
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Everywhere")]
    verbose: u8,
    /// Log filter, such as `info` or `aftercall::queue=debug,warn`
    #[arg(
        long,
        global = true,
        env = "AFTERCALL_LOG",
        value_name = "FILTER",
        help_heading = "Everywhere"
    )]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Run(Box<run::Run>),
    Worker(worker::Worker),
    Scheduler(scheduler::Scheduler),
    Api(api::Api),
    Mcp(mcp::Mcp),
    Healthcheck(healthcheck::Healthcheck),
    Init(init::Init),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Migrate(migrate::Migrate),
    Coverage(coverage::Coverage),
    Sessions(sessions::Sessions),
    Show(show::Show),
    Queues(queues::Queues),
    Workers(workers::Workers),
    Top(top::Top),
    Why(why::Why),
    Jobs(Box<jobs::Jobs>),
    Operations(operations::Operations),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Limit(limit::Limit),
    Gate(gate::Gate),
    Enqueue(enqueue::Enqueue),
    Reprocess(reprocess::Reprocess),
    Token(token::Token),
    Playbook(playbook::Playbook),
    Export(export::Export),
    Eval(eval::Eval),
    Sandbox(sandbox::Sandbox),
    Bench(bench::Bench),
}

impl Command {
    /// Why it cannot be done at another aftercall's API, where one was named on the command line.
    fn refuses_api(&self, context: &Context) -> Option<Failure> {
        let (name, instead) = match self {
            Self::Coverage(_)
            | Self::Sessions(_)
            | Self::Show(_)
            | Self::Queues(_)
            | Self::Workers(_)
            | Self::Top(_)
            | Self::Why(_)
            | Self::Jobs(_)
            | Self::Operations(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Limit(_)
            | Self::Gate(_)
            | Self::Enqueue(_)
            | Self::Reprocess(_)
            | Self::Token(_)
            | Self::Mcp(_) => return None,
            Self::Demo(_) => ("demo", "it makes a world of its own, on this machine"),
            Self::Run(_) => ("run", "it does the work itself, at the database: name that with --db"),
            Self::Worker(_) => (
                "worker",
                "it does the work itself, at the database: name that with --db",
            ),
            Self::Scheduler(_) => ("scheduler", "it writes to the database itself: name that with --db"),
            Self::Api(_) => ("api", "it is the API, and needs its database: name that with --db"),
            Self::Healthcheck(_) => (
                "healthcheck",
                "it takes the address as `aftercall healthcheck ADDRESS:PORT`",
            ),
            Self::Init(_) => ("init", "it writes a file on this machine"),
            Self::Check(_) => (
                "check",
                "it reads the configuration on this machine; `queues` or `coverage` look at the fleet",
            ),
            Self::Doctor(_) => (
                "doctor",
                "it looks at this machine's way to everything: run it there; `why` looks from here",
            ),
            Self::Migrate(_) => ("migrate", "it changes the database itself: name that with --db"),
            Self::Playbook(_) => (
                "playbook",
                "it reads files and stored sessions of this machine: name a database with --db",
            ),
            Self::Export(_) => (
                "export",
                "it reads the database itself: name that with --db; `sessions --json` works from here",
            ),
            Self::Eval(_) => ("eval", "it judges files of this machine"),
            Self::Sandbox(_) => ("sandbox", "it serves a folder of this machine"),
            Self::Bench(_) => ("bench", "it measures a database of its own: name a server with --db"),
        };
        context
            .names_api()
            .then(|| Failure::Usage(format!("`aftercall {name}` does not work over --api: {instead}")))
    }
}

impl Cli {
    /// How this command logs: workers say what they do, everything else only what is wrong.
    pub fn telemetry(&self) -> Telemetry {
        let usual = u8::from(match &self.command {
            Command::Run(run) => !run.until_idle(),
            Command::Worker(_) | Command::Scheduler(_) | Command::Api(_) => true,
            _ => false,
        });
        let level = match self.globals.verbose + usual {
            0 => "warn",
            1 => "info",
            2 => "debug",
            _ => "trace",
        };
        // The chatter of libraries is for who asks for it by name.
        let filter = format!("warn,aftercall={level}");
        Telemetry {
            filter: self.globals.log.clone().unwrap_or(filter),
            json: self.globals.json,
        }
    }

    /// Runs the command.
    pub async fn run(self) -> ExitCode {
        let context = Context::new(self.globals);
        if let Some(refused) = self.command.refuses_api(&context) {
            eprintln!("error: {}", escape::visible_lines(&refused.to_string()));
            return refused.code();
        }
        let done = match self.command {
            Command::Demo(command) => command.execute(&context).await,
            Command::Run(command) => command.execute(&context).await,
            Command::Worker(command) => command.execute(&context).await,
            Command::Scheduler(command) => command.execute(&context).await,
            Command::Api(command) => command.execute(&context).await,
            Command::Mcp(command) => command.execute(&context).await,
            Command::Healthcheck(command) => command.execute(&context).await,
            Command::Init(command) => command.execute(&context),
            Command::Check(command) => command.execute(&context),
            Command::Doctor(command) => command.execute(&context).await,
            Command::Migrate(command) => command.execute(&context).await,
            Command::Coverage(command) => command.execute(&context).await,
            Command::Sessions(command) => command.execute(&context).await,
            Command::Show(command) => command.execute(&context).await,
            Command::Queues(command) => command.execute(&context).await,
            Command::Workers(command) => command.execute(&context).await,
            Command::Top(command) => command.execute(&context).await,
            Command::Why(command) => command.execute(&context).await,
            Command::Jobs(command) => command.execute(&context).await,
            Command::Operations(command) => command.execute(&context).await,
            Command::Pause(command) => command.execute(&context).await,
            Command::Resume(command) => command.execute(&context).await,
            Command::Limit(command) => command.execute(&context).await,
            Command::Gate(command) => command.execute(&context).await,
            Command::Enqueue(command) => command.execute(&context).await,
            Command::Reprocess(command) => command.execute(&context).await,
            Command::Token(command) => command.execute(&context).await,
            Command::Playbook(command) => command.execute(&context).await,
            Command::Export(command) => command.execute(&context).await,
            Command::Eval(command) => command.execute(&context).await,
            Command::Sandbox(command) => command.execute(&context).await,
            Command::Bench(command) => command.execute(&context).await,
        };
        telemetry::export::stop(LAST_SPANS).await;
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("error: {}", escape::visible_lines(&failure.to_string()));
                failure.code()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn commands(command: &clap::Command) -> Vec<clap::Command> {
        let mut all = vec![command.clone()];
        for inner in command.get_subcommands() {
            all.extend(commands(inner));
        }
        all
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        for mut command in commands(&Cli::command()) {
            let name = command.get_name().to_owned();
            assert!(command.get_about().is_some(), "{name} does not say what it does");
            let is_leaf = command.get_subcommands().next().is_none();
            if is_leaf {
                let help = command.render_long_help().to_string();
                assert!(help.contains("Example"), "{name} shows no example:\n{help}");
                assert!(help.contains("$ aftercall "), "{name} shows no example:\n{help}");
            }
        }
    }
}
