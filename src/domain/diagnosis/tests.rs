//! Each rule on the smallest session that shows it.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::{Value, json};

use super::*;
use crate::domain::{
    claim::claims,
    judge::Case,
    playbook::Playbook,
    reading::{Operation, Reader, Reading, Request},
    session::SessionKey,
    transcript::{Speaker, ToolCall, Transcript, Turn},
    verdict::{FieldVerdict, Finding, Outcome, PlaybookRef, Reason, Severity, Status, Verdict},
};

const TOLD: &str = "You're all set for Monday at 3:30.";
const ASKED: &str = "Please book Ada Sorel.";

fn playbook() -> Playbook {
    let (_, text) = Playbook::BUILT_IN
        .iter()
        .find(|(name, _)| *name == "orthodontics")
        .unwrap();
    Playbook::parse("orthodontics", text).unwrap()
}

fn call(step: &str, tool: &str, action: &str, input: Value, output: Value, error: Option<&str>) -> ToolCall {
    ToolCall {
        writes: false,
        step: step.to_owned(),
        order: 0,
        turn: 1,
        tool: tool.to_owned(),
        action: (!action.is_empty()).then(|| action.to_owned()),
        name: tool.to_owned(),
        input,
        output,
        error: error.map(str::to_owned),
        started_at: DateTime::from_timestamp(1_789_000_000, 0).unwrap(),
        latency_ms: None,
    }
}

fn lookup() -> ToolCall {
    call(
        "s-lookup",
        "patient",
        "lookup",
        json!({"action": "lookup"}),
        json!({"patients": []}),
        None,
    )
}

fn slots() -> ToolCall {
    call(
        "s-slots",
        "schedule",
        "slots",
        json!({"action": "slots"}),
        json!({"slots": [{}]}),
        None,
    )
}

fn child(first: &str, start: &str) -> Value {
    json!({"firstName": first, "lastName": "Sorel", "startTime": start})
}

fn book(step: &str, children: &[Value], output: Value, error: Option<&str>) -> ToolCall {
    call(
        step,
        "schedule",
        "book_child",
        json!({"action": "book_child", "children": children}),
        output,
        error,
    )
}

fn booked(first: &str, start: &str) -> Value {
    json!({"firstName": first, "patientGUID": "P1", "success": true,
           "appointment": {"appointmentGUID": "A1", "startTime": start, "booked": true}})
}

fn request(subject: &str) -> Request {
    Request {
        operation: Operation::Create,
        record: "appointment".to_owned(),
        subject: Some(subject.to_owned()),
        id: None,
        fields: BTreeMap::new(),
        quote: ASKED.to_owned(),
        turn: Some(1),
        withdrawn: None,
    }
}

fn case(calls: Vec<ToolCall>, subjects: &[&str]) -> Case {
    let playbook = playbook();
    let turn = |index, speaker, text: &str| Turn {
        index,
        speaker,
        text: text.to_owned(),
        trace_id: "t".to_owned(),
        at: None,
    };
    let mut calls = calls;
    for (order, call) in (1..).zip(&mut calls) {
        call.order = order;
    }
    let transcript = Transcript {
        turns: vec![turn(1, Speaker::Caller, ASKED), turn(2, Speaker::Agent, TOLD)],
        calls,
    };
    Case {
        session: SessionKey::new("s", "1"),
        claims: claims(&playbook, &transcript),
        reading: Reading {
            intent: "booking".to_owned(),
            confidence: 0.9,
            summary: String::new(),
            details: BTreeMap::new(),
            requests: subjects.iter().map(|subject| request(subject)).collect(),
            statements: Vec::new(),
        },
        reader: Reader::File,
        transcript,
        incomplete: false,
    }
}

