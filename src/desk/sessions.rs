//! Sessions, what holds them, and whether all are accounted for.

use super::{
    Desk, Trouble,
    jobs::unreadable,
    pages::{asked, walk, whole},
};
use crate::{
    operate::{
        coverage::{CoverageLine, Facts},
        page,
    },
    store::inspect::{
        remainders::{self, Accounted},
        session,
        sessions::{self, Cursor, SessionFilter, SessionLine, SessionPage},
    },
    timeline::{self, Timeline},
    why::{self, Found},
};

/// The list that cursors of sessions belong to.
const KIND: &str = "sessions";
/// Sessions of one id, at most.
const NAMESAKES: usize = 100;

impl Desk {
    /// The next sessions after `after` that match and, where it is said, wait for a reason that contains `waiting_for`.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn sessions(
        &self,
        filter: &SessionFilter,
        waiting_for: Option<&str>,
        after: Option<&Cursor>,
    ) -> Result<SessionPage, Trouble> {
        match self {
            Self::Database(here) => Ok(sessions::page(&here.db, filter, waiting_for, after).await?),
            Self::Api(api) => {
                let mut query = query(filter);
                query.extend(asked("waiting_for", waiting_for.as_ref()));
                let after = after.map(|after| page::encode(KIND, after));
                let (sessions, next) = walk(api, &["sessions"], &query, after, filter.limit as usize).await?;
                let next = next.map(|next| page::decode::<String>(KIND, &next)?.parse().ok());
                Ok(SessionPage {
                    sessions,
                    next: next.map(|next| next.ok_or_else(unreadable)).transpose()?,
                })
            }
        }
    }

    /// The sessions of this id, in any source.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn find(&self, source: Option<&str>, id: &str) -> Result<Vec<SessionLine>, Trouble> {
        match self {
            Self::Database(here) => Ok(session::find(&here.db, source, id).await?),
            Self::Api(api) => {
                let mut query = vec![("id", id.to_owned())];
                query.extend(asked("source", source.as_ref()));
                Ok(walk(api, &["sessions"], &query, None, NAMESAKES).await?.0)
            }
        }
    }

    /// Everything known of a session that was found.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn timeline(&self, line: SessionLine) -> Result<Timeline, Trouble> {
        match self {
            Self::Database(here) => Ok(timeline::of(&here.db, line).await?),
            Self::Api(api) => Ok(api
                .get(&["sessions", &line.key.source, &line.key.session_id], &[])
                .await?),
        }
    }

    /// What holds what is called so.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn why(&self, name: &str, source: Option<&str>) -> Result<Found, Trouble> {
        match self {
            Self::Database(here) => Ok(why::why(&here.db, here.config.queue.lease, name, source).await?),
            Self::Api(api) => {
                let query: Vec<_> = asked("source", source.as_ref()).into_iter().collect();
                let answer = api.get(&["why", name], &query).await;
                match answer {
                    Ok(answer) => Ok(Found::One(Box::new(answer))),
                    Err(error) if error.code.as_deref() == Some("unknown_session") => Ok(Found::Nothing),
                    // Sessions of several sources have this id: which, the list of sessions says.
                    Err(error) if error.code.as_deref() == Some("bad_query") => match self.find(source, name).await? {
                        found if found.len() > 1 => Ok(Found::Several(found)),
                        _ => Err(error.into()),
                    },
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Whether every session of every source is accounted for, with so many of the latest scans of each.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn coverage(&self, cycles: u32) -> Result<Vec<CoverageLine>, Trouble> {
        match self {
            Self::Database(here) => Ok(Facts::read(&here.db, cycles).await?.lines(&here.config)),
            Self::Api(api) => whole(api, &["coverage"], &[("cycles", cycles.to_string())]).await,
        }
    }

    /// The same by source and day, for so many days, today among them.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn coverage_by_day(&self, days: u32) -> Result<Vec<Accounted>, Trouble> {
        match self {
            Self::Database(here) => Ok(remainders::by_day(&here.db, days).await?),
            Self::Api(api) => whole(api, &["coverage", "days"], &[("days", days.to_string())]).await,
        }
    }
}

fn query(filter: &SessionFilter) -> Vec<(&'static str, String)> {
    let statuses = (!filter.statuses.is_empty()).then(|| filter.statuses.join(","));
    [
        asked("source", filter.source.as_ref()),
        asked("id", filter.session_id.as_ref()),
        asked("status", statuses.as_ref()),
        asked("intent", filter.intent.as_ref()),
        asked("state", filter.state.as_ref()),
        asked("id_contains", filter.id_contains.as_ref()),
        asked("since", filter.since.map(|at| at.to_rfc3339()).as_ref()),
        asked("until", filter.until.map(|at| at.to_rfc3339()).as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
