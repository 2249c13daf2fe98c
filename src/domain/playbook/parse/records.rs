//! `[[record]]` with its fields, and `[[search]]`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    lookups,
    words::{calling_code, duration, operation, zone},
};
use crate::domain::{
    compare::Rule,
    lookup::RecordLookup,
    playbook::{
        expression::{Path, Source},
        fault::suggestion,
        reader::Table,
        sections::{Field, Head, KeySource, Record, Search},
    },
    reading::Operation,
};

fn key_sources(table: &Table<'_, '_>) -> BTreeMap<String, KeySource> {
    let Some(inner) = table.table("keys") else {
        return BTreeMap::new();
    };
    let mut keys = BTreeMap::new();
    for (name, value) in inner.entries() {
        let toml::de::DeValue::Table(entry) = value.get_ref() else {
            inner.fault(
                &value.span(),
                &name.value,
                "must be { record = \"kind\" } or { value = \"CEL\" }",
            );
            continue;
        };
        let entry = inner.nested(entry, value.span(), &name.value);
        let record = entry.text("record");
        let computed = entry.expression("value", &["subject", "fields", "keys"]);
        match (record, computed) {
            (Some(record), None) => {
                keys.insert(name.value, KeySource::Record(record.value));
            }
            (None, Some(computed)) => {
                keys.insert(name.value, KeySource::Value(computed));
            }
            _ if entry.has("value") && !entry.has("record") => {}
            _ => entry.fault(&value.span(), "", "needs either `record` or `value`"),
        }
        entry.finish();
    }
    keys
}

fn field(table: &Table<'_, '_>, taken: &mut BTreeSet<String>, head: &Head) -> Field {
    let name = table.name("name", taken);
    let mut source = Source {
        all: table.flag("all").unwrap_or(false),
        value: table.expression("value", &["record"]),
        ..Source::default()
    };
    source.paths = table.record_paths("path");
    let spoken_for = table.has("path") || table.has("value");
    let own = Path::compile(&format!("$['{}']", name.replace(['\'', '\\'], "")));
    if let (false, Ok(path)) = (spoken_for, own) {
        source.paths.push(path);
    }
    let stored_on = if table.has("stored") {
        stored(table)
    } else {
        Operation::ALL.to_vec()
    };
    let compare = rule(table, head);
    let field = Field {
        name,
        description: table.text("description").map(|text| text.value).unwrap_or_default(),
        source,
        compare,
        stored_on,
        incidental: table.flag("incidental").unwrap_or(false),
        identifies: table.flag("identifies").unwrap_or(false),
    };
    table.finish();
    field
}

/// `stored = true | false`, or the operations that store it.
fn stored(table: &Table<'_, '_>) -> Vec<Operation> {
    if let Some(flag) = table.flag_or_list("stored") {
        return if flag { Operation::ALL.to_vec() } else { Vec::new() };
    }
    let mut operations = Vec::new();
    for text in table.texts("stored") {
        operations.extend(operation(table, "stored", &text));
    }
    operations
}

