//! `[[claim]]` and `[[effect]]`.

use std::collections::BTreeSet;

use super::words::{operation, sources};
use crate::domain::playbook::{
    reader::Table,
    sections::{CLAIM_VARIABLES, ClaimEffect, ClaimRule, EffectRule},
};

pub(in crate::domain::playbook) fn claim(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Option<ClaimRule> {
    let id = table.name("id", taken);
    let read = table.flag("read").unwrap_or(false);
    let operation = table.text("operation").map(|text| operation(table, "operation", &text));
    let effect = match (read, operation) {
        (true, None) => Some(ClaimEffect::Read),
        (false, Some(operation)) => operation.map(ClaimEffect::Write),
        (true, Some(_)) => {
            table.fault(
                &table.at,
                "",
                "has both `operation` and `read = true`: a claim writes or reads",
            );
            None
        }
        (false, None) => {
            if !table.has("operation") && !table.has("read") {
                table.fault(
                    &table.at,
                    "",
                    "needs `operation = \"create\" | \"update\" | \"cancel\"` or `read = true`",
                );
            }
            None
        }
    };
    let rule = ClaimRule {
        id,
        tool: table.required_text("tool").value,
        actions: table.plain_texts("action"),
        when: table.expression("when", &["call", "input", "output"]),
        each: table.path("each"),
        only: table.expression("only", &CLAIM_VARIABLES),
        record: table.required_text("record").value,
        effect: effect.unwrap_or(ClaimEffect::Read),
        record_id: table.source("record_id", &CLAIM_VARIABLES).unwrap_or_default(),
        subject: table.source("subject", &CLAIM_VARIABLES).unwrap_or_default(),
        keys: sources(table, "keys", &CLAIM_VARIABLES),
        fields: sources(table, "fields", &CLAIM_VARIABLES),
        shows: table.source("shows", &CLAIM_VARIABLES),
        promised: table.expression("promised", &CLAIM_VARIABLES),
        failed: table.expression("failed", &CLAIM_VARIABLES),
        error: table.source("error", &CLAIM_VARIABLES).unwrap_or_default(),
        supports: table.plain_texts("supports"),
    };
    table.finish();
    effect.map(|_| rule)
}

pub(in crate::domain::playbook) fn effect(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> EffectRule {
    const VARIABLES: [&str; 5] = ["want", "did", "before", "record", "id"];
    let id = table.name("id", taken);
    let mut operations = Vec::new();
    for text in table.texts("operation") {
        operations.extend(operation(table, "operation", &text));
    }
    let rule = EffectRule {
        id,
        of: table.required_text("of").value,
        operations,
        when: table.expression("when", &VARIABLES),
        record: table.required_text("record").value,
        record_id: table.source("record_id", &VARIABLES).unwrap_or_default(),
        fields: sources(table, "fields", &VARIABLES),
        keeps: table.plain_texts("keeps"),
        undisturbed: table.plain_texts("undisturbed"),
        by: table.plain_texts("by"),
    };
    if !table.has("record_id") {
        table.fault(&table.at, "record_id", "is missing");
    }
    table.finish();
    rule
}
