//! Checks the names by which sections of a playbook point to each other.
//!
//! It looks at the file again rather than at the compiled sections, because only the file knows the lines.

use std::collections::BTreeSet;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Playbook, fault::suggestion, reader::Faults};

type Node<'a, 'i> = &'a Spanned<DeValue<'i>>;

/// Reports every name that points nowhere.
pub(crate) fn check(playbook: &Playbook, document: &Spanned<DeTable<'_>>, faults: &Faults<'_>) {
    let root = document.get_ref();
    let kinds: BTreeSet<&str> = playbook.records.iter().map(|record| record.kind.as_str()).collect();
    let tools: BTreeSet<&str> = playbook.tools.iter().map(|tool| tool.name.as_str()).collect();

    for intent in tables(root, "intent") {
        let title = title("intent", intent, "name");
        for inner in tables(intent, "calls_for") {
            known(
                get(inner, "record"),
                &kinds,
                &format!("{title}: calls_for"),
                "record",
                faults,
            );
        }
        for step in tables(intent, "step") {
            let title = format!("{title}: step");
            known(get(step, "tool"), &tools, &title, "tool", faults);
            actions(playbook, step, &title, faults);
        }
        for node in texts(get(intent, "tools")) {
            let Some(text) = node.get_ref().as_str() else { continue };
            let (tool, action) = text
                .split_once('.')
                .map_or((text, None), |(tool, action)| (tool, Some(action)));
            match playbook.tool(tool) {
                None => {
                    let hint = suggestion(tool, tools.iter().copied());
                    faults.add(
                        &node.span(),
                        format!("{title}: tools"),
                        format!("unknown tool \"{tool}\"{hint}"),
                    );
                }
                Some(found) => action_known(found, action, node, &format!("{title}: tools"), faults),
            }
        }
    }
    for claim in tables(root, "claim") {
        let title = title("claim", claim, "id");
        known(get(claim, "tool"), &tools, &title, "tool", faults);
        actions(playbook, claim, &title, faults);
        known(get(claim, "record"), &kinds, &title, "record", faults);
        for node in texts(get(claim, "supports")) {
            known(Some(node), &kinds, &format!("{title}: supports"), "record", faults);
        }
        fields(playbook, claim, &title, faults);
        if let (Some(record), Some(DeValue::Table(keys))) = (
            get(claim, "record")
                .and_then(|node| node.get_ref().as_str())
                .and_then(|kind| playbook.record(kind)),
            get(claim, "keys").map(Spanned::get_ref),
        ) {
            let needs: BTreeSet<&str> = record.needs.iter().map(String::as_str).collect();
            for (name, _) in keys {
                if !needs.contains(name.get_ref().as_ref()) {
                    let hint = suggestion(name.get_ref(), needs.iter().copied());
                    let reason = format!("record \"{}\" needs no key \"{}\"{hint}", record.kind, name.get_ref());
                    faults.add(&name.span(), format!("{title}: keys"), reason);
                }
            }
        }
    }
    for record in tables(root, "record") {
        let title = title("record", record, "kind");
        if let Some(DeValue::Table(keys)) = get(record, "keys").map(Spanned::get_ref) {
            for (_, value) in keys {
                if let DeValue::Table(entry) = value.get_ref() {
                    known(
                        get(entry, "record"),
                        &kinds,
                        &format!("{title}: keys"),
                        "record",
                        faults,
                    );
                }
            }
        }
    }
    for search in tables(root, "search") {
        let title = title("search", search, "name");
        known(get(search, "record"), &kinds, &title, "record", faults);
        let kind = get(search, "record").and_then(|node| node.get_ref().as_str());
        if let (Some(node), Some(record)) = (
            get(search, "subject_field"),
            kind.and_then(|kind| playbook.record(kind)),
        ) {
            let names = record.fields.iter().map(|field| field.name.as_str()).collect();
            known(Some(node), &names, &title, "field", faults);
        }
    }
    effects(playbook, root, &kinds, faults);
}

