//! What is left when verdicts are taken from the sessions seen, explained: which reason, how many, one of them, what to do.
//! By source, or by source and day.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::waiting::ShutGates;
use crate::{
    db::{Db, DbError, Row, Sql},
    domain::{shell, webhook::NOT_IN_TRACES},
    params,
};

/// Sessions without any explanation named at most.
const NAMED: u32 = 20;

/// The sessions of a source, or of a source that began on one day: `seen` is the sum of all the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Accounted {
    /// The source.
    pub source: String,
    /// The day in UTC of a session's first activity; none: all days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<NaiveDate>,
    /// Sessions seen.
    pub seen: u64,
    /// Everything asked for is there.
    pub pass: u64,
    /// Some of it.
    pub partial: u64,
    /// None of it, or something nobody asked for.
    pub fail: u64,
    /// Nothing to verify, with a reason.
    pub skipped: u64,
    /// Given up, with a reason.
    pub error: u64,
    /// On their way, with a reason.
    pub waiting: u64,
    /// On their way without a reason, or done without a verdict: a bug of ours.
    pub unexplained: u64,
    /// Those without a verdict that says what is there, by reason; the most frequent first.
    pub remainders: Vec<Remainder>,
}

/// Sessions that have no verdict on what is there, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Remainder {
    /// What they are.
    pub kind: Kind,
    /// Why: the code of a verdict, or in words.
    pub reason: String,
    /// How many.
    pub sessions: u64,
    /// One of them.
    pub example: String,
    /// What to do about it.
    pub act: String,
}

/// What sessions are that have no verdict on what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A bug of ours.
    Unexplained,
    /// Given up.
    Error,
    /// On their way.
    Waiting,
    /// Nothing to verify.
    Skipped,
}

impl Kind {
    /// The word of its JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unexplained => "unexplained",
            Self::Error => "error",
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
        }
    }
}

/// A session that nothing explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Unexplained {
    /// Where it is from.
    pub source: String,
    /// Its id there.
    pub session_id: String,
    /// Its state.
    pub state: String,
}

/// Reasons are read from verdicts one by one, of those that need one: whole verdicts are large. `$which`: which sessions.
macro_rules! groups {
    ($name:literal, $day:literal, $which:literal) => {
        concat!(
            "-- ",
            $name,
            "
             SELECT source, day, state, system, status, reason, COUNT(*) AS sessions, MIN(session_id) AS example FROM (
                 SELECT s.source, s.session_id, ",
            $day,
            " AS day, s.state,
                        CASE WHEN s.state = 'verifying' THEN s.system END AS system,
                        CASE WHEN s.state = 'done' THEN m.verification_status END AS status,
                        CASE WHEN s.state <> 'done' THEN s.waiting_reason
                             WHEN m.verification_status IN ('skipped', 'error') THEN (
                                 SELECT v.reason FROM verdicts v
                                 WHERE v.source = m.source AND v.session_id = m.session_id AND v.generation = m.generation)
                        END AS reason
                 FROM sessions s
                 LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id",
            $which,
            "
             ) AS each_session GROUP BY source, day, state, system, status, reason
             ORDER BY source, day DESC, state, system, status, reason"
        )
    };
}

/// All sessions there are.
const OF_SOURCES: &str = groups!("sessions_accounted", "CAST(NULL AS bigint)", "");
/// Those that began at an instant or later, by the index of that.
const OF_DAYS: Sql = Sql::each(
    groups!(
        "sessions_accounted_by_day",
        "s.first_activity_at / 86400000000",
        " WHERE s.first_activity_at >= $1"
    ),
    groups!(
        "sessions_accounted_by_day",
        "CAST(floor(extract(epoch FROM s.first_activity_at) / 86400) AS bigint)",
        " WHERE s.first_activity_at >= $1"
    ),
);

/// All sessions, by source.
///
/// # Errors
/// When the database cannot answer.
pub async fn by_source(db: &Db) -> Result<Vec<Accounted>, DbError> {
    let rows = db.fetch_all(OF_SOURCES, &[]).await?;
    fold(&rows, &ShutGates::read(db).await?)
}

/// The sessions that began on the last `days` days, today among them, by source and day, the latest day first. A day is one in
/// UTC, and a session is of the day of its first activity.
///
/// # Errors
/// When the database cannot answer.
pub async fn by_day(db: &Db, days: u32) -> Result<Vec<Accounted>, DbError> {
    let rows = db.fetch_all(OF_DAYS, &params![since(db.now().await?, days)]).await?;
    fold(&rows, &ShutGates::read(db).await?)
}

/// The beginning of the first of so many days.
fn since(now: DateTime<Utc>, days: u32) -> DateTime<Utc> {
    let today = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    today - TimeDelta::days(i64::from(days.max(1)) - 1)
}

