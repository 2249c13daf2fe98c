//! Builds [`Env`] from the configuration: adapters, playbooks, schedules. Calls none of them.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context, bail};

use tokio::sync::Semaphore;

use crate::{
    adapters::{
        self,
        bundle::{Bundle, BundleConfig, BundleSettle},
        cloud9::{AllowedHours, Cloud9, Cloud9Lookup, Credentials, Procedure},
        http_records::{HttpAuth, HttpRecords, HttpRecordsConfig},
        langfuse::{Api, Langfuse, LangfuseConfig, Windows},
        openai::{OpenAi, OpenAiConfig},
        secret::Secret,
        sql_records::{SqlRecords, SqlRecordsConfig},
        watched::Watched,
    },
    config::{
        self, ClientAuthMethod, Cloud9Config, Cloud9Method, Config, HttpAuthConfig, LangfuseApi, LangfuseSource,
        LlmConfig, PlaybookName, RecordsConfig, RecordsKind, Settle, SourceConfig, SourceKind, SqlConfig,
    },
    db::Db,
    domain::{
        lookup::{HttpLookup, SqlLookup},
        playbook::{Playbook, presets},
    },
    ports::{LanguageModel, SystemOfRecord, TraceSource},
    queue::{self, LimitSetting, WorkerSettings},
    readings_file::ReadingsFile,
    store::retention::Ages,
};

use super::{Env, ModelEntry, RecordsEntry, Schedules, Settings, SourceEntry, Upstreams, fit};

/// Large sessions that one process analyses at once: each takes some 100 MB, and the others wait as what was read of them.
const LARGE_SESSIONS: usize = 1;

impl Upstreams {
    /// Builds the adapters that the configuration names. Does not call any of them.
    ///
    /// # Errors
    /// When a playbook does not hold, or speaks of a system that is not configured.
    pub fn build(config: &Config) -> anyhow::Result<Self> {
        let mut sources = BTreeMap::new();
        for source in &config.sources {
            sources.insert(source.name.clone(), build_source(source)?);
        }
        let mut lookups: BTreeMap<String, BTreeMap<String, HttpLookup>> = BTreeMap::new();
        let mut statements: BTreeMap<String, BTreeMap<String, SqlLookup>> = BTreeMap::new();
        for entry in sources.values().filter(|entry| entry.enabled) {
            for system in entry.playbook.systems() {
                let Some(records) = config.system(&system) else {
                    bail!(
                        "playbook {} of source {} keeps records in `{system}`, but there is no [[records]] of that name: add one with its base_url (with --bundle: --records URL)",
                        entry.playbook.reference().name,
                        entry.name()
                    );
                };
                let misfits = fit::misfits(&entry.playbook, records);
                if !misfits.is_empty() {
                    bail!("{}", misfits.join("\n"));
                }
                let asked = entry.playbook.http_lookups(&system);
                merge_lookups(lookups.entry(system.clone()).or_default(), asked, entry, &system)?;
                let asked = entry.playbook.sql_lookups(&system);
                merge_lookups(statements.entry(system.clone()).or_default(), asked, entry, &system)?;
            }
        }
        let mut systems = BTreeMap::new();
        for records in &config.records {
            let adapter: Arc<dyn SystemOfRecord> = match &records.kind {
                RecordsKind::Http {
                    base_url,
                    headers,
                    more,
                } => {
                    let config = HttpRecordsConfig {
                        api: more.preset.as_deref().and_then(presets::api).unwrap_or_default(),
                        auth: more.auth.as_ref().map(http_auth).unwrap_or_default(),
                        headers: headers
                            .iter()
                            .map(|(name, secret)| (name.clone(), Secret::new(secret.expose())))
                            .collect(),
                        values: more.values.clone(),
                        timeout: records.timeout,
                        pace: records.pace,
                        max_pages: more.max_pages as usize,
                        ..HttpRecordsConfig::new(base_url)
                    };
                    let lookups = lookups.remove(&records.name).unwrap_or_default();
                    Arc::new(
                        HttpRecords::new(&records.name, config, lookups)
                            .with_context(|| format!("[[records]] {}", records.name))?,
                    )
                }
                RecordsKind::Cloud9(cloud9) => {
                    let enabled = sources.values().filter(|entry| entry.enabled);
                    let lookups = fit::cloud9_lookups(enabled.map(|entry| entry.playbook.as_ref()), &records.name)?;
                    Arc::new(build_cloud9(records, cloud9, lookups)?)
                }
                RecordsKind::Sql(sql) => {
                    let lookups = statements.remove(&records.name).unwrap_or_default();
                    Arc::new(build_sql(records, sql, lookups)?)
                }
            };
            let system = Arc::new(Watched::new(adapter));
            systems.insert(
                records.name.clone(),
                RecordsEntry {
                    system,
                    pace: records.pace,
                },
            );
        }
        Ok(Self {
            sources,
            systems,
            model: config
                .llm
                .as_ref()
                .map(|llm| build_model(llm, &config.sources))
                .transpose()?,
        })
    }
}

