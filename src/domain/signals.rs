//! Signals of an intent in the transcript itself: the caller's words, the tools that were called. Used where no LLM reads,
//! and to notice a reading that overlooked something.

use super::{
    compare::fold,
    playbook::{Intent, Playbook},
    transcript::{Speaker, ToolCall, Transcript},
};

/// How strongly a transcript points to an intent.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    /// The intent.
    pub intent: &'a Intent,
    /// Points: of the caller's words and of the tools called.
    pub score: f64,
    /// Points of the tools alone.
    pub acted: f64,
}

/// All intents with a signal, the strongest first; of equals the one that stands first in the playbook.
pub fn signals<'a>(playbook: &'a Playbook, transcript: &Transcript) -> Vec<Signal<'a>> {
    let spoken: Vec<String> = transcript
        .turns
        .iter()
        .filter(|turn| turn.speaker == Speaker::Caller)
        .map(|turn| format!(" {} ", fold(&turn.text)))
        .collect();
    let mut found = Vec::new();
    for intent in &playbook.intents {
        let mut words = 0.0;
        for (at, turn) in spoken.iter().enumerate() {
            let hits = intent.signals.iter().filter(|signal| has_phrase(turn, signal)).count();
            // What the caller opens with weighs most.
            let weight = if at == 0 { 3.0 } else { 1.0 };
            words += weight * f64::from(u32::try_from(hits.min(3)).unwrap_or(3));
        }
        let acted = transcript.calls.iter().filter(|call| points_to(intent, call)).count();
        let acted = 4.0 * f64::from(u32::try_from(acted.min(3)).unwrap_or(3));
        let score = words.min(8.0) + acted;
        if score > 0.0 {
            found.push(Signal { intent, score, acted });
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

/// Whether the transcript points to an intent that has something to verify, at least as strongly as to any other.
pub(crate) fn calls_for_something(playbook: &Playbook, transcript: &Transcript) -> bool {
    let all = signals(playbook, transcript);
    all.first().is_some_and(|first| {
        all.iter()
            .take_while(|signal| (signal.score - first.score).abs() < f64::EPSILON)
            .any(|signal| signal.intent.verify)
    })
}

fn points_to(intent: &Intent, call: &ToolCall) -> bool {
    intent.tools.iter().any(|tool| {
        tool.tool == call.tool
            && tool
                .action
                .as_ref()
                .is_none_or(|action| call.action.as_ref() == Some(action))
    })
}

/// Whether a folded text holds a phrase as whole words.
pub(crate) fn has_phrase(text: &str, phrase: &str) -> bool {
    let mut from = 0;
    while let Some(at) = text[from..].find(phrase).map(|at| at + from) {
        let end = at + phrase.len();
        let bounded = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        if bounded(text[..at].chars().next_back()) && bounded(text[end..].chars().next()) {
            return true;
        }
        from = at + phrase.chars().next().map_or(1, char::len_utf8);
    }
    false
}
