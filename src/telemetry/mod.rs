//! Log lines on stderr, and spans for OpenTelemetry. Both carry ids and fields, never transcripts, personal data or secrets.

pub mod export;
pub mod trace;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Crates that write what they send and receive when they are asked for everything: keys, transcripts, rows.
const WIRE: [&str; 7] = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "sqlx", "tower_http"];

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// A filter in the syntax of `tracing-subscriber`: `info`, `aftercall::queue=debug,warn`.
    pub filter: String,
    /// One JSON object per line, for programs.
    pub json: bool,
}

/// Starts it, once per process.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(telemetry: &Telemetry) -> Result<(), String> {
    let mut filter = EnvFilter::builder().parse(&telemetry.filter).map_err(|error| {
        format!(
            "--log: `{}` is not a log filter ({error}): write error, warn, info, debug or trace, or TARGET=LEVEL,…",
            telemetry.filter.escape_debug()
        )
    })?;
    // Whatever the filter says: what goes over the wire is private.
    for target in WIRE {
        if let Ok(quiet) = format!("{target}=warn").parse() {
            filter = filter.add_directive(quiet);
        }
    }
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false);
    // A second start in one process keeps the first: only tests do that.
    let _ = if telemetry.json {
        lines.json().try_init()
    } else {
        lines.compact().try_init()
    };
    std::panic::set_hook(Box::new(|panic| {
        // What a panic formats may hold parts of a transcript: only words that stand in the program are repeated.
        let words = panic
            .payload()
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or("(words left out)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(words, place, "a bug: the program panicked");
    }));
    Ok(())
}
