//! `aftercall check`: is the configuration right, are the playbooks, and do they fit each other?

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{context::Context, failure::Failure, wiring};
use crate::{
    config::{self, Config, Overrides, PlaybookName, SourceKind},
    domain::{playbook::Playbook, webhook::Shape},
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall check
  $ aftercall check --playbook playbooks/mine.toml
  $ aftercall check --config conf/aftercall.toml --json";

/// Checks the configuration and its playbooks: every fault with file, line and reason
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Check {
    /// Playbooks to check, too (may be given more than once)
    #[arg(long, value_name = "FILE")]
    playbook: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    ok: bool,
    /// What holds.
    pub(super) checked: Vec<String>,
    /// What does not, with file, line and reason.
    pub(super) faults: Vec<String>,
}

impl Check {
    pub(super) fn execute(self, context: &Context) -> Result<(), Failure> {
        let report = report(context, self.playbook)?;
        context.out.print(&report, |_| {
            let checked = report.checked.iter().map(|line| format!("ok: {line}"));
            let lines: Vec<String> = report.faults.iter().cloned().chain(checked).collect();
            super::escape::visible_lines(&lines.join("\n"))
        })?;
        match report.faults.len() {
            0 => Ok(()),
            1 => Err(Failure::Fault("1 fault".to_owned())),
            count => Err(Failure::Fault(format!("{count} faults"))),
        }
    }
}

/// Checks the configuration, the playbooks that it names, and these.
pub(super) fn report(context: &Context, playbooks: Vec<PathBuf>) -> Result<Report, Failure> {
    let mut report = Report::default();
    let file = context.config_file();
    match context.config(Overrides {
        webhook_secrets: true,
        ..Overrides::default()
    }) {
        Ok(config) => {
            let shown = if file.exists() {
                file.display().to_string()
            } else {
                "defaults (no file)".to_owned()
            };
            report.checked.push(format!("configuration: {shown}"));
            check_sources(&config, &mut report);
            // What each says for itself is right: now whether they fit each other. Nothing is called.
            if report.faults.is_empty()
                && let Err(reason) = wiring::fit(&config)
            {
                report.faults.push(reason);
            }
        }
        // The faults themselves, without the count before them.
        Err(Failure::Usage(text)) => report.faults.extend(text.lines().skip(1).map(str::to_owned)),
        Err(other) => return Err(other),
    }
    for path in playbooks {
        check_playbook(&PlaybookName::File(path), &mut report);
    }
    report.faults.dedup();
    report.ok = report.faults.is_empty();
    Ok(report)
}

fn check_sources(config: &Config, report: &mut Report) {
    for source in &config.sources {
        match &source.kind {
            SourceKind::Bundle { path, .. } => {
                if source.enabled && !path.is_file() {
                    report
                        .faults
                        .push(format!("source.{}: there is no file {}", source.name, path.display()));
                }
            }
            SourceKind::Langfuse(langfuse) => {
                report
                    .checked
                    .push(format!("source.{}: Langfuse at {}", source.name, langfuse.base_url));
            }
        }
        report.checked.extend(source.webhooks.iter().map(|webhook| {
            let path = match webhook.shape {
                Shape::Generic => "sessions/{id}/ended".to_owned(),
                vendor => format!("webhooks/{}", vendor.as_str()),
            };
            let (name, secrets) = (&source.name, webhook.secrets.len());
            format!("source.{name}: webhook at /api/v1/sources/{name}/{path}, secrets: {secrets}")
        }));
        let Some(playbook) = check_playbook(&source.playbook, report) else {
            continue;
        };
        for system in playbook.systems() {
            let Some(records) = config.system(&system) else {
                let known = config.records.iter().map(|records| records.name.as_str());
                let advice = config::nearest(&system, known)
                    .map(|name| format!("; did you mean `{name}`?"))
                    .unwrap_or_default();
                report.faults.push(format!(
                    "source.{}: its playbook {} asks the system of record `{system}`, but no [[records]] has that name{advice}",
                    source.name, source.playbook
                ));
                continue;
            };
            let misfits = wiring::misfits(&playbook, records).into_iter();
            report
                .faults
                .extend(misfits.map(|misfit| format!("source.{}: {misfit}", source.name)));
        }
    }
}

/// Answers the playbook.
fn check_playbook(name: &PlaybookName, report: &mut Report) -> Option<Playbook> {
    match wiring::playbook(name) {
        Ok(playbook) => {
            let line = format!("playbook: {name}");
            if !report.checked.contains(&line) {
                report.checked.push(line);
            }
            Some(playbook)
        }
        Err(faults) => {
            report.faults.extend(faults);
            None
        }
    }
}
