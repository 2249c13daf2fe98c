//! The system of record of an evaluation: a folder of records, served and asked over HTTP as a real one is.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context as _, bail};

use crate::{
    adapters::http_records::{HttpRecords, HttpRecordsConfig},
    domain::{
        judge::{self, Case},
        lookup::{Fact, Facts, Lookup},
        playbook::Playbook,
    },
    ports::SystemOfRecord as _,
    sandbox::{
        Server,
        records::{self, Records},
    },
};

/// Asked more often than this for one session, the playbook goes in circles.
const MOST_ROUNDS: usize = 50;

pub(super) struct World {
    records: Arc<Records>,
    /// Held until the end.
    _server: Server,
    systems: BTreeMap<String, HttpRecords>,
}

impl World {
    pub(super) async fn open(folder: &Path, playbook: &Playbook) -> anyhow::Result<Self> {
        let records = Arc::new(Records::load(folder)?);
        let server = records::start(Arc::clone(&records)).await?;
        let mut systems = BTreeMap::new();
        for system in playbook.systems() {
            let lookups = playbook.http_lookups(&system);
            if lookups.is_empty() {
                bail!(
                    "playbook {} asks system `{system}` by other means than a path: a folder of records cannot answer for it",
                    playbook.head.name
                );
            }
            let config = HttpRecordsConfig::new(server.url());
            systems.insert(system.clone(), HttpRecords::new(&system, config, lookups)?);
        }
        Ok(Self {
            records,
            _server: server,
            systems,
        })
    }

    /// Whether the record of this key was there before any session.
    pub(super) fn holds(&self, key: &str) -> bool {
        let parts = key.rsplit_once('/');
        parts.is_some_and(|(kind, id)| self.records.was_there(kind, id))
    }

    async fn ask(&self, lookup: &Lookup) -> anyhow::Result<Fact> {
        let system = self.systems.get(&lookup.system).with_context(|| {
            format!(
                "the playbook asks a system `{}` that it does not describe",
                lookup.system
            )
        })?;
        let answer = system.look_up(lookup).await;
        Ok(answer
            .with_context(|| format!("the folder of records cannot answer for {}", lookup.record))?
            .fact)
    }

    /// Everything that the judge asks for. What is `known` is not asked again.
    pub(super) async fn facts(&self, playbook: &Playbook, case: &Case, known: &Facts) -> anyhow::Result<Facts> {
        let mut facts = Facts::new();
        for _ in 0..MOST_ROUNDS {
            let plan = judge::plan(playbook, case, &facts);
            if plan.is_empty() {
                return Ok(facts);
            }
            for lookup in plan {
                let fact = match known.get(&lookup) {
                    Some(fact) => fact.clone(),
                    None => self.ask(&lookup).await?,
                };
                facts.insert(lookup, fact);
            }
        }
        bail!(
            "session {}: the playbook asks one question after the other without end",
            case.session.session_id
        )
    }
}
