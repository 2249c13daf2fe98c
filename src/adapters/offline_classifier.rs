//! Reads a session without an LLM: the playbook's signals in the caller's words, the tools that were called, phrases of
//! the agent. It is honest about how little that is: what points nowhere is `unknown`, what points two ways is unsure.
//!
//! Requests come from what the tools wrote or tried to write, because words alone do not name a record; a session that asked
//! for something and never reached a tool gives one request without a record's id.

use std::collections::BTreeMap;

use crate::domain::{
    claim::{Claim, ClaimState, claims},
    compare::fold,
    playbook::{Playbook, RollUp},
    reading::{Operation, Reader, Reading, Request, Says, Statement, UNKNOWN_INTENT, Withdrawal},
    signals::{has_phrase, signals},
    transcript::{Speaker, Transcript, Turn},
};

/// Reads a transcript. `why` says why no LLM was asked, or why its answer was not used.
pub fn read(playbook: &Playbook, transcript: &Transcript, why: &str) -> (Reading, Reader) {
    let claims = claims(playbook, transcript);
    let (intent, confidence) = intent(playbook, transcript);
    let mut requests = requests(playbook, transcript, &claims);
    let statements = statements(playbook, transcript, &claims);
    let known = playbook.intent(&intent);
    if requests.is_empty()
        && let Some(known) = known.filter(|known| known.verify)
        && let Some(calls_for) = known.calls_for.first()
    {
        let turn = trigger(transcript, |turn| {
            known.signals.iter().any(|signal| has_phrase(&fold(&turn.text), signal))
        });
        requests.push(Request {
            operation: calls_for.operation,
            record: calls_for.record.clone(),
            subject: None,
            id: None,
            fields: BTreeMap::new(),
            quote: turn.map(|turn| turn.text.clone()).unwrap_or_default(),
            turn: turn.map(|turn| turn.index),
            withdrawn: None,
        });
    }
    withdraw(playbook, transcript, &claims, &mut requests);
    let summary = match known {
        Some(known) => format!("Read without an LLM as \"{}\".", known.name),
        None => "Read without an LLM; nothing pointed to an intent.".to_owned(),
    };
    let reading = Reading {
        intent,
        confidence,
        summary,
        details: BTreeMap::new(),
        requests,
        statements,
    };
    (reading, Reader::Offline { why: why.to_owned() })
}

/// The strongest intent and how sure that is: by its lead over the next, and by how much there is to go by.
fn intent(playbook: &Playbook, transcript: &Transcript) -> (String, f64) {
    let all = signals(playbook, transcript);
    let Some(first) = all.first() else {
        return (UNKNOWN_INTENT.to_owned(), 0.0);
    };
    // A tool that acted tells what it was about, whatever else was talked of.
    // Of equals the one with the stronger words, which stands first, counts: `max_by` takes the last.
    let acted = all
        .iter()
        .rev()
        .filter(|signal| signal.acted > 0.0)
        .max_by(|a, b| a.acted.total_cmp(&b.acted));
    let best = acted.filter(|acted| acted.intent.verify).unwrap_or(first);
    let rival = all
        .iter()
        .filter(|other| other.intent.name != best.intent.name)
        .map(|other| other.score)
        .fold(0.0, f64::max);
    let share = best.score / (best.score + rival * 0.5);
    let amount = (best.score / 3.0).min(1.0);
    let sure = 0.9 * share * (0.4 + 0.6 * amount);
    let confidence = if best.acted > 0.0 { sure.max(0.6) } else { sure };
    ((best.intent.name.clone()), (confidence * 100.0).round() / 100.0)
}

