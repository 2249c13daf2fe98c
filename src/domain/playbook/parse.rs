//! Reads each section of a playbook into its type. Names that point to other sections are checked in [`super::references`].

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use chrono_tz::Tz;
use wildmatch::WildMatch;

use super::{
    expression::Source,
    fault::suggestion,
    reader::{Placed, Table},
    sections::{
        CLAIM_VARIABLES, CallsFor, ClaimEffect, ClaimRule, EXPERT_VARIABLES, EffectRule, Expert, Field, Head, Intent,
        KeySource, Phrases, Record, RollUp, Search, Step, Tool, ToolAction,
    },
    template,
};
use crate::domain::{
    compare::Rule,
    lookup::{HttpLookup, HttpMethod},
    reading::{Operation, UNKNOWN_INTENT},
};

/// Calling codes of the regions that a playbook may name; any other region is written as its code (`"+353"`).
const CALLING_CODES: [(&str, &str); 24] = [
    ("US", "1"),
    ("CA", "1"),
    ("GB", "44"),
    ("IE", "353"),
    ("DE", "49"),
    ("AT", "43"),
    ("CH", "41"),
    ("FR", "33"),
    ("ES", "34"),
    ("PT", "351"),
    ("IT", "39"),
    ("NL", "31"),
    ("BE", "32"),
    ("DK", "45"),
    ("SE", "46"),
    ("NO", "47"),
    ("FI", "358"),
    ("PL", "48"),
    ("AU", "61"),
    ("NZ", "64"),
    ("IN", "91"),
    ("JP", "81"),
    ("BR", "55"),
    ("MX", "52"),
];

/// Words of an operation in a playbook.
pub(crate) fn operation(table: &Table<'_, '_>, key: &str, text: &Placed<String>) -> Option<Operation> {
    match text.value.as_str() {
        "create" => Some(Operation::Create),
        "update" => Some(Operation::Update),
        "cancel" => Some(Operation::Cancel),
        other => {
            let hint = suggestion(other, ["create", "update", "cancel"]);
            table.fault(&text.at, key, format!("unknown operation \"{other}\"{hint}"));
            None
        }
    }
}

fn one_of<T: Copy>(table: &Table<'_, '_>, key: &'static str, choices: &[(&str, T)], default: T) -> T {
    let Some(text) = table.text(key) else {
        return default;
    };
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.value) {
        return *value;
    }
    let names = choices.iter().map(|(name, _)| *name);
    let hint = suggestion(&text.value, names);
    table.fault(&text.at, key, format!("unknown value \"{}\"{hint}", text.value));
    default
}

fn globs(table: &Table<'_, '_>, key: &'static str) -> Vec<WildMatch> {
    table
        .texts(key)
        .iter()
        .map(|text| WildMatch::new(&text.value))
        .collect()
}

fn lower(texts: Vec<Placed<String>>) -> Vec<String> {
    texts
        .into_iter()
        .map(|text| crate::domain::compare::fold(&text.value))
        .filter(|text| !text.is_empty())
        .collect()
}

/// `90s`, `5m`, `2h`, `1d`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..split].parse().ok()?;
    let seconds = match text[split..].trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    count.checked_mul(seconds).map(Duration::from_secs)
}

fn durations(table: &Table<'_, '_>, key: &'static str) -> Option<Vec<Duration>> {
    if !table.has(key) {
        return None;
    }
    let mut found = Vec::new();
    for text in table.texts(key) {
        match duration(&text.value) {
            Some(value) => found.push(value),
            None => table.fault(
                &text.at,
                key,
                format!("\"{}\" is not a duration such as \"90s\", \"5m\" or \"2h\"", text.value),
            ),
        }
    }
    Some(found)
}

fn zone(table: &Table<'_, '_>, key: &'static str) -> Option<Tz> {
    let text = table.text(key)?;
    let parsed = text.value.parse::<Tz>().ok();
    if parsed.is_none() {
        table.fault(
            &text.at,
            key,
            format!(
                "unknown time zone \"{}\" (an IANA name such as \"America/New_York\")",
                text.value
            ),
        );
    }
    parsed
}

fn calling_code(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
    let text = table.text(key)?;
    if let Some((_, code)) = CALLING_CODES.iter().find(|(region, _)| *region == text.value) {
        return Some((*code).to_owned());
    }
    if let Some(code) = text.value.strip_prefix('+')
        && (1..=3).contains(&code.len())
        && code.chars().all(|c| c.is_ascii_digit())
    {
        return Some(code.to_owned());
    }
    table.fault(
        &text.at,
        key,
        format!(
            "unknown region \"{}\" (write its calling code instead, such as \"+353\")",
            text.value
        ),
    );
    None
}

