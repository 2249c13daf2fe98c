//! `aftercall doctor`: does everything outside the process hold?

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{
    check,
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
};
use crate::{
    config::{Overrides, duration},
    doctor::{self, Depth, Finding, Level, Scope},
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall doctor
  $ aftercall doctor --timeout 30s
  $ aftercall doctor --deep --timeout 2m
  $ aftercall doctor --json | jq '.checks[] | select(.level != \"ok\")'";

/// Checks everything outside the process: configuration, database, clocks, sources, LLM, systems of record and the work
///
/// Nothing is written anywhere, and no session is read. With an LLM it costs one short question. Exit code 1 when something
/// failed; warnings alone are 0.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Doctor {
    /// How long to wait for each check; they run at the same time
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    timeout: Duration,
    /// Count all jobs, however many there are, to see whether the counters of the queues are right; without it that is done up to
    /// 100,000
    #[arg(long)]
    deep: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    warned: usize,
    failed: usize,
    checks: Vec<Finding>,
}

impl Report {
    fn new(checks: Vec<Finding>) -> Self {
        let count = |level| checks.iter().filter(|finding| finding.level == level).count();
        Self {
            ok: count(Level::Fail) == 0,
            warned: count(Level::Warn),
            failed: count(Level::Fail),
            checks,
        }
    }
}

impl Doctor {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let depth = if self.deep { Depth::Everything } else { Depth::Quick };
        let checked = check::report(context, Vec::new())?;
        let mut checks: Vec<Finding> = Vec::new();
        checks.extend(
            checked
                .faults
                .into_iter()
                .map(|fault| Finding::fail("configuration", fault, "mend it; `aftercall check` looks at it alone")),
        );
        checks.extend(
            checked
                .checked
                .into_iter()
                .map(|line| Finding::ok("configuration", line)),
        );
        if let Ok(config) = context.config(Overrides::default()) {
            checks.extend(doctor::examine(&config, Scope::Everything, depth, self.timeout).await);
        } else {
            checks.push(Finding::warn(
                "upstreams",
                "not looked at, because of the configuration",
                "mend it, then look again",
            ));
            // With its secrets alone missing, the database can be looked at all the same.
            if let Ok(config) = context.config_to_look() {
                checks.extend(doctor::examine(&config, Scope::DatabaseOnly, depth, self.timeout).await);
            }
        }
        let report = Report::new(checks);
        context.out.print(&report, |out| table(out, &report))?;
        match report.failed {
            0 => Ok(()),
            1 => Err(Failure::Fault("1 check failed".to_owned())),
            count => Err(Failure::Fault(format!("{count} checks failed"))),
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration::parse(text)?;
    if timeout.is_zero() {
        return Err("should be longer than nothing".to_owned());
    }
    Ok(timeout)
}

fn table(out: &Output, report: &Report) -> String {
    let mut grid = Grid::new(["", "check", "found", "what to do"]);
    for finding in &report.checks {
        let tone = match finding.level {
            Level::Ok => Tone::Good,
            Level::Warn => Tone::Warn,
            Level::Fail => Tone::Bad,
        };
        grid.row([
            Cell::toned(finding.level.as_str(), tone),
            Cell::from(&finding.check),
            Cell::from(&finding.found),
            Cell::from(finding.advice.as_deref().unwrap_or_default()),
        ]);
    }
    let ok = report.checks.len() - report.warned - report.failed;
    format!(
        "{}\n\n{ok} ok, {} warn, {} fail",
        out.table(&grid),
        report.warned,
        report.failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_each_check_and_nothing_acts_on_the_terminal() {
        let report = Report::new(vec![
            Finding::ok("database", "opens"),
            Finding::warn("clock", "31s behind", "set it"),
            Finding::fail("source:x", "says \u{1b}[2J\u{202e}", "mend it"),
        ]);
        assert!(!report.ok);
        let text = table(&Output::plain(), &report);
        for shown in ["31s behind", "set it", "says \\x1b[2J\\u{202e}", "1 ok, 1 warn, 1 fail"] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
        assert!(
            !text.chars().any(|letter| letter.is_control() && letter != '\n'),
            "{text:?}"
        );
    }

    #[test]
    fn warnings_alone_are_no_failure() {
        assert!(Report::new(vec![Finding::warn("clock", "31s behind", "set it")]).ok);
    }
}
