//! Why there is no cluster, in words that say what to do.

use std::{io, path::PathBuf};

/// How much of the server's log is shown.
const LINES: usize = 8;

/// What a cluster could not do.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// This machine has no server.
    #[error(
        "this machine has no PostgreSQL server: install it (Debian: `apt-get install postgresql`), or set \
         AFTERCALL_PG_BIN to the folder that holds its `initdb` and `postgres`; looked in {0}"
    )]
    NoServer(String),
    /// The folder that was named holds none.
    #[error("AFTERCALL_PG_BIN is {}, where no `{missing}` is", folder.display())]
    NotThere {
        /// The folder.
        folder: PathBuf,
        /// The first program that is not in it.
        missing: &'static str,
    },
    /// A program beside the server is not installed.
    #[error("{} is not installed (Debian: `apt-get install postgresql`)", .0.display())]
    NoProgram(PathBuf),
    /// PostgreSQL refuses to run as root.
    #[error("PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`")]
    NoUser,
    /// A program could not be started, or its answer not read.
    #[error("PostgreSQL's programs cannot be used: {0}")]
    Io(#[from] io::Error),
    /// All ports that were tried are taken.
    #[error("no port of 127.0.0.1 is free")]
    NoPort,
    /// The server was not made, started or stopped.
    #[error("cannot {what} the PostgreSQL server: {said}")]
    Failed {
        /// Make, start or stop.
        what: String,
        /// What its programs said.
        said: String,
    },
    /// A name that would need quotes.
    #[error("`{0}` is not a database's name here: small letters, digits and underscores, a letter first")]
    Name(String),
    /// The server refused a statement, or did not answer.
    #[error("{0}")]
    Sql(String),
}

impl ClusterError {
    /// The end of the server's log says more than the program that starts it.
    pub(super) fn with_log(self, log: &str) -> Self {
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
        match self {
            Self::Failed { what, said } if !tail.is_empty() => Self::Failed {
                what,
                said: format!("{said}; its log ends:\n{tail}"),
            },
            other => other,
        }
    }
}
