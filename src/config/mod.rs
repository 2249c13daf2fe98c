//! The configuration: `aftercall.toml` ← environment `AFTERCALL_…` ← flags.
//!
//! Everything works without a file. Unknown keys are refused with file, line and the key that was probably meant, and all
//! faults are reported at once. A setting `key` of section `[queue]` is overridden by `AFTERCALL_QUEUE_KEY`, one of
//! `[[records]]` named `airline` by `AFTERCALL_RECORDS_AIRLINE_KEY`.

pub mod alert;
pub mod cloud9;
pub mod database;
mod database_url;
pub mod duration;
mod fault;
pub mod http_records;
pub mod langfuse;
pub mod limits;
pub mod llm;
mod names;
mod nearest;
pub mod queue;
pub mod records;
pub mod retention;
pub mod schedule;
pub mod secret;
mod section;
pub mod source;
pub mod sql;
pub mod telemetry;
mod template;
pub(crate) mod url;
pub mod verification;
pub mod webhook;

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use self::section::{Section, Source, unknown_key};
pub use self::{
    alert::{AlertMetric, AlertRule, AlertSeverity, Operator},
    cloud9::{Cloud9Config, Cloud9Method, DailyWindow},
    database::Database,
    fault::{ConfigErrors, ConfigFault, Place},
    http_records::{ClientAuthMethod, HTTP_PRESETS, HttpAuthConfig, HttpConfig},
    langfuse::{LangfuseApi, LangfuseSource},
    limits::Limits,
    llm::LlmConfig,
    nearest::nearest,
    queue::QueueConfig,
    records::{RecordsConfig, RecordsKind},
    retention::Retention,
    schedule::Schedule,
    secret::Secret,
    source::{PlaybookName, Reanalyze, Settle, SourceConfig, SourceKind},
    sql::SqlConfig,
    telemetry::TelemetryConfig,
    template::TEMPLATE,
    verification::Verification,
    webhook::WebhookConfig,
};

/// The file that is read when none is named, where it exists.
pub const DEFAULT_FILE: &str = "aftercall.toml";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Where everything is kept.
    pub database: Database,
    /// Where sessions come from.
    #[serde(rename = "source")]
    pub sources: Vec<SourceConfig>,
    /// Systems of record.
    pub records: Vec<RecordsConfig>,
    /// The LLM; `None` without one.
    pub llm: Option<LlmConfig>,
    /// When recurring work begins.
    pub schedule: Schedule,
    /// How much may run at once.
    pub limits: Limits,
    /// How patient aftercall is with a system of record.
    pub verification: Verification,
    /// How the worker processes hold their jobs.
    pub queue: QueueConfig,
    /// Alert rules.
    #[serde(rename = "alert")]
    pub alerts: Vec<AlertRule>,
    /// How long history is kept.
    pub retention: Retention,
    /// Where spans go.
    pub telemetry: TelemetryConfig,
    /// The user's own readings instead of a reader (`--readings`).
    pub readings: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: Database::default(),
            sources: Vec::new(),
            records: Vec::new(),
            llm: None,
            schedule: Schedule::default(),
            limits: Limits::default(),
            verification: Verification::default(),
            queue: QueueConfig::default(),
            alerts: AlertRule::defaults(),
            retention: Retention::default(),
            telemetry: TelemetryConfig::default(),
            readings: None,
        }
    }
}

impl Config {
    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&SourceConfig> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// The system of record of this name.
    pub fn system(&self, name: &str) -> Option<&RecordsConfig> {
        self.records.iter().find(|records| records.name == name)
    }
}

