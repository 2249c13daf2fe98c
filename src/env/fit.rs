//! Whether a playbook asks a system of record in a way that its kind can be asked in. `aftercall check` reports what does not,
//! and nothing starts with it.

use std::{collections::BTreeMap, iter};

use anyhow::bail;

use crate::{
    adapters::cloud9::Cloud9Lookup,
    config::{RecordsConfig, RecordsKind},
    domain::{lookup::RecordLookup, playbook::Playbook, sql::Dialect},
};

/// What of a playbook does not fit the system, each with what to do.
pub fn misfits(playbook: &Playbook, records: &RecordsConfig) -> Vec<String> {
    let system = &records.name;
    let name = playbook.reference().name;
    if let RecordsKind::Cloud9(_) = records.kind {
        let lookups = cloud9_lookups(iter::once(playbook), system);
        return lookups.err().map(|error| error.to_string()).into_iter().collect();
    }
    let mut misfits = Vec::new();
    for (record, lookup) in playbook.lookups(system) {
        let reason = match (&records.kind, lookup) {
            (RecordsKind::Http { .. }, Some(RecordLookup::Sql(_))) => {
                "has a lookup by `sql`, but that system is of kind http: give it a `path`, or make the system one of kind sql"
                    .to_owned()
            }
            (RecordsKind::Sql(_), Some(RecordLookup::Http(_))) => {
                "has a lookup by `path`, but that system is of kind sql: give it `sql = \"SELECT …\"`, or make the system one of \
                 kind http"
                    .to_owned()
            }
            (RecordsKind::Sql(_), None) => {
                "has no lookup, but that system is of kind sql: give it `sql = \"SELECT …\"`".to_owned()
            }
            (RecordsKind::Sql(sql), Some(RecordLookup::Sql(lookup))) => {
                let fits = Dialect::of_address(sql.url.expose()).map(|dialect| lookup.statement.fits(dialect));
                match fits {
                    Some(Err(reason)) => format!("has a lookup by `sql` that is none of its own: {reason}"),
                    Some(Ok(())) | None => continue,
                }
            }
            (RecordsKind::Http { .. } | RecordsKind::Cloud9(_), _) => continue,
        };
        misfits.push(format!("playbook {name}: `{record}`, kept in `{system}`, {reason}"));
    }
    misfits
}

/// What of the playbooks Cloud9 is asked for: patients, appointments, and patients by name.
pub(super) fn cloud9_lookups<'p>(
    playbooks: impl Iterator<Item = &'p Playbook>,
    system: &str,
) -> anyhow::Result<BTreeMap<String, Cloud9Lookup>> {
    let mut lookups = BTreeMap::new();
    for playbook in playbooks {
        for record in playbook.records.iter().filter(|record| record.system == system) {
            let lookup = match record.kind.as_str() {
                "patient" => Cloud9Lookup::Patient,
                "appointment" => Cloud9Lookup::Appointments,
                other => bail!(
                    "playbook {} keeps records of kind `{other}` in `{system}`, which is of kind cloud9: there are `patient` and `appointment`",
                    playbook.reference().name
                ),
            };
            lookups.insert(record.kind.clone(), lookup);
        }
        for search in playbook.searches.iter().filter(|search| search.system == system) {
            if search.record != "patient" {
                bail!(
                    "playbook {} searches `{}` in `{system}`, which is of kind cloud9: only patients are found by name",
                    playbook.reference().name,
                    search.record
                );
            }
            lookups.insert(search.name.clone(), Cloud9Lookup::PatientSearch);
        }
    }
    Ok(lookups)
}
