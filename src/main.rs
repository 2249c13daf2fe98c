//! Parses the command, starts telemetry, runs it.

use std::process::ExitCode;

use aftercall::{cli::Cli, telemetry};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::start(&cli.telemetry()) {
        eprintln!("error: {error}");
        return ExitCode::from(2);
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => {
            eprintln!("error: cannot start the async runtime: {error}");
            ExitCode::from(3)
        }
    }
}
