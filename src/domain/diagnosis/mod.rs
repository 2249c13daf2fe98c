//! A diagnosis: why a session failed. It never changes the verdict.
//!
//! The rules come first and always: [`explain`] holds the calls against the steps that the intent takes, finds a cause with
//! words of the session that show it, and says which experts to ask. An expert's finding counts only where [`check`] finds
//! its step and its quotes in the session. [`assemble`] makes the report of both; without an LLM it says so.

mod assemble;
mod attempts;
mod check;
mod differs;
mod error_class;
mod evidence;
mod explain;
mod markdown;
mod root_cause;
mod routing;
mod steps;

#[cfg(test)]
mod tests;

pub use assemble::assemble;
pub use check::{check, problems};
pub use explain::explain;
use serde::{Deserialize, Serialize};

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultOwner {
    /// The agent's prompt or model.
    Agent,
    /// A tool's code.
    Tool,
    /// What runs between agent and system: flows, queues, networks.
    Environment,
    /// The system of record.
    SystemOfRecord,
    /// The caller.
    Caller,
}

/// How an expected step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Called as often as expected, without error.
    Completed,
    /// Called, always with an error.
    Failed,
    /// Not called, or less often than expected.
    Missing,
}

/// One expected step of the intent, against the calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// The playbook's id of the step.
    pub step: String,
    /// How it went.
    pub status: StepStatus,
    /// How many calls were expected.
    pub expected: u32,
    /// The calls, as step ids of the snapshot.
    pub calls: Vec<String>,
    /// The first error among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Words of the session that support a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Step id, or `turn N`.
    pub at: String,
    /// The words: must be in the transcript or in that step's input or output.
    pub text: String,
}

/// One expert's answer, after its steps and quotes were checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertReport {
    /// The playbook's id of the expert.
    pub expert: String,
    /// Why it was asked.
    pub why: String,
    /// What came of it.
    #[serde(flatten)]
    pub result: ExpertResult,
}

/// What came of asking an expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ExpertResult {
    /// An answer that held.
    Answered {
        /// The finding.
        finding: RootCause,
        /// The model that answered.
        model: String,
    },
    /// Routed to, but no LLM is configured.
    NotAsked,
    /// An answer that did not hold, with the reason (a step that does not exist, a quote that is not in the text).
    Rejected {
        /// Why.
        reason: String,
    },
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootCause {
    /// Who has to act.
    pub owner: FaultOwner,
    /// Kind of failure, in `snake_case` (`tool_error_ignored`, `slot_taken`, …).
    pub failure: String,
    /// The step that broke, as a step id of the snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened, in words.
    pub cause: String,
    /// 0 to 100.
    pub confidence: u8,
    /// Words that show it.
    pub quotes: Vec<Quote>,
    /// What to change, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The change as a unified diff, where an artifact was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// The whole report on one failed session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The best of the findings.
    pub root_cause: RootCause,
    /// `rules` when no LLM was asked or none of its answers held, else `experts`.
    pub basis: String,
    /// Expected steps against calls.
    pub steps: Vec<StepReport>,
    /// The experts, in the order asked.
    pub experts: Vec<ExpertReport>,
    /// The report for a person, in Markdown.
    pub markdown: String,
}

/// A tool call that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolError {
    /// The call, as a step id of the snapshot.
    pub step: String,
    /// The playbook's name of the tool.
    pub tool: String,
    /// The playbook's name of the action, where the tool has actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The tool's words.
    pub error: String,
}

/// An expert to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The playbook's id of the expert.
    pub expert: String,
    /// Why it is asked.
    pub why: String,
}

/// What the rules say of a failure: the whole report where no LLM is configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Expected steps against calls.
    pub steps: Vec<StepReport>,
    /// The rules' finding.
    pub root_cause: RootCause,
    /// Experts to ask, in order.
    pub experts: Vec<Route>,
    /// Calls that failed, in order.
    pub tool_errors: Vec<ToolError>,
    /// The verdict in words: the report's first paragraph.
    pub summary: String,
}
