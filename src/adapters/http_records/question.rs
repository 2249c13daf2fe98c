//! The question as the playbook's templates put it: every value of a session is escaped for where it stands, and a question
//! that cannot be asked safely is not asked at all.

use std::collections::BTreeMap;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::ValueKind};
use serde_json::Value;

use super::{HttpRecords, HttpRecordsError, Lookups};
use crate::{
    adapters::percent,
    domain::lookup::{HttpLookup, HttpMethod, Lookup},
};

/// In a template, what the configuration says of the system.
const SYSTEM: &str = "system";
/// The template of a probe: no kind of record is called so.
const PROBE: &str = "\nprobe";

/// A rendered request.
pub(super) struct Question {
    /// Path and query.
    pub(super) target: String,
    pub(super) body: Option<String>,
}

/// The templates of all lookups of a system.
#[derive(Debug)]
pub(super) struct Templates {
    pub(super) address: Environment<'static>,
    body: Environment<'static>,
    /// `[records.values]`.
    values: BTreeMap<String, String>,
}

impl Templates {
    pub(super) fn new(values: BTreeMap<String, String>) -> Self {
        Self {
            address: address_templates(),
            body: body_templates(),
            values,
        }
    }

    /// Compiles the templates of a lookup.
    pub(super) fn add(&mut self, record: &str, lookup: &HttpLookup) -> Result<(), HttpRecordsError> {
        let faulty = |part: &str, reason: String| HttpRecordsError::Template {
            record: record.to_owned(),
            part: part.to_owned(),
            reason,
        };
        if !lookup.path.starts_with('/') {
            return Err(faulty("path", "should start with `/`".to_owned()));
        }
        let mut sources = vec![("path".to_owned(), lookup.path.clone())];
        for (parameter, template) in &lookup.query {
            sources.push((format!("query.{parameter}"), template.clone()));
        }
        for (part, source) in sources {
            let name = format!("{record}\n{part}");
            self.address
                .add_template_owned(name.clone(), source)
                .map_err(|error| faulty(&part, error.to_string()))?;
            self.refuse_unset(&self.address, &name)
                .map_err(|reason| faulty(&part, reason))?;
        }
        if let Some(body) = &lookup.body {
            if lookup.method == HttpMethod::Get {
                return Err(faulty("body", "a GET has no body; set method = \"POST\"".to_owned()));
            }
            self.body
                .add_template_owned(record.to_owned(), body.clone())
                .map_err(|error| faulty("body", error.to_string()))?;
            self.refuse_unset(&self.body, record)
                .map_err(|reason| faulty("body", reason))?;
        }
        Ok(())
    }

    /// Compiles where an API describes itself; it may speak of `system` alone.
    pub(super) fn add_probe(&mut self, path: &str) -> Result<(), String> {
        let added = self.address.add_template_owned(PROBE, path.to_owned());
        added.map_err(|error| error.to_string())
    }

    /// Where the API describes itself; `None` where nobody says, or the configuration not what it takes.
    pub(super) fn probe(&self) -> Option<String> {
        let values = BTreeMap::from([(SYSTEM, self.system())]);
        self.address.get_template(PROBE).ok()?.render(values).ok()
    }

    fn system(&self) -> minijinja::Value {
        let values = self.values.iter();
        minijinja::Value::from_pairs(values.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// What the configuration has to say is known before anything is asked.
    fn refuse_unset(&self, templates: &Environment<'static>, name: &str) -> Result<(), String> {
        let Ok(template) = templates.get_template(name) else {
            return Ok(());
        };
        for variable in template.undeclared_variables(true) {
            if let Some(value) = variable.strip_prefix("system.")
                && !self.values.contains_key(value)
            {
                return Err(format!(
                    "needs `{value}` of the system: write {value} = \"…\" into [records.values]"
                ));
            }
        }
        Ok(())
    }
}

impl HttpRecords {
    /// Renders the request, or says why the question cannot be asked.
    pub(super) fn question(&self, lookup: &Lookup, how: &Lookups) -> Result<Question, String> {
        let how = &how.how;
        let mut values: BTreeMap<&str, minijinja::Value> = BTreeMap::new();
        for (name, value) in &lookup.keys {
            values.insert(name, minijinja::Value::from(value.as_str()));
        }
        if let Some(id) = &lookup.id {
            values.insert("id", minijinja::Value::from(id.as_str()));
        }
        // Last, so that no key of a session stands in its place.
        values.insert(SYSTEM, self.templates.system());
        let render = |templates: &Environment<'static>, name: &str, part: &str| {
            let template = templates
                .get_template(name)
                .map_err(|_| (false, format!("lookup.{part} is not known")))?;
            // The engine's own text may quote values; its kind does not.
            template.render(&values).map_err(|error| match error.kind() {
                ErrorKind::UndefinedError => (
                    true,
                    format!("lookup.{part} needs a value that this session does not give"),
                ),
                ErrorKind::BadEscape => (
                    true,
                    format!("lookup.{part} needs a value, and this session gives an empty one"),
                ),
                kind => (false, format!("lookup.{part} cannot be filled in: {kind}")),
            })
        };
        let record = &lookup.record;
        let address = &self.templates.address;
        let mut target = render(address, &format!("{record}\npath"), "path").map_err(|(_, reason)| reason)?;
        // Servers and clients resolve these however they are escaped, so that a value could climb out of its place.
        let climbs = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if target
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .split('/')
            .any(climbs)
        {
            return Err("a value is `.` or `..`, which cannot stand in a path".to_owned());
        }
        let mut separator = if target.contains('?') { '&' } else { '?' };
        for parameter in how.query.keys() {
            let part = format!("query.{parameter}");
            let value = match render(address, &format!("{record}\n{part}"), &part) {
                Ok(value) => value,
                Err((is_missing, _)) if is_missing && how.optional.contains(parameter) => continue,
                Err((_, reason)) => return Err(reason),
            };
            target.push(separator);
            target.push_str(&percent::encode(parameter));
            target.push('=');
            target.push_str(&value);
            separator = '&';
        }
        if how.body.is_none() {
            return Ok(Question { target, body: None });
        }
        let body = render(&self.templates.body, record, "body").map_err(|(_, reason)| reason)?;
        if serde_json::from_str::<Value>(&body).is_err() {
            return Err("lookup.body does not give JSON: write values without quotes, `{\"id\": {{ id }}}`".to_owned());
        }
        Ok(Question {
            target,
            body: Some(body),
        })
    }
}

/// Every value is percent-encoded; an empty one is refused, because a path without its id asks for something else.
fn address_templates() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_formatter(|output, _, value| {
        if matches!(value.kind(), ValueKind::Undefined | ValueKind::None) {
            return Err(ErrorKind::UndefinedError.into());
        }
        let text = value.to_string();
        if text.is_empty() {
            return Err(ErrorKind::BadEscape.into());
        }
        std::fmt::Write::write_str(output, &percent::encode(&text))?;
        Ok(())
    });
    templates
}

/// Every value is written as JSON, quotes included.
fn body_templates() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_formatter(|output, _, value| {
        let text = serde_json::to_string(value).map_err(|_| minijinja::Error::from(ErrorKind::BadSerialization))?;
        std::fmt::Write::write_str(output, &text)?;
        Ok(())
    });
    templates
}
