//! A system of record behind a JSON API, asked by the playbook's templates.
//!
//! What a transcript says is put into addresses here, so every value is escaped for where it stands, and a question that
//! cannot be asked safely is not asked at all. A refusal of one question is `Unknown`; trouble of the system is an
//! error that closes its gate; only the system's own "no" is `Absent`.
//!
//! `question` renders; `auth` signs, by what `token_server` gives for an `assertion` or a secret; `budget` keeps to the system's
//! rate limit; `answer` reads, `absence` tells whose "no" it is; `pages` reads on by `links`, or as far as what is `counted` is new.

mod absence;
mod answer;
mod assertion;
mod auth;
mod budget;
mod counted;
mod links;
mod pages;
mod probe;
mod question;
mod token_server;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use reqwest::{
    Client, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json_path::JsonPath;
use tokio::time::Instant;

pub use self::auth::HttpAuth;
use self::{
    answer::{Answered, Signs},
    auth::Signer,
    budget::{Budget, spent_for},
    pages::PagesOf,
    question::Templates,
};
use super::{
    client::{self, Bounds, ClientSettings, Reply},
    plain_text::{head, one_line},
    secret::Secret,
};
use crate::{
    domain::{
        http_api::HttpApi,
        lookup::{ANSWER_VARIABLES, HttpLookup, HttpMethod, Lookup},
        playbook::Expression,
    },
    ports::{Answer, Probe, SystemOfRecord, UpstreamError, UpstreamReason},
};

/// How much of a request's text is kept as evidence, in characters.
const REQUEST_TEXT: usize = 2_000;
/// A longer wait for a rate limit is the gate's business: the job would hold its lane for nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// One configured system of record of type `http`.
#[derive(Debug, Clone)]
pub struct HttpRecordsConfig {
    /// Everything before the template's path: `https://api.example.com/v1`.
    pub base_url: String,
    /// How the API behaves whatever it is asked.
    pub api: HttpApi,
    /// How it is signed in to.
    pub auth: HttpAuth,
    /// Sent with every request; a value may be a secret. They stand over the API's own.
    pub headers: Vec<(String, Secret)>,
    /// What templates call `system.NAME`.
    pub values: BTreeMap<String, String>,
    /// From sending to the last byte.
    pub timeout: Duration,
    /// Least time between two requests for one lookup.
    pub pace: Duration,
    /// Largest answer.
    pub max_bytes: usize,
    /// Most pages of a list.
    pub max_pages: usize,
    /// Most bytes of all pages of a list.
    pub max_list_bytes: usize,
}

impl HttpRecordsConfig {
    /// With the defaults: 30 s, 2 MB, 20 pages of 8 MB in all, no headers, no pause.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api: HttpApi::default(),
            auth: HttpAuth::None,
            headers: Vec::new(),
            values: BTreeMap::new(),
            timeout: Duration::from_secs(30),
            pace: Duration::ZERO,
            max_bytes: 2_000_000,
            max_pages: 20,
            max_list_bytes: 8_000_000,
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
        /// `path`, `query.NAME`, `body`, `select`, `absent_when` or `pages`.
        part: String,
        /// Why.
        reason: String,
    },
    /// No credentials.
    #[error("system of record `{system}`: {reason}")]
    Auth {
        /// The system.
        system: String,
        /// Why.
        reason: String,
    },
    /// Not what a preset should say.
    #[error("system of record `{system}`: its preset's {part}: {reason}")]
    Api {
        /// The system.
        system: String,
        /// `pages`, `error_when` …
        part: &'static str,
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
    base: Url,
    headers: HeaderMap,
    bounds: Bounds,
    pace: Duration,
    max_pages: usize,
    max_list_bytes: usize,
    client: Client,
    signer: Signer,
    budget: Budget,
    templates: Templates,
    signs: Signs,
    /// How lists go on, for lookups that do not say.
    pages: Option<PagesOf>,
    lookups: BTreeMap<String, Lookups>,
}

/// How one kind of record is asked for, compiled.
#[derive(Debug)]
struct Lookups {
    how: HttpLookup,
    select: Option<JsonPath>,
    absent_when: Option<Expression>,
    pages: Option<PagesOf>,
}

/// A request that may have to be sent again.
struct Asked {
    method: HttpMethod,
    address: Url,
    /// JSON.
    body: Option<String>,
}

impl HttpRecords {
    /// Checks the configuration and compiles the lookups, which are keyed by kind of record.
    ///
    /// # Errors
    /// When an address, header, template, condition or JSONPath is not valid: the text names it.
    pub fn new(
        name: impl Into<String>,
        config: HttpRecordsConfig,
        lookups: BTreeMap<String, HttpLookup>,
    ) -> Result<Self, HttpRecordsError> {
        let name = name.into();
        let upstream = format!("records:{name}");
        let (base_url, base) = checked_base(&config.base_url).map_err(|reason| HttpRecordsError::BaseUrl {
            system: name.clone(),
            reason,
        })?;
        let own = api_headers(&name, &config.api)?;
        let mut headers = own.clone();
        for (header, value) in &config.headers {
            let (key, mut value) = checked_header(&name, header, value.expose())?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        let client = client::build(&ClientSettings::default()).map_err(|source| HttpRecordsError::Client {
            system: name.clone(),
            source,
        })?;
        let signer =
            Signer::new(&config.auth, upstream.clone(), client.clone(), config.timeout, own).map_err(|reason| {
                HttpRecordsError::Auth {
                    system: name.clone(),
                    reason,
                }
            })?;
        let (signs, pages) = compile_api(&name, &config.api)?;
        let mut templates = Templates::new(config.values);
        if let Some(probe) = &config.api.probe {
            templates.add_probe(probe).map_err(|reason| HttpRecordsError::Api {
                system: name.clone(),
                part: "probe",
                reason,
            })?;
        }
        let mut records = Self {
            upstream,
            name,
            base_url,
            base,
            headers,
            bounds: Bounds {
                timeout: config.timeout,
                max_bytes: config.max_bytes,
            },
            pace: config.pace,
            max_pages: config.max_pages,
            max_list_bytes: config.max_list_bytes,
            client,
            signer,
            budget: Budget::default(),
            templates,
            signs,
            pages,
            lookups: BTreeMap::new(),
        };
        for (record, lookup) in lookups {
            records.add(record, lookup)?;
        }
        Ok(records)
    }

    fn add(&mut self, record: String, how: HttpLookup) -> Result<(), HttpRecordsError> {
        self.templates.add(&record, &how)?;
        let faulty = |part: &'static str| {
            let record = record.clone();
            move |reason: String| HttpRecordsError::Template {
                record,
                part: part.to_owned(),
                reason,
            }
        };
        let select = how
            .select
            .as_deref()
            .map(compile_path)
            .transpose()
            .map_err(faulty("select"))?;
        let absent_when = how.absent_when.as_deref().map(compile_condition).transpose();
        let absent_when = absent_when.map_err(faulty("absent_when"))?;
        let pages = how
            .pages
            .as_ref()
            .map(PagesOf::compile)
            .transpose()
            .map_err(faulty("pages"))?;
        let lookups = Lookups {
            how,
            select,
            absent_when,
            pages,
        };
        self.lookups.insert(record, lookups);
        Ok(())
    }

