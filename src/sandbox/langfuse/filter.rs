//! The `filter` parameter of `GET /v2/observations`: a JSON array of conditions, all of which must hold.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{problem::Problem, state::Row};

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    column: String,
    operator: String,
    #[serde(default)]
    value: Value,
}

/// Conditions of one request.
#[derive(Debug)]
pub(super) struct Filter(Vec<Condition>);

/// What a column holds of a row.
enum Cell<'a> {
    Text(Option<&'a str>),
    Texts(Vec<&'a str>),
    Instant(Option<DateTime<Utc>>),
    Flag(bool),
}

impl Filter {
    /// Reads the parameter's text.
    ///
    /// # Errors
    /// 400 where it is no JSON, no array of conditions, or names a column that there is not.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let value: Value =
            serde_json::from_str(text).map_err(|_| Problem::invalid("Invalid JSON in filter parameter"))?;
        let conditions: Vec<Condition> =
            serde_json::from_value(value).map_err(|_| Problem::invalid("Invalid filter parameter"))?;
        for condition in &conditions {
            condition.check()?;
        }
        Ok(Self(conditions))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn holds(&self, row: &Row<'_>) -> bool {
        self.0.iter().all(|condition| condition.holds(row))
    }
}

/// `None` for a column that there is not.
fn cell<'a>(column: &str, row: &Row<'a>) -> Option<Cell<'a>> {
    let observation = &row.recorded.observation;
    Some(match column {
        "id" => Cell::Text(Some(&observation.id)),
        "traceId" => Cell::Text(Some(&observation.trace_id)),
        "sessionId" => Cell::Text(observation.session_id.as_deref()),
        "userId" => Cell::Text(observation.user_id.as_deref()),
        "name" => Cell::Text(Some(&observation.name)),
        "traceName" => Cell::Text(observation.trace_name.as_deref()),
        "type" => Cell::Text(Some(&observation.kind)),
        "level" => Cell::Text(Some(&observation.level)),
        "environment" => Cell::Text(observation.environment.as_deref().or(Some("default"))),
        "parentObservationId" => Cell::Text(observation.parent_observation_id.as_deref()),
        "statusMessage" => Cell::Text(observation.status_message.as_deref()),
        "version" => Cell::Text(row.recorded.more.version.as_deref()),
        "release" => Cell::Text(row.recorded.more.release.as_deref()),
        "traceTags" | "tags" => Cell::Texts(observation.tags.iter().map(String::as_str).collect()),
        "startTime" => Cell::Instant(Some(observation.start_time)),
        "endTime" => Cell::Instant(observation.end_time),
        "isRootObservation" => Cell::Flag(observation.is_root_observation),
        "hasParentObservation" => Cell::Flag(observation.parent_observation_id.is_some()),
        _ => return None,
    })
}

const COLUMNS: [&str; 19] = [
    "id",
    "traceId",
    "sessionId",
    "userId",
    "name",
    "traceName",
    "type",
    "level",
    "environment",
    "parentObservationId",
    "statusMessage",
    "version",
    "release",
    "traceTags",
    "tags",
    "startTime",
    "endTime",
    "isRootObservation",
    "hasParentObservation",
];

impl Condition {
    fn check(&self) -> Result<(), Problem> {
        if !COLUMNS.contains(&self.column.as_str()) {
            return Err(Problem::invalid(&format!("Invalid filter column: {}", self.column)));
        }
        let known = match self.kind.as_str() {
            "datetime" => matches!(self.operator.as_str(), ">" | ">=" | "<" | "<=") && self.instant().is_some(),
            "string" => matches!(
                self.operator.as_str(),
                "=" | "contains" | "does not contain" | "starts with" | "ends with"
            ),
            "stringOptions" => matches!(self.operator.as_str(), "any of" | "none of"),
            "arrayOptions" => matches!(self.operator.as_str(), "any of" | "none of" | "all of"),
            "boolean" => matches!(self.operator.as_str(), "=" | "<>") && self.value.is_boolean(),
            "null" => matches!(self.operator.as_str(), "is null" | "is not null"),
            _ => false,
        };
        if known {
            Ok(())
        } else {
            Err(Problem::invalid("Invalid filter parameter"))
        }
    }

    fn instant(&self) -> Option<DateTime<Utc>> {
        let text = self.value.as_str()?;
        DateTime::parse_from_rfc3339(text).ok().map(|instant| instant.to_utc())
    }

    fn options(&self) -> Vec<&str> {
        self.value
            .as_array()
            .map(|values| values.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    fn holds(&self, row: &Row<'_>) -> bool {
        let operator = self.operator.as_str();
        match (self.kind.as_str(), cell(&self.column, row)) {
            ("datetime", Some(Cell::Instant(Some(instant)))) => self.instant().is_some_and(|bound| match operator {
                ">" => instant > bound,
                ">=" => instant >= bound,
                "<" => instant < bound,
                _ => instant <= bound,
            }),
            ("string", Some(Cell::Text(text))) => {
                let (text, wanted) = (text.unwrap_or_default(), self.value.as_str().unwrap_or_default());
                match operator {
                    "=" => text == wanted,
                    "contains" => text.contains(wanted),
                    "does not contain" => !text.contains(wanted),
                    "starts with" => text.starts_with(wanted),
                    _ => text.ends_with(wanted),
                }
            }
            ("stringOptions", Some(Cell::Text(text))) => {
                self.options().contains(&text.unwrap_or_default()) == (operator == "any of")
            }
            ("arrayOptions", Some(Cell::Texts(texts))) => {
                let options = self.options();
                match operator {
                    "any of" => options.iter().any(|option| texts.contains(option)),
                    "none of" => !options.iter().any(|option| texts.contains(option)),
                    _ => options.iter().all(|option| texts.contains(option)),
                }
            }
            ("boolean", Some(Cell::Flag(flag))) => (self.value == flag) == (operator == "="),
            ("null", Some(Cell::Text(text))) => text.is_none_or(str::is_empty) == (operator == "is null"),
            ("null", Some(Cell::Instant(instant))) => instant.is_none() == (operator == "is null"),
            _ => false,
        }
    }
}
