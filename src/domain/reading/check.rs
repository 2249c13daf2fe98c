//! Holds a reading against the transcript and the playbook: what cannot be shown in the words, or has no place in the
//! domain, is dropped, with the reason. Reasons name positions and kinds, never what was said.

use serde_json::Value;

use super::{Reading, Request, Statement, UNKNOWN_INTENT};
use crate::domain::{
    compare::fold,
    playbook::Playbook,
    transcript::{Speaker, Transcript},
};

/// Quotes shorter than this many letters or digits show nothing.
const SHORTEST_QUOTE: usize = 2;

/// Checks a reading; returns what holds, and why the rest was dropped.
pub fn check(mut reading: Reading, transcript: &Transcript, playbook: &Playbook) -> (Reading, Vec<String>) {
    let mut dropped = Vec::new();
    let said = Said::of(transcript);
    if reading.intent != UNKNOWN_INTENT && playbook.intent(&reading.intent).is_none() {
        dropped.push("intent: the playbook has no such intent".to_owned());
        UNKNOWN_INTENT.clone_into(&mut reading.intent);
        reading.confidence = 0.0;
    }
    if !reading.confidence.is_finite() {
        dropped.push("confidence: not a number".to_owned());
        reading.confidence = 0.0;
    } else if !(0.0..=1.0).contains(&reading.confidence) {
        dropped.push("confidence: not between 0 and 1".to_owned());
        reading.confidence = reading.confidence.clamp(0.0, 1.0);
    }
    let mut requests = Vec::new();
    for (at, request) in reading.requests.into_iter().enumerate() {
        let place = format!("requests[{at}]");
        requests.extend(request_of(request, &place, &said, playbook, &mut dropped));
    }
    reading.requests = requests;
    let mut statements = Vec::new();
    for (at, statement) in reading.statements.into_iter().enumerate() {
        let place = format!("statements[{at}]");
        statements.extend(statement_of(statement, &place, &said, playbook, &mut dropped));
    }
    reading.statements = statements;
    (reading, dropped)
}

fn request_of(
    mut request: Request,
    place: &str,
    said: &Said,
    playbook: &Playbook,
    dropped: &mut Vec<String>,
) -> Option<Request> {
    let Some(record) = playbook.record(&request.record) else {
        dropped.push(format!("{place}: the playbook has no such kind of record"));
        return None;
    };
    let Some(turn) = said.find(&request.quote, request.turn, None) else {
        dropped.push(format!("{place}: its quote is not in the transcript"));
        return None;
    };
    request.turn = Some(turn);
    request.fields.retain(|name, _| {
        let known = record.field(name).is_some() || record.id_fields.contains(name);
        if !known {
            // The name comes from the reader and may hold anything: it is not repeated.
            dropped.push(format!("{place}: the playbook's \"{}\" has no such field", record.kind));
        }
        known
    });
    request.fields.retain(|_, value| !matches!(value, Value::Null));
    request.subject = request.subject.filter(|subject| !subject.trim().is_empty());
    request.id = request.id.filter(|id| !id.trim().is_empty());
    if let Some(mut withdrawal) = request.withdrawn.take() {
        match said.find(&withdrawal.quote, withdrawal.turn, Some(Speaker::Caller)) {
            Some(turn) => {
                withdrawal.turn = Some(turn);
                request.withdrawn = Some(withdrawal);
            }
            None => dropped.push(format!("{place}.withdrawn: its quote is in no turn of the caller")),
        }
    }
    Some(request)
}

fn statement_of(
    mut statement: Statement,
    place: &str,
    said: &Said,
    playbook: &Playbook,
    dropped: &mut Vec<String>,
) -> Option<Statement> {
    let Some(turn) = said.find(&statement.quote, statement.turn, Some(Speaker::Agent)) else {
        dropped.push(format!("{place}: its quote is in no turn of the agent"));
        return None;
    };
    statement.turn = Some(turn);
    statement.subject = statement.subject.filter(|subject| !subject.trim().is_empty());
    if let Some(kind) = &statement.record {
        let Some(record) = playbook.record(kind) else {
            dropped.push(format!("{place}: the playbook has no such kind of record"));
            return None;
        };
        statement.fields.retain(|name, _| record.field(name).is_some());
    }
    Some(statement)
}

/// The turns, folded.
struct Said {
    turns: Vec<(u32, Speaker, String)>,
}

impl Said {
    fn of(transcript: &Transcript) -> Self {
        let turns = transcript
            .turns
            .iter()
            .map(|turn| (turn.index, turn.speaker, fold(&turn.text)))
            .collect();
        Self { turns }
    }

    /// The turn that holds a quote: the one named where it does, else the first that does.
    fn find(&self, quote: &str, named: Option<u32>, speaker: Option<Speaker>) -> Option<u32> {
        let quote = fold(quote);
        let quote = quote.trim_matches(|c: char| matches!(c, '"' | '\'' | '.' | ' ' | '…'));
        if quote.chars().filter(|c| c.is_alphanumeric()).count() < SHORTEST_QUOTE {
            return None;
        }
        let holds = |(_, by, text): &&(u32, Speaker, String)| {
            speaker.is_none_or(|speaker| speaker == *by) && text.contains(quote)
        };
        let by_name = self.turns.iter().find(|turn| Some(turn.0) == named && holds(turn));
        by_name.or_else(|| self.turns.iter().find(holds)).map(|turn| turn.0)
    }
}

#[cfg(test)]
mod tests;