/// One request for each thing that the tools wrote or tried to write: retries and later changes of what was just created
/// are the same wish, what was undone is none.
fn requests(playbook: &Playbook, transcript: &Transcript, claims: &[Claim]) -> Vec<Request> {
    let wishes: Vec<&Claim> = claims
        .iter()
        .filter(|claim| claim.is_write())
        .filter(|claim| {
            playbook
                .claim_rule(&claim.rule)
                .is_some_and(|rule| rule.supports.is_empty())
        })
        .collect();
    let mut chosen: Vec<&Claim> = Vec::new();
    for claim in &wishes {
        if is_undone(claim, &wishes) || undoes(claim, &wishes) {
            continue;
        }
        let created_here = claim.operation() == Some(Operation::Update)
            && wishes.iter().any(|other| {
                other.operation() == Some(Operation::Create) && other.order < claim.order && same_record(other, claim)
            });
        if created_here {
            continue;
        }
        match chosen
            .iter()
            .position(|known| same_wish(known, claim) || booked_again(playbook, known, claim))
        {
            // The last outcome counts, but a failure after a success does not undo it.
            Some(at) if chosen[at].state != ClaimState::Done || claim.state == ClaimState::Done => chosen[at] = claim,
            Some(_) => {}
            None => chosen.push(claim),
        }
    }
    let something_moved = moved(playbook, transcript, &chosen);
    let mut requests = Vec::new();
    for claim in &chosen {
        let Some(operation) = claim.operation() else { continue };
        let is_move = something_moved && playbook.record(&claim.record).is_some_and(|record| record.replaceable);
        if is_move && operation == Operation::Cancel {
            // The other half of the move carries the request, where there is one.
            let other_half = chosen
                .iter()
                .any(|other| other.record == claim.record && other.operation() == Some(Operation::Create));
            if other_half {
                continue;
            }
        }
        let call_turn = transcript
            .calls
            .iter()
            .find(|call| call.order == claim.order)
            .map_or(0, |call| call.turn);
        let turn = transcript
            .turns
            .iter()
            .rfind(|turn| turn.speaker == Speaker::Caller && turn.index <= call_turn);
        let is_half = is_move && operation != Operation::Update;
        requests.push(Request {
            operation: if is_half { Operation::Update } else { operation },
            record: claim.record.clone(),
            subject: claim.subject.clone(),
            id: if is_half { None } else { claim.id.clone() },
            fields: BTreeMap::new(),
            quote: turn.map(|turn| turn.text.clone()).unwrap_or_default(),
            turn: turn.map(|turn| turn.index),
            withdrawn: None,
        });
    }
    requests
}

/// The session moves something: the intent says so.
fn moved(playbook: &Playbook, transcript: &Transcript, chosen: &[&Claim]) -> bool {
    let both = chosen.iter().any(|created| {
        created.operation() == Some(Operation::Create)
            && chosen
                .iter()
                .any(|cancelled| cancelled.operation() == Some(Operation::Cancel) && one_person(created, cancelled))
    });
    let (name, _) = intent(playbook, transcript);
    let updates = playbook.intent(&name).is_some_and(|intent| {
        intent
            .calls_for
            .iter()
            .any(|calls_for| calls_for.operation == Operation::Update)
    });
    both || updates
}

/// Nothing says that they belong to two people.
fn one_person(left: &Claim, right: &Claim) -> bool {
    let keys = left
        .keys
        .iter()
        .all(|(name, key)| right.keys.get(name).is_none_or(|other| other.eq_ignore_ascii_case(key)));
    let first = |claim: &Claim| {
        claim
            .subject
            .as_deref()
            .map(fold)
            .and_then(|name| name.split(' ').next().map(str::to_owned))
    };
    let subjects = match (first(left), first(right)) {
        (Some(left), Some(right)) => left == right,
        _ => true,
    };
    keys && subjects
}

fn same_record(left: &Claim, right: &Claim) -> bool {
    left.record == right.record
        && matches!((&left.id, &right.id), (Some(left), Some(right)) if left.eq_ignore_ascii_case(right))
}

fn is_undone(claim: &Claim, wishes: &[&Claim]) -> bool {
    claim.operation() == Some(Operation::Create)
        && wishes.iter().any(|later| {
            later.operation() == Some(Operation::Cancel)
                && later.order > claim.order
                && later.state == ClaimState::Done
                && same_record(later, claim)
        })
}

fn undoes(claim: &Claim, wishes: &[&Claim]) -> bool {
    claim.operation() == Some(Operation::Cancel)
        && wishes.iter().any(|earlier| {
            earlier.operation() == Some(Operation::Create) && earlier.order < claim.order && same_record(earlier, claim)
        })
}

