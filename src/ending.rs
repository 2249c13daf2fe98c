//! What an end that is told from outside does to a session.
//!
//! It settles at once, where a scan has seen it, and is known from then on where none has: it waits for its traces, and settles
//! as soon as one shows them. Told again, nothing happens; neither does anything to one that has its verdict.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    db::{DbError, Tx},
    domain::{
        session::{SessionState, SettleRules},
        webhook::{NOT_IN_TRACES, not_in_traces_yet},
    },
    reprocess,
    store::{
        ends::{self, ToldEnd},
        sessions::{self, StoredSession},
    },
};

/// An end is told within days of it, if only after an outage. What is longer ago is a clock that is wrong, or a fault.
const LONGEST_AGO: TimeDelta = TimeDelta::days(30);

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

/// When a session whose end was told may be read: when its last spans have had their time, and by its deadline at the latest,
/// since content that goes on changing never has. `None`: at once.
pub fn read_at(rules: &SettleRules, session: &StoredSession) -> Option<DateTime<Utc>> {
    let told = told(rules, session).filter(|_| !session.incomplete)?;
    let whole_at = rules.whole_at(told, session.digest_since);
    Some(whole_at.min(rules.late_at(told, session.open_since)))
}

/// Why a session waits that only a webhook knows since then. The same for all of them, so that they are counted together.
pub fn not_in_traces(rules: &SettleRules, since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if now < since + rules.trace_deadline {
        not_in_traces_yet()
    } else {
        never()
    }
}

fn switched_off() -> String {
    format!("{NOT_IN_TRACES}: its source is switched off, and nobody looks for its traces")
}

fn never() -> String {
    format!("{NOT_IN_TRACES}: it ended, but no trace of it has arrived within `trace_deadline`")
}

/// After a scan: says of sessions of the source that it has not shown either why they wait, where something else is said of them
/// so far. Answers of how many, `most` at most: then there may be more.
///
/// # Errors
/// When the database refuses it.
pub async fn wait_for_traces(tx: &mut Tx, source: &str, rules: &SettleRules, most: u32) -> Result<u64, DbError> {
    let since = tx.now().await? - rules.trace_deadline;
    let said = sessions::Said {
        yet: &not_in_traces_yet(),
        never: &never(),
        before: &switched_off(),
    };
    sessions::wait_untraced(tx, source, since, &said, most).await
}

/// Whether a session that was told to be over now can have ended then: what is not over yet cannot have.
fn can_be(ended_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    ended_at <= now && now - ended_at <= LONGEST_AGO
}

/// An end is told.
///
/// # Errors
/// When the database refuses it.
pub async fn end(tx: &mut Tx, of: Of, end: &ToldEnd) -> Result<Became, DbError> {
    let now = tx.now().await?;
    let said = end.ended_at.filter(|at| can_be(*at, now));
    let ended_at = said.unwrap_or(now);
    if !ends::record(tx, end, said).await? {
        return Ok(Became::Repeated);
    }
    let reason = if of.enabled {
        not_in_traces_yet()
    } else {
        switched_off()
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
    if told(&of.rules, &session).is_none() {
        return Ok(Became::WentOn);
    }
    let called_for = StoredSession {
        incomplete: false,
        ..session
    };
    reprocess::settle(tx, &called_for, false, read_at(&of.rules, &called_for)).await?;
    Ok(Became::CalledFor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_of_the_last_thirty_days_and_not_of_the_future() {
        let now: DateTime<Utc> = "2026-09-21T13:33:20Z".parse().unwrap();
        for (text, can) in [
            ("2026-09-21T13:33:20Z", true),
            ("2026-08-22T13:33:20Z", true),
            ("2026-08-22T13:33:19Z", false),
            ("2026-09-21T13:33:21Z", false),
            ("1970-01-01T00:00:00Z", false),
            ("-9999-01-01T00:00:00Z", false),
            ("+200000-01-01T00:00:00Z", false),
        ] {
            assert_eq!(can_be(text.parse().unwrap(), now), can, "{text}");
        }
    }
}
