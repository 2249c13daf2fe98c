//! Sources, the LLM and systems of record, each asked by its own adapter.

use std::{future::Future, time::Duration};

use super::{Finding, Look, bounded, clock};
use crate::{
    env::Upstreams,
    ports::{Probe, UpstreamError, UpstreamReason},
};

/// One look per upstream.
pub(super) fn looks(upstreams: &Upstreams, timeout: Duration) -> Vec<Look<'_>> {
    let mut looks: Vec<Look> = Vec::new();
    for (name, entry) in &upstreams.sources {
        let check = format!("source:{name}");
        if entry.enabled {
            looks.push(probed(check, timeout, entry.source.probe()));
        } else {
            looks.push(said(Finding::ok(check, "not enabled, so not looked at")));
        }
    }
    if upstreams.sources.is_empty() {
        let advice = "add a [[source]] to the configuration, or start with `aftercall init`";
        looks.push(said(Finding::warn(
            "sources",
            "none is configured: there is nothing to check",
            advice,
        )));
    }
    match &upstreams.model {
        Some(entry) => looks.push(probed(entry.model.upstream().to_owned(), timeout, entry.model.probe())),
        None => looks.push(said(Finding::ok(
            "llm",
            "none is configured: the offline classifier reads, and rules alone explain",
        ))),
    }
    for (name, entry) in &upstreams.systems {
        looks.push(probed(format!("records:{name}"), timeout, entry.system.probe()));
    }
    looks
}

fn said<'a>(finding: Finding) -> Look<'a> {
    Box::pin(async move { vec![finding] })
}

fn probed<'a>(
    check: String,
    timeout: Duration,
    probe: impl Future<Output = Result<Probe, UpstreamError>> + Send + 'a,
) -> Look<'a> {
    bounded(check.clone(), timeout, async move {
        let before = clock::machine();
        match probe.await {
            Ok(probe) => findings(&check, probe, before, clock::machine()),
            Err(error) => vec![refused(check, &error)],
        }
    })
}

fn findings(
    check: &str,
    probe: Probe,
    before: chrono::DateTime<chrono::Utc>,
    after: chrono::DateTime<chrono::Utc>,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = probe
        .notes
        .into_iter()
        .map(|note| {
            let level = if note.warning {
                super::Level::Warn
            } else {
                super::Level::Ok
            };
            Finding::new(check, level, note.text, None)
        })
        .collect();
    if let Some(date) = probe.server_date {
        findings.push(clock::compare(check, "its", date, before, after));
    }
    findings
}

fn refused(check: String, error: &UpstreamError) -> Finding {
    let found = format!("{} ({})", error.detail, error.reason.as_str());
    match error.reason {
        UpstreamReason::AuthInvalid => Finding::fail(check, found, "give it a key or password that it takes"),
        UpstreamReason::BillingExhausted => Finding::fail(check, found, "pay"),
        UpstreamReason::ModelUnavailable => Finding::fail(check, found, "name a model that it serves"),
        UpstreamReason::Unreachable => Finding::fail(
            check,
            found,
            "is it up, and is its address right? Until it answers, its jobs wait and nothing is lost",
        ),
        UpstreamReason::BadAnswer => Finding::fail(check, found, "check its address: something else answers there"),
        UpstreamReason::RateLimited => Finding::warn(check, found, "wait, and look again; jobs wait by themselves"),
        UpstreamReason::ClosedHours => {
            Finding::warn(check, found, "look again when it is open; jobs wait by themselves")
        }
        UpstreamReason::Budget => Finding::warn(check, found, "raise the budget, or wait for the next period"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn what_passes_by_itself_warns_and_what_needs_a_person_fails() {
        let level = |reason| {
            let error = UpstreamError {
                upstream: "llm:default".to_owned(),
                reason,
                detail: "status 4xx".to_owned(),
                retry_after: None,
            };
            let finding = refused("llm:default".to_owned(), &error);
            assert!(finding.advice.is_some());
            assert!(finding.found.contains(reason.as_str()));
            finding.level
        };
        for reason in [
            UpstreamReason::AuthInvalid,
            UpstreamReason::BillingExhausted,
            UpstreamReason::ModelUnavailable,
            UpstreamReason::Unreachable,
            UpstreamReason::BadAnswer,
        ] {
            assert_eq!(level(reason), Level::Fail);
        }
        for reason in [
            UpstreamReason::RateLimited,
            UpstreamReason::ClosedHours,
            UpstreamReason::Budget,
        ] {
            assert_eq!(level(reason), Level::Warn);
        }
    }

    #[test]
    fn notes_and_the_clock_of_a_probe_are_findings() {
        let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        let mut probe = Probe {
            server_date: Some(at(500)),
            ..Probe::default()
        };
        probe.ok("it answers");
        probe.warn("look: do this");
        let levels: Vec<Level> = findings("records:x", probe, at(100), at(101))
            .iter()
            .map(|finding| finding.level)
            .collect();
        assert_eq!(levels, [Level::Ok, Level::Warn, Level::Warn]);
    }
}