fn finding(subject: &str, outcome: Outcome, told: bool) -> Finding {
    Finding {
        operation: Operation::Create,
        record: "appointment".to_owned(),
        system: Some("practice".to_owned()),
        id: None,
        subject: Some(subject.to_owned()),
        outcome,
        severity: match outcome {
            Outcome::Confirmed => Severity::None,
            _ if told => Severity::Critical,
            _ => Severity::High,
        },
        touches: Vec::new(),
        fields: Vec::new(),
        asked: ASKED.to_owned(),
        said_done: told.then(|| TOLD.to_owned()),
        steps: Vec::new(),
        why: String::new(),
    }
}

fn verdict(reason: Reason, findings: Vec<Finding>) -> Verdict {
    Verdict {
        status: Status::Fail,
        reason,
        severity: findings
            .iter()
            .map(|finding| finding.severity)
            .max()
            .unwrap_or(Severity::High),
        summary: "0 of 1 child fully verified".to_owned(),
        intent: "booking".to_owned(),
        confidence: 0.9,
        reader: Reader::File,
        findings,
        playbook: PlaybookRef {
            name: "orthodontics".to_owned(),
            version: 1,
            hash: String::new(),
        },
        looks: 1,
        incomplete: false,
    }
}

/// The rules' cause; whatever it cites has to be in the session.
fn cause(calls: Vec<ToolCall>, findings: Vec<Finding>) -> RootCause {
    let subjects: Vec<String> = findings.iter().filter_map(|finding| finding.subject.clone()).collect();
    let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
    let case = case(calls, &subjects);
    let found = explain(&playbook(), &case, &verdict(Reason::RecordsMissing, findings)).root_cause;
    assert!(!found.quotes.is_empty(), "{found:?}");
    assert_eq!(problems(&found, &case), Vec::<String>::new(), "{found:?}");
    found
}

fn named(cause: &RootCause) -> (FaultOwner, &str, Option<&str>) {
    (cause.owner, cause.failure.as_str(), cause.step.as_deref())
}

#[test]
fn an_error_that_the_agent_hid_is_the_agents() {
    let failed = book(
        "s-book",
        &[child("Ada", "9/14/2026 3:30:00 PM")],
        json!({"success": false, "error": "slot no longer available"}),
        Some("slot no longer available"),
    );
    let found = cause(
        vec![lookup(), slots(), failed],
        vec![finding("Ada Sorel", Outcome::Missing, true)],
    );
    assert_eq!(named(&found), (FaultOwner::Agent, "tool_error_ignored", Some("s-book")));
    assert_eq!(found.quotes[0].text, "slot no longer available");
    assert_eq!(found.quotes[1].at, "turn 2");
}

#[test]
fn an_error_that_the_agent_told_belongs_to_whom_its_words_point_to() {
    for (error, owner, failure) in [
        ("slot no longer available", FaultOwner::Tool, "slot_taken"),
        ("HTTP 503: Service Unavailable", FaultOwner::Environment, "tool_failed"),
        ("appointmentTypeGUID is invalid", FaultOwner::Agent, "arguments_refused"),
        ("no", FaultOwner::Tool, "tool_failed"),
    ] {
        let failed = book(
            "s-book",
            &[child("Ada", "x")],
            json!({"success": false, "error": error}),
            Some(error),
        );
        let found = cause(vec![failed], vec![finding("Ada Sorel", Outcome::Missing, false)]);
        assert_eq!(named(&found), (owner, failure, Some("s-book")), "{error}");
    }
}

#[test]
fn a_retry_that_succeeded_is_not_blamed_for_the_error_before_it() {
    let failed = book(
        "s-first",
        &[child("Ada", "x")],
        json!({"success": false, "error": "slot taken"}),
        Some("slot taken"),
    );
    let done = book(
        "s-second",
        &[child("Ada", "x")],
        json!({"success": true, "children": [booked("Ada", "x")]}),
        None,
    );
    let found = cause(vec![failed, done], vec![finding("Ada Sorel", Outcome::Missing, true)]);
    assert_eq!(
        named(&found),
        (FaultOwner::Tool, "reported_done_not_stored", Some("s-second"))
    );
}