fn rule(table: &Table<'_, '_>, head: &Head) -> Rule {
    let text = table.text("compare");
    let zone = zone(table, "zone").unwrap_or(head.timezone);
    let code = calling_code(table, "region").unwrap_or_else(|| head.calling_code.clone());
    let seconds = table.text("tolerance").and_then(|text| {
        let parsed = duration(&text.value);
        if parsed.is_none() {
            table.fault(
                &text.at,
                "tolerance",
                format!("\"{}\" is not a duration such as \"5m\"", text.value),
            );
        }
        parsed
    });
    let cents = table.decimal("within");
    let name = text.as_ref().map_or("text", |text| text.value.as_str());
    let item = table.text("item");
    let item_rule = Rule::simple(
        item.as_ref().map_or("value", |text| text.value.as_str()),
        zone,
        &code,
        seconds.unwrap_or_default(),
        cents.unwrap_or(0.0),
    );
    if let (Some(item), None) = (&item, &item_rule) {
        let hint = suggestion(&item.value, Rule::SIMPLE);
        table.fault(&item.at, "item", format!("unknown comparison \"{}\"{hint}", item.value));
    }
    let item_rule = Box::new(item_rule.unwrap_or(Rule::Value));
    let rule = match name {
        "list" => Some(Rule::List(item_rule)),
        "set" => Some(Rule::Set(item_rule)),
        "contains" => Some(Rule::Contains(item_rule)),
        "lacks" => Some(Rule::Lacks(item_rule)),
        simple => Rule::simple(simple, zone, &code, seconds.unwrap_or_default(), cents.unwrap_or(0.0)),
    };
    if let (Some(text), None) = (&text, &rule) {
        let known = Rule::SIMPLE.into_iter().chain(["list", "set", "contains", "lacks"]);
        let hint = suggestion(&text.value, known);
        table.fault(
            &text.at,
            "compare",
            format!("unknown comparison \"{}\"{hint}", text.value),
        );
    }
    rule.unwrap_or(Rule::Text)
}

pub(in crate::domain::playbook) fn record(table: &Table<'_, '_>, taken: &mut BTreeSet<String>, head: &Head) -> Record {
    let kind = table.name("kind", taken);
    let system = table.required_text("system").value;
    let lookup = lookups::lookup(table);
    let keys = key_sources(table);
    let mut needs: Vec<String> = table.plain_texts("needs");
    let mut needs_id = !table.has("each");
    let mut names_session = true;
    if let Some(read) = &lookup {
        needs_id = read.variables.contains("id");
        names_session = read.variables.contains("session");
        if matches!(&read.lookup, RecordLookup::Http(http) if !http.optional.is_empty()) {
            table.fault(&table.at, "lookup: optional", "only a search does without a parameter");
        }
        for name in &read.variables {
            if name != "id" && name != "session" && !needs.contains(name) {
                needs.push(name.clone());
            }
        }
    }
    let mut fields = Vec::new();
    let mut field_names = BTreeSet::new();
    for inner in table.tables("field") {
        fields.push(field(&inner, &mut field_names, head));
    }
    let record = Record {
        kind,
        description: table.text("description").map(|text| text.value).unwrap_or_default(),
        system,
        lookup: lookup.map(|read| read.lookup),
        needs,
        needs_id,
        names_session,
        each: table.record_paths("each"),
        id: Source {
            paths: table.record_paths("id"),
            ..Source::default()
        },
        id_fields: table.plain_texts("id_fields"),
        keys,
        absent: table.expression("absent", &["record"]),
        cancelled: table.expression("cancelled", &["record"]),
        replaceable: table.flag("replaceable").unwrap_or(false),
        fields,
    };
    table.finish();
    record
}

pub(in crate::domain::playbook) fn search(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Search {
    let name = table.name("name", taken);
    let record = table.required_text("record").value;
    let system = table.required_text("system").value;
    let lookup = lookups::lookup(table);
    let mut keys = BTreeMap::new();
    if let Some(inner) = table.table("keys") {
        for (key, text) in inner.text_map() {
            if let Some(expression) = inner.compile_expression(&key.value, &text, &["subject", "fields", "keys"]) {
                keys.insert(key.value, expression);
            }
        }
    }
    let mut names_session = true;
    let mut optional = BTreeSet::new();
    if let Some(read) = &lookup {
        names_session = read.variables.contains("session");
        optional.clone_from(&read.optional);
        for name in &read.variables {
            if name != "session" && !keys.contains_key(name) {
                table.fault(
                    &table.at,
                    "lookup",
                    format!("it names \"{name}\", which `keys` does not define"),
                );
            }
        }
    }
    let search = Search {
        name,
        record,
        system,
        lookup: lookup.map(|read| read.lookup),
        names_session,
        keys,
        optional,
        each: table.record_paths("each"),
        subject_field: table.text("subject_field").map(|text| text.value),
    };
    table.finish();
    search
}
