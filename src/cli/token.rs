//! `aftercall token`: who may use the HTTP API.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::{
    context::Context,
    failure::Failure,
    output::{Cell, Grid, Output, Tone},
    when,
};
use crate::{
    config::duration,
    domain::api_token::{self, Scope},
    operate::tokens::Wanted,
    store::tokens::TokenLine,
};

/// Makes, lists and revokes tokens of the HTTP API
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

const CREATE_EXAMPLE: &str = "\
Examples:
  $ aftercall token create --name dashboard
  $ aftercall token create --name on-call --scope operate --expires 90d
  $ aftercall queues --api http://127.0.0.1:7700 --token-file on-call.token
  $ curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:7700/api/v1/queues

The token is shown once: only a hash of it is kept. From the first token on, nobody asks the API
without one.";

/// Makes a token and shows it, once
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLE)]
struct Create {
    /// Who uses it: the actor in the audit log
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: String,
    /// read: to look; operate: to look and to change
    #[arg(long, value_name = "SCOPE", default_value = "read", value_parser = scope)]
    scope: Scope,
    /// For how long it is good (90d) [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Duration>,
}

const LIST_EXAMPLE: &str = "\
Example:
  $ aftercall token list";

/// Lists tokens with their scope, when they expire, and when they were used last
#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLE)]
struct List {}

const REVOKE_EXAMPLE: &str = "\
Example:
  $ aftercall token revoke 0f3a5c7e9b1d2f4a

Within 30 seconds no process takes it any more.";

/// Ends a token for good
#[derive(Debug, Args)]
#[command(after_help = REVOKE_EXAMPLE)]
struct Revoke {
    /// Its id, as `token list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

fn name(text: &str) -> Result<String, String> {
    api_token::check_name(text).map(|()| text.to_owned())
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).ok_or_else(|| "a scope is `read` or `operate`".to_owned())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match duration::parse(text)? {
        Duration::ZERO => Err("a token that is never good is of no use: leave it out, or write 90d".to_owned()),
        expires => Ok(expires),
    }
}

impl Token {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let desk = context.desk().await?;
        match self.verb {
            Verb::Create(create) => {
                let wanted = Wanted {
                    name: create.name,
                    scope: create.scope,
                    expires: create.expires,
                };
                let made = desk.create_token(&wanted).await?.ok_or_else(|| {
                    Failure::Fault(format!(
                        "there is a token named {}: `aftercall token list` shows its id; revoke it, or choose another name",
                        wanted.name
                    ))
                })?;
                context.out.print(&made, |_| {
                    format!(
                        "{}\n\nThis is token {} of {} ({}). It is not shown again; `aftercall token revoke {}` ends it.",
                        made.token,
                        made.line.id,
                        made.line.name,
                        made.line.scope.as_str(),
                        made.line.id
                    )
                })
            }
            Verb::List(List {}) => {
                let lines = desk.tokens().await?;
                let now = desk.now().await?;
                context.out.print(&lines, |out| table(out, &lines, now))
            }
            Verb::Revoke(Revoke { id }) => {
                let line = desk.revoke_token(&id).await?.ok_or_else(|| {
                    Failure::Fault(format!(
                        "there is no token {id}; `aftercall token list` shows which there are"
                    ))
                })?;
                context.out.print(&line, |_| {
                    format!("token {id} of {} is revoked: within 30 s nobody can use it", line.name)
                })
            }
        }
    }
}

fn table(out: &Output, lines: &[TokenLine], now: DateTime<Utc>) -> String {
    if lines.is_empty() {
        return "there is no token; `aftercall token create` makes one".to_owned();
    }
    let mut grid = Grid::new(["token", "name", "scope", "state", "made", "by", "used"]);
    for line in lines {
        let (state, tone) = match (line.revoked_at, line.expires_at) {
            (Some(revoked_at), _) => (format!("revoked {} ago", when::age(now, revoked_at)), Tone::Dim),
            (None, Some(expires_at)) if expires_at <= now => {
                (format!("expired {} ago", when::age(now, expires_at)), Tone::Warn)
            }
            (None, Some(expires_at)) => (format!("expires {}", when::until(now, expires_at)), Tone::Plain),
            (None, None) => ("good".to_owned(), Tone::Plain),
        };
        let used = line.last_used_at.map(|used| format!("{} ago", when::age(now, used)));
        grid.row([
            Cell::from(&line.id),
            Cell::from(&line.name),
            Cell::from(line.scope.as_str()),
            Cell::toned(state, tone),
            Cell::from(format!("{} ago", when::age(now, line.created_at))),
            Cell::from(&line.created_by),
            Cell::from(used.unwrap_or_else(|| "never".to_owned())),
        ]);
    }
    out.table(&grid)
}
