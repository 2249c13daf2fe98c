//! What every tool has: a name, what it says of itself, what it takes, and how it is called.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rmcp::{
    handler::server::common::schema_for_type,
    model::{CallToolResult, JsonObject, Tool, ToolAnnotations},
};
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Inspector,
    answer::{Answer, Problem},
};
use crate::config::duration;

/// How long one answer may take.
const LONGEST: Duration = Duration::from_secs(30);

/// A question that a tool answers: its fields are what the tool takes.
#[async_trait]
pub(super) trait Ask: DeserializeOwned + JsonSchema + Send + 'static {
    const NAME: &'static str;
    const TITLE: &'static str;
    /// What it answers, and when to use it: the model chooses by this.
    const ABOUT: &'static str;

    async fn answer(self, of: &Inspector) -> Result<Answer, Problem>;
}

/// As clients are told of it.
pub(super) fn tool<A: Ask>() -> Tool {
    let mut schema = JsonObject::clone(&schema_for_type::<A>());
    // The name and the comment of a type of ours say nothing to a model.
    schema.remove("title");
    schema.remove("description");
    // Some clients want it even where there is none.
    schema.entry("properties").or_insert_with(|| JsonObject::new().into());
    let annotations = ToolAnnotations::with_title(A::TITLE)
        .read_only(true)
        .destructive(false)
        .idempotent(true)
        .open_world(false);
    Tool::new(A::NAME, A::ABOUT, schema)
        .with_title(A::TITLE)
        .with_annotations(annotations)
}

/// Answers a call, or says as the tool's own answer why it cannot: a model reads that, and asks better.
pub(super) async fn call<A: Ask>(inspector: &Inspector, arguments: Option<JsonObject>) -> CallToolResult {
    let answer = async {
        let ask: A = serde_json::from_value(arguments.unwrap_or_default().into()).map_err(|error| {
            Problem::new(format!(
                "these arguments do not fit `{}`: {error}. The tool's input schema says what it takes",
                A::NAME
            ))
        })?;
        tokio::time::timeout(LONGEST, ask.answer(inspector))
            .await
            .unwrap_or_else(|_| {
                let seconds = LONGEST.as_secs();
                Err(Problem::new(format!(
                    "no answer within {seconds} s: ask for less (a filter, a lower `limit`), or again in a minute"
                )))
            })
    };
    match answer.await {
        Ok(answer) => answer.result(A::NAME),
        Err(problem) => problem.result(),
    }
}

/// How many items are wanted.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
#[schemars(inline)]
pub(super) struct Limit(u32);

impl Limit {
    const MOST: u32 = 500;

    pub(super) fn get(self) -> u32 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, Self::Error> {
        if (1..=Self::MOST).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err(format!("`limit` is from 1 to {}; page with `after`", Self::MOST))
        }
    }
}

/// So long before now: `30m`, `24h`, `7d`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline)]
pub(super) struct Ago(Duration);

impl Ago {
    /// On the database's clock.
    pub(super) fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        chrono::Duration::from_std(self.0)
            .ok()
            .and_then(|ago| now.checked_sub_signed(ago))
            .unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl TryFrom<String> for Ago {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        duration::parse(&text).map(Self)
    }
}

/// A page: as many as are wanted and fit. What is asked once more for half of it says itself where to go on.
pub(super) async fn page<P, F>(limit: Limit, fetch: impl Fn(u32) -> F + Send) -> Result<Answer, Problem>
where
    P: serde::Serialize + Send,
    F: Future<Output = Result<P, crate::desk::Trouble>> + Send,
{
    const NARROWER: &str = "filter for less, or take its items one by one";
    let mut most = limit.get();
    loop {
        let page = fetch(most).await?;
        match Answer::whole(&page)? {
            Some(whole) if most == limit.get() => return Ok(whole),
            Some(whole) => {
                return Ok(whole.noted(format!(
                    "Cut to {most} items, for {} are larger than 200 kB. Give `next` as `after` for those that follow, or filter \
                     for less.",
                    limit.get()
                )));
            }
            None if most == 1 => return Answer::of(&page, NARROWER),
            None => most /= 2,
        }
    }
}