/// What flags set, above file and environment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// `--db`: a file, or the address of a server.
    pub database: Option<PathBuf>,
    /// The one source to scan, in place of a configured one of the same name (`--bundle`); the others are switched off.
    pub source: Option<SourceConfig>,
    /// Systems of record to be added, in place of configured ones of the same name (`--records`).
    pub records: Vec<RecordsConfig>,
    /// `--readings`.
    pub readings: Option<PathBuf>,
    /// In place of `verification.look_again` (`--look-again`).
    pub look_again: Option<Vec<Duration>>,
    /// In place of `limits.diagnose_starts` (`--diagnose-starts`).
    pub diagnose_starts: Option<u32>,
    /// Check references to secrets, but do not follow them: for commands that call nothing outside.
    pub without_secrets: bool,
    /// Follow the references to secrets of webhooks: for the process that is sent them, and for the check.
    pub webhook_secrets: bool,
}

/// Loads the configuration: `path`, or `aftercall.toml` of the working directory where it exists, or no file at all.
///
/// # Errors
/// With every fault, when there is any.
pub fn load(
    path: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
    overrides: Overrides,
) -> Result<Config, ConfigErrors> {
    let (file, text) = read_file(path)?;
    parse(file, &text, env, overrides)
}

/// Refuses environment variables that are meant as settings of one of our sections and are none: a mistyped one must not be
/// ignored, any more than a mistyped key of the file. `asked` are those that were looked for.
///
/// # Errors
/// With every one of them.
pub fn refuse_unknown_variables(
    given: impl Iterator<Item = String>,
    asked: &BTreeSet<String>,
) -> Result<(), ConfigErrors> {
    let mut unknown: Vec<String> = given
        .filter(|name| {
            let of_section = |section: &str| {
                name.strip_prefix("AFTERCALL_")
                    .and_then(|rest| rest.strip_prefix(&section.to_uppercase()))
                    .and_then(|rest| rest.strip_prefix('_'))
            };
            let Some((section, key)) = TABLES.into_iter().find_map(|table| Some((table, of_section(table)?))) else {
                return false;
            };
            // Without an address and a model the rest of [llm] is not looked for.
            let known_unasked = section == "llm" && llm::KEYS.contains(&key.to_lowercase().as_str());
            !asked.contains(name) && !known_unasked
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort();
    let faults = unknown.into_iter().map(|name| ConfigFault {
        place: Place::Environment(name),
        setting: String::new(),
        reason: "there is no such setting; `aftercall init -` prints all of them".to_owned(),
    });
    Err(ConfigErrors {
        faults: faults.collect(),
    })
}

fn read_file(path: Option<&Path>) -> Result<(Option<PathBuf>, String), ConfigErrors> {
    let named = path.is_some();
    let path = path.unwrap_or(Path::new(DEFAULT_FILE));
    match fs::read_to_string(path) {
        Ok(text) => Ok((Some(path.to_owned()), text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok((None, String::new())),
        Err(error) => Err(ConfigErrors {
            faults: vec![ConfigFault {
                place: Place::Whole(path.to_owned()),
                setting: String::new(),
                reason: match error.kind() {
                    io::ErrorKind::NotFound => "there is no such file; `aftercall init` writes one".to_owned(),
                    io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
                    _ => format!("cannot be read: {error}"),
                },
            }],
        }),
    }
}

/// Reads a configuration from a text.
///
/// # Errors
/// With every fault, when there is any.
pub fn parse(
    file: Option<PathBuf>,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    overrides: Overrides,
) -> Result<Config, ConfigErrors> {
    let source = Source {
        file,
        text,
        env,
        without_secrets: overrides.without_secrets,
        webhook_secrets: overrides.webhook_secrets,
        faults: RefCell::new(Vec::new()),
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = source.place(error.span().map_or(0, |span| span.start));
        source.fault(place, "", format!("this is not TOML: {}", error.message()));
    }
    let mut config = read_sections(&source, root.get_ref());
    apply(&mut config, overrides);
    let faults = source.faults.into_inner();
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(ConfigErrors { faults })
    }
}

const TABLES: [&str; 8] = [
    "database",
    "llm",
    "schedule",
    "limits",
    "verification",
    "queue",
    "retention",
    "telemetry",
];
const LISTS: [&str; 3] = ["source", "records", "alert"];

fn read_sections<'a>(source: &'a Source<'a>, root: &'a DeTable<'a>) -> Config {
    let known: Vec<&str> = TABLES.into_iter().chain(LISTS).collect();
    for key in root.keys() {
        if !known.contains(&key.get_ref().as_ref()) {
            source.fault(
                source.place(key.span().start),
                key.get_ref(),
                unknown_key(key.get_ref(), &known),
            );
        }
    }
    let table = |name: &'static str| Section::new(source, name, find_table(source, root, name));
    let base = source.base();
    let records: Vec<RecordsConfig> = list(source, root, "records")
        .into_iter()
        .filter_map(RecordsConfig::read)
        .collect();
    let llm = LlmConfig::read(table("llm"));
    let is_free = llm.as_ref().is_some_and(LlmConfig::is_free);
    let sources: Vec<SourceConfig> = list(source, root, "source")
        .into_iter()
        .filter_map(|section| SourceConfig::read(section, base, is_free))
        .collect();
    let mut alerts: Vec<AlertRule> = list(source, root, "alert")
        .into_iter()
        .filter_map(AlertRule::read)
        .collect();
    names::refuse_twins(source, "source", sources.iter().map(|entry| entry.name.as_str()));
    names::refuse_twins(source, "records", records.iter().map(|entry| entry.name.as_str()));
    names::refuse_twins(source, "alert", alerts.iter().map(|entry| entry.name.as_str()));
    if !root.keys().any(|key| key.get_ref() == "alert") {
        alerts = AlertRule::defaults();
    }
    let limits = Limits::read(table("limits"));
    let longest_window = limits.diagnose_window;
    Config {
        database: Database::read(table("database")),
        sources,
        records,
        llm,
        schedule: Schedule::read(table("schedule")),
        limits,
        verification: Verification::read(table("verification")),
        queue: QueueConfig::read(table("queue")),
        alerts,
        retention: Retention::read(table("retention"), longest_window),
        telemetry: TelemetryConfig::read(table("telemetry")),
        readings: None,
    }
}

fn find_table<'a>(source: &Source<'_>, root: &'a DeTable<'a>, name: &str) -> Option<(&'a DeTable<'a>, usize)> {
    let (_, value) = root.iter().find(|(key, _)| key.get_ref() == name)?;
    let start = value.span().start;
    if let DeValue::Table(table) = value.get_ref() {
        return Some((table, start));
    }
    source.fault(source.place(start), name, format!("should be a table: [{name}]"));
    None
}

fn list<'a>(source: &'a Source<'a>, root: &'a DeTable<'a>, name: &str) -> Vec<Section<'a>> {
    let Some((_, value)) = root.iter().find(|(key, _)| key.get_ref() == name) else {
        return Vec::new();
    };
    let shape = |offset: usize| {
        source.fault(
            source.place(offset),
            name,
            format!("should be a list of tables: [[{name}]]"),
        );
    };
    let DeValue::Array(items) = value.get_ref() else {
        shape(value.span().start);
        return Vec::new();
    };
    let mut sections = Vec::new();
    for item in items {
        match item.get_ref() {
            DeValue::Table(table) => sections.push(Section::new(source, name, Some((table, item.span().start)))),
            _ => shape(item.span().start),
        }
    }
    sections
}

fn apply(config: &mut Config, overrides: Overrides) {
    if let Some(named) = overrides.database {
        config.database.choose(&named);
    }
    if let Some(source) = overrides.source {
        config.sources.retain(|existing| existing.name != source.name);
        // The others are not scanned, but what is known of them can still be worked on.
        for existing in &mut config.sources {
            existing.enabled = false;
        }
        config.sources.push(source);
    }
    for records in overrides.records {
        config.records.retain(|existing| existing.name != records.name);
        config.records.push(records);
    }
    if overrides.readings.is_some() {
        config.readings = overrides.readings;
    }
    if let Some(waits) = overrides.look_again {
        config.verification.look_again = waits;
    }
    if let Some(starts) = overrides.diagnose_starts {
        config.limits.diagnose_starts = starts;
    }
}