impl Env {
    /// Builds the adapters that the configuration names. Does not call any of them.
    ///
    /// # Errors
    /// When a playbook does not hold, a schedule is none, or a playbook speaks of a system that is not configured.
    pub fn build(config: &Config, db: &Db) -> anyhow::Result<Self> {
        let Upstreams {
            sources,
            systems,
            model,
        } = Upstreams::build(config)?;
        Ok(Self {
            db: db.clone(),
            settings: settings(config)?,
            sources,
            systems,
            model,
            large_sessions: Semaphore::new(LARGE_SESSIONS),
            readings: config.readings.as_deref().map(ReadingsFile::load).transpose()?,
        })
    }
}

impl Env {
    /// Of a process that runs no job: there is nobody to call, and no secret is needed.
    ///
    /// # Errors
    /// When a schedule is none.
    pub fn without_upstreams(config: &Config, db: &Db) -> anyhow::Result<Self> {
        Ok(Self {
            db: db.clone(),
            settings: settings(config)?,
            sources: BTreeMap::new(),
            systems: BTreeMap::new(),
            model: None,
            large_sessions: Semaphore::new(LARGE_SESSIONS),
            readings: None,
        })
    }
}

/// How the workers of a process are set up.
pub fn worker_settings(config: &Config) -> WorkerSettings {
    let limits = &config.limits;
    let max = |max_running: u32| LimitSetting {
        max_running: Some(max_running),
        rate: None,
    };
    WorkerSettings {
        lease: config.queue.lease,
        heartbeat: config.queue.heartbeat,
        poll: config.queue.poll,
        grace: config.queue.grace,
        limits: BTreeMap::from([
            ("analyze_session".to_owned(), max(limits.analyze_session)),
            (
                "diagnose_session".to_owned(),
                LimitSetting {
                    max_running: Some(limits.diagnose_session),
                    rate: Some(Some((limits.diagnose_starts, limits.diagnose_window))),
                },
            ),
        ]),
        ..WorkerSettings::default()
    }
}

/// Reads a playbook by its name: one that ships with aftercall, or a file.
///
/// # Errors
/// With every fault of the playbook.
pub fn load_playbook(name: &PlaybookName) -> anyhow::Result<Playbook> {
    match name {
        PlaybookName::BuiltIn(name) => Playbook::built_in(name).with_context(|| {
            let known: Vec<&str> = Playbook::BUILT_IN.iter().map(|(name, _)| *name).collect();
            format!(
                "there is no built-in playbook `{name}` (there are: {}); a file is named by its path",
                known.join(", ")
            )
        }),
        PlaybookName::File(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("cannot read the playbook {}", path.display()))?;
            Playbook::parse(&path.display().to_string(), &text).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{}", faults.join("\n"))
            })
        }
    }
}

