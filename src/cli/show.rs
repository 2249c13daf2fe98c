//! `aftercall show`: everything known of one session.

use std::{fmt::Write as _, time::Duration};

use clap::Args;
use serde_json::Value;

use super::{
    context::Context,
    escape::{visible, visible_lines},
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    domain::{diagnosis::Diagnosis, lookup::Fact, reading::Reader, verdict::Finding, verdict_diff::Diff},
    store::inspect::session::{GenerationDetail, SessionDetail, money},
    timeline::{Timeline, Totals},
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall show airline-00-0
  $ aftercall show airline-00-0 --source calls --json
  $ aftercall show airline-00-0 --all";

/// Answers of a system longer than this are cut, with a mark; `--json` has them whole.
const LONGEST_VALUE: usize = 120;

/// Shows a session: its way in time, the verdict by field, the evidence, the diagnosis
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Show {
    /// The session's id
    #[arg(value_name = "SESSION")]
    session: String,
    /// Its source, where several sources have a session of this id
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Older generations, too
    #[arg(long)]
    all: bool,
}

impl Show {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        let found = desk.find(self.source.as_deref(), &self.session).await?;
        let [line] = <[_; 1]>::try_from(found).map_err(|found| not_one(&self.session, &found))?;
        let timeline = desk.timeline(line).await?;
        context.out.print(&timeline, |out| page(out, &timeline, self.all))
    }
}

pub(super) fn not_one(id: &str, found: &[crate::store::inspect::sessions::SessionLine]) -> Failure {
    if found.is_empty() {
        return Failure::Fault(format!(
            "no session `{id}` is known; `aftercall sessions` lists what is"
        ));
    }
    let sources: Vec<&str> = found.iter().map(|line| line.key.source.as_str()).collect();
    Failure::Fault(format!(
        "several sources have a session `{id}`: choose one with --source ({})",
        sources.join(", ")
    ))
}

/// The whole page.
fn page(out: &Output, timeline: &Timeline, all: bool) -> String {
    let Timeline { detail, totals } = timeline;
    let mut page = head(out, detail);
    let newest = detail.generations.iter().take(if all { usize::MAX } else { 1 });
    for generation in newest {
        page.push_str(&verdict(out, generation));
        page.push_str(&evidence(out, generation));
    }
    if let Some(report) = &detail.diagnosis {
        page.push_str(&diagnosis(out, report));
    }
    page.push_str(&sums(out, totals));
    let older = detail.generations.len().saturating_sub(1);
    if older > 0 && !all {
        let _ = writeln!(page, "\n{older} older verdict(s): --all");
    }
    page
}

pub(super) fn title(out: &Output, text: &str) -> String {
    format!("\n{}\n", out.paint(text, Tone::Dim))
}

fn head(out: &Output, detail: &SessionDetail) -> String {
    let line = &detail.line;
    let mut head = format!(
        "{} (source {})  {}\n",
        visible(&line.key.session_id),
        visible(&line.key.source),
        out.paint(&line.status, Tone::of_status(&line.status))
    );
    if let Some(verdict) = &line.verdict {
        let _ = writeln!(head, "{}", visible(&verdict.summary));
        let _ = writeln!(
            head,
            "intent {} ({:.0} %), reason {}, severity {}",
            visible(&verdict.intent),
            verdict.confidence * 100.0,
            visible(verdict.reason.as_deref().unwrap_or("-")),
            visible(verdict.severity.as_deref().unwrap_or("-"))
        );
    }
    if line.status == "waiting" {
        let until = line
            .waiting_until
            .map(|until| format!(", until {}", when::instant(until)))
            .unwrap_or_default();
        let reason = visible(line.waiting_reason.as_deref().unwrap_or("no reason given"));
        let _ = writeln!(head, "waiting in state {}: {reason}{until}", visible(&line.state));
    }
    if line.incomplete {
        head.push_str("incomplete: it never came to rest, or was cut; what was seen may not be all\n");
    }
    head.push_str(&title(out, "timeline"));
    let mut grid = Grid::new(["when", "after", "what", "waited", "took", "", "worker"]);
    let mut before = None;
    for event in &detail.timeline {
        let after = before
            .map(|before| format!("+{}", when::age(event.at, before)))
            .unwrap_or_default();
        before = Some(event.at);
        grid.row([
            Cell::from(when::instant(event.at)),
            Cell::from(after),
            Cell::from(event.what.replace('_', " ")),
            Cell::from(event.waited_us.map(micros).unwrap_or_default()),
            Cell::from(event.took_us.map(micros).unwrap_or_default()),
            Cell::from(&event.detail),
            Cell::toned(event.worker.clone().unwrap_or_default(), Tone::Dim),
        ]);
    }
    head.push_str(&out.table(&grid));
    head.push('\n');
    head
}

