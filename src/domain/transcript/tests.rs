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
        (json!({"status": 400}), "DEFAULT", None, true),
        (json!({"status": 399}), "DEFAULT", None, false),
        (json!({"errorMessage": "gone"}), "DEFAULT", None, true),
        (json!({"error": true}), "DEFAULT", None, true),
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

/// One trace of one turn.
fn turn_of(input: Value, output: Value) -> Transcript {
    transcript(vec![observation(
        "a",
        "t",
        None,
        0,
        "SPAN",
        "AgentExecutor",
        (input, output),
    )])
}

#[test]
fn the_callers_words_are_the_first_text_of_the_known_places() {
    let places = ["question", "message", "input", "text", "content"];
    for (at, place) in places.iter().enumerate() {
        // The places after it hold other words.
        let mut input = json!({});
        for other in &places[at..] {
            input[*other] = format!("by {other}").into();
        }
        let words = format!("by {place}");
        for input in [input.clone(), Value::from(input.to_string())] {
            assert_eq!(
                said(&turn_of(input, json!("Hm"))),
                [(Speaker::Caller, words.as_str()), (Speaker::Agent, "Hm")]
            );
        }
    }
    let plain = turn_of(json!("Hello"), json!("Hm"));
    assert_eq!(said(&plain), [(Speaker::Caller, "Hello"), (Speaker::Agent, "Hm")]);
    let blank = turn_of(json!({"question": " ", "message": 3, "text": "Hello"}), json!("Hm"));
    assert_eq!(
        said(&blank)[0],
        (Speaker::Caller, "Hello"),
        "a blank and a number are no words"
    );
}

#[test]
fn the_agents_words_are_a_text_or_the_first_of_the_known_places() {
    let places = ["text", "content", "output", "response", "message"];
    for (at, place) in places.iter().enumerate() {
        let mut output = json!({});
        for other in &places[at..] {
            output[*other] = format!("by {other}").into();
        }
        let words = format!("by {place}");
        assert_eq!(
            said(&turn_of(json!("Hi"), output.clone()))[1],
            (Speaker::Agent, words.as_str())
        );
        output["returnValues"] = json!({"output": "by returnValues"});
        assert_eq!(
            said(&turn_of(json!("Hi"), output))[1],
            (Speaker::Agent, "by returnValues")
        );
    }
}

#[test]
fn only_the_answer_before_a_payload_is_spoken() {
    for (output, spoken) in [
        ("ANSWER: Fine.\nPAYLOAD:\n{\"TC\": 1}", "Fine."),
        ("ANSWER: Fine.\n  PAYLOAD: {\"TC\": 1}\nmore", "Fine."),
        ("ANSWER: One.\nTwo.\nPAYLOAD: [1]", "One.\nTwo."),
        ("Fine.", "Fine."),
        ("PAYLOAD: is a word too", "PAYLOAD: is a word too"),
    ] {
        assert_eq!(said(&turn_of(json!("Hi"), json!(output)))[1], (Speaker::Agent, spoken));
    }
}

#[test]
fn every_role_and_place_of_a_history_is_known() {
    let mut history = Vec::new();
    let mut expected = Vec::new();
    for (role, speaker) in [
        ("apiMessage", Speaker::Agent),
        ("userMessage", Speaker::Caller),
        ("assistant", Speaker::Agent),
        ("user", Speaker::Caller),
        ("ai", Speaker::Agent),
        ("human", Speaker::Caller),
    ] {
        for place in ["content", "message", "text"] {
            let words = format!("{role} {place}");
            let mut message = json!({"role": role});
            message[place] = words.as_str().into();
            history.push(message);
            expected.push((speaker, words));
        }
    }
    history.push(json!({"role": "system", "content": "not spoken"}));
    let transcript = turn_of(json!({"question": "Bye", "history": history}), json!("Goodbye"));
    expected.push((Speaker::Caller, "Bye".to_owned()));
    expected.push((Speaker::Agent, "Goodbye".to_owned()));
    let expected: Vec<(Speaker, &str)> = expected
        .iter()
        .map(|(speaker, words)| (*speaker, words.as_str()))
        .collect();
    assert_eq!(said(&transcript), expected);
}