pub(crate) fn head(root: &Table<'_, '_>) -> Head {
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
        look_again: [60, 300, 1800].map(Duration::from_secs).to_vec(),
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
    if let Some(rounds) = durations(&table, "look_again") {
        head.look_again = rounds;
    }
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

pub(crate) fn phrases(root: &Table<'_, '_>) -> Phrases {
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

pub(crate) fn tool(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Tool {
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

pub(crate) fn intent(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Intent {
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

fn sources(table: &Table<'_, '_>, key: &'static str, variables: &[&str]) -> BTreeMap<String, Source> {
    let Some(inner) = table.table(key) else {
        return BTreeMap::new();
    };
    inner
        .entries()
        .into_iter()
        .map(|(name, value)| {
            let source = inner.source_of(&name.value, value, variables);
            (name.value, source)
        })
        .collect()
}

pub(crate) fn claim(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Option<ClaimRule> {
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

/// A lookup, the variables of its templates, and whether it names the session.
struct ReadLookup {
    lookup: HttpLookup,
    variables: BTreeSet<String>,
}

fn http_lookup(table: &Table<'_, '_>) -> Option<ReadLookup> {
    let inner = table.table("lookup")?;
    let method = one_of(
        &inner,
        "method",
        &[("GET", HttpMethod::Get), ("POST", HttpMethod::Post)],
        HttpMethod::Get,
    );
    let path = inner.required_text("path");
    if !path.value.is_empty() && !path.value.starts_with('/') {
        inner.fault(
            &path.at,
            "path",
            "must begin with `/`: the host is the configuration's alone",
        );
    }
    let body = inner.text("body");
    let select = inner.text("select");
    if let Some(select) = &select {
        // Compiled here only to report it; the adapter compiles its own.
        let _ = inner.path("select");
        debug_assert!(!select.value.contains('\0'));
    }
    let query = inner.table("query").map(|query| query.text_map()).unwrap_or_default();
    let mut variables = BTreeSet::new();
    let texts = std::iter::once(("path", &path))
        .chain(body.iter().map(|body| ("body", body)))
        .chain(query.iter().map(|(name, value)| (name.value.as_str(), value)));
    for (key, text) in texts {
        match template::variables(&text.value) {
            Ok(found) => variables.extend(found),
            Err(reason) => inner.fault(&text.at, key, reason),
        }
    }
    inner.finish();
    Some(ReadLookup {
        lookup: HttpLookup {
            method,
            path: path.value,
            query: query
                .into_iter()
                .map(|(name, value)| (name.value, value.value))
                .collect(),
            body: body.map(|text| text.value),
            select: select.map(|text| text.value),
        },
        variables,
    })
}

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
    let own = super::expression::Path::compile(&format!("$['{}']", name.replace(['\'', '\\'], "")));
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

pub(crate) fn record(table: &Table<'_, '_>, taken: &mut BTreeSet<String>, head: &Head) -> Record {
    let kind = table.name("kind", taken);
    let system = table.required_text("system").value;
    let lookup = http_lookup(table);
    let keys = key_sources(table);
    let mut needs: Vec<String> = table.plain_texts("needs");
    let mut needs_id = !table.has("each");
    let mut names_session = true;
    if let Some(read) = &lookup {
        needs_id = read.variables.contains("id");
        names_session = read.variables.contains("session");
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
        look_again: durations(table, "look_again"),
        fields,
    };
    table.finish();
    record
}

pub(crate) fn search(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Search {
    let name = table.name("name", taken);
    let record = table.required_text("record").value;
    let system = table.required_text("system").value;
    let lookup = http_lookup(table);
    let mut keys = BTreeMap::new();
    if let Some(inner) = table.table("keys") {
        for (key, text) in inner.text_map() {
            if let Some(expression) = inner.compile_expression(&key.value, &text, &["subject", "fields", "keys"]) {
                keys.insert(key.value, expression);
            }
        }
    }
    let mut names_session = true;
    if let Some(read) = &lookup {
        names_session = read.variables.contains("session");
        for name in &read.variables {
            if name != "session" && !keys.contains_key(name) {
                table.fault(
                    &table.at,
                    "lookup",
                    format!("the template names \"{name}\", which `keys` does not define"),
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
        each: table.record_paths("each"),
        subject_field: table.text("subject_field").map(|text| text.value),
    };
    table.finish();
    search
}

pub(crate) fn effect(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> EffectRule {
    const VARIABLES: [&str; 4] = ["want", "before", "record", "id"];
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
    };
    if !table.has("record_id") {
        table.fault(&table.at, "record_id", "is missing");
    }
    table.finish();
    rule
}

pub(crate) fn expert(table: &Table<'_, '_>, taken: &mut BTreeSet<String>) -> Option<Expert> {
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
