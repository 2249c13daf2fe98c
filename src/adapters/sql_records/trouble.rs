//! What a database's errors mean for a question.
//!
//! A database may repeat in its words what was bound to a parameter, so they are shown only where nothing was: by `doctor`, which
//! has each statement prepared.

use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError};

use crate::{adapters::plain_text::one_line, domain::sql::Dialect, ports::UpstreamReason};

/// Longest text of a database that is passed on.
const WORDS: usize = 300;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This question cannot be answered, and asking again will not help.
    Refused(String),
    /// The same, where the database's own words say more. They may repeat a value: only who sent none may show them.
    Wrong { reason: String, words: String },
    /// The connection broke: it may have been dead for a while.
    Lost(String),
    /// The database cannot do its part now.
    Down(UpstreamReason, String),
}

impl Trouble {
    pub(super) fn unreachable(detail: impl Into<String>) -> Self {
        Self::Down(UpstreamReason::Unreachable, detail.into())
    }

    /// The server, or we, ended a statement.
    pub(super) fn too_slow() -> Self {
        Self::unreachable(
            "the statement took longer than `timeout` and was ended: let it find its rows by an index, or raise `timeout`",
        )
    }

    pub(super) fn of(error: &sqlx::Error, dialect: Dialect) -> Self {
        match error {
            sqlx::Error::Database(refused) => match dialect {
                Dialect::Postgres => of_postgres(refused.as_ref()),
                Dialect::MySql => of_mysql(refused.as_ref()),
                Dialect::Sqlite => of_sqlite(refused.as_ref()),
            },
            sqlx::Error::Io(error) => Self::Lost(format!("no connection: {}", error.kind())),
            sqlx::Error::Tls(error) => Self::unreachable(format!(
                "no TLS: {}: look at the TLS options of `url`",
                one_line(&error.to_string(), WORDS)
            )),
            sqlx::Error::Configuration(error) => Self::Down(UpstreamReason::AuthInvalid, sign_in(&error.to_string())),
            sqlx::Error::WorkerCrashed => Self::Lost("the connection is gone".to_owned()),
            _ => Self::Down(
                UpstreamReason::BadAnswer,
                "an answer that is not of this kind of database: check `url`".to_owned(),
            ),
        }
    }
}

/// Why we cannot sign in. The driver names its own build options where TLS is what is missing.
fn sign_in(words: &str) -> String {
    if words.contains("RSA") {
        return "the server takes this user's password over TLS only: add ssl-mode=REQUIRED, or better, to `url`"
            .to_owned();
    }
    format!("cannot sign in as `url` says: {}", one_line(words, WORDS))
}

/// A statement that is wrong.
fn wrong(refused: &dyn DatabaseError, code: &str) -> Trouble {
    Trouble::Wrong {
        reason: format!("the database refused the statement ({code}): correct the playbook's lookup.sql"),
        words: one_line(refused.message(), WORDS),
    }
}

fn not_allowed(refused: &dyn DatabaseError, code: &str) -> Trouble {
    Trouble::Wrong {
        reason: format!("the database's role may not do this ({code}): grant it SELECT on what the lookup reads"),
        words: one_line(refused.message(), WORDS),
    }
}

fn writes(code: &str) -> Trouble {
    Trouble::Refused(format!(
        "the statement writes, and the database refused it ({code}): a lookup only reads"
    ))
}

fn value_does_not_fit(code: &str) -> Trouble {
    Trouble::Refused(format!(
        "a value does not fit the type that it is compared with ({code}): compare as text, such as CAST(id AS …) = :id"
    ))
}

fn refused_sign_in(code: &str) -> Trouble {
    Trouble::Down(
        UpstreamReason::AuthInvalid,
        format!("the database refused our user or password ({code})"),
    )
}

fn too_many_connections(code: &str) -> Trouble {
    Trouble::Down(
        UpstreamReason::RateLimited,
        format!("the database has no connection left for us ({code})"),
    )
}

fn no_database(code: &str) -> Trouble {
    Trouble::unreachable(format!("there is no database of the name that `url` gives ({code})"))
}

fn other(code: &str) -> Trouble {
    Trouble::Down(
        UpstreamReason::BadAnswer,
        format!("the database answered with an error of its own ({code}): its log says more"),
    )
}

