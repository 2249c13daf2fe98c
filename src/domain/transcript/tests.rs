use chrono::TimeZone;
use serde_json::json;

use super::*;

fn playbook() -> Playbook {
    Playbook::built_in("orthodontics").unwrap()
}

fn observation(
    id: &str,
    trace: &str,
    parent: Option<&str>,
    second: i64,
    kind: &str,
    name: &str,
    io: (Value, Value),
) -> Observation {
    Observation {
        id: id.into(),
        trace_id: trace.into(),
        session_id: Some("s".into()),
        parent_observation_id: parent.map(Into::into),
        is_root_observation: parent.is_none(),
        kind: kind.into(),
        name: name.into(),
        start_time: chrono::Utc.timestamp_opt(1_800_000_000 + second, 0).unwrap(),
        end_time: None,
        updated_at: None,
        level: "DEFAULT".into(),
        status_message: None,
        environment: None,
        user_id: None,
        trace_name: None,
        tags: Vec::new(),
        input: io.0,
        output: io.1,
        metadata: Value::Null,
    }
}

fn transcript(observations: Vec<Observation>) -> Transcript {
    Transcript::of(
        &Snapshot {
            observations,
            cut: None,
        },
        &playbook(),
    )
}

fn said(transcript: &Transcript) -> Vec<(Speaker, &str)> {
    transcript
        .turns
        .iter()
        .map(|turn| (turn.speaker, turn.text.as_str()))
        .collect()
}

#[test]
fn a_flowise_history_is_merged_and_not_doubled_and_the_payload_is_not_spoken() {
    let first = observation(
        "a",
        "t1",
        None,
        0,
        "SPAN",
        "AgentExecutor",
        (
            json!({"question": "Hi", "history": []}),
            json!({"returnValues": {"output": "ANSWER: Hello, who is it?\nPAYLOAD: {\"TC\": 1}"}}),
        ),
    );
    let second = observation(
        "b",
        "t2",
        None,
        10,
        "SPAN",
        "AgentExecutor",
        (
            json!(
                "{\"question\": \"Dana\", \"history\": [{\"role\": \"userMessage\", \"content\": \"Hi\"}, {\"role\": \"apiMessage\", \"content\": \"ANSWER: Hello, who is it?\\nPAYLOAD: {}\"}]}"
            ),
            json!("Thank you, Dana."),
        ),
    );
    // Out of order on purpose.
    let transcript = transcript(vec![second, first]);
    assert_eq!(
        said(&transcript),
        [
            (Speaker::Caller, "Hi"),
            (Speaker::Agent, "Hello, who is it?"),
            (Speaker::Caller, "Dana"),
            (Speaker::Agent, "Thank you, Dana."),
        ]
    );
    assert_eq!(
        transcript.turns.iter().map(|turn| turn.index).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
}

#[test]
fn a_history_fills_in_the_turns_of_a_trace_that_is_missing() {
    let late = observation(
        "b",
        "t2",
        None,
        10,
        "SPAN",
        "AgentExecutor",
        (
            json!({"question": "Bye", "history": [{"type": "human", "text": "Hi"}, {"type": "ai", "message": "Hello"}]}),
            json!({"text": "Goodbye"}),
        ),
    );
    assert_eq!(
        said(&transcript(vec![late])),
        [
            (Speaker::Caller, "Hi"),
            (Speaker::Agent, "Hello"),
            (Speaker::Caller, "Bye"),
            (Speaker::Agent, "Goodbye"),
        ]
    );
}

#[test]
fn openai_messages_are_turns_and_their_tool_calls_are_calls() {
    let generation =
        |id: &str, second, input, output| observation(id, "t1", None, second, "GENERATION", "chat", (input, output));
    let transcript = transcript(vec![
        generation(
            "g1",
            0,
            json!([{"role": "system", "content": "x"}, {"role": "user", "content": "Book Ines"}]),
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": {"name": "schedule_appointment_ortho", "arguments": "{\"action\": \"get_slots\"}"}}]}),
        ),
        generation(
            "g2",
            1,
            json!([{"role": "user", "content": "Book Ines"}, {"role": "assistant", "content": null}, {"role": "tool", "tool_call_id": "c1", "content": "Error: closed"}]),
            json!({"role": "assistant", "content": "We are closed."}),
        ),
    ]);
    assert_eq!(
        said(&transcript),
        [(Speaker::Caller, "Book Ines"), (Speaker::Agent, "We are closed.")]
    );
    assert_eq!(transcript.calls.len(), 1);
    assert_eq!(transcript.calls[0].action.as_deref(), Some("slots"));
    assert_eq!(transcript.calls[0].error.as_deref(), Some("Error: closed"));
}