#[test]
fn an_empty_id_is_the_agents() {
    let input = json!({"action": "book_child", "patientGUID": "", "children": [child("Ada", "x")]});
    let failed = call(
        "s-book",
        "schedule",
        "book_child",
        input,
        json!({"success": false, "error": "patientGUID is required"}),
        Some("patientGUID is required"),
    );
    let found = cause(vec![failed], vec![finding("Ada Sorel", Outcome::Missing, false)]);
    assert_eq!(named(&found), (FaultOwner::Agent, "empty_id_passed", Some("s-book")));
}

#[test]
fn one_child_booked_and_both_confirmed_is_partial_confirmed_as_whole() {
    let output = json!({"success": false, "partialSuccess": true, "children": [
        booked("Ada", "x"),
        {"firstName": "Ben", "patientGUID": "P2", "success": false, "error": "This appointment cannot be scheduled in the specified time slot", "appointment": {"booked": false}}
    ]});
    let partly = book("s-book", &[child("Ada", "x"), child("Ben", "y")], output, None);
    let found = cause(
        vec![partly],
        vec![
            finding("Ada Sorel", Outcome::Confirmed, true),
            finding("Ben Sorel", Outcome::Missing, true),
        ],
    );
    assert_eq!(
        named(&found),
        (FaultOwner::Agent, "partial_confirmed_as_whole", Some("s-book"))
    );
    assert!(found.quotes[0].text.contains("specified time slot"), "{found:?}");
}

#[test]
fn a_queued_booking_that_never_came_is_the_environments() {
    let output = json!({"success": true, "anyQueued": true, "children": [{"firstName": "Ada", "queued": true, "status": "queued"}]});
    let queued = book("s-book", &[child("Ada", "x")], output, None);
    let found = cause(vec![queued], vec![finding("Ada Sorel", Outcome::Missing, true)]);
    assert_eq!(
        named(&found),
        (FaultOwner::Environment, "queued_never_worked", Some("s-book"))
    );
}

#[test]
fn what_was_confirmed_without_a_call_and_what_was_never_called_are_the_agents() {
    let found = cause(vec![lookup()], vec![finding("Ada Sorel", Outcome::Missing, true)]);
    assert_eq!(named(&found), (FaultOwner::Agent, "confirmed_without_call", None));
    let found = cause(vec![lookup()], vec![finding("Ada Sorel", Outcome::Missing, false)]);
    assert_eq!(named(&found), (FaultOwner::Agent, "never_called", None));
    assert!(found.cause.contains("slots, book_child"), "{}", found.cause);
}

#[test]
fn an_error_on_the_way_explains_why_the_last_step_was_never_taken() {
    let broken = call(
        "s-slots",
        "schedule",
        "slots",
        json!({"action": "slots"}),
        json!({"error": "HTTP 502: Bad Gateway"}),
        Some("HTTP 502: Bad Gateway"),
    );
    let found = cause(
        vec![lookup(), broken],
        vec![finding("Ada Sorel", Outcome::Missing, false)],
    );
    assert_eq!(named(&found), (FaultOwner::Environment, "tool_failed", Some("s-slots")));
}

/// A wrong start, with the time asked for, the time in the call, the time in its answer and the time in the record.
fn wrong_start(called: &str, answered: &str, there: &str) -> RootCause {
    let done = book(
        "s-book",
        &[child("Ada", called)],
        json!({"success": true, "children": [booked("Ada", answered)]}),
        None,
    );
    let mut wrong = finding("Ada Sorel", Outcome::Wrong, true);
    wrong.fields.push(FieldVerdict {
        name: "start".to_owned(),
        outcome: Outcome::Wrong,
        expected: json!("2026-09-14T15:30"),
        actual: json!(there),
        why: String::new(),
    });
    cause(vec![done], vec![wrong])
}