/// Sessions that nothing explains, at most 20. There should be none, so that this may read all.
///
/// # Errors
/// When the database cannot answer.
pub async fn unexplained(db: &Db) -> Result<Vec<Unexplained>, DbError> {
    db.fetch_all(
        "-- unexplained_sessions
         SELECT s.source, s.session_id, s.state FROM sessions s
         LEFT JOIN monitoring_results m ON m.source = s.source AND m.session_id = s.session_id
         WHERE (s.state <> 'done' AND s.waiting_reason IS NULL) OR (s.state = 'done' AND m.verification_status IS NULL)
         ORDER BY s.source, s.session_id LIMIT $1",
        &params![NAMED],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(Unexplained {
            source: row.get("source")?,
            session_id: row.get("session_id")?,
            state: row.get("state")?,
        })
    })
    .collect()
}

fn fold(rows: &[Row], shut: &ShutGates) -> Result<Vec<Accounted>, DbError> {
    let mut all: Vec<Accounted> = Vec::new();
    let mut reasons: BTreeMap<(Kind, String), (u64, String)> = BTreeMap::new();
    for row in rows {
        let source: String = row.get("source")?;
        let day = day(row)?;
        if all.last().is_none_or(|last| last.source != source || last.day != day) {
            close(&mut all, &mut reasons);
            all.push(Accounted {
                source: source.clone(),
                day,
                ..Accounted::default()
            });
        }
        let Some(accounted) = all.last_mut() else { continue };
        let sessions: u64 = row.get("sessions")?;
        accounted.seen += sessions;
        let (state, status): (String, Option<String>) = (row.get("state")?, row.get("status")?);
        let reason: Option<String> = row.get("reason")?;
        let (count, kind, reason) = match (state.as_str(), status.as_deref(), reason) {
            ("done", Some("pass"), _) => (&mut accounted.pass, None, None),
            ("done", Some("partial"), _) => (&mut accounted.partial, None, None),
            ("done", Some("fail"), _) => (&mut accounted.fail, None, None),
            ("done", Some("skipped"), reason) => (&mut accounted.skipped, Some(Kind::Skipped), reason),
            ("done", Some("error"), reason) => (&mut accounted.error, Some(Kind::Error), reason),
            ("done", ..) => {
                let why = "done, without a verdict".to_owned();
                (&mut accounted.unexplained, Some(Kind::Unexplained), Some(why))
            }
            (state, _, None) => {
                let why = format!("{state}, without a reason to wait");
                (&mut accounted.unexplained, Some(Kind::Unexplained), Some(why))
            }
            (state, _, stored) => {
                let system: Option<String> = row.get("system")?;
                let now = shut.before(state, &source, system.as_deref()).map(|(reason, _)| reason);
                (&mut accounted.waiting, Some(Kind::Waiting), now.or(stored))
            }
        };
        *count += sessions;
        if let Some(kind) = kind {
            let example: String = row.get("example")?;
            let group = reasons
                .entry((kind, reason.unwrap_or_default()))
                .or_insert((0, example));
            group.0 += sessions;
        }
    }
    close(&mut all, &mut reasons);
    Ok(all)
}

/// Gives the last one its reasons.
fn close(all: &mut [Accounted], reasons: &mut BTreeMap<(Kind, String), (u64, String)>) {
    let Some(last) = all.last_mut() else { return };
    let remainders = std::mem::take(reasons).into_iter();
    last.remainders = remainders
        .map(|((kind, reason), (sessions, example))| Remainder {
            act: act(kind, &reason, &last.source, &example),
            kind,
            reason,
            sessions,
            example,
        })
        .collect();
    last.remainders
        .sort_by_key(|remainder| (remainder.kind, std::cmp::Reverse(remainder.sessions)));
}

fn day(row: &Row) -> Result<Option<NaiveDate>, DbError> {
    let Some(number) = row.get::<Option<i64>>("day")? else {
        return Ok(None);
    };
    let at = number
        .checked_mul(86_400)
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    match at {
        Some(at) => Ok(Some(at.date_naive())),
        None => Err(row.bad("day", &format!("{number} is no day since 1970"))),
    }
}