fn verdict(out: &Output, generation: &GenerationDetail) -> String {
    let mut text = String::new();
    let Some(verdict) = &generation.verdict else {
        return text;
    };
    text.push_str(&title(out, &format!("verdict, generation {}", generation.generation)));
    let status = verdict.status.as_str();
    let _ = writeln!(
        text,
        "{}: {}",
        out.paint(status, Tone::of_status(status)),
        visible(&verdict.summary)
    );
    let _ = writeln!(
        text,
        "read by {}; playbook {} {}; looked {} time(s)",
        visible(&reader(&verdict.reader)),
        visible(&verdict.playbook.name),
        verdict.playbook.version,
        verdict.looks
    );
    for reason in &generation.dropped {
        let _ = writeln!(text, "dropped from the reading: {}", visible(reason));
    }
    if !verdict.findings.is_empty() {
        text.push_str(&out.table(&findings(&verdict.findings)));
        text.push('\n');
    }
    if let Some(diff) = &generation.diff {
        text.push_str(&changes(out, diff));
    }
    text
}

/// What a new generation changed, and why.
fn changes(out: &Output, diff: &Value) -> String {
    let Ok(diff) = serde_json::from_value::<Diff>(diff.clone()) else {
        // Written by an earlier version.
        return format!("changed against the generation before: {}\n", short(diff));
    };
    let mut text = title(out, &format!("changed against generation {}", diff.against_generation));
    if diff.changes.is_empty() {
        text.push_str("nothing\n");
    } else {
        let mut grid = Grid::new(["what", "before", "now"]);
        for change in &diff.changes {
            grid.row([
                Cell::from(&change.what),
                Cell::from(short(&change.before)),
                Cell::from(short(&change.after)),
            ]);
        }
        text.push_str(&out.table(&grid));
        text.push('\n');
    }
    if diff.more > 0 {
        let _ = writeln!(text, "and {} more", diff.more);
    }
    for why in &diff.because {
        let _ = writeln!(text, "because {}", visible(why));
    }
    text
}

pub(super) fn reader(reader: &Reader) -> String {
    match reader {
        Reader::Offline { why } => format!("the offline classifier ({why})"),
        Reader::Llm { model, repaired: false } => format!("the LLM {model}"),
        Reader::Llm { model, repaired: true } => format!("the LLM {model}, at the second attempt"),
        Reader::File => "your own readings file".to_owned(),
    }
}

/// One row per request or unwanted effect, then one per field.
pub(super) fn findings(findings: &[Finding]) -> Grid {
    let mut grid = Grid::new(["what", "outcome", "expected", "actual", "why"]);
    for finding in findings {
        let operation = format!("{:?}", finding.operation).to_lowercase();
        let mut what = format!("{operation} {}", finding.record);
        for part in [&finding.id, &finding.subject].into_iter().flatten() {
            let _ = write!(what, " {part}");
        }
        grid.row([
            Cell::from(what),
            Cell::toned(finding.outcome.as_str(), tone_of_outcome(finding.outcome.as_str())),
            Cell::from(""),
            Cell::from(""),
            Cell::from(&finding.why),
        ]);
        for field in &finding.fields {
            grid.row([
                Cell::from(format!("  {}", field.name)),
                Cell::toned(field.outcome.as_str(), tone_of_outcome(field.outcome.as_str())),
                Cell::from(short(&field.expected)),
                Cell::from(short(&field.actual)),
                Cell::from(&field.why),
            ]);
        }
    }
    grid
}

fn tone_of_outcome(outcome: &str) -> Tone {
    match outcome {
        "confirmed" => Tone::Good,
        "missing" | "unwanted" => Tone::Bad,
        "wrong" => Tone::Warn,
        _ => Tone::Dim,
    }
}

