//! Sessions as large as they come: each cancels one reservation, which the system of record does not hold, so that it goes
//! all the way to its diagnosis.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::sessions::tiny;

/// What a large session is full of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// Long questions and answers.
    Texts,
    /// Many small steps.
    Steps,
    /// Answers of tools that are long lists of numbers: as values they take many times their text.
    Numbers,
    /// Each step repeats the whole conversation before it.
    History,
}

impl Shape {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Texts => "long texts",
            Self::Steps => "many steps",
            Self::Numbers => "lists of numbers",
            Self::History => "repeated history",
        }
    }
}

/// Writes so many sessions of about `bytes` each. Their lines are mixed, as in an export by time.
pub(super) fn write(path: &Path, sessions: u64, bytes: u64, shape: Shape) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    for n in 0..sessions {
        for line in tiny(n) {
            writeln!(out, "{line}")?;
        }
    }
    let mut step = 0;
    let mut written = 0;
    while written < bytes {
        for n in 0..sessions {
            let line = filler(n, step, shape).to_string();
            if n == 0 {
                written += line.len() as u64;
            }
            writeln!(out, "{line}")?;
        }
        step += 1;
    }
    out.flush()?;
    Ok(())
}

/// One step; the parts of a conversation differ, so that none is taken for a repetition.
fn filler(session: u64, step: u64, shape: Shape) -> Value {
    let id = super::sessions::session_id(session);
    let (minute, second) = (step / 60 % 60, step % 60);
    let mut observation = json!({
        "id": format!("{id}-f{step}"), "traceId": format!("{id}-t{}", step + 2), "sessionId": id, "type": "SPAN",
        "name": "turn", "isRootObservation": true,
        "startTime": format!("2026-03-02T{:02}:{minute:02}:{second:02}.000Z", 11 + step / 3600 % 12),
    });
    match shape {
        Shape::Texts => {
            observation["input"] = json!({ "question": words(step, 12_000) });
            observation["output"] = words(step + 1, 12_000).into();
        }
        Shape::Steps => {
            observation["traceId"] = format!("{id}-t1").into();
            observation["isRootObservation"] = false.into();
            observation["parentObservationId"] = format!("{id}-t1-root").into();
            observation["name"] = "step".into();
            observation["input"] = json!({ "state": words(step, 400) });
            observation["output"] = words(step + 1, 400).into();
        }
        Shape::Numbers => {
            let numbers: Vec<u64> = (0..50_000).map(|number| number * step % 10).collect();
            observation["type"] = "TOOL".into();
            observation["name"] = "search_direct_flight".into();
            observation["output"] = json!({ "seats": numbers }).to_string().into();
        }
        Shape::History => {
            let told: Vec<Value> = (0..=step.min(200))
                .map(|turn| {
                    let role = if turn % 2 == 0 { "user" } else { "assistant" };
                    json!({ "role": role, "content": words(turn, 300) })
                })
                .collect();
            observation["type"] = "GENERATION".into();
            observation["input"] = json!({ "messages": told });
            observation["output"] = json!({ "content": words(step + 1, 300) });
        }
    }
    observation
}

/// About so many bytes of words, with a telephone number and an address among them.
fn words(seed: u64, bytes: usize) -> String {
    let mut text = format!(
        "Part {seed}: call +1 555 010 {:04} or caller{seed}@example.com. ",
        seed % 10_000
    );
    let mut number = seed;
    while text.len() < bytes {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Writing to a String cannot fail.
        let _ = write!(text, "word{} ", number >> 48);
    }
    text
}