#[test]
fn a_differing_record_is_whose_side_changed_the_value() {
    let (right, other) = ("9/14/2026 3:30:00 PM", "9/14/2026 4:10:00 PM");
    for (called, answered, owner) in [
        (other, other, FaultOwner::Agent),
        (right, other, FaultOwner::Tool),
        (right, right, FaultOwner::SystemOfRecord),
    ] {
        let found = wrong_start(called, answered, other);
        assert_eq!(
            named(&found),
            (owner, "record_differs", Some("s-book")),
            "{called} {answered}"
        );
    }
}

#[test]
fn times_of_two_children_that_were_swapped_are_the_agents() {
    let (first, second) = ("9/14/2026 3:30:00 PM", "9/14/2026 4:10:00 PM");
    let output = json!({"success": true, "children": [booked("Ada", second), booked("Ben", first)]});
    let swapped = book("s-book", &[child("Ada", second), child("Ben", first)], output, None);
    let mut wrong = finding("Ada Sorel", Outcome::Wrong, true);
    wrong.fields.push(FieldVerdict {
        name: "start".to_owned(),
        outcome: Outcome::Wrong,
        expected: json!("2026-09-14T15:30"),
        actual: json!(second),
        why: String::new(),
    });
    let found = cause(vec![swapped], vec![wrong]);
    assert_eq!(named(&found), (FaultOwner::Agent, "record_differs", Some("s-book")));
}

#[test]
fn an_unwanted_effect_names_the_call_that_made_it() {
    let done = book(
        "s-book",
        &[child("Ada", "x")],
        json!({"success": true, "children": [booked("Ada", "x")]}),
        None,
    );
    let mut unwanted = finding("Ada Sorel", Outcome::Unwanted, false);
    unwanted.steps = vec!["s-book".to_owned()];
    let found = cause(vec![done], vec![unwanted]);
    assert_eq!(named(&found), (FaultOwner::Agent, "unwanted_effect", Some("s-book")));
}

#[test]
fn done_but_told_failed_is_the_tools_where_the_tool_said_so() {
    let timed_out = book(
        "s-book",
        &[child("Ada", "x")],
        json!({"error": "request timed out"}),
        Some("request timed out"),
    );
    let done = book(
        "s-book",
        &[child("Ada", "x")],
        json!({"success": true, "children": [booked("Ada", "x")]}),
        None,
    );
    for (call, owner) in [(timed_out, FaultOwner::Tool), (done, FaultOwner::Agent)] {
        let case = case(vec![call], &["Ada Sorel"]);
        let verdict = verdict(
            Reason::DoneButToldFailed,
            vec![finding("Ada Sorel", Outcome::Confirmed, false)],
        );
        let found = explain(&playbook(), &case, &verdict).root_cause;
        assert_eq!(named(&found), (owner, "told_failed_but_done", Some("s-book")));
        assert_eq!(problems(&found, &case), Vec::<String>::new());
    }
}

#[test]
fn a_failure_without_findings_is_never_called_or_unknown() {
    let case = case(Vec::new(), &[]);
    for (reason, failure) in [
        (Reason::NothingDone, "never_called"),
        (Reason::RecordsMissing, "unknown"),
    ] {
        let found = explain(&playbook(), &case, &verdict(reason, Vec::new()));
        assert_eq!(found.root_cause.failure, failure);
        assert!(!found.experts.is_empty(), "nobody was asked");
    }
}

