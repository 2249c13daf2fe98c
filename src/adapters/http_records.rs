//! A system of record behind a JSON API, asked by the playbook's templates.
//!
//! What a transcript says is put into addresses here, so every value is escaped for where it stands, and a question that
//! cannot be asked safely is not asked at all. A refusal of one question is [`Fact::Unknown`]; trouble of the system is an
//! error that closes its gate; only the system's own "no" is [`Fact::Absent`].

mod probe;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use minijinja::{Environment, UndefinedBehavior, value::ValueKind};
use reqwest::{
    Client, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use serde_json_path::JsonPath;

use super::{
    client::{self, Bounds, ClientSettings, Reply},
    percent,
    plain_text::{head, one_line},
    secret::Secret,
};
use crate::{
    domain::{
        lookup::{Fact, HttpLookup, HttpMethod, Lookup},
        nesting::{MOST_LEVELS, is_too_deep},
    },
    ports::{Answer, Probe, SystemOfRecord, UpstreamError, UpstreamReason},
};

/// How much of a request's text is kept as evidence, in characters.
const REQUEST_TEXT: usize = 2_000;

/// One configured system of record of type `http`.
#[derive(Debug, Clone)]
pub struct HttpRecordsConfig {
    /// Everything before the template's path: `https://api.example.com/v1`.
    pub base_url: String,
    /// Sent with every request; a value may be a secret.
    pub headers: Vec<(String, Secret)>,
    /// From sending to the last byte.
    pub timeout: Duration,
    /// Largest answer.
    pub max_bytes: usize,
}

impl HttpRecordsConfig {
    /// With the defaults: 30 s, 2 MB, no headers.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            headers: Vec::new(),
            timeout: Duration::from_secs(30),
            max_bytes: 2_000_000,
        }
    }
}