fn of_postgres(refused: &dyn DatabaseError) -> Trouble {
    let code = refused.code().unwrap_or_default();
    match code.as_ref() {
        "57014" => Trouble::too_slow(),
        "25006" => writes(&code),
        "42P18" => Trouble::Refused(format!(
            "the database cannot tell the type of a parameter ({code}): write it in the playbook's lookup.sql, as in :id::text"
        )),
        "42501" => not_allowed(refused, &code),
        "3D000" => no_database(&code),
        // Of a pooler that gives each statement another session.
        "42P05" | "26000" => Trouble::unreachable(format!(
            "a pooler mixes up the statements of its clients ({code}): PgBouncer in transaction mode needs max_prepared_statements, and session mode nothing"
        )),
        "53300" => too_many_connections(&code),
        // Ended by an administrator or a shutdown, or not open yet.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => {
            Trouble::Lost(format!("the database ended the connection ({code})"))
        }
        // A lock, a deadlock, a conflict with a standby's recovery.
        "55P03" | "40001" | "40P01" => Trouble::unreachable(format!("the database is busy ({code})")),
        code => match code.get(..2).unwrap_or_default() {
            "28" => refused_sign_in(code),
            "08" => Trouble::Lost(format!("the connection broke ({code})")),
            "53" | "57" => Trouble::unreachable(format!("the database cannot work now ({code})")),
            "42" | "0A" => wrong(refused, code),
            "22" => value_does_not_fit(code),
            "21" | "54" | "P0" | "2F" | "38" | "39" => Trouble::Refused(format!(
                "the database refused the statement ({code}): run the playbook's lookup.sql by hand to see why"
            )),
            _ => other(code),
        },
    }
}

fn of_mysql(refused: &dyn DatabaseError) -> Trouble {
    let number = refused
        .as_error()
        .downcast_ref::<MySqlDatabaseError>()
        .map_or(0, MySqlDatabaseError::number);
    let code = number.to_string();
    match number {
        // MySQL's and MariaDB's bound of a statement, and KILL QUERY.
        3024 | 1969 | 1317 => Trouble::too_slow(),
        // A transaction that only reads, a server that only reads, a variable that may not be set.
        1792 | 1290 | 1836 => writes(&code),
        1044 | 1045 | 1129 | 1130 | 1251 | 1698 | 1820 | 1862 | 3118 | 3159 | 4151 => refused_sign_in(&code),
        1142 | 1143 | 1227 | 1370 | 1345 => not_allowed(refused, &code),
        1049 => no_database(&code),
        1040 | 1203 | 1226 | 1461 => too_many_connections(&code),
        1205 | 1213 | 1412 => Trouble::unreachable(format!("the database is busy ({code})")),
        1053 | 1077 | 1079 | 1080 | 1152 | 1158..=1161 | 1184 | 1927 | 4031 => {
            Trouble::Lost(format!("the database ended the connection ({code})"))
        }
        1021 | 1037 | 1038 | 1041 => Trouble::unreachable(format!("the database cannot work now ({code})")),
        // Also letters that the column's character set does not have.
        1264 | 1265 | 1267 | 1270 | 1271 | 1292 | 1366 | 1367 | 1411 | 1525 | 1977 | 3141 | 3988 | 4037 | 4038 => {
            value_does_not_fit(&code)
        }
        _ => {
            let state = refused.code().unwrap_or_default();
            match state.get(..2).unwrap_or_default() {
                "28" => refused_sign_in(&code),
                "08" => Trouble::Lost(format!("the connection broke ({code})")),
                "42" | "0A" => wrong(refused, &code),
                "22" => value_does_not_fit(&code),
                "21" => Trouble::Refused(format!(
                    "the database refused the statement ({code}): run the playbook's lookup.sql by hand to see why"
                )),
                _ => other(&code),
            }
        }
    }
}

fn of_sqlite(refused: &dyn DatabaseError) -> Trouble {
    let extended = refused
        .code()
        .and_then(|code| code.parse::<i32>().ok())
        .unwrap_or_default();
    let code = format!("SQLite {extended}");
    // The last byte is the kind, the others tell more.
    match extended & 0xff {
        5 | 6 => Trouble::unreachable(format!("the file is locked by who writes it ({code})")),
        7 | 10 | 13 => Trouble::unreachable(format!("the file cannot be read now ({code})")),
        8 if extended == 8 => writes(&code),
        // Somebody who wrote it died in the middle, or it was moved.
        8 => Trouble::unreachable(format!(
            "the file cannot be read until who writes it opens it again ({code})"
        )),
        9 => Trouble::too_slow(),
        3 | 14 | 23 => Trouble::unreachable(format!(
            "the file cannot be opened ({code}): check the path in `url` and who may read it"
        )),
        11 | 26 => Trouble::Down(
            UpstreamReason::BadAnswer,
            format!("the file is no SQLite database, or a broken one ({code}): check the path in `url`"),
        ),
        1 | 2 | 25 => wrong(refused, &code),
        18 | 20 => value_does_not_fit(&code),
        _ => other(&code),
    }
}