#[test]
fn internal_steps_are_neither_words_nor_calls() {
    let mut observations = vec![observation(
        "root",
        "t",
        None,
        0,
        "SPAN",
        "AgentExecutor",
        (json!({"question": "Hi"}), json!("Hello")),
    )];
    for name in [
        "RunnableMap",
        "RunnableLambda",
        "RunnableSequence<a,b>",
        "my-RunnableParallel",
        "RunnableBranch",
        "RunnablePassthrough",
    ] {
        // As tool, as a root beside the agent's and as a wrapper of a tool's own name.
        for kind in ["TOOL", "SPAN", "GENERATION"] {
            let words = (
                json!({"question": "internal", "action": "cancel"}),
                json!({"text": "internal"}),
            );
            observations.push(observation(&format!("{name}-{kind}"), "t", None, 1, kind, name, words));
        }
    }
    let transcript = transcript(observations);
    assert_eq!(transcript.calls, []);
    assert_eq!(said(&transcript), [(Speaker::Caller, "Hi"), (Speaker::Agent, "Hello")]);
}

#[test]
fn tools_are_known_by_name_whatever_the_type_and_their_actions_by_every_alias() {
    for (name, tool) in [
        ("current_date_time", "date_time"),
        ("CurrentDateTime", "date_time"),
        ("chord_ortho_patient", "patient"),
        ("chord_patient_v07_stage", "patient"),
        ("tool-chord_ortho_patient", "patient"),
        ("schedule_appointment_ortho", "schedule"),
        ("chord_scheduling_v08", "schedule"),
        ("chord_handleEscalation", "escalate"),
        ("chord_OGHandleEscalation", "escalate"),
    ] {
        for kind in ["TOOL", "SPAN", "GENERATION"] {
            let io = (json!({"action": "x"}), json!({}));
            let transcript = transcript(vec![observation("a", "t", Some("root"), 0, kind, name, io)]);
            assert_eq!(transcript.calls.len(), 1, "{kind} {name}");
            assert_eq!(transcript.calls[0].tool, tool, "{name}");
        }
    }
    let io = (json!({"action": "x"}), json!({}));
    let other = transcript(vec![observation("a", "t", Some("root"), 0, "SPAN", "chord_ortho", io)]);
    assert_eq!(other.calls, [], "a span of another name is no call");

    for (tool, action, aliases) in [
        (
            "schedule_appointment_ortho",
            "slots",
            ["slots", "grouped_slots", "get_slots"],
        ),
        (
            "chord_ortho_patient",
            "lookup",
            ["lookup", "clinic_info", "patient_lookup"],
        ),
        (
            "schedule_appointment_ortho",
            "book_child",
            ["book_child", "book_appointment", "Book_Child"],
        ),
        (
            "chord_ortho_patient",
            "create_patient",
            ["create_patient", "new_patient", " new_patient "],
        ),
        (
            "schedule_appointment_ortho",
            "cancel",
            ["cancel", "cancel_appointment", "CANCEL"],
        ),
    ] {
        for alias in aliases {
            let io = (json!({"action": alias}), json!({}));
            let transcript = transcript(vec![observation("a", "t", None, 0, "TOOL", tool, io)]);
            assert_eq!(transcript.calls[0].action.as_deref(), Some(action), "{alias}");
            let writes = !matches!(action, "slots" | "lookup");
            assert_eq!(transcript.calls[0].writes, writes, "{alias}");
        }
    }
}

#[test]
fn a_call_known_from_chat_alone_shows_every_sign_of_a_failure_as_well() {
    for (answer, failed) in [
        (json!({"success": false, "message": "no seats"}), true),
        (json!({"_debug_error": "HTTP 500"}), true),
        (json!({"errorMessage": "gone"}), true),
        (json!({"statusCode": 404}), true),
        (json!("Error: closed"), true),
        (json!({"success": true, "error": null, "status": 200}), false),
    ] {
        let generation =
            |id: &str, second, input, output| observation(id, "t", None, second, "GENERATION", "chat", (input, output));
        let function = json!({"name": "schedule_appointment_ortho", "arguments": "{\"action\": \"book_child\"}"});
        let asks = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": function}]});
        let tells = json!([{"role": "user", "content": "Book"}, {"role": "tool", "tool_call_id": "c1",
            "content": answer.to_string()}]);
        let transcript = transcript(vec![
            generation("g1", 0, json!([{"role": "user", "content": "Book"}]), asks),
            generation("g2", 1, tells, json!({"role": "assistant", "content": "Hm"})),
        ]);
        assert_eq!(transcript.calls.len(), 1);
        assert_eq!(transcript.calls[0].error.is_some(), failed, "{answer}");
    }
}