#[test]
fn a_span_around_a_tool_does_not_double_its_call_and_plumbing_is_left_out() {
    let input = json!({"action": "cancel", "id": 4});
    let output = json!({"success": true});
    let transcript = transcript(vec![
        observation(
            "root",
            "t",
            None,
            0,
            "SPAN",
            "RunnableSequence",
            (json!({"question": "Cancel it"}), json!("Done")),
        ),
        observation(
            "wrap",
            "t",
            Some("root"),
            1,
            "SPAN",
            "tool-schedule_appointment_ortho",
            (json!(input.to_string()), output.clone()),
        ),
        observation(
            "inner",
            "t",
            Some("wrap"),
            1,
            "TOOL",
            "schedule_appointment_ortho",
            (input.clone(), output.clone()),
        ),
        observation(
            "twin",
            "t",
            Some("root"),
            1,
            "SPAN",
            "schedule_appointment_ortho",
            (input.clone(), output.clone()),
        ),
        observation(
            "again",
            "t",
            Some("root"),
            2,
            "TOOL",
            "schedule_appointment_ortho",
            (input, output),
        ),
    ]);
    let steps: Vec<&str> = transcript.calls.iter().map(|call| call.step.as_str()).collect();
    assert_eq!(steps, ["inner", "again"]);
    assert_eq!(
        said(&transcript),
        [(Speaker::Caller, "Cancel it"), (Speaker::Agent, "Done")]
    );
    assert_eq!(transcript.calls[0].turn, 1);
}

#[test]
fn every_sign_of_a_failure_is_seen() {
    for (output, level, message, failed) in [
        (json!({"success": false}), "DEFAULT", None, true),
        (json!({"ok": 1, "_debug_error": "HTTP 500"}), "DEFAULT", None, true),
        (json!({"statusCode": 503}), "DEFAULT", None, true),
        (json!("Error: no seats"), "DEFAULT", None, true),
        (json!("{\"error\": {\"message\": \"gone\"}}"), "DEFAULT", None, true),
        (json!({"ok": true}), "ERROR", None, true),
        (json!({"ok": true}), "DEFAULT", Some("timed out"), true),
        (
            json!({"ok": true, "error": null, "status": "queued"}),
            "DEFAULT",
            None,
            false,
        ),
        (json!({"error": "", "status": 200}), "DEFAULT", None, false),
        (json!("No Errors"), "DEFAULT", None, false),
    ] {
        let mut call = observation("x", "t", None, 0, "TOOL", "anything", (json!({}), output.clone()));
        call.level = level.into();
        call.status_message = message.map(Into::into);
        let transcript = transcript(vec![call]);
        assert_eq!(transcript.calls[0].error.is_some(), failed, "{output}");
    }
}

#[test]
fn hostile_snapshots_are_read_without_panic() {
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!({"input": [deep]});
    }
    let mut circle = observation(
        "a",
        "t",
        Some("b"),
        0,
        "TOOL",
        "schedule_appointment_ortho",
        (deep.clone(), deep.clone()),
    );
    circle.end_time = Some(circle.start_time - chrono::Duration::days(400));
    let other = observation(
        "b",
        "t",
        Some("a"),
        0,
        "SPAN",
        "schedule_appointment_ortho",
        (deep.clone(), deep),
    );
    let transcript = transcript(vec![
        circle,
        other,
        observation("", "", None, 0, "", "\u{1b}[31m*", (json!("[[[[["), json!("\"\""))),
    ]);
    assert!(!transcript.calls.is_empty());
}

#[test]
fn words_are_dated_by_their_turn_else_by_what_came_before_else_by_the_sessions_beginning() {
    let at = |second: i64| DateTime::from_timestamp(second, 0).unwrap();
    let turn = |index, at: Option<i64>| Turn {
        index,
        speaker: Speaker::Caller,
        text: String::new(),
        trace_id: "t".to_owned(),
        at: at.map(|second| DateTime::from_timestamp(second, 0).unwrap()),
    };
    let transcript = Transcript {
        turns: vec![turn(1, None), turn(2, Some(100)), turn(3, None), turn(4, Some(900))],
        calls: Vec::new(),
    };
    assert_eq!(transcript.said_at(Some(4)), Some(at(900)));
    assert_eq!(transcript.said_at(Some(3)), Some(at(100)), "by the turn before");
    assert_eq!(transcript.said_at(Some(1)), Some(at(100)), "nothing came before");
    assert_eq!(transcript.said_at(None), Some(at(100)));
    assert_eq!(Transcript::default().said_at(Some(1)), None);
}
