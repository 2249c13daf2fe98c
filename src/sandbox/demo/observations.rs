//! What a tracing server records of a session of the demo, as Flowise sends it: a trace for each caller turn, in it a root
//! span, the framework's own steps, the tools as spans, and the model's answer with its machine payload.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use super::script::{Script, ScriptCall, ScriptTurn};
use crate::domain::observation::Observation;

/// Between the end of one trace and the caller's next words.
const PAUSE_MS: i64 = 7_000;

/// Everything recorded in the end, and the ids of what arrives only after the first verdict.
pub(super) fn of(script: &Script) -> anyhow::Result<(Vec<Observation>, BTreeSet<String>)> {
    let mut observations: Vec<Observation> = Vec::new();
    let mut later = BTreeSet::new();
    let mut now = script.began()?;
    let mut history: Vec<Value> = Vec::new();
    for (index, turn) in script.turns.iter().enumerate() {
        let trace = Trace {
            session: &script.session,
            caller: &script.caller,
            id: format!("{}-t{:02}", script.session, index + 1),
        };
        let before = observations.len();
        now = trace.record(turn, &history, now, &mut observations);
        for (call, step) in turn.calls.iter().zip(1..) {
            if call.late {
                later.insert(format!("{}-tool{step}", trace.id));
                later.insert(format!("{}-tool{step}-wrapper", trace.id));
            }
        }
        if turn.later {
            later.extend(observations[before..].iter().map(|observation| observation.id.clone()));
        }
        history.push(json!({"role": "userMessage", "content": turn.caller}));
        history.push(json!({"role": "apiMessage", "content": reply(turn)}));
        now += Duration::milliseconds(PAUSE_MS);
    }
    Ok((observations, later))
}

struct Trace<'a> {
    session: &'a str,
    caller: &'a str,
    id: String,
}

impl Trace<'_> {
    /// Records one turn from `start` on; gives its end.
    fn record(
        &self,
        turn: &ScriptTurn,
        history: &[Value],
        start: DateTime<Utc>,
        into: &mut Vec<Observation>,
    ) -> DateTime<Utc> {
        let root_id = format!("{}-root", self.id);
        let mut children = Vec::new();
        let mut now = start + Duration::milliseconds(40);
        let map_end = now + Duration::milliseconds(3);
        children.push(Observation {
            input: json!({"steps": []}),
            output: json!({"steps": []}),
            ..self.observation("map", "SPAN", "RunnableMap", &root_id, now, map_end)
        });
        for (index, call) in turn.calls.iter().enumerate() {
            now += Duration::milliseconds(20);
            let end = now + milliseconds(call.seconds);
            let step = format!("tool{}", index + 1);
            if call.wrapped {
                let wrapper = format!("{step}-wrapper");
                let parent = format!("{}-{wrapper}", self.id);
                let name = format!("tool-{}", call.name);
                children.push(self.tool(call, &wrapper, &name, &root_id, now, end + Duration::milliseconds(2)));
                children.push(self.tool(call, &step, &call.name, &parent, now + Duration::milliseconds(1), end));
            } else {
                children.push(self.tool(call, &step, &call.name, &root_id, now, end));
            }
            now = end;
        }
        let answered = now + Duration::milliseconds(1_100);
        children.push(Observation {
            input: json!([{"role": "user", "content": turn.caller}]),
            output: json!({"role": "assistant", "content": reply(turn)}),
            ..self.observation(
                "gen",
                "GENERATION",
                "AzureChatOpenAI",
                &root_id,
                now + Duration::milliseconds(20),
                answered,
            )
        });
        into.push(Observation {
            parent_observation_id: None,
            is_root_observation: true,
            input: json!({"question": turn.caller, "history": history}),
            output: json!({"returnValues": {"output": reply(turn)}, "log": ""}),
            ..self.observation("root", "SPAN", "AgentExecutor", "", start, answered)
        });
        into.extend(children);
        answered
    }

    fn tool(
        &self,
        call: &ScriptCall,
        step: &str,
        name: &str,
        parent: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Observation {
        let observation = self.observation(step, "SPAN", name, parent, start, end);
        Observation {
            level: if call.error.is_some() { "ERROR" } else { "DEFAULT" }.to_owned(),
            status_message: call.error.clone(),
            input: json_or_text(&call.input),
            output: json_or_text(&call.output),
            ..observation
        }
    }

    fn observation(
        &self,
        step: &str,
        kind: &str,
        name: &str,
        parent: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> Observation {
        Observation {
            id: format!("{}-{step}", self.id),
            trace_id: self.id.clone(),
            session_id: Some(self.session.to_owned()),
            parent_observation_id: Some(parent.to_owned()),
            is_root_observation: false,
            kind: kind.to_owned(),
            name: name.to_owned(),
            start_time: start,
            end_time: Some(end),
            updated_at: Some(end),
            level: "DEFAULT".to_owned(),
            status_message: None,
            environment: Some("sandbox".to_owned()),
            user_id: Some(self.caller.to_owned()),
            trace_name: Some("ortho-iva".to_owned()),
            tags: vec!["demo".to_owned()],
            input: Value::Null,
            output: Value::Null,
            metadata: Value::Null,
        }
    }
}

/// The agent's words as its framework returns them.
fn reply(turn: &ScriptTurn) -> String {
    match &turn.payload {
        Some(payload) => format!("ANSWER: {}\nPAYLOAD: {payload}", turn.agent),
        None => turn.agent.clone(),
    }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[expect(clippy::cast_possible_truncation, reason = "a call of the demo takes seconds")]
fn milliseconds(seconds: f64) -> Duration {
    Duration::milliseconds((seconds * 1_000.0).round() as i64)
}