/// Another try of the same, or the same again.
fn same_wish(known: &Claim, claim: &Claim) -> bool {
    if known.record != claim.record || known.operation() != claim.operation() {
        return false;
    }
    let subjects = match (&known.subject, &claim.subject) {
        (Some(left), Some(right)) => {
            let (left, right) = (fold(left), fold(right));
            left == right || left.split(' ').next() == right.split(' ').next()
        }
        (None, None) => true,
        _ => false,
    };
    let ids = match (&known.id, &claim.id) {
        (Some(left), Some(right)) => left.eq_ignore_ascii_case(right),
        _ => true,
    };
    // Two children of one call may share a first name: within a call each item is its own.
    let same_call = known.order == claim.order;
    let same_rule = known.rule == claim.rule || claim.operation() != Some(Operation::Update);
    subjects && ids && same_rule && !same_call
}

/// A child's appointment at the same time once more: the tool was called again, and what it made then stands for the wish.
fn booked_again(playbook: &Playbook, known: &Claim, claim: &Claim) -> bool {
    let same_keys = known.keys.len() == claim.keys.len()
        && known
            .keys
            .iter()
            .zip(&claim.keys)
            .all(|(left, right)| left.0 == right.0 && left.1.eq_ignore_ascii_case(right.1));
    playbook.head.roll_up == RollUp::Subject
        && known.record == claim.record
        && known.operation() == Some(Operation::Create)
        && claim.operation() == Some(Operation::Create)
        && known.order < claim.order
        && known.subject.is_some()
        && known.subject.as_deref().map(fold) == claim.subject.as_deref().map(fold)
        && !known.keys.is_empty()
        && same_keys
        && !known.fields.is_empty()
        && known.fields == claim.fields
}

/// Marks what the caller took back after asking, unless a tool did it anyway.
fn withdraw(playbook: &Playbook, transcript: &Transcript, claims: &[Claim], requests: &mut [Request]) {
    let wrote = claims.iter().any(|claim| {
        claim.is_write() && claim.state != ClaimState::Promised && !matches!(claim.state, ClaimState::Failed { .. })
    });
    if wrote {
        return;
    }
    let back = transcript.turns.iter().rfind(|turn| {
        let text = fold(&turn.text);
        turn.speaker == Speaker::Caller
            && playbook
                .phrases
                .withdrawn
                .iter()
                .any(|phrase| has_phrase(&text, phrase))
    });
    let Some(back) = back else { return };
    for request in requests {
        if request.turn.is_none_or(|turn| turn <= back.index) {
            request.withdrawn = Some(Withdrawal {
                quote: back.text.clone(),
                turn: Some(back.index),
            });
        }
    }
}

/// What the agent said of effects, by the playbook's phrases; tied to the calls made just before it spoke.
fn statements(playbook: &Playbook, transcript: &Transcript, claims: &[Claim]) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut heard_until = 0;
    for turn in transcript.turns.iter().filter(|turn| turn.speaker == Speaker::Agent) {
        let text = fold(&turn.text);
        let recent: Vec<&Claim> = claims
            .iter()
            .filter(|claim| claim.is_write())
            .filter(|claim| {
                playbook
                    .claim_rule(&claim.rule)
                    .is_some_and(|rule| rule.supports.is_empty())
            })
            .filter(|claim| {
                let at = transcript
                    .calls
                    .iter()
                    .find(|call| call.order == claim.order)
                    .map_or(0, |call| call.turn);
                at >= heard_until && at < turn.index
            })
            .collect();
        heard_until = turn.index;
        for says in [Says::Done, Says::Promised, Says::Failed, Says::Declined] {
            if playbook.phrases.of(says).iter().any(|phrase| has_phrase(&text, phrase)) && !is_question(&text, says) {
                statements.extend(about(says, turn, &text, &recent));
            }
        }
    }
    statements.extend(escalations(playbook, transcript));
    statements
}

/// "Is that confirmed?" and "would you like me to …" say nothing is done.
fn is_question(text: &str, says: Says) -> bool {
    says == Says::Done && text.ends_with('?') && !text.contains(['.', '!'])
}

