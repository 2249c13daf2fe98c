//! The judges that do not look, or do not look closely: what else could be asked of the same sessions.

use serde::Serialize;

use crate::{
    adapters::offline_classifier,
    domain::{
        claim::{Claim, ClaimState},
        compare::{Match, compare},
        judge::Case,
        lookup::{Fact, Facts},
        playbook::Playbook,
        reading::{Request, Says},
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

    /// Whether it would call the session correct.
    pub(super) fn is_content(self, playbook: &Playbook, case: &Case, facts: &Facts) -> bool {
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
        match self {
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
                let said = words.statements.iter().any(|statement| statement.says == Says::Done);
                said != requests.is_empty()
            }
            Self::ArgumentsEqualRequest => {
                let mut free = done;
                for request in requests {
                    let Some(at) = free
                        .iter()
                        .position(|claim| carries(claim, request) && is_as_asked(playbook, case, claim, request))
                    else {
                        return false;
                    };
                    free.remove(at);
                }
                free.is_empty()
            }
        }
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

fn is_as_asked(playbook: &Playbook, case: &Case, claim: &Claim, request: &Request) -> bool {
    let Some(record) = playbook.record(&request.record) else {
        return false;
    };
    let context = playbook.context().said_at(case.transcript.said_at(request.turn));
    request.fields.iter().all(|(name, asked)| {
        let (Some(field), Some(sent)) = (record.field(name), claim.fields.get(name)) else {
            return asked.is_null();
        };
        // The call's arguments are what is sent, not what is stored: a list of payments is compared as a whole.
        compare(&field.compare, context, asked, sent).outcome == Match::Same
    })
}