#[test]
fn steps_are_counted_by_what_their_calls_cover() {
    let status = |explanation: &Explanation, step: &str| {
        explanation
            .steps
            .iter()
            .find(|report| report.step == step)
            .map(|report| (report.status, report.expected))
    };
    let children = [child("Ada", "x"), child("Ben", "y")];
    let both = book(
        "s-book",
        &children,
        json!({"success": true, "children": [booked("Ada", "x"), booked("Ben", "y")]}),
        None,
    );
    let only_ada = book(
        "s-book",
        &children[..1],
        json!({"success": true, "children": [booked("Ada", "x")]}),
        None,
    );
    let failing = verdict(
        Reason::RecordsMissing,
        vec![finding("Ben Sorel", Outcome::Missing, false)],
    );
    let of = |calls| explain(&playbook(), &case(calls, &["Ada Sorel", "Ben Sorel"]), &failing);

    let explanation = of(vec![lookup(), slots(), both]);
    assert_eq!(status(&explanation, "book_child"), Some((StepStatus::Completed, 2)));
    assert_eq!(status(&explanation, "slots"), Some((StepStatus::Completed, 1)));
    assert_eq!(
        status(&explanation, "create_patient"),
        None,
        "an optional step is not missed"
    );
    let explanation = of(vec![lookup(), only_ada]);
    assert_eq!(status(&explanation, "book_child"), Some((StepStatus::Missing, 2)));
    assert_eq!(status(&explanation, "slots"), Some((StepStatus::Missing, 1)));
}

#[test]
fn experts_are_routed_by_what_failed() {
    let experts = |calls: Vec<ToolCall>, severity: Severity| {
        let mut failing = verdict(
            Reason::RecordsMissing,
            vec![finding("Ada Sorel", Outcome::Missing, false)],
        );
        failing.severity = severity;
        let explanation = explain(&playbook(), &case(calls, &["Ada Sorel"]), &failing);
        explanation
            .experts
            .into_iter()
            .map(|route| route.expert)
            .collect::<Vec<_>>()
    };
    let broken_lookup = call(
        "s-lookup",
        "patient",
        "lookup",
        json!({}),
        json!({"error": "HTTP 500"}),
        Some("HTTP 500"),
    );
    let good_book = || {
        book(
            "s-book",
            &[child("Ada", "x")],
            json!({"success": true, "children": [booked("Ada", "x")]}),
            None,
        )
    };
    assert_eq!(
        experts(vec![broken_lookup, slots(), good_book()], Severity::High),
        ["patient_tool", "nodered_flow"]
    );
    // Nothing failed and everything was called: nobody else is left to ask.
    assert_eq!(
        experts(vec![lookup(), slots(), good_book()], Severity::High),
        ["system_prompt"]
    );
    assert_eq!(
        experts(vec![], Severity::High),
        ["patient_tool", "scheduling_tool", "system_prompt"]
    );
}

fn holding() -> RootCause {
    RootCause {
        owner: FaultOwner::Agent,
        failure: "tool_error_ignored".to_owned(),
        step: Some("s-book".to_owned()),
        cause: "It was ignored.".to_owned(),
        confidence: 80,
        quotes: vec![
            Quote {
                at: "turn 2".to_owned(),
                text: "you're all\n  set".to_owned(),
            },
            Quote {
                at: "s-book".to_owned(),
                text: r#"{ "error": "slot taken" }"#.to_owned(),
            },
        ],
        suggestion: None,
        diff: None,
    }
}

/// Makes a finding that does not hold.
type Breaking = fn(&mut RootCause);

#[test]
fn a_finding_that_cites_what_is_not_there_is_refused() {
    let failed = book(
        "s-book",
        &[child("Ada", "x")],
        json!({"error": "slot taken"}),
        Some("slot taken"),
    );
    let case = case(vec![failed], &["Ada Sorel"]);
    assert_eq!(check(holding(), &case), Ok(holding()));
    let broken: [(&str, Breaking); 8] = [
        ("tool calls", |finding| finding.step = Some("s-other".to_owned())),
        ("quote 1 is not in the turn", |finding| {
            finding.quotes[0].text = "You are booked".to_owned();
        }),
        ("quote 1 names neither", |finding| {
            finding.quotes[0].at = "turn 9".to_owned();
        }),
        ("quote 2 is not in the input", |finding| {
            finding.quotes[1].text = "slot free".to_owned();
        }),
        ("quote 1 is not", |finding| finding.quotes[0].text = " \n".to_owned()),
        ("snake_case", |finding| finding.failure = "Tool error!".to_owned()),
        ("between 0 and 100", |finding| finding.confidence = 101),
        ("neither a step nor a quote", |finding| {
            finding.step = None;
            finding.quotes.clear();
        }),
    ];
    for (says, change) in broken {
        let mut finding = holding();
        change(&mut finding);
        let reason = check(finding, &case).unwrap_err();
        assert!(reason.contains(says), "{says}: {reason}");
        assert!(!reason.contains("booked"), "an error repeats the session: {reason}");
    }
}

