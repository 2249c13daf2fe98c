//! A system of record that is a database, asked by the playbook's own statements: PostgreSQL, MySQL, MariaDB or SQLite.
//!
//! What a session says is bound to parameters and never written into a statement. Every statement runs in a transaction that
//! the database itself holds to reading, is bounded there in time, and is rolled back. `server` is where to connect to,
//! `postgres`, `mysql` and `sqlite` are what differs between them, `link` is the one connection, `answer` what rows are as
//! JSON, `moment` what is bound as a date, `by_number` what SQLite would not find by a text, `trouble` what a database's errors mean, `probe` what `doctor` shows.
//!
//! No row is [`Fact::Absent`]. A statement that the database refuses is [`Fact::Unknown`] and says what to change; a database
//! that cannot be reached, or is too slow, is an error that closes its gate. No error text carries a value or an address.

mod answer;
mod by_number;
mod link;
mod moment;
mod mysql;
mod number;
mod postgres;
mod probe;
mod server;
mod sqlite;
mod trouble;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde_json::Value;

use self::{answer::Bounds, link::Link, server::Server, trouble::Trouble};
use super::{plain_text::one_line, secret::Secret};
use crate::{
    domain::{
        lookup::{Fact, Lookup, SqlLookup},
        nesting::{MOST_LEVELS, is_too_deep},
        sql::Dialect,
    },
    ports::{Answer, Probe, SystemOfRecord, UpstreamError, UpstreamReason},
};

/// How much of a statement's first line is kept as evidence, in characters.
const REQUEST_TEXT: usize = 300;

/// One configured system of record of kind `sql`.
#[derive(Debug, Clone)]
pub struct SqlRecordsConfig {
    /// `postgres://…`, `mysql://…`, `mariadb://…` or `sqlite:FILE`.
    pub url: Secret,
    /// The password, where the address has none.
    pub password: Option<Secret>,
    /// What the path of an SQLite file is relative to.
    pub folder: PathBuf,
    /// Of connecting, and of a statement.
    pub timeout: Duration,
    /// Most rows of an answer.
    pub most_rows: usize,
    /// Largest answer, as JSON.
    pub most_bytes: usize,
    /// A connection that is not used for so long is closed.
    pub idle: Duration,
}

impl SqlRecordsConfig {
    /// With the defaults: 10 s, 1,000 rows, 5 MB, closed after a minute.
    pub fn new(url: Secret) -> Self {
        Self {
            url,
            password: None,
            folder: PathBuf::new(),
            timeout: Duration::from_secs(10),
            most_rows: 1_000,
            most_bytes: 5_000_000,
            idle: Duration::from_mins(1),
        }
    }
}

/// What is wrong with the configuration, or with a playbook's statement for it.
#[derive(Debug, thiserror::Error)]
pub enum SqlRecordsError {
    /// Not an address. What the driver says of it may repeat it: we do not.
    #[error("system of record `{system}`: url is no address of a database that can be read{hint}")]
    Url {
        /// The system.
        system: String,
        /// What to look at.
        hint: &'static str,
    },
    /// Not a statement of this database.
    #[error("record `{record}`: lookup.sql: {reason}")]
    Statement {
        /// Kind of record.
        record: String,
        /// Why.
        reason: String,
    },
}

/// A database that keeps records.
#[derive(Debug)]
pub struct SqlRecords {
    name: String,
    upstream: String,
    dialect: Dialect,
    lookups: BTreeMap<String, SqlLookup>,
    bounds: Bounds,
    link: Link,
}

impl SqlRecords {
    /// Checks the configuration; connects to nothing yet. `lookups` are the playbook's records and searches, by their names.
    ///
    /// # Errors
    /// When the address is none, or a statement is not one of this database.
    pub fn new(
        name: impl Into<String>,
        config: &SqlRecordsConfig,
        lookups: BTreeMap<String, SqlLookup>,
    ) -> Result<Self, SqlRecordsError> {
        let name = name.into();
        let server = Server::of(config).map_err(|hint| SqlRecordsError::Url {
            system: name.clone(),
            hint,
        })?;
        let dialect = server.dialect();
        for (record, lookup) in &lookups {
            let fits = lookup.statement.fits(dialect);
            fits.map_err(|reason| SqlRecordsError::Statement {
                record: record.clone(),
                reason,
            })?;
        }
        Ok(Self {
            upstream: format!("records:{name}"),
            name,
            dialect,
            lookups,
            bounds: Bounds {
                timeout: config.timeout,
                rows: config.most_rows,
                bytes: config.most_bytes,
            },
            link: Link::to(server, config.timeout, config.idle),
        })
    }

    /// The reason why this question has no answer, or the outage that nobody has one from.
    fn down(&self, trouble: Trouble) -> Result<String, UpstreamError> {
        let (reason, detail) = match trouble {
            Trouble::Refused(reason) => return Ok(reason),
            Trouble::Wrong { reason, .. } => {
                return Ok(format!("{reason}; `aftercall doctor` shows the database's words"));
            }
            Trouble::Lost(detail) => (UpstreamReason::Unreachable, detail),
            Trouble::Down(reason, detail) => (reason, detail),
        };
        Err(UpstreamError {
            upstream: self.upstream.clone(),
            reason,
            detail,
            retry_after: None,
        })
    }
}

/// What is bound to a statement's parameters, in their order, or why it cannot be asked.
fn values<'l>(how: &'l SqlLookup, lookup: &'l Lookup) -> Result<Vec<&'l str>, String> {
    let mut values = Vec::new();
    for name in how.statement.parameters() {
        let value = match name {
            "id" => lookup.id.as_ref(),
            name => lookup.keys.get(name),
        };
        let Some(value) = value else {
            return Err(format!(
                "lookup.sql needs `:{name}`, a value that this session does not give"
            ));
        };
        if value.contains('\0') {
            return Err(format!(
                "the value for `:{name}` has the character U+0000, which is no text to a database"
            ));
        }
        values.push(value.as_str());
    }
    Ok(values)
}

fn fact(mut rows: Vec<Value>, is_list: bool) -> Fact {
    if rows.iter().any(is_too_deep) {
        return Fact::Unknown {
            reason: format!("the record is nested deeper than {MOST_LEVELS} levels"),
        };
    }
    match (rows.len(), is_list) {
        (0, _) => Fact::Absent,
        (_, true) => Fact::Found {
            record: Value::Array(rows),
        },
        (1, false) => Fact::Found {
            record: rows.swap_remove(0),
        },
        (several, false) => Fact::Unknown {
            reason: format!("gave {several} rows where one record was expected: narrow the WHERE, or set `each`"),
        },
    }
}

#[async_trait]
impl SystemOfRecord for SqlRecords {
    fn name(&self) -> &str {
        &self.name
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<Answer, UpstreamError> {
        let Some(how) = self.lookups.get(&lookup.record) else {
            return Ok(Answer::without_lookup(&lookup.record));
        };
        let values = match values(how, lookup) {
            Ok(values) => values,
            Err(reason) => return Ok(Answer::unasked(reason)),
        };
        let fact = match self.link.ask(how, &values, self.bounds).await {
            Ok(rows) => fact(rows, how.is_list),
            Err(trouble) => Fact::Unknown {
                reason: self.down(trouble)?,
            },
        };
        Ok(Answer {
            fact,
            // With the names of the parameters: their values are in the lookup.
            request: one_line(how.statement.text().lines().next().unwrap_or_default(), REQUEST_TEXT),
            status: None,
        })
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.try_statements().await
    }
}

#[cfg(test)]
mod tests;