fn build_source(source: &SourceConfig) -> anyhow::Result<SourceEntry> {
    let playbook = load_playbook(&source.playbook).with_context(|| format!("[[source]] {}", source.name))?;
    let (kind, adapter): (_, Arc<dyn TraceSource>) = match &source.kind {
        SourceKind::Bundle { path, settle } => ("bundle", Arc::new(build_bundle(&source.name, path, *settle))),
        SourceKind::Langfuse(langfuse) => ("langfuse", Arc::new(build_langfuse(&source.name, langfuse)?)),
    };
    Ok(SourceEntry {
        source: Arc::new(Watched::new(adapter)),
        kind,
        enabled: source.enabled,
        playbook: Arc::new(playbook),
        reanalyze: source.reanalyze,
        settle: source.settle_rules(),
        group_without_session: source.group_without_session,
        artifacts: source.artifacts.clone(),
    })
}

fn build_bundle(name: &str, path: &Path, settle: Settle) -> Bundle {
    Bundle::new(BundleConfig {
        settle: match settle {
            Settle::EndOfFile => BundleSettle::EndOfFile,
            Settle::Idle => BundleSettle::Idle,
        },
        ..BundleConfig::new(name, path)
    })
}

fn build_langfuse(name: &str, langfuse: &LangfuseSource) -> anyhow::Result<Langfuse> {
    let public_key = Secret::new(langfuse.public_key.expose());
    let secret_key = Secret::new(langfuse.secret_key.expose());
    let adapter = Langfuse::new(LangfuseConfig {
        api: match langfuse.api {
            LangfuseApi::Auto => Api::Auto,
            LangfuseApi::Observations => Api::Observations,
            LangfuseApi::Traces => Api::Traces,
        },
        environments: langfuse.environments.clone(),
        windows: Windows {
            since: langfuse.since,
            overlap: langfuse.overlap,
            slice: langfuse.slice,
            rescan: langfuse.rescan,
            rescan_every: langfuse.rescan_every,
        },
        requests_per_minute: langfuse.requests_per_minute,
        end_tags: langfuse.end_tags.clone(),
        end_spans: langfuse.end_spans.clone(),
        end_metadata: langfuse.end_metadata.clone(),
        timeout: langfuse.timeout,
        ..LangfuseConfig::new(name, &langfuse.base_url, public_key, secret_key)
    })?;
    Ok(adapter)
}

fn http_auth(auth: &HttpAuthConfig) -> HttpAuth {
    let secret = |secret: &config::Secret| Secret::new(secret.expose());
    match auth {
        HttpAuthConfig::Bearer { token } => HttpAuth::Bearer(secret(token)),
        HttpAuthConfig::OAuth2 {
            token_url,
            client_id,
            client_secret,
            scope,
            method,
        } => HttpAuth::ClientCredentials {
            token_url: token_url.clone(),
            client_id: secret(client_id),
            client_secret: secret(client_secret),
            scope: scope.clone(),
            in_body: *method == ClientAuthMethod::ClientSecretPost,
        },
        HttpAuthConfig::PrivateKeyJwt {
            token_url,
            client_id,
            private_key,
            key_id,
            audience,
            scope,
        } => HttpAuth::PrivateKeyJwt {
            token_url: token_url.clone(),
            client_id: client_id.expose().to_owned(),
            private_key: secret(private_key),
            key_id: key_id.clone(),
            audience: audience.clone(),
            scope: scope.clone(),
        },
        HttpAuthConfig::ApiKey {
            token_url,
            api_key,
            token,
            lifetime,
        } => HttpAuth::ApiKey {
            token_url: token_url.clone(),
            api_key: secret(api_key),
            token: token.clone(),
            lifetime: *lifetime,
        },
    }
}

