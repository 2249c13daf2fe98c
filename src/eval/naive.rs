//! The judges that do not look, or do not look closely: what else could be asked of the same sessions.

use serde::Serialize;

use super::score::Says;
use crate::{
    adapters::offline_classifier,
    domain::{
        claim::{Claim, ClaimState},
        compare::{Match, compare},
        judge::Case,
        lookup::{Fact, Facts},
        playbook::Playbook,
        reading::{Request, Says as Told},
    },
};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Naive {
    /// For every request a tool call came through, and none did where nothing was asked for.
    ToolCallReturnedOk,
    /// Every record asked for is there.
    RecordExists,
    /// The agent said that it is done, and did not where nothing was asked for.
    AgentSaidDone,
    /// For every request a tool call came through whose arguments are those asked for, and no other call wrote.
    ArgumentsEqualRequest,
}

impl Naive {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::ToolCallReturnedOk,
        Self::RecordExists,
        Self::AgentSaidDone,
        Self::ArgumentsEqualRequest,
    ];

    /// What it asks, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::ToolCallReturnedOk => "a tool call returned OK",
            Self::RecordExists => "the record exists",
            Self::AgentSaidDone => "the agent said it was done",
            Self::ArgumentsEqualRequest => "the call's arguments equal the request",
        }
    }

    /// What it would call the session. A comparison that cannot be decided ("sometime next week" and a date) is no difference:
    /// where it hangs on one, it says neither.
    pub(super) fn says(self, playbook: &Playbook, case: &Case, facts: &Facts) -> Says {
        let requests: Vec<&Request> = case
            .reading
            .requests
            .iter()
            .filter(|request| request.withdrawn.is_none())
            .collect();
        let done: Vec<&Claim> = case
            .claims
            .iter()
            .filter(|claim| claim.is_write() && claim.state == ClaimState::Done)
            .collect();
        let content = match self {
            Self::ToolCallReturnedOk if requests.is_empty() => done.is_empty(),
            Self::ToolCallReturnedOk => requests
                .iter()
                .all(|request| done.iter().any(|claim| carries(claim, request))),
            Self::RecordExists => requests.iter().all(|request| {
                let id = request.id.as_ref().or_else(|| {
                    let call = done.iter().find(|claim| carries(claim, request));
                    call.and_then(|claim| claim.id.as_ref())
                });
                id.is_some_and(|id| exists(facts, &request.record, id))
            }),
            Self::AgentSaidDone => {
                let words = offline_classifier::read(playbook, &case.transcript, "").0;
                let said = words.statements.iter().any(|statement| statement.says == Told::Done);
                said != requests.is_empty()
            }
            Self::ArgumentsEqualRequest => return equal(playbook, case, done, &requests),
        };
        if content { Says::Correct } else { Says::Incorrect }
    }
}

/// One call for each request with the arguments asked for, and no call beside. A call that is surely as asked goes first.
fn equal(playbook: &Playbook, case: &Case, mut free: Vec<&Claim>, requests: &[&Request]) -> Says {
    let mut unsure = false;
    for request in requests {
        let matches: Vec<Match> = free
            .iter()
            .map(|claim| {
                if carries(claim, request) {
                    as_asked(playbook, case, claim, request)
                } else {
                    Match::Different
                }
            })
            .collect();
        let first = |wanted: Match| matches.iter().position(|found| *found == wanted);
        let Some(at) = first(Match::Same).or_else(|| first(Match::Undecided)) else {
            return Says::Incorrect;
        };
        unsure |= matches[at] == Match::Undecided;
        free.remove(at);
    }
    match (free.is_empty(), unsure) {
        (false, _) => Says::Incorrect,
        (true, true) => Says::Neither,
        (true, false) => Says::Correct,
    }
}

fn carries(claim: &Claim, request: &Request) -> bool {
    let same = match (&claim.id, &request.id) {
        (Some(left), Some(right)) => left.eq_ignore_ascii_case(right),
        _ => true,
    };
    same && claim.record == request.record && claim.operation() == Some(request.operation)
}

fn exists(facts: &Facts, kind: &str, id: &str) -> bool {
    facts.iter().any(|(lookup, fact)| {
        let this = lookup.id.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(id));
        this && lookup.record == kind && matches!(fact, Fact::Found { .. })
    })
}

/// One argument that differs decides; else one that cannot be compared.
fn as_asked(playbook: &Playbook, case: &Case, claim: &Claim, request: &Request) -> Match {
    let Some(record) = playbook.record(&request.record) else {
        return Match::Different;
    };
    let context = playbook.context().said_at(case.transcript.said_at(request.turn));
    let mut outcome = Match::Same;
    for (name, asked) in &request.fields {
        let found = match (record.field(name), claim.fields.get(name)) {
            // The call's arguments are what is sent, not what is stored: a list of payments is compared as a whole.
            (Some(field), Some(sent)) => compare(&field.compare, context, asked, sent).outcome,
            _ if asked.is_null() => Match::Same,
            _ => Match::Different,
        };
        match found {
            Match::Same => {}
            Match::Different => return Match::Different,
            Match::Undecided => outcome = Match::Undecided,
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{observation::Snapshot, reading::Reader, session::SessionKey, transcript::Transcript};

    /// Ada was booked for 1:20 PM, and so was Ben where `beside`; this was asked for.
    fn says(start: &Value, beside: bool) -> Says {
        let playbook = Playbook::built_in("orthodontics").unwrap();
        let call = |id: &str, name: &str| {
            serde_json::from_value(json!({"id": id, "traceId": "t", "sessionId": "s", "type": "TOOL",
                "name": "schedule_appointment_ortho", "startTime": "2026-03-02T20:00:00Z",
                "input": {"action": "book_child", "childName": name},
                "output": {"appointmentGUID": id, "startTime": "3/18/2026 1:20:00 PM"}}))
            .unwrap()
        };
        let mut observations = vec![call("A-1", "Ada")];
        if beside {
            observations.push(call("A-2", "Ben"));
        }
        let snapshot = Snapshot {
            observations,
            cut: None,
        };
        let reading = serde_json::from_value(json!({"intent": "booking", "confidence": 1.0, "requests": [
            {"operation": "create", "record": "appointment", "subject": "Ada", "fields": {"start": start}}]}))
        .unwrap();
        let transcript = Transcript::of(&snapshot, &playbook);
        let case = Case::new(
            &playbook,
            SessionKey::new("eval", "s"),
            transcript,
            (reading, Reader::File),
            false,
        );
        Naive::ArgumentsEqualRequest.says(&playbook, &case, &Facts::new())
    }

    #[test]
    fn an_argument_that_cannot_be_compared_is_neither_as_asked_nor_another() {
        assert_eq!(says(&json!("2026-03-18T13:20"), false), Says::Correct);
        assert_eq!(says(&json!("2026-03-18T14:20"), false), Says::Incorrect);
        assert_eq!(says(&json!("whenever it suits"), false), Says::Neither);
        // A call that nobody asked for decides, whatever the other is.
        assert_eq!(says(&json!("whenever it suits"), true), Says::Incorrect);
        assert_eq!(says(&json!("2026-03-18T13:20"), true), Says::Incorrect);
    }
}
