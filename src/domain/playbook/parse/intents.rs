//! `[[tool]]`, `[[intent]]` and `[[expert]]`.

use std::collections::{BTreeMap, BTreeSet};

use wildmatch::WildMatch;

use super::words::{globs, lower, one_of, operation};
use crate::domain::{
    playbook::{
        fault::suggestion,
        reader::Table,
        sections::{CallsFor, EXPERT_VARIABLES, Expert, Intent, Step, Tool, ToolAction},
    },
    reading::UNKNOWN_INTENT,
};

pub(in crate::domain::playbook) fn tool(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Tool {
    let name = table.name("name", taken);
    let mut matches = globs(table, "match");
    if !table.has("match") {
        matches = vec![WildMatch::new(&name)];
    }
    let mut actions = BTreeMap::new();
    let mut names = BTreeSet::new();
    if let Some(inner) = table.table("actions") {
        for (action, aliases) in inner.texts_map() {
            names.insert(action.value.clone());
            for spelling in std::iter::once(&action).chain(&aliases) {
                let before = actions.insert(spelling.value.to_lowercase(), action.value.clone());
                if before.is_some_and(|before| before != action.value) {
                    inner.fault(
                        &spelling.at,
                        &action.value,
                        format!("\"{}\" is a spelling of two actions", spelling.value),
                    );
                }
            }
        }
    }
    let mut writes = Vec::new();
    for action in table.texts("writes") {
        if names.contains(&action.value) {
            writes.push(action.value);
        } else {
            let hint = suggestion(&action.value, names.iter().map(String::as_str));
            table.fault(
                &action.at,
                "writes",
                format!("unknown action \"{}\"{hint}", action.value),
            );
        }
    }
    let tool = Tool {
        name,
        matches,
        action: table.source("action", &["input", "output"]),
        actions,
        writes,
        always_writes: table.flag("always_writes").unwrap_or(false),
        escalates: table.flag("escalates").unwrap_or(false),
        failed: table.expression("failed", &["input", "output"]),
    };
    table.finish();
    tool
}

fn tool_action(text: &str) -> ToolAction {
    match text.split_once('.') {
        Some((tool, action)) => ToolAction {
            tool: tool.to_owned(),
            action: Some(action.to_owned()),
        },
        None => ToolAction {
            tool: text.to_owned(),
            action: None,
        },
    }
}

pub(in crate::domain::playbook) fn intent(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Intent {
    let name = table.name("name", taken);
    if name == UNKNOWN_INTENT {
        table.fault(
            &table.at,
            "name",
            "\"unknown\" is what a reader says when no intent fits: it cannot be defined",
        );
    }
    let mut calls_for = Vec::new();
    for inner in table.tables("calls_for") {
        let text = inner.required_text("operation");
        let operation = operation(&inner, "operation", &text);
        let record = inner.required_text("record").value;
        inner.finish();
        if let Some(operation) = operation {
            calls_for.push(CallsFor { operation, record });
        }
    }
    let mut steps = Vec::new();
    let mut step_ids = BTreeSet::new();
    for inner in table.tables("step") {
        let step = Step {
            id: inner.name("id", &mut step_ids),
            tool: inner.required_text("tool").value,
            actions: inner.plain_texts("action"),
            per_subject: one_of(&inner, "per", &[("session", false), ("subject", true)], false),
            optional: inner.flag("optional").unwrap_or(false),
        };
        inner.finish();
        steps.push(step);
    }
    let details = table.table("details").map(|inner| inner.text_map()).unwrap_or_default();
    let intent = Intent {
        name,
        description: table.text("description").map(|text| text.value).unwrap_or_default(),
        verify: table.flag("verify").unwrap_or(true),
        declined_is_fail: one_of(table, "declined", &[("skipped", false), ("fail", true)], false),
        calls_for,
        signals: lower(table.texts("signals")),
        tools: table
            .texts("tools")
            .iter()
            .map(|text| tool_action(&text.value))
            .collect(),
        details: details
            .into_iter()
            .map(|(name, text)| (name.value, text.value))
            .collect(),
        steps,
    };
    table.finish();
    intent
}

pub(in crate::domain::playbook) fn expert(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Option<Expert> {
    let id = table.name("id", taken);
    if !table.has("when") {
        table.fault(&table.at, "when", "is missing");
    }
    let when = table.expression("when", &EXPERT_VARIABLES);
    let prompt = table.required_text("prompt").value;
    let artifacts = table.plain_texts("artifacts");
    table.finish();
    Some(Expert {
        id,
        when: when?,
        prompt,
        artifacts,
    })
}
