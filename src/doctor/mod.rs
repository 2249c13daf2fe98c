//! Looks at everything outside the process that aftercall needs, and changes none of it.
//!
//! Each part looks by itself and has its own time-out: an upstream that hangs delays no other finding. Findings are for
//! people and hold no secret and nothing of a session.

mod bloat;
mod clock;
mod counters;
mod database;
mod disk;
mod fleet;
mod secrets;
mod server;
mod upstreams;
mod work;

use std::{future::Future, pin::Pin, time::Duration};

use futures::future::join_all;
use serde::Serialize;

use self::secrets::Redacted;
use crate::{
    config::{Config, duration},
    env::Upstreams,
};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it; or it passes by itself.
    Warn,
    /// It does not work until somebody does something.
    Fail,
}

impl Level {
    /// The printed spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: `database`, `source:calls`, `llm:default`.
    pub check: String,
    /// How bad.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do, where the finding does not say it itself.
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, found, None)
    }

    /// To look at.
    pub fn warn(check: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Level::Warn, found, Some(advice.into()))
    }

    /// Broken.
    pub fn fail(check: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Level::Fail, found, Some(advice.into()))
    }

    fn new(check: impl Into<String>, level: Level, found: impl Into<String>, advice: Option<String>) -> Self {
        Self {
            check: check.into(),
            level,
            found: found.into(),
            advice,
        }
    }
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// At everything.
    Everything,
    /// Not at upstreams: their secrets are not known.
    DatabaseOnly,
}

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What takes a moment, however large the database is.
    Quick,
    /// All jobs.
    Everything,
}

type Look<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

/// Looks at the database, the work in it, and every upstream at the same time, each for `timeout` at most.
pub async fn examine(config: &Config, scope: Scope, depth: Depth, timeout: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    let upstreams = match scope {
        Scope::DatabaseOnly => None,
        Scope::Everything => match Upstreams::build(config) {
            Ok(upstreams) => Some(upstreams),
            Err(error) => {
                findings.push(Finding::fail(
                    "upstreams",
                    format!("not looked at: {error:#}"),
                    "mend the configuration; `aftercall check` names every fault",
                ));
                None
            }
        },
    };
    let mut looks: Vec<Look> = database::looks(config, depth, timeout);
    if let Some(upstreams) = &upstreams {
        looks.extend(upstreams::looks(upstreams, timeout));
    }
    findings.extend(join_all(looks).await.into_iter().flatten());
    let secrets = Redacted::of(config);
    for finding in &mut findings {
        secrets.clean(finding);
    }
    findings
}

/// Looks for so long and no longer.
fn bounded<'a>(
    check: impl Into<String>,
    timeout: Duration,
    look: impl Future<Output = Vec<Finding>> + Send + 'a,
) -> Look<'a> {
    let check = check.into();
    Box::pin(async move {
        tokio::time::timeout(timeout, look).await.unwrap_or_else(|_| {
            let found = format!("no answer within {}", duration::format(timeout));
            let advice = "is it up, and can this machine reach it? --timeout waits longer";
            vec![Finding::fail(check, found, advice)]
        })
    })
}