    /// Sends a request, signed, and again with another token where the system no longer takes this one.
    async fn send(&self, asked: &Asked) -> Result<Reply, UpstreamError> {
        let token = self.signer.authorization(None).await?;
        let reply = self.send_signed(asked, token.as_ref()).await?;
        if reply.status != 401 || !self.signer.fetches() {
            return Ok(reply);
        }
        let token = self.signer.authorization(token.as_ref()).await?;
        tokio::time::sleep(self.pace).await;
        let reply = self.send_signed(asked, token.as_ref()).await?;
        match self.refusal(&reply) {
            Some(mut error) if reply.status == 401 => {
                error
                    .detail
                    .push_str(", also with a token fetched just now: check [records.auth]");
                Err(error)
            }
            _ => Ok(reply),
        }
    }

    async fn send_signed(&self, asked: &Asked, token: Option<&HeaderValue>) -> Result<Reply, UpstreamError> {
        self.keep_to_budget().await?;
        let mut headers = self.headers.clone();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        let mut request = match asked.method {
            HttpMethod::Get => self.client.get(asked.address.clone()),
            HttpMethod::Post => self.client.post(asked.address.clone()),
        };
        if let Some(body) = &asked.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request = request.body(body.clone());
        }
        request = request.headers(headers);
        let mut reply = client::exchange(&self.upstream, request, self.bounds).await?;
        self.budget.note(&reply, Instant::now());
        if reply.status == 429 && reply.retry_after.is_none() {
            reply.retry_after = spent_for(&reply.headers, reply.date);
        }
        Ok(reply)
    }

