//! The PostgreSQL server: there, new enough, writable, and not held back by somebody's open transaction.

use std::time::Duration;

use super::Finding;
use crate::{
    config::duration,
    db::{
        Db, DbErrorKind, Location,
        condition::{self, Privileges},
    },
};

const CHECK: &str = "database";
const PRIVILEGES: &str = "privileges";
/// The oldest server that this is tested on.
const OLDEST: u32 = 140_000;
/// A transaction that is open for longer keeps the server from cleaning up after the queue.
const LONG: u32 = 60;

/// Everything about the server itself. Where it cannot be worked with, one finding fails.
pub(super) async fn look(db: &Db, location: &Location) -> Vec<Finding> {
    let server = match condition::server(db).await {
        Ok(server) => server,
        Err(error) => {
            let advice = match error.kind {
                DbErrorKind::Busy => {
                    "the server has no place for one more session: raise its max_connections, or stop somebody"
                }
                DbErrorKind::Unavailable => "is it up, and can this machine reach it? Look at `database.url`",
                _ => "look at `database.url`",
            };
            return vec![Finding::fail(CHECK, format!("{location}: {error}"), advice)];
        }
    };
    let mut findings = vec![if server.version_num < OLDEST {
        Finding::warn(
            CHECK,
            format!("{location}, PostgreSQL {}", server.version),
            "PostgreSQL 14 is the oldest that aftercall is made for",
        )
    } else {
        Finding::ok(CHECK, format!("{location}, PostgreSQL {}", server.version))
    }];
    findings.push(if server.read_only {
        Finding::fail(
            CHECK,
            "the server only answers questions: it is a standby, or was made read-only",
            "point `database.url` at the primary",
        )
    } else if server.may_write {
        Finding::ok(CHECK, "can be written")
    } else {
        Finding::fail(
            CHECK,
            "our role may not write the tables of the queue",
            "let the role own its schema, or grant it INSERT, UPDATE and DELETE on all tables in it",
        )
    });
    let (sessions, most) = server.sessions;
    findings.push(if sessions * 10 >= most * 9 {
        Finding::warn(
            CHECK,
            format!("{sessions} of {most} sessions are taken"),
            "raise the server's max_connections, lower `database.max_connections`, or put a PgBouncer in between",
        )
    } else {
        Finding::ok(CHECK, format!("{sessions} of {most} sessions are taken"))
    });
    findings.extend(privileges(db).await);
    findings.extend(open_transactions(db, server.sees_all).await);
    findings.extend(forgotten(db).await);
    findings
}

/// What our role may do. Nothing where our tables are not there yet: whoever makes them owns them.
async fn privileges(db: &Db) -> Option<Finding> {
    let privileges = match condition::privileges(db).await {
        Ok(privileges) => privileges?,
        Err(error) => {
            return Some(Finding::warn(PRIVILEGES, error.to_string(), "see the check `database`"));
        }
    };
    let Privileges {
        role,
        schema,
        tables,
        lacks,
        may_migrate,
    } = privileges;
    Some(if !lacks.is_empty() {
        Finding::fail(
            PRIVILEGES,
            format!("the role {role} lacks, in the schema {schema}: {}", lacks.join("; ")),
            format!("as their owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"),
        )
    } else if !may_migrate {
        Finding::warn(
            PRIVILEGES,
            format!(
                "the role {role} reads and writes all {tables} tables of the schema {schema}, but does not own them"
            ),
            "it cannot migrate: run `aftercall migrate` as their owner before a new version starts",
        )
    } else {
        Finding::ok(
            PRIVILEGES,
            format!("the role {role} reads, writes and may migrate all {tables} tables of the schema {schema}"),
        )
    })
}

/// What keeps the server from cleaning up beside open transactions.
async fn forgotten(db: &Db) -> Vec<Finding> {
    match condition::forgotten(db).await {
        Ok(holders) => holders
            .into_iter()
            .map(|(what, cure)| {
                Finding::warn(
                    CHECK,
                    format!("{what}: the server cannot clean up after the queue"),
                    cure,
                )
            })
            .collect(),
        Err(error) => vec![Finding::warn(
            CHECK,
            error.to_string(),
            "see the first line of this check",
        )],
    }
}

async fn open_transactions(db: &Db, sees_all: bool) -> Vec<Finding> {
    let open = match condition::open_transactions(db, LONG).await {
        Ok(open) => open,
        Err(error) => {
            return vec![Finding::warn(
                CHECK,
                error.to_string(),
                "see the first line of this check",
            )];
        }
    };
    if open.is_empty() {
        let whose = if sees_all { "no" } else { "none of our role's" };
        let found = format!("{whose} transaction has been open for more than {LONG} s");
        return vec![if sees_all {
            Finding::ok(CHECK, found)
        } else {
            Finding::ok(
                CHECK,
                format!("{found} (GRANT pg_read_all_stats shows those of others)"),
            )
        }];
    }
    open.iter()
        .map(|open| {
            Finding::warn(
                CHECK,
                format!(
                    "a transaction of pid {} (user {}, application {}, {}) has been open for {}: the server cannot clean up \
                     after the queue, and claims get slower",
                    open.pid,
                    open.user,
                    open.application,
                    open.state,
                    duration::format(Duration::from_secs(open.seconds))
                ),
                format!("end it, or SELECT pg_terminate_backend({})", open.pid),
            )
        })
        .collect()
}