fn about(says: Says, turn: &Turn, text: &str, recent: &[&Claim]) -> Vec<Statement> {
    let statement = |claim: Option<&Claim>| Statement {
        says,
        operation: claim.and_then(Claim::operation),
        record: claim.map(|claim| claim.record.clone()),
        subject: claim.and_then(|claim| claim.subject.clone()),
        fields: BTreeMap::new(),
        quote: turn.text.clone(),
        turn: Some(turn.index),
    };
    let mut made: Vec<Statement> = Vec::new();
    for claim in recent {
        // Of several subjects only those named are meant; when none is named, all are ("both are booked").
        let names = |claim: &Claim| {
            let subject = claim.subject.as_deref().map(fold).unwrap_or_default();
            subject
                .split(' ')
                .next()
                .is_some_and(|first| !first.is_empty() && has_phrase(text, first))
        };
        if claim.subject.is_some() && recent.iter().any(|claim| names(claim)) && !names(claim) {
            continue;
        }
        let next = statement(Some(claim));
        if !made.contains(&next) {
            made.push(next);
        }
    }
    if made.is_empty() {
        made.push(statement(None));
    }
    made
}

/// Handing the caller to a person is a way to decline.
fn escalations(playbook: &Playbook, transcript: &Transcript) -> Vec<Statement> {
    let mut statements = Vec::new();
    for call in &transcript.calls {
        if !playbook.tool(&call.tool).is_some_and(|tool| tool.escalates) {
            continue;
        }
        let mut agent = transcript.turns.iter().filter(|turn| turn.speaker == Speaker::Agent);
        // A call may end with the hand-over; then the agent's last words stand for it.
        let Some(turn) = agent
            .clone()
            .find(|turn| turn.index > call.turn)
            .or_else(|| agent.next_back())
        else {
            continue;
        };
        statements.push(Statement {
            says: Says::Declined,
            operation: None,
            record: None,
            subject: None,
            fields: BTreeMap::new(),
            quote: turn.text.clone(),
            turn: Some(turn.index),
        });
    }
    statements
}

fn trigger(transcript: &Transcript, points: impl Fn(&Turn) -> bool) -> Option<&Turn> {
    let mut callers = transcript.turns.iter().filter(|turn| turn.speaker == Speaker::Caller);
    callers.clone().find(|turn| points(turn)).or_else(|| callers.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        observation_fixture::{orthodontics, snapshot_of},
        reading,
    };

    fn turns(texts: &[&str]) -> Transcript {
        let turns = texts.iter().enumerate().map(|(at, text)| Turn {
            index: u32::try_from(at + 1).unwrap(),
            speaker: if at % 2 == 0 { Speaker::Caller } else { Speaker::Agent },
            text: (*text).to_owned(),
            trace_id: "t".into(),
            at: None,
        });
        Transcript {
            turns: turns.collect(),
            calls: Vec::new(),
        }
    }

    fn read_words(texts: &[&str]) -> Reading {
        read(
            &Playbook::built_in("orthodontics").unwrap(),
            &turns(texts),
            "no LLM configured",
        )
        .0
    }

    #[test]
    fn what_points_nowhere_is_unknown_and_what_points_both_ways_is_unsure() {
        let nowhere = read_words(&["Hello there", "Hello"]);
        assert_eq!(nowhere.intent, UNKNOWN_INTENT);
        assert!(nowhere.confidence.abs() < f64::EPSILON);
        let clear = read_words(&["I want to book an appointment for my son", "Sure"]);
        assert_eq!(clear.intent, "booking");
        let torn = read_words(&["I want to cancel, or book, an appointment", "Sure"]);
        assert!(
            torn.confidence < clear.confidence,
            "{} {}",
            torn.confidence,
            clear.confidence
        );
    }

    #[test]
    fn every_quote_of_its_reading_is_in_the_transcript() {
        let playbook = Playbook::built_in("orthodontics").unwrap();
        for name in ["1-pass", "2-fail", "3-partial"] {
            let transcript = Transcript::of(&snapshot_of(&orthodontics(name)), &playbook);
            let (reading, reader) = read(&playbook, &transcript, "no LLM configured");
            assert_eq!(reading.intent, "booking");
            assert!(
                reading.statements.iter().any(|statement| statement.says == Says::Done),
                "{reading:#?}"
            );
            let (checked, dropped) = reading::check(reading.clone(), &transcript, &playbook);
            assert_eq!((checked, dropped), (reading, Vec::new()));
            assert_eq!(
                reader,
                Reader::Offline {
                    why: "no LLM configured".into()
                }
            );
        }
    }

    #[test]
    fn a_question_says_nothing_is_done() {
        let says = |text: &str| read_words(&["Book it please", text]).statements.len();
        assert_eq!(says("Shall I tell you when it is booked?"), 0);
        assert_eq!(says("It is booked."), 1);
    }
}