    /// Waits for a budget that is there again soon; a longer wait is the gate's.
    async fn keep_to_budget(&self) -> Result<(), UpstreamError> {
        match self.budget.wait(Instant::now()) {
            Some(wait) if wait > LONGEST_WAIT => Err(UpstreamError {
                upstream: self.upstream.clone(),
                reason: UpstreamReason::RateLimited,
                detail: format!(
                    "its rate limit is used up, by its own words for {} s more",
                    wait.as_secs()
                ),
                retry_after: Some(wait),
            }),
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn address(&self, target: &str) -> Option<Url> {
        Url::parse(&format!("{}{target}", self.base_url)).ok()
    }
}

#[async_trait]
impl SystemOfRecord for HttpRecords {
    fn name(&self) -> &str {
        &self.name
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<Answer, UpstreamError> {
        let Some(lookups) = self.lookups.get(&lookup.record) else {
            return Ok(Answer::without_lookup(&lookup.record));
        };
        let question = match self.question(lookup, lookups) {
            Ok(question) => question,
            Err(reason) => return Ok(Answer::unasked(reason)),
        };
        let Some(address) = self.address(&question.target) else {
            return Ok(Answer::unasked("the lookup does not give an address".to_owned()));
        };
        let method = lookups.how.method;
        let mut text = format!("{} {}", method.as_str(), question.target);
        if let Some(body) = &question.body {
            text.push(' ');
            text.push_str(&one_line(body, REQUEST_TEXT));
        }
        let asked = Asked {
            method,
            address,
            body: question.body,
        };
        let reply = self.send(&asked).await?;
        let mut request = head(&text, REQUEST_TEXT);
        let fact = match self.read(&reply, lookups)? {
            Answered::Fact(fact) => fact,
            Answered::Json(answer) => {
                let whole = self.read_on(lookups, &asked, &reply, answer).await?;
                if whole.pages > 1 {
                    request = format!("{request} ({} pages)", whole.pages);
                }
                match whole.answer {
                    Ok(answer) => Self::select(answer, lookups),
                    Err(unknown) => unknown,
                }
            }
        };
        Ok(Answer {
            fact,
            request,
            status: Some(reply.status),
        })
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        match self.templates.probe() {
            Some(target) => self.look_at(&target).await,
            None => self.look_for_what_cannot_be().await,
        }
    }
}

fn checked_base(text: &str) -> Result<(String, Url), String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("should be like https://api.example.com/v1".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or fragment: put parameters into the playbook's lookup".to_owned());
    }
    Ok((text.trim_end_matches('/').to_owned(), url))
}

fn checked_header(system: &str, name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HttpRecordsError> {
    let refused = || HttpRecordsError::Header {
        system: system.to_owned(),
        header: name.to_owned(),
    };
    let key: HeaderName = name.parse().map_err(|_| refused())?;
    let value = HeaderValue::from_str(value).map_err(|_| refused())?;
    Ok((key, value))
}

fn api_headers(system: &str, api: &HttpApi) -> Result<HeaderMap, HttpRecordsError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in &api.headers {
        let (key, value) = checked_header(system, name, value)?;
        headers.insert(key, value);
    }
    Ok(headers)
}

fn compile_api(system: &str, api: &HttpApi) -> Result<(Signs, Option<PagesOf>), HttpRecordsError> {
    let faulty = |part: &'static str| {
        move |reason: String| HttpRecordsError::Api {
            system: system.to_owned(),
            part,
            reason,
        }
    };
    let condition = |text: &Option<String>| text.as_deref().map(compile_condition).transpose();
    let signs = Signs {
        error_code: api
            .error_code
            .as_deref()
            .map(compile_path)
            .transpose()
            .map_err(faulty("error_code"))?,
        error_when: condition(&api.error_when).map_err(faulty("error_when"))?,
        absent_when: condition(&api.absent_when).map_err(faulty("absent_when"))?,
    };
    let pages = api
        .pages
        .as_ref()
        .map(PagesOf::compile)
        .transpose()
        .map_err(faulty("pages"))?;
    Ok((signs, pages))
}

fn compile_path(text: &str) -> Result<JsonPath, String> {
    JsonPath::parse(text).map_err(|error| error.to_string())
}

fn compile_condition(text: &str) -> Result<Expression, String> {
    Expression::compile(text, &ANSWER_VARIABLES)
}

#[cfg(test)]
mod tests;
