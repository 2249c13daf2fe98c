//! What an end that is told from outside does to a session.
//!
//! It settles at once, where a scan has seen it, and is known from then on where none has: it waits for its traces, and settles
//! as soon as one shows them. Told again, nothing happens; neither does anything to one that has its verdict.

use chrono::{DateTime, Utc};

use crate::{
    db::{DbError, Tx},
    domain::{
        session::{SessionState, SettleRules},
        webhook::NOT_IN_TRACES,
    },
    reprocess,
    store::{
        ends::{self, ToldEnd},
        sessions::{self, StoredSession},
    },
};

/// Where the session is from, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Of {
    /// When its sessions are over.
    pub rules: SettleRules,
    /// Whether it is scanned.
    pub enabled: bool,
}

/// What became of an end that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// Its analysis is called for.
    CalledFor,
    /// No scan has seen it: it waits for its traces.
    NotInTraces,
    /// It was called for already.
    UnderWay,
    /// It has its verdict, and nothing new.
    Judged,
    /// It was active long after: it is over when it rests.
    WentOn,
    /// Its source is switched off: it is known, and nobody analyses it.
    SwitchedOff,
    /// This very request came before.
    Repeated,
}

impl Became {
    /// For figures and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CalledFor => "called_for",
            Self::NotInTraces => "not_in_traces",
            Self::UnderWay => "under_way",
            Self::Judged => "judged",
            Self::WentOn => "went_on",
            Self::SwitchedOff => "switched_off",
            Self::Repeated => "repeated",
        }
    }
}

/// The end of a session that a webhook told, while it stands.
pub fn told(rules: &SettleRules, session: &StoredSession) -> Option<DateTime<Utc>> {
    session
        .told_at
        .filter(|told| !session.is_untraced() && rules.stands(*told, session.last_activity_at))
}

/// Why a session waits that only a webhook knows since then. The same for all of them, so that they are counted together.
pub fn not_in_traces(rules: &SettleRules, since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if now < since + rules.trace_deadline {
        yet()
    } else {
        never()
    }
}

fn yet() -> String {
    format!("{NOT_IN_TRACES}: a webhook told that it ended, and no trace of it has arrived yet")
}

fn never() -> String {
    format!("{NOT_IN_TRACES}: it ended, but no trace of it has arrived within `trace_deadline`")
}

/// After a scan: says of each session of the source that it has not shown either why it waits. Answers how many there are.
///
/// # Errors
/// When the database refuses it.
pub async fn wait_for_traces(tx: &mut Tx, source: &str, rules: &SettleRules) -> Result<u64, DbError> {
    let since = tx.now().await? - rules.trace_deadline;
    sessions::wait_untraced(tx, source, since, &yet(), &never()).await
}

/// An end is told.
///
/// # Errors
/// When the database refuses it.
pub async fn end(tx: &mut Tx, of: Of, end: &ToldEnd) -> Result<Became, DbError> {
    let now = tx.now().await?;
    // What is not over yet cannot have ended.
    let ended_at = end.ended_at.filter(|at| *at < now).unwrap_or(now);
    if !ends::record(tx, end).await? {
        return Ok(Became::Repeated);
    }
    let switched_off = format!("{NOT_IN_TRACES}: its source is switched off, and nobody looks for its traces");
    let reason = if of.enabled {
        not_in_traces(&of.rules, now, now)
    } else {
        switched_off
    };
    let session = sessions::tell(tx, &end.key, ended_at, &reason).await?;
    match session.state {
        SessionState::Settled | SessionState::Analyzing | SessionState::Verifying => return Ok(Became::UnderWay),
        SessionState::Done => return Ok(Became::Judged),
        SessionState::Open | SessionState::Reopened => {}
    }
    if !of.enabled {
        return Ok(Became::SwitchedOff);
    }
    if session.is_untraced() {
        return Ok(Became::NotInTraces);
    }
    let Some(told) = told(&of.rules, &session) else {
        return Ok(Became::WentOn);
    };
    let whole_at = of.rules.whole_at(told, session.digest_since);
    reprocess::settle(tx, &session, false, Some(whole_at)).await?;
    Ok(Became::CalledFor)
}