fn act(kind: Kind, reason: &str, source: &str, example: &str) -> String {
    let (one, source) = (shell::word(example), shell::word(source));
    match (kind, reason) {
        (Kind::Waiting, reason) if reason.starts_with(NOT_IN_TRACES) => {
            format!("does the agent trace these calls, under these ids? aftercall why {one} --source {source}")
        }
        (Kind::Waiting, _) => format!("aftercall why {one} --source {source}"),
        (Kind::Unexplained, _) => format!("report it, with: aftercall show {one} --source {source} --json"),
        (Kind::Error, _) => format!("aftercall doctor, then: aftercall reprocess --status error --source {source}"),
        (Kind::Skipped, "unknown_intent" | "low_confidence" | "inconsistent_reading") => {
            format!("read it: aftercall show {one} --source {source}")
        }
        (Kind::Skipped, _) => format!("nothing; one of them: aftercall show {one} --source {source}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::inspect::{
            coverage,
            tests::{session, verdict},
        },
        test_support::{Planned, TestDb, fill, on_each_database},
    };

    on_each_database! {
        each_day_adds_up_and_each_remainder_says_why_who_and_what_to_do,
        a_day_is_read_by_its_index,
        a_session_behind_an_upstream_that_is_down_waits_for_that,
    }

    async fn moved(db: &Db, id: &str, at: &str) {
        let at: DateTime<Utc> = at.parse().unwrap();
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "UPDATE sessions SET first_activity_at = $2 WHERE session_id = $1",
            &params![id, at],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }

    async fn each_day_adds_up_and_each_remainder_says_why_who_and_what_to_do(database: TestDb) {
        let db = &database.db;
        let today = db.now().await.unwrap().date_naive();
        let yesterday = today.pred_opt().unwrap();
        for (id, status) in [
            ("a", "pass"),
            ("b", "fail"),
            ("c 3", "skipped"),
            ("d", "error"),
            ("e", "partial"),
        ] {
            session(db, "calls", id, "done", None).await;
            verdict(db, "calls", id, 1, status).await;
            moved(db, id, &format!("{today}T00:00:00Z")).await;
        }
        for id in ["w1", "w2", "w3"] {
            session(db, "calls", id, "verifying", Some("not found yet")).await;
            moved(db, id, &format!("{yesterday}T23:59:59.999999Z")).await;
        }
        session(db, "calls", "x", "settled", None).await;
        moved(db, "x", &format!("{yesterday}T00:00:00Z")).await;
        session(db, "calls", "y", "done", None).await;

        let days = by_day(db, 2).await.unwrap();
        let seen: Vec<_> = days.iter().map(|day| (day.day, day.seen)).collect();
        assert_eq!(seen, [(Some(today), 5), (Some(yesterday), 4)]);
        assert_eq!(by_day(db, 1).await.unwrap().len(), 1);
        let remainders: Vec<_> = days
            .iter()
            .flat_map(|day| &day.remainders)
            .map(|left| {
                (
                    left.kind.as_str(),
                    left.reason.as_str(),
                    left.sessions,
                    left.example.as_str(),
                )
            })
            .collect();
        assert_eq!(
            remainders,
            [
                ("error", "all_confirmed", 1, "d"),
                ("skipped", "all_confirmed", 1, "c 3"),
                ("unexplained", "settled, without a reason to wait", 1, "x"),
                ("waiting", "not found yet", 3, "w1"),
            ]
        );
        assert_eq!(
            days[0].remainders[1].act,
            "nothing; one of them: aftercall show 'c 3' --source calls"
        );
        assert_eq!(days[1].remainders[1].act, "aftercall why w1 --source calls");

        let all = by_source(db).await.unwrap();
        let counted = coverage::by_source(db).await.unwrap();
        for (all, counted) in all.iter().zip(&counted) {
            let ended = all.pass + all.partial + all.fail + all.skipped + all.error;
            assert_eq!(all.seen, ended + all.waiting + all.unexplained);
            let left: u64 = all.remainders.iter().map(|left| left.sessions).sum();
            assert_eq!(left, all.skipped + all.error + all.waiting + all.unexplained);
            assert_eq!(
                (all.seen, all.pass, all.skipped, all.error, all.waiting, all.unexplained),
                (
                    counted.seen,
                    counted.pass,
                    counted.skipped,
                    counted.error,
                    counted.waiting,
                    counted.unexplained
                )
            );
        }
        let named: Vec<String> = unexplained(db)
            .await
            .unwrap()
            .into_iter()
            .map(|one| one.session_id)
            .collect();
        assert_eq!(named, ["x", "y"]);
    }

    async fn a_day_is_read_by_its_index(database: TestDb) {
        let db = &database.db;
        fill(
            db,
            &["INSERT INTO sessions (source, session_id, first_activity_at, last_activity_at, observation_count, trace_count, digest,
                   digest_since, open_since, state, discovered_at, updated_at)
               SELECT 's', n, now() - n * interval '1 minute', now(), 1, 1, 'd', now(), now(), 'done', now(), now()
               FROM generate_series(1, 50000) n"],
        )
        .await;
        let now = db.now().await.unwrap();
        Planned {
            steps: db.plan_of(OF_DAYS, &params![since(now, 1)]).await,
            index: ["sessions_first_activity", "sessions_first_activity"],
        }
        .reads_by_index(db, &["sessions", "s", "verdicts"]);
    }

    async fn a_session_behind_an_upstream_that_is_down_waits_for_that(database: TestDb) {
        let db = &database.db;
        session(db, "calls", "a", "analyzing", Some("waiting for its analysis")).await;
        session(db, "calls", "b", "settled", Some("waiting for its analysis")).await;
        let mut tx = db.begin().await.unwrap();
        tx.execute(
            "INSERT INTO gates (key, state, reason, detail, updated_at) VALUES ('llm:default', 'closed', 'billing', 'status 402', $1)",
            &params![DateTime::from_timestamp(9, 0)],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let all = by_source(db).await.unwrap();
        let [left] = all[0].remainders.as_slice() else {
            panic!("{all:?}")
        };
        assert_eq!((left.sessions, left.example.as_str()), (2, "a"));
        assert!(
            left.reason.contains("llm:default is not available (billing)"),
            "{}",
            left.reason
        );
    }
}