fn effects(playbook: &Playbook, root: &DeTable<'_>, kinds: &BTreeSet<&str>, faults: &Faults<'_>) {
    for effect in tables(root, "effect") {
        let title = title("effect", effect, "id");
        known(get(effect, "of"), kinds, &title, "record", faults);
        known(get(effect, "record"), kinds, &title, "record", faults);
        fields(playbook, effect, &title, faults);
        let written = get(effect, "of").and_then(|node| node.get_ref().as_str());
        if let Some(record) = written.and_then(|kind| playbook.record(kind)) {
            let names: BTreeSet<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
            for node in texts(get(effect, "by")) {
                known(Some(node), &names, &format!("{title}: by"), "field", faults);
            }
        }
    }
}

/// The members of `[….fields]` must be fields of the section's record.
fn fields(playbook: &Playbook, table: &DeTable<'_>, title: &str, faults: &Faults<'_>) {
    let Some(record) = get(table, "record")
        .and_then(|node| node.get_ref().as_str())
        .and_then(|kind| playbook.record(kind))
    else {
        return;
    };
    let names: BTreeSet<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
    for key in ["keeps", "undisturbed"] {
        for node in texts(get(table, key)) {
            known(Some(node), &names, &format!("{title}: {key}"), "field", faults);
        }
    }
    let Some(DeValue::Table(fields)) = get(table, "fields").map(Spanned::get_ref) else {
        return;
    };
    for (name, _) in fields {
        if !names.contains(name.get_ref().as_ref()) {
            let hint = suggestion(name.get_ref(), names.iter().copied());
            let reason = format!("record \"{}\" has no field \"{}\"{hint}", record.kind, name.get_ref());
            faults.add(&name.span(), format!("{title}: fields"), reason);
        }
    }
}

fn actions(playbook: &Playbook, table: &DeTable<'_>, title: &str, faults: &Faults<'_>) {
    let Some(tool) = get(table, "tool")
        .and_then(|node| node.get_ref().as_str())
        .and_then(|name| playbook.tool(name))
    else {
        return;
    };
    for node in texts(get(table, "action")) {
        action_known(tool, node.get_ref().as_str(), node, &format!("{title}: action"), faults);
    }
}

fn action_known(tool: &super::Tool, action: Option<&str>, node: Node<'_, '_>, what: &str, faults: &Faults<'_>) {
    let Some(action) = action else { return };
    let names: BTreeSet<&str> = tool.actions.values().map(String::as_str).collect();
    if !names.contains(action) {
        let hint = suggestion(action, names);
        faults.add(
            &node.span(),
            what,
            format!("tool \"{}\" has no action \"{action}\"{hint}", tool.name),
        );
    }
}

fn known(node: Option<Node<'_, '_>>, names: &BTreeSet<&str>, title: &str, what: &str, faults: &Faults<'_>) {
    let Some(node) = node else { return };
    if let Some(text) = node.get_ref().as_str()
        && !text.is_empty()
        && !names.contains(text)
    {
        let hint = suggestion(text, names.iter().copied());
        faults.add(&node.span(), title, format!("unknown {what} \"{text}\"{hint}"));
    }
}

fn get<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<Node<'a, 'i>> {
    table
        .iter()
        .find(|(name, _)| name.get_ref() == key)
        .map(|(_, value)| value)
}

fn tables<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Vec<&'a DeTable<'i>> {
    let Some(DeValue::Array(items)) = get(table, key).map(Spanned::get_ref) else {
        return Vec::new();
    };
    let tables = items.iter().filter_map(|item| match item.get_ref() {
        DeValue::Table(inner) => Some(inner),
        _ => None,
    });
    tables.collect()
}

fn texts<'a, 'i>(node: Option<Node<'a, 'i>>) -> Vec<Node<'a, 'i>> {
    match node.map(|node| (node, node.get_ref())) {
        Some((_, DeValue::Array(items))) => items.iter().collect(),
        Some((node, DeValue::String(_))) => vec![node],
        _ => Vec::new(),
    }
}

fn title(section: &str, table: &DeTable<'_>, key: &str) -> String {
    let name = get(table, key)
        .and_then(|node| node.get_ref().as_str())
        .unwrap_or_default();
    format!("[[{section}]] {name}")
}