fn evidence(out: &Output, generation: &GenerationDetail) -> String {
    if generation.evidence.is_empty() {
        return String::new();
    }
    let mut grid = Grid::new(["look", "system", "asked", "status", "took", "answer"]);
    for evidence in &generation.evidence {
        let answer = match &evidence.fact {
            Fact::Found { record } => short(record),
            Fact::Absent => "not there".to_owned(),
            Fact::Unknown { reason } => format!("no answer: {reason}"),
        };
        grid.row([
            Cell::from((evidence.round + 1).to_string()),
            Cell::from(&evidence.lookup.system),
            Cell::from(&evidence.request),
            Cell::from(evidence.status.map_or_else(String::new, |status| status.to_string())),
            Cell::from(format!("{} ms", evidence.latency_ms)),
            Cell::from(answer),
        ]);
    }
    format!("{}{}\n", title(out, "evidence"), out.table(&grid))
}

/// A diagnosis as its parts; anything else (why there is none) as it is.
pub(super) fn diagnosis(out: &Output, report: &Value) -> String {
    let mut text = title(out, "diagnosis");
    let Ok(diagnosis) = serde_json::from_value::<Diagnosis>(report.clone()) else {
        let reason = report.get("reason").or_else(|| report.get("error")).unwrap_or(report);
        let _ = writeln!(text, "none: {}", short(reason));
        return text;
    };
    let cause = &diagnosis.root_cause;
    let owner = serde_json::to_value(cause.owner).unwrap_or_default();
    let _ = writeln!(
        text,
        "{} ({} %, by {}): {}",
        visible(&cause.failure),
        cause.confidence,
        visible(&diagnosis.basis),
        visible(&cause.cause)
    );
    let _ = writeln!(text, "to act: {}", visible(&short(&owner)));
    for quote in &cause.quotes {
        let _ = writeln!(text, "  {}: “{}”", visible(&quote.at), visible(&quote.text));
    }
    if let Some(suggestion) = &cause.suggestion {
        let _ = writeln!(text, "suggested: {}", visible(suggestion));
    }
    if let Some(diff) = &cause.diff {
        let _ = writeln!(text, "{}", visible_lines(diff));
    }
    let mut grid = Grid::new(["expected step", "status", "calls", "error"]);
    for step in &diagnosis.steps {
        let status = serde_json::to_value(step.status).unwrap_or_default();
        grid.row([
            Cell::from(&step.step),
            Cell::from(short(&status)),
            Cell::from(format!("{} of {}", step.calls.len(), step.expected)),
            Cell::from(step.error.clone().unwrap_or_default()),
        ]);
    }
    if !grid.is_empty() {
        text.push_str(&out.table(&grid));
        text.push('\n');
    }
    text
}

/// What all of it took and cost.
fn sums(out: &Output, totals: &Totals) -> String {
    let mut text = title(out, "in all");
    let _ = writeln!(
        text,
        "{} from the last activity on",
        micros(totals.since_last_activity_us)
    );
    if totals.attempts > 0 {
        let Totals {
            attempts,
            ran_us,
            waited_us,
            ..
        } = totals;
        let (ran, waited) = (micros(*ran_us), micros(*waited_us));
        let _ = writeln!(
            text,
            "jobs: {attempts} attempt(s) ran for {ran} and waited for {waited}"
        );
    }
    if totals.lookups > 0 {
        let _ = writeln!(text, "lookups: {}, took {}", totals.lookups, micros(totals.lookups_us));
    }
    if totals.llm_calls > 0 {
        let _ = writeln!(
            text,
            "LLM: {} call(s), {} lost, {} tokens, cost {}, took {}",
            totals.llm_calls,
            totals.llm_lost,
            totals.tokens,
            money(totals.cost_micros),
            micros(totals.llm_us)
        );
    }
    text
}

fn micros(length: i64) -> String {
    when::rough(Duration::from_micros(length.max(0).unsigned_abs()))
}