fn answered(expert: &str, failure: &str, confidence: u8) -> ExpertReport {
    ExpertReport {
        expert: expert.to_owned(),
        why: String::new(),
        result: ExpertResult::Answered {
            finding: RootCause {
                failure: failure.to_owned(),
                confidence,
                ..holding()
            },
            model: "m".to_owned(),
        },
    }
}

fn explanation() -> Explanation {
    let failed = book(
        "s-book",
        &[child("Ada", "x")],
        json!({"error": "slot taken"}),
        Some("slot taken"),
    );
    let failing = verdict(
        Reason::SaidDoneNotThere,
        vec![finding("Ada Sorel", Outcome::Missing, true)],
    );
    explain(&playbook(), &case(vec![failed], &["Ada Sorel"]), &failing)
}

#[test]
fn the_surest_expert_has_the_word_and_the_rules_where_none_answered() {
    let rejected = ExpertReport {
        result: ExpertResult::Rejected {
            reason: "quote 1 is not there".to_owned(),
        },
        ..answered("c", "x", 0)
    };
    let not_asked = ExpertReport {
        result: ExpertResult::NotAsked,
        ..answered("d", "x", 0)
    };
    let report = assemble(
        explanation(),
        vec![
            answered("a", "first", 70),
            answered("b", "second", 70),
            rejected.clone(),
        ],
    );
    assert_eq!(
        (report.basis.as_str(), report.root_cause.failure.as_str()),
        ("experts", "first")
    );
    for (experts, says) in [
        (vec![], "no expert was asked"),
        (vec![not_asked], "no LLM is configured"),
        (vec![rejected], "no expert's answer held"),
    ] {
        let report = assemble(explanation(), experts);
        assert_eq!(
            (report.basis.as_str(), report.root_cause.failure.as_str()),
            ("rules", "tool_error_ignored")
        );
        assert!(
            report.markdown.contains(&format!("the rules alone: {says}")),
            "{}",
            report.markdown
        );
    }
}

#[test]
fn nothing_of_a_session_formats_the_report_or_reaches_a_terminal_raw() {
    let hostile = "\u{1b}[2J<img src=x onerror=alert(1)> **bold** [link](http://evil.example) | a | `code` \u{202e}\n# title\n_em_ www.evil.example";
    let mut explanation = explanation();
    explanation.summary = hostile.to_owned();
    explanation.tool_errors[0].error = hostile.to_owned();
    explanation.steps[0].step = hostile.to_owned();
    let mut expert = answered(hostile, hostile, 90);
    if let ExpertResult::Answered { finding, .. } = &mut expert.result {
        finding.cause = hostile.to_owned();
        finding.suggestion = Some(hostile.to_owned());
        finding.quotes[0].text = hostile.to_owned();
        finding.diff = Some(format!("+ a\n````\n{hostile}"));
    }
    let markdown = assemble(explanation, vec![expert]).markdown;
    assert!(
        !markdown
            .chars()
            .any(|letter| letter != '\n' && (letter.is_control() || letter == '\u{202e}')),
        "{markdown:?}"
    );
    assert!(!markdown.contains("<img"), "{markdown}");
    let (before, after) = markdown.split_once("`````diff\n").unwrap();
    let (_, after) = after.split_once("\n`````\n").unwrap();
    for part in [before, after] {
        for raw in [
            "**bold**",
            "[link]",
            "http://",
            "www.",
            "| a |",
            " `code`",
            "\n# title",
            " _em_",
        ] {
            assert!(!part.contains(raw), "{raw} is in\n{part}");
        }
    }
}
