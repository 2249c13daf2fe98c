//! `[playbook]`, `[reader]`, `[nicknames]` and `[phrases]`.

use std::collections::BTreeMap;

use chrono_tz::Tz;

use super::words::{calling_code, globs, lower, one_of, zone};
use crate::domain::playbook::{
    reader::Table,
    sections::{Head, Phrases, RollUp},
};

pub(in crate::domain::playbook) fn head(root: &Table<'_, '_>) -> Head {
    let nicknames = root.table("nicknames").map(|table| {
        let map = table.texts_map();
        map.into_iter()
            .map(|(name, others)| (crate::domain::compare::fold(&name.value), lower(others)))
            .collect::<BTreeMap<_, _>>()
    });
    let reader = root.table("reader");
    let reader_hints = reader.as_ref().and_then(|table| table.text("hints"));
    if let Some(table) = reader {
        table.finish();
    }
    let mut head = Head {
        name: String::new(),
        version: 0,
        description: String::new(),
        timezone: Tz::UTC,
        calling_code: "1".into(),
        internal_steps: Vec::new(),
        roll_up: RollUp::Request,
        min_turns: 2,
        subject: "subject".into(),
        subjects: "subjects".into(),
        subject_detail: None,
        responsible: "caller".into(),
        nicknames: nicknames.unwrap_or_default(),
        reader_hints: reader_hints.map(|text| text.value).unwrap_or_default(),
    };
    let Some(table) = root.table("playbook") else {
        if !root.has("playbook") {
            root.fault(&(0..0), "[playbook]", "is missing");
        }
        return head;
    };
    head.name = table.required_text("name").value;
    if !table.has("version") {
        table.fault(&table.at, "version", "is missing");
    }
    head.version = table.count("version").unwrap_or(0);
    head.description = table.text("description").map(|text| text.value).unwrap_or_default();
    head.timezone = zone(&table, "timezone").unwrap_or(Tz::UTC);
    head.calling_code = calling_code(&table, "region").unwrap_or_else(|| "1".into());
    head.internal_steps = globs(&table, "internal_steps");
    head.roll_up = one_of(
        &table,
        "roll_up",
        &[("request", RollUp::Request), ("subject", RollUp::Subject)],
        RollUp::Request,
    );
    if let Some(turns) = table.count("min_turns") {
        head.min_turns = turns as usize;
    }
    if let Some(text) = table.text("subject") {
        head.subjects = format!("{}s", text.value);
        head.subject = text.value;
    }
    if let Some(text) = table.text("subjects") {
        head.subjects = text.value;
    }
    if let Some(text) = table.text("responsible") {
        head.responsible = text.value;
    }
    head.subject_detail = table.text("subject_detail").map(|text| text.value);
    table.finish();
    head
}

pub(in crate::domain::playbook) fn phrases(root: &Table<'_, '_>) -> Phrases {
    let Some(table) = root.table("phrases") else {
        return Phrases::default();
    };
    let phrases = Phrases {
        done: lower(table.texts("done")),
        promised: lower(table.texts("promised")),
        failed: lower(table.texts("failed")),
        declined: lower(table.texts("declined")),
        withdrawn: lower(table.texts("withdrawn")),
    };
    table.finish();
    phrases
}