/// What is wrong with the configuration of a system of record, or with a playbook's lookup for it.
#[derive(Debug, thiserror::Error)]
pub enum HttpRecordsError {
    /// Not an address.
    #[error("system of record `{system}`: base_url is not an http(s) address without query: {reason}")]
    BaseUrl {
        /// The system.
        system: String,
        /// Why.
        reason: String,
    },
    /// Not a header.
    #[error(
        "system of record `{system}`: header `{header}` cannot be sent: its name or value has characters that HTTP forbids"
    )]
    Header {
        /// The system.
        system: String,
        /// The header's name.
        header: String,
    },
    /// Not a template or JSONPath.
    #[error("record `{record}`: lookup.{part}: {reason}")]
    Template {
        /// Kind of record.
        record: String,
        /// `path`, `query.NAME`, `body` or `select`.
        part: String,
        /// Why.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("system of record `{system}`: no HTTPS on this machine: {source}")]
    Client {
        /// The system.
        system: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// A system of record behind a JSON API.
#[derive(Debug)]
pub struct HttpRecords {
    name: String,
    upstream: String,
    base_url: String,
    headers: HeaderMap,
    bounds: Bounds,
    client: Client,
    address_templates: Environment<'static>,
    body_templates: Environment<'static>,
    lookups: BTreeMap<String, (HttpLookup, Option<JsonPath>)>,
}

/// A rendered request.
struct Question {
    /// Path and query.
    target: String,
    body: Option<String>,
}

impl HttpRecords {
    /// Checks the configuration and compiles the lookups, which are keyed by kind of record.
    ///
    /// # Errors
    /// When an address, header, template or JSONPath is not valid: the text names it.
    pub fn new(
        name: impl Into<String>,
        config: HttpRecordsConfig,
        lookups: BTreeMap<String, HttpLookup>,
    ) -> Result<Self, HttpRecordsError> {
        let name = name.into();
        let base_url = checked_base(&config.base_url).map_err(|reason| HttpRecordsError::BaseUrl {
            system: name.clone(),
            reason,
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (header, value) in config.headers {
            let refused = || HttpRecordsError::Header {
                system: name.clone(),
                header: header.clone(),
            };
            let key: HeaderName = header.parse().map_err(|_| refused())?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let client = client::build(&ClientSettings::default()).map_err(|source| HttpRecordsError::Client {
            system: name.clone(),
            source,
        })?;
        let mut records = Self {
            upstream: format!("records:{name}"),
            name,
            base_url,
            headers,
            bounds: Bounds {
                timeout: config.timeout,
                max_bytes: config.max_bytes,
            },
            client,
            address_templates: address_templates(),
            body_templates: body_templates(),
            lookups: BTreeMap::new(),
        };
        for (record, lookup) in lookups {
            records.add(record, lookup)?;
        }
        Ok(records)
    }

    fn add(&mut self, record: String, lookup: HttpLookup) -> Result<(), HttpRecordsError> {
        let faulty = |part: &str, reason: String| HttpRecordsError::Template {
            record: record.clone(),
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
            self.address_templates
                .add_template_owned(format!("{record}\n{part}"), source)
                .map_err(|error| faulty(&part, error.to_string()))?;
        }
        if let Some(body) = &lookup.body {
            if lookup.method == HttpMethod::Get {
                return Err(faulty("body", "a GET has no body; set method = \"POST\"".to_owned()));
            }
            self.body_templates
                .add_template_owned(record.clone(), body.clone())
                .map_err(|error| faulty("body", error.to_string()))?;
        }
        let select = match &lookup.select {
            None => None,
            Some(path) => Some(JsonPath::parse(path).map_err(|error| faulty("select", error.to_string()))?),
        };
        self.lookups.insert(record, (lookup, select));
        Ok(())
    }

    /// Renders the request, or says why the question cannot be asked.
    fn question(&self, lookup: &Lookup, how: &HttpLookup) -> Result<Question, String> {
        let mut values = lookup.keys.clone();
        if let Some(id) = &lookup.id {
            values.insert("id".to_owned(), id.clone());
        }
        let render = |templates: &Environment<'static>, name: &str, part: &str| {
            let template = templates
                .get_template(name)
                .map_err(|_| format!("lookup.{part} is not known"))?;
            // The engine's own text may quote values; its kind does not.
            template.render(&values).map_err(|error| match error.kind() {
                minijinja::ErrorKind::UndefinedError => {
                    format!("lookup.{part} needs a value that this session does not give")
                }
                minijinja::ErrorKind::BadEscape => {
                    format!("lookup.{part} needs a value, and this session gives an empty one")
                }
                kind => format!("lookup.{part} cannot be filled in: {kind}"),
            })
        };
        let record = &lookup.record;
        let mut target = render(&self.address_templates, &format!("{record}\npath"), "path")?;
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
            let value = render(&self.address_templates, &format!("{record}\n{part}"), &part)?;
            target.push(separator);
            target.push_str(&percent::encode(parameter));
            target.push('=');
            target.push_str(&value);
            separator = '&';
        }
        if how.body.is_none() {
            return Ok(Question { target, body: None });
        }
        let body = render(&self.body_templates, record, "body")?;
        if serde_json::from_str::<Value>(&body).is_err() {
            return Err("lookup.body does not give JSON: write values without quotes, `{\"id\": {{ id }}}`".to_owned());
        }
        Ok(Question {
            target,
            body: Some(body),
        })
    }

    fn bad_answer(&self, reply: &Reply, what: &str) -> UpstreamError {
        UpstreamError {
            upstream: self.upstream.clone(),
            reason: UpstreamReason::BadAnswer,
            detail: format!("{what} (status {}, {} bytes)", reply.status, reply.body.len()),
            retry_after: reply.retry_after,
        }
    }

    fn fact(&self, reply: &Reply, select: Option<&JsonPath>) -> Result<Fact, UpstreamError> {
        if let Some(error) = client::refusal(&self.upstream, reply, None) {
            return Err(error);
        }
        match reply.status {
            404 | 410 => return Ok(Fact::Absent),
            204 | 205 => {
                return Ok(Fact::Unknown {
                    reason: format!("answered {} without content", client::status_name(reply.status)),
                });
            }
            400..=499 => {
                return Ok(Fact::Unknown {
                    reason: format!("the system refused the question: {}", client::status_name(reply.status)),
                });
            }
            200..=299 => {}
            _ => return Err(self.bad_answer(reply, "the answer has a status that means nothing here")),
        }
        if reply.is_html() {
            return Err(self.bad_answer(
                reply,
                "the answer is an HTML page, not the API's: check base_url and sign-in",
            ));
        }
        let Ok(answer) = serde_json::from_slice::<Value>(&reply.body) else {
            return Err(self.bad_answer(reply, "the answer is not complete JSON"));
        };
        let record = match select {
            None => answer,
            Some(select) => {
                let mut selected: Vec<Value> = select.query(&answer).all().into_iter().cloned().collect();
                if selected.len() == 1 {
                    selected.swap_remove(0)
                } else {
                    Value::Array(selected)
                }
            }
        };
        Ok(match record {
            Value::Null => Fact::Absent,
            Value::Array(records) if records.is_empty() => Fact::Absent,
            record if is_too_deep(&record) => Fact::Unknown {
                reason: format!("the record is nested deeper than {MOST_LEVELS} levels"),
            },
            record => Fact::Found { record },
        })
    }
}

#[async_trait]
impl SystemOfRecord for HttpRecords {
    fn name(&self) -> &str {
        &self.name
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<Answer, UpstreamError> {
        let unasked = |reason: String| Answer {
            fact: Fact::Unknown { reason },
            request: "not sent".to_owned(),
            status: None,
        };
        let Some((how, select)) = self.lookups.get(&lookup.record) else {
            return Ok(unasked(format!(
                "the playbook has no lookup for records of kind `{}`",
                lookup.record
            )));
        };
        let question = match self.question(lookup, how) {
            Ok(question) => question,
            Err(reason) => return Ok(unasked(reason)),
        };
        let Ok(address) = Url::parse(&format!("{}{}", self.base_url, question.target)) else {
            return Ok(unasked("the lookup does not give an address".to_owned()));
        };
        let (verb, mut request) = match how.method {
            HttpMethod::Get => ("GET", self.client.get(address)),
            HttpMethod::Post => ("POST", self.client.post(address)),
        };
        request = request.headers(self.headers.clone());
        let mut text = format!("{verb} {}", question.target);
        if let Some(body) = question.body {
            text.push(' ');
            text.push_str(&one_line(&body, REQUEST_TEXT));
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let reply = client::exchange(&self.upstream, request, self.bounds).await?;
        Ok(Answer {
            fact: self.fact(&reply, select.as_ref())?,
            request: head(&text, REQUEST_TEXT),
            status: Some(reply.status),
        })
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.look_for_what_cannot_be().await
    }
}

fn checked_base(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("should be like https://api.example.com/v1".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or fragment: put parameters into the playbook's lookup".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Every value is percent-encoded; an empty one is refused, because a path without its id asks for something else.
fn address_templates() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_formatter(|output, _, value| {
        if matches!(value.kind(), ValueKind::Undefined | ValueKind::None) {
            return Err(minijinja::ErrorKind::UndefinedError.into());
        }
        let text = value.to_string();
        if text.is_empty() {
            return Err(minijinja::ErrorKind::BadEscape.into());
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
        let text =
            serde_json::to_string(value).map_err(|_| minijinja::Error::from(minijinja::ErrorKind::BadSerialization))?;
        std::fmt::Write::write_str(output, &text)?;
        Ok(())
    });
    templates
}

#[cfg(test)]
mod tests;
