//! The sources, and how their latest scan went.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::coverage::{Scanned, scanned};
use crate::{
    config::{Config, SourceKind},
    db::{Db, DbError},
    store::inspect::{
        coverage,
        cycles::{self, CycleLine},
    },
};

/// One source.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Source)]
pub struct SourceLine {
    /// Its name.
    pub name: String,
    /// `bundle`, `langfuse`; null when it is not configured.
    pub kind: Option<String>,
    /// Whether it is scanned.
    pub scanned: Scanned,
    /// The playbook that its sessions are judged by.
    pub playbook: Option<String>,
    /// Sessions seen.
    pub sessions: u64,
    /// Its latest scan.
    pub latest_cycle: Option<CycleLine>,
}

/// Every source that the configuration or the database knows, by name.
///
/// # Errors
/// When the database cannot answer.
pub async fn all(db: &Db, config: &Config) -> Result<Vec<SourceLine>, DbError> {
    let mut latest = cycles::latest(db, 1).await?;
    let counted = coverage::by_source(db).await?.into_iter();
    let mut seen: BTreeMap<String, u64> = counted.map(|line| (line.source, line.seen)).collect();
    for name in latest.keys().chain(config.sources.iter().map(|source| &source.name)) {
        seen.entry(name.clone()).or_default();
    }
    let line = |(name, sessions): (String, u64)| {
        let configured = config.source(&name);
        SourceLine {
            kind: configured.map(|source| match source.kind {
                SourceKind::Bundle { .. } => "bundle".to_owned(),
                SourceKind::Langfuse(_) => "langfuse".to_owned(),
            }),
            scanned: scanned(config, &name),
            playbook: configured.map(|source| source.playbook.to_string()),
            sessions,
            latest_cycle: latest.remove(&name).and_then(|cycles| cycles.into_iter().next()),
            name,
        }
    };
    Ok(seen.into_iter().map(line).collect())
}
