//! Why a command failed, and its exit code.

use std::{fmt, io, process::ExitCode};

use crate::{config::ConfigErrors, db::DbError, desk::Trouble};

/// The exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  what was checked has faults, what was asked for is not there, or work is left after --max-wait
  2  wrong usage or configuration, or a token that does not allow it
  3  the database, the API of --api or a file cannot be read or written";

/// A command that could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1.
    Fault(String),
    /// Exit code 2.
    Usage(String),
    /// Exit code 3.
    Storage(String),
}

impl Failure {
    /// With what has to be known beside it.
    pub(crate) fn also(self, more: &str) -> Self {
        match self {
            Self::Fault(text) => Self::Fault(format!("{text}\n{more}")),
            Self::Usage(text) => Self::Usage(format!("{text}\n{more}")),
            Self::Storage(text) => Self::Storage(format!("{text}\n{more}")),
        }
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Fault(_) => 1,
            Self::Usage(_) => 2,
            Self::Storage(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Fault(text) | Self::Usage(text) | Self::Storage(text)) = self;
        f.write_str(text)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(text) => Self::Fault(text),
            Trouble::Usage(text) => Self::Usage(text),
            Trouble::Away(text) => Self::Storage(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        let count = errors.faults.len();
        let faults = if count == 1 {
            "1 fault".to_owned()
        } else {
            format!("{count} faults")
        };
        Self::Usage(format!("the configuration has {faults}:\n{errors}"))
    }
}
