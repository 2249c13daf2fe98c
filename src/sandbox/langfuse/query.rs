//! A request's parameters, read as the releases read them: unknown ones are ignored, bad ones collected as issues.

use axum::http::Uri;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    problem::{self, Problem},
    version::Version,
};

/// Types that an observation may be asked for by.
const TYPES: [&str; 10] = [
    "GENERATION",
    "SPAN",
    "EVENT",
    "AGENT",
    "TOOL",
    "CHAIN",
    "RETRIEVER",
    "EVALUATOR",
    "EMBEDDING",
    "GUARDRAIL",
];

/// The parameters of one request.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    version: Version,
    issues: Vec<Value>,
}

/// One page of an old read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub(super) page: i64,
    pub(super) limit: i64,
}

impl Query {
    pub(super) fn of(uri: &Uri, version: Version) -> Self {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|query| query.0)
            .unwrap_or_default();
        Self {
            pairs,
            version,
            issues: Vec::new(),
        }
    }

    /// The last value of a parameter, where one was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// Every value of a parameter that may be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.pairs
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// The values of a parameter that takes a list with commas; `None` where it was not given.
    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.text(name)
            .map(|text| text.split(',').map(|part| part.trim().to_owned()).collect())
    }

    pub(super) fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        let text = self.text(name)?;
        let instant = DateTime::parse_from_rfc3339(text).ok();
        if instant.is_none() {
            self.issues.push(problem::not_a_date_time(self.version, name));
        }
        instant.map(|instant| instant.to_utc())
    }

    /// A whole number; what is none is an issue, and the default takes its place.
    fn number(&mut self, name: &str, default: i64) -> i64 {
        match self.text(name).map(str::parse) {
            None => default,
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                self.issues.push(problem::not_a_number(self.version, name));
                default
            }
        }
    }

    /// A page size within bounds.
    pub(super) fn limit(&mut self, least: i64, most: i64) -> i64 {
        let limit = self.number("limit", 50);
        if limit > most {
            self.issues.push(problem::too_big(self.version, "limit", most));
        }
        if limit < least && !self.version.is_v2() {
            self.issues.push(problem::too_small("limit", least, true));
        }
        limit
    }

    /// `page` and `limit` of an old read.
    pub(super) fn page(&mut self) -> Page {
        let page = self.number("page", 1);
        if page < 1 && !self.version.is_v2() {
            self.issues.push(problem::too_small("page", 0, false));
        }
        Page {
            page,
            limit: self.limit(1, 100),
        }
    }

    /// The type of observation asked for.
    pub(super) fn kind(&mut self) -> Option<String> {
        let kind = self.text("type")?.to_owned();
        // v2 knows the first three.
        let known = if self.version.is_v2() { &TYPES[..3] } else { &TYPES[..] };
        if known.contains(&kind.as_str()) {
            return Some(kind);
        }
        self.issues
            .push(problem::not_one_of(self.version, &json!(["type"]), known, &kind));
        None
    }

    pub(super) fn refuse(&mut self, issue: Value) {
        self.issues.push(issue);
    }

    /// Every issue found so far, as one answer.
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(Problem::issues(&self.issues))
        }
    }
}

impl Page {
    /// This page of everything found, with the server's count of it.
    ///
    /// # Errors
    /// 500, where v2 passes a page or a limit on to a database that refuses it.
    pub(super) fn cut<T>(self, found: Vec<T>) -> Result<(Vec<T>, Value), Problem> {
        let unknown = || Problem::internal("An unknown error occurred");
        let limit = usize::try_from(self.limit).map_err(|_| unknown())?;
        let before = usize::try_from(self.page - 1).map_err(|_| unknown())?;
        let total = found.len();
        // Dividing by a limit of nothing gives JavaScript's infinity, which JSON writes as null.
        let pages = if limit == 0 {
            Value::Null
        } else {
            json!(total.div_ceil(limit))
        };
        let meta = json!({"page": self.page, "limit": self.limit, "totalItems": total, "totalPages": pages});
        let rows = found
            .into_iter()
            .skip(before.saturating_mul(limit))
            .take(limit)
            .collect();
        Ok((rows, meta))
    }
}