/// A value on one line, cut where it is long. A text is shown without its quotes.
pub(super) fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = visible(&text);
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::inspect::session::Event;

    fn timeline() -> Timeline {
        let hostile = "\u{1b}]0;owned\u{7}\u{202e}";
        let verdict = json!({
            "status": "fail", "reason": "said_done_not_there", "severity": "critical",
            "summary": format!("Said done, not there{hostile}"), "intent": "booking", "confidence": 0.92,
            "reader": {"kind": "offline", "why": "no LLM configured"},
            "findings": [{
                "operation": "create", "record": "appointment", "system": "practice", "id": format!("A1{hostile}"),
                "outcome": "missing", "severity": "critical", "why": "no such appointment",
                "fields": [{"name": "start", "outcome": "missing", "expected": "2026-09-14", "actual": null, "why": "absent"}]
            }],
            "playbook": {"name": "orthodontics", "version": 1, "hash": "00"}, "looks": 4, "incomplete": false
        });
        let evidence = json!([{
            "lookup": {"system": "practice", "record": "appointment", "id": "A1", "keys": {}},
            "request": format!("GET /A1{hostile}"), "status": 404, "fact": {"fact": "absent"},
            "at": "2026-09-14T12:00:00Z", "latency_ms": 12, "round": 0
        }]);
        let at = chrono::DateTime::from_timestamp(1_789_000_000, 0).unwrap();
        let detail = SessionDetail {
            line: crate::store::inspect::sessions::SessionLine {
                key: crate::domain::session::SessionKey::new("calls", format!("s/1{hostile}")),
                status: "fail".to_owned(),
                state: "done".to_owned(),
                generation: 1,
                environment: None,
                first_activity_at: at,
                last_activity_at: at,
                observations: 3,
                waiting_reason: None,
                waiting_until: None,
                incomplete: false,
                verdict: None,
            },
            timeline: vec![Event {
                at,
                what: "ran".into(),
                detail: format!("verify_session attempt 1, retried: status 503{hostile}"),
                took_us: Some(2_500_000),
                waited_us: Some(65_000_000),
                worker: Some("0199-worker".to_owned()),
            }],
            generations: vec![GenerationDetail {
                generation: 1,
                reading: None,
                reader: None,
                dropped: vec![hostile.to_owned()],
                verdict: Some(serde_json::from_value(verdict).unwrap()),
                diff: None,
                evidence: serde_json::from_value(evidence).unwrap(),
            }],
            diagnosis: Some(json!({
                "root_cause": {
                    "owner": "agent", "failure": "tool_error_ignored", "step": "o1", "cause": format!("ignored{hostile}"),
                    "confidence": 80, "quotes": [{"at": "turn 4", "text": format!("all set{hostile}")}], "diff": "-a\n+b"
                },
                "basis": "rules", "experts": [], "markdown": "",
                "steps": [{"step": "book_child", "status": "failed", "expected": 1, "calls": ["o1"], "error": "slot taken"}]
            })),
            llm_calls: Vec::new(),
        };
        Timeline {
            detail,
            totals: Totals {
                since_last_activity_us: 754_000_000,
                attempts: 1,
                ran_us: 2_500_000,
                waited_us: 65_000_000,
                lookups: 4,
                lookups_us: 120_000,
                llm_calls: 2,
                llm_us: 3_100_000,
                llm_lost: 1,
                tokens: 1_234,
                cost_micros: 1_000_250,
            },
        }
    }

    #[test]
    fn a_session_is_shown_with_verdict_by_field_evidence_and_diagnosis() {
        let text = page(&Output::plain(), &timeline(), false);
        for shown in [
            "create appointment A1",
            "missing",
            "2026-09-14",
            "the offline classifier (no LLM configured)",
            "GET /A1",
            "404",
            "not there",
            "tool_error_ignored (80 %, by rules)",
            "to act: agent",
            "turn 4",
            "book_child",
            "1 of 1",
            "\n+b",
            "verify_session attempt 1, retried: status 503",
            "1m5s",
            "0199-worker",
            "12m34s from the last activity on",
            "jobs: 1 attempt(s) ran for 2s and waited for 1m5s",
            "lookups: 4, took 120ms",
            "LLM: 2 call(s), 1 lost, 1234 tokens, cost 1.000250, took 3s",
        ] {
            assert!(text.contains(shown), "{shown} is not in\n{text}");
        }
    }

    #[test]
    fn nothing_of_a_session_reaches_the_terminal_raw() {
        let text = page(&Output::plain(), &timeline(), true);
        assert!(
            !text.chars().any(|letter| letter.is_control() && letter != '\n'),
            "{text:?}"
        );
        assert!(!text.contains('\u{202e}'), "{text:?}");
    }

    #[test]
    fn a_diagnosis_that_was_given_up_says_why() {
        let text = diagnosis(&Output::plain(), &json!({ "reason": "its worker died 3 times" }));
        assert!(text.contains("none: its worker died 3 times"), "{text}");
    }
}
