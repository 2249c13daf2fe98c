//! Whether every session of every source is accounted for, as far as the configuration and the database know it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Reanalyze},
    db::{Db, DbError},
    store::{
        inspect::{
            coverage::{self, Coverage, Unreadable},
            cycles::{self, CycleLine},
            remainders::{self, Accounted, Remainder, Unexplained},
        },
        seen,
    },
};

/// Places that could not be read, listed at most.
const UNREADABLE: u32 = 20;

/// Whether a source is scanned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scanned {
    /// It is.
    On,
    /// It is switched off.
    Off,
    /// The database knows it, the configuration does not.
    #[default]
    NotConfigured,
}

/// One source.
#[derive(Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CoverageLine {
    /// Its sessions.
    #[serde(flatten)]
    pub counted: Coverage,
    /// Whether it is scanned.
    pub scanned: Scanned,
    /// Traces that name no session.
    pub loose_traces: u64,
    /// Whether sessions are made of those.
    pub group_without_session: bool,
    /// Sessions with activity after their verdict that nobody judges again.
    pub changed_and_not_judged_again: u64,
    /// Those without a verdict that says what is there, by reason.
    pub remainders: Vec<Remainder>,
    /// Of those that nothing explains, some by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unexplained_sessions: Vec<Unexplained>,
    /// Places of it that could not be read, the latest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable_places: Vec<Unreadable>,
    /// Latest first.
    pub cycles: Vec<CycleLine>,
}

/// What the database knows, by source.
#[derive(Debug, Default)]
pub struct Facts {
    /// Sessions.
    pub counted: Vec<Coverage>,
    /// Those without a verdict that says what is there.
    pub remainders: Vec<Accounted>,
    /// Some of those that nothing explains.
    pub unexplained: Vec<Unexplained>,
    /// The latest places that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Traces that name no session.
    pub loose: BTreeMap<String, u64>,
    /// Sessions with activity after their verdict.
    pub changed: BTreeMap<String, u64>,
    /// The latest scans, latest first.
    pub cycles: BTreeMap<String, Vec<CycleLine>>,
}

impl Facts {
    /// Reads them, with so many of the latest cycles of each source.
    ///
    /// # Errors
    /// When the database cannot answer.
    pub async fn read(db: &Db, cycles: u32) -> Result<Self, DbError> {
        let counted = coverage::by_source(db).await?;
        let is_bad = counted.iter().any(|source| source.unexplained > 0);
        Ok(Self {
            counted,
            remainders: remainders::by_source(db).await?,
            unexplained: if is_bad {
                remainders::unexplained(db).await?
            } else {
                Vec::new()
            },
            unreadable: coverage::unreadable(db, UNREADABLE).await?,
            loose: seen::loose_traces(db).await?,
            changed: cycles::changed_since_verdict(db).await?,
            cycles: cycles::latest(db, cycles).await?,
        })
    }

    /// Every source that the configuration or the database knows, by name.
    pub fn lines(mut self, config: &Config) -> Vec<CoverageLine> {
        let mut lines: BTreeMap<String, CoverageLine> = BTreeMap::new();
        for counted in self.counted {
            let name = counted.source.clone();
            lines.entry(name).or_default().counted = counted;
        }
        for accounted in self.remainders {
            lines.entry(accounted.source).or_default().remainders = accounted.remainders;
        }
        for session in self.unexplained {
            let line = lines.entry(session.source.clone()).or_default();
            line.unexplained_sessions.push(session);
        }
        for place in self.unreadable {
            let line = lines.entry(place.source.clone()).or_default();
            line.unreadable_places.push(place);
        }
        let known = self.loose.keys().chain(self.cycles.keys());
        for name in known.chain(config.sources.iter().map(|source| &source.name)) {
            lines.entry(name.clone()).or_default();
        }
        for (name, line) in &mut lines {
            let configured = config.sources.iter().find(|source| source.name == *name);
            line.counted.source.clone_from(name);
            line.scanned = scanned(config, name);
            line.group_without_session = configured.is_some_and(|source| source.group_without_session);
            line.loose_traces = self.loose.get(name).copied().unwrap_or_default();
            if configured.is_some_and(|source| source.reanalyze == Reanalyze::Never) {
                line.changed_and_not_judged_again = self.changed.get(name).copied().unwrap_or_default();
            }
            line.cycles = self.cycles.remove(name).unwrap_or_default();
        }
        lines.into_values().collect()
    }
}

pub(super) fn scanned(config: &Config, name: &str) -> Scanned {
    match config.source(name) {
        None => Scanned::NotConfigured,
        Some(source) if source.enabled => Scanned::On,
        Some(_) => Scanned::Off,
    }
}
