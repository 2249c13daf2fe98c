//! Presets: what is known of a kind of system, so that nobody has to write it again. `preset = "fhir-r4/appointment"` in a
//! `[[record]]` or `[[search]]` lays the table under what the playbook itself says.
//!
//! They are TOML files of the same grammar (`playbooks/presets/*.toml`). It is the files' tables that are merged, before
//! anything is read: whatever a playbook may say, it may say over a preset, and its faults keep their lines.

use std::{borrow::Cow, collections::BTreeSet, ops::Range};

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    fault::suggestion,
    parse,
    reader::{Faults, Table},
};
use crate::domain::http_api::HttpApi;

/// The presets that ship with aftercall: name and text.
pub const PRESETS: [(&str, &str); 2] = [
    ("fhir-r4", include_str!("../../../playbooks/presets/fhir-r4.toml")),
    ("nexhealth", include_str!("../../../playbooks/presets/nexhealth.toml")),
];

/// How a system of this preset behaves whatever it is asked; `None` for an unknown name.
pub fn api(name: &str) -> Option<HttpApi> {
    let text = text_of(name)?;
    // A test reads all of them, so nothing is missing here.
    let (document, _) = DeTable::parse_recoverable(text);
    let faults = Faults::new(name, text);
    Some(parse::system(&Table::new(
        document.get_ref(),
        document.span(),
        "",
        &faults,
    )))
}

/// Lays the presets named under the tables that name them. Answers which files were used, for the playbook's hash.
pub(super) fn expand(document: &mut Spanned<DeTable<'_>>, faults: &Faults<'_>) -> BTreeSet<&'static str> {
    let mut used = BTreeSet::new();
    for section in ["record", "search"] {
        let Some(DeValue::Array(tables)) = get_mut(document.get_mut(), section) else {
            continue;
        };
        for table in tables.iter_mut() {
            let DeValue::Table(table) = table.get_mut() else {
                continue;
            };
            let Some((_, named)) = table.remove_entry("preset") else {
                continue;
            };
            let what = format!("[[{section}]]: preset");
            let Some(name) = named.get_ref().as_str() else {
                faults.add(&named.span(), what, "must be a text");
                continue;
            };
            if let Some((file, preset)) = find(section, name) {
                used.insert(file);
                lay_under(table, preset, &named.span());
            } else {
                let known = names(section);
                let hint = suggestion(name, known.iter().map(String::as_str));
                faults.add(&named.span(), what, format!("unknown preset \"{name}\"{hint}"));
            }
        }
    }
    used
}

/// The text of a preset's file.
pub(super) fn text_of(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The table of a section that calls itself by this name: `fhir-r4/appointment`.
fn find(section: &str, name: &str) -> Option<(&'static str, DeTable<'static>)> {
    let (file, name) = name.split_once('/')?;
    let (file, text) = PRESETS.iter().find(|(known, _)| *known == file)?;
    let (mut document, _) = DeTable::parse_recoverable(text);
    let DeValue::Array(tables) = get_mut(document.get_mut(), section)? else {
        return None;
    };
    for table in std::mem::take(tables) {
        if let DeValue::Table(mut table) = table.into_inner()
            && let Some((_, own)) = table.remove_entry("preset")
            && own.get_ref().as_str() == Some(name)
        {
            return Some((file, table));
        }
    }
    None
}

/// All presets of a section.
pub(super) fn names(section: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (file, text) in PRESETS {
        let (mut document, _) = DeTable::parse_recoverable(text);
        let Some(DeValue::Array(tables)) = get_mut(document.get_mut(), section) else {
            continue;
        };
        for table in tables.iter() {
            if let DeValue::Table(table) = table.get_ref()
                && let Some(name) = table.get("preset").and_then(|name| name.get_ref().as_str())
            {
                names.push(format!("{file}/{name}"));
            }
        }
    }
    names
}

fn get_mut<'t, 'i>(table: &'t mut DeTable<'i>, key: &str) -> Option<&'t mut DeValue<'i>> {
    table.get_mut(key).map(Spanned::get_mut)
}

/// What the playbook says stands. Tables inside are laid under each other, fields are merged by their names: one that the
/// playbook defines replaces the preset's of that name.
fn lay_under(own: &mut DeTable<'_>, preset: DeTable<'static>, at: &Range<usize>) {
    for (key, value) in preset {
        let name = key.into_inner();
        match (get_mut(own, &name), value.into_inner()) {
            (None, value) => {
                own.insert(Spanned::new(at.clone(), name), placed(value, at));
            }
            (Some(DeValue::Table(own)), DeValue::Table(preset)) => lay_under(own, preset, at),
            (Some(DeValue::Array(own)), DeValue::Array(preset)) if name == "field" => add_fields(own, preset, at),
            (Some(_), _) => {}
        }
    }
}

fn add_fields(own: &mut DeArray<'_>, preset: DeArray<'static>, at: &Range<usize>) {
    let name = |field: &DeValue<'_>| -> Option<String> {
        let DeValue::Table(field) = field else { return None };
        Some(field.get("name")?.get_ref().as_str()?.to_owned())
    };
    let defined: Vec<Option<String>> = own.iter().map(|field| name(field.get_ref())).collect();
    for field in preset {
        let field = field.into_inner();
        if !defined.contains(&name(&field)) {
            own.push(placed(field, at));
        }
    }
}

/// What comes from another file is placed where the playbook names it.
fn placed(value: DeValue<'static>, at: &Range<usize>) -> Spanned<DeValue<'static>> {
    let value = match value {
        DeValue::Table(table) => {
            let mut moved = DeTable::new();
            for (key, value) in table {
                let key: Cow<'static, str> = key.into_inner();
                moved.insert(Spanned::new(at.clone(), key), placed(value.into_inner(), at));
            }
            DeValue::Table(moved)
        }
        DeValue::Array(items) => {
            let mut moved = DeArray::new();
            for item in items {
                moved.push(placed(item.into_inner(), at));
            }
            DeValue::Array(moved)
        }
        plain => plain,
    };
    Spanned::new(at.clone(), value)
}

#[cfg(test)]
mod tests;
