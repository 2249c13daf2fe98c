//! Which jobs or sessions something is done to: at least one condition, each of which says something. A filter that lost its
//! condition on the way would mean everything there is.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    ask::{given, given_whole},
    jobs::JobState,
    problem::{Code, Problem},
    sessions::SessionStatus,
};
use crate::{
    queue::inspect::{ArgIs, JobFilter},
    store::inspect::sessions::SessionFilter,
};

/// Schemas in the document of which at least one member is given.
pub(super) const NOT_EMPTY: [&str; 3] = ["JobsWhere", "SessionsWhere", "MoveTo"];

/// Ids in one filter, at most.
const MOST_IDS: usize = 1_000;

/// Jobs for which all that is said holds; at least one thing is said.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobsWhere)]
pub(super) struct Jobs {
    /// Of this queue.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    queue: Option<String>,
    /// In this state.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, inline)]
    state: Option<JobState>,
    /// In this partition.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    partition: Option<String>,
    /// Whose unique key contains this (a session's id).
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1)]
    key: Option<String>,
    /// Whose last error contains this.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1)]
    error: Option<String>,
    /// Whose arguments hold this value.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, inline)]
    arg: Option<ArgIs>,
    /// Enqueued at this instant or later.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    since: Option<DateTime<Utc>>,
    /// Enqueued at this instant or before.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    until: Option<DateTime<Utc>>,
    /// With so many attempts, or more.
    #[serde(default, deserialize_with = "given_whole")]
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000)]
    attempts: Option<u32>,
    /// Just these.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_items = 1, max_items = 1_000)]
    ids: Option<Vec<Uuid>>,
}

impl Jobs {
    pub(super) fn filter(self) -> Result<JobFilter, Problem> {
        let texts = [("key", &self.key), ("error", &self.error)];
        said_something(&texts)?;
        if self
            .ids
            .as_ref()
            .is_some_and(|ids| !(1..=MOST_IDS).contains(&ids.len()))
        {
            return Err(bad(format!("`ids` holds 1 to {MOST_IDS} ids")));
        }
        if self.attempts.is_some_and(|attempts| attempts > 1_000_000) {
            return Err(bad("`attempts` is 0 to 1000000".to_owned()));
        }
        let filter = JobFilter {
            queue: self.queue,
            state: self.state.map(|state| state.as_str().to_owned()),
            partition: self.partition,
            key_contains: self.key,
            error_contains: self.error,
            arg: self.arg,
            created_since: self.since,
            created_until: self.until,
            attempts: self.attempts,
            ids: self.ids.unwrap_or_default(),
        };
        if filter.is_empty() {
            return Err(nothing());
        }
        Ok(filter)
    }
}

/// Sessions for which all that is said holds; at least one thing is said.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SessionsWhere)]
pub(super) struct Sessions {
    /// Of this source.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    source: Option<String>,
    /// With one of these statuses.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, inline, min_items = 1, max_items = 6)]
    status: Option<Vec<SessionStatus>>,
    /// With this intent.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    intent: Option<String>,
    /// With activity at or after this.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    since: Option<DateTime<Utc>>,
    /// With no activity after this.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    until: Option<DateTime<Utc>>,
    /// With an id that contains this.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1)]
    id_contains: Option<String>,
}

impl Sessions {
    pub(super) fn filter(self) -> Result<SessionFilter, Problem> {
        said_something(&[("id_contains", &self.id_contains)])?;
        let most = SessionStatus::ALL.len();
        if self.status.as_ref().is_some_and(|all| !(1..=most).contains(&all.len())) {
            return Err(bad(format!("`status` holds 1 to {most} statuses")));
        }
        let statuses = self.status.unwrap_or_default();
        let filter = SessionFilter {
            source: self.source,
            statuses: statuses.into_iter().map(|status| status.as_str().to_owned()).collect(),
            intent: self.intent,
            since: self.since,
            until: self.until,
            id_contains: self.id_contains,
            ..SessionFilter::default()
        };
        if filter == SessionFilter::default() {
            return Err(nothing());
        }
        Ok(filter)
    }
}

fn said_something(texts: &[(&str, &Option<String>)]) -> Result<(), Problem> {
    match texts.iter().find(|(_, text)| text.as_deref() == Some("")) {
        Some((name, _)) => Err(bad(format!("`{name}` is empty: leave it out"))),
        None => Ok(()),
    }
}

fn nothing() -> Problem {
    bad("`filter` says nothing: that would be everything there is".to_owned())
}

fn bad(detail: String) -> Problem {
    Problem::new(Code::BadBody, detail)
}