fn build_cloud9(
    records: &RecordsConfig,
    cloud9: &Cloud9Config,
    lookups: BTreeMap<String, Cloud9Lookup>,
) -> anyhow::Result<Cloud9> {
    let secret = |secret: &config::Secret| Secret::new(secret.expose());
    let credentials = Credentials {
        client_id: secret(&cloud9.client_id),
        user: secret(&cloud9.user),
        password: secret(&cloud9.password),
    };
    let config = adapters::cloud9::Cloud9Config {
        get_with_body: cloud9.method == Cloud9Method::GetWithBody,
        timezone: cloud9.timezone,
        allowed_hours: cloud9
            .allowed_hours
            .map(|hours| AllowedHours::new(hours.from, hours.to)),
        timeout: records.timeout,
        pace: records.pace,
        procedure_pace: cloud9
            .procedure_pace
            .iter()
            .filter_map(|(name, pace)| Some((Procedure::parse(name)?, *pace)))
            .collect(),
        ..adapters::cloud9::Cloud9Config::new(&cloud9.url, credentials)
    };
    Cloud9::new(&records.name, config, lookups).with_context(|| format!("[[records]] {}", records.name))
}

fn build_sql(
    records: &RecordsConfig,
    sql: &SqlConfig,
    lookups: BTreeMap<String, SqlLookup>,
) -> anyhow::Result<SqlRecords> {
    let config = SqlRecordsConfig {
        password: sql.password.as_ref().map(|password| Secret::new(password.expose())),
        folder: sql.folder.clone(),
        timeout: records.timeout,
        ..SqlRecordsConfig::new(Secret::new(sql.url.expose()))
    };
    SqlRecords::new(&records.name, &config, lookups).with_context(|| format!("[[records]] {}", records.name))
}

/// Two playbooks may keep records in one system, but a kind of record is asked for in one way.
fn merge_lookups<L: PartialEq>(
    into: &mut BTreeMap<String, L>,
    asked: BTreeMap<String, L>,
    entry: &SourceEntry,
    system: &str,
) -> anyhow::Result<()> {
    for (kind, lookup) in asked {
        if into.get(&kind).is_some_and(|other| *other != lookup) {
            bail!(
                "two playbooks ask `{system}` for `{kind}` in different ways (the second is {}): name the systems apart",
                entry.playbook.reference().name
            );
        }
        into.insert(kind, lookup);
    }
    Ok(())
}

fn build_model(llm: &LlmConfig, sources: &[SourceConfig]) -> anyhow::Result<ModelEntry> {
    let adapter = OpenAi::new(OpenAiConfig {
        api_key: llm.api_key.as_ref().map(|key| Secret::new(key.expose())),
        timeout: llm.timeout,
        ..OpenAiConfig::new("default", &llm.base_url, &llm.model)
    })
    .context("[llm]")?;
    let adapter: Arc<dyn LanguageModel> = Arc::new(adapter);
    Ok(ModelEntry {
        model: Arc::new(Watched::new(adapter)),
        max_tokens: llm.max_tokens,
        mask: llm.mask,
        prices: (llm.price_prompt, llm.price_completion),
        daily_budgets: sources
            .iter()
            .filter_map(|source| Some((source.name.clone(), source.daily_budget_micros()?)))
            .collect(),
    })
}

fn settings(config: &Config) -> anyhow::Result<Settings> {
    let schedule = |name: &str, expression: &str| {
        queue::parse_schedule(expression).map_err(|error| anyhow::anyhow!("[schedule] {name}: {error}"))
    };
    Ok(Settings {
        schedule: Schedules {
            discover_sessions: schedule("discover_sessions", &config.schedule.discover_sessions)?,
            evaluate_alerts: schedule("evaluate_alerts", &config.schedule.evaluate_alerts)?,
            reconcile: schedule("reconcile", &config.schedule.reconcile)?,
            prune_history: schedule("prune_history", &config.schedule.prune_history)?,
        },
        look_again: config.verification.look_again.clone(),
        give_up_after: config.verification.give_up_after,
        alerts: config.alerts.clone(),
        retention: Ages {
            finished_jobs: config.retention.finished_jobs,
            snapshots: config.retention.snapshots,
        },
        outage_wait: config.verification.outage_wait,
        outage_wait_most: config.verification.outage_wait_most,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_knows_the_presets_that_there_are() {
        let known = presets::PRESETS.map(|(name, _)| name);
        assert_eq!(config::HTTP_PRESETS, known);
    }
}
