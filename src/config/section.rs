//! Reads one table of the file, setting by setting: the environment first, then the file, then the default.
//!
//! Reading goes on after a fault, so that one run reports them all; a setting with a fault reads as its default. What the
//! file holds beyond the settings read is unknown, and is reported by [`Section::finish`].

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    duration,
    fault::{ConfigFault, Place},
    nearest::nearest,
    secret::{Lookup, Secret},
};

/// What all sections of one load share.
pub(super) struct Source<'a> {
    /// The file; `None` without one.
    pub(super) file: Option<PathBuf>,
    /// Its text.
    pub(super) text: &'a str,
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Check references to secrets, but do not follow them.
    pub(super) without_secrets: bool,
    /// Follow those of webhooks.
    pub(super) webhook_secrets: bool,
    /// Everything wrong so far.
    pub(super) faults: RefCell<Vec<ConfigFault>>,
}

impl Source<'_> {
    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        match &self.file {
            Some(path) => Place::File {
                path: path.clone(),
                line,
            },
            None => Place::Whole(PathBuf::from("configuration")),
        }
    }

    pub(super) fn fault(&self, place: Place, setting: &str, reason: impl Into<String>) {
        self.faults.borrow_mut().push(ConfigFault {
            place,
            setting: setting.to_owned(),
            reason: reason.into(),
        });
    }

    /// What relative paths of the file are relative to: its folder.
    pub(super) fn base(&self) -> &Path {
        self.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""))
    }
}

/// A value as given, before it is read as what it should be.
pub(super) enum Given<'a> {
    /// In the file.
    File(&'a DeValue<'a>),
    /// In the environment: always text.
    Env(String),
}

impl Given<'_> {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::File(value) => value.as_str(),
            Self::Env(text) => Some(text),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::File(DeValue::String(_)) | Self::Env(_) => "text",
            Self::File(DeValue::Integer(_)) => "a whole number",
            Self::File(DeValue::Float(_)) => "a number",
            Self::File(DeValue::Boolean(_)) => "true or false",
            Self::File(DeValue::Datetime(_)) => "a date",
            Self::File(DeValue::Array(_)) => "a list",
            Self::File(DeValue::Table(_)) => "a table",
        }
    }

    fn number_text(&self) -> Option<String> {
        match self {
            Self::File(DeValue::Integer(value)) if value.radix() == 10 => Some(value.as_str().to_owned()),
            Self::File(DeValue::Float(value)) => Some(value.as_str().to_owned()),
            Self::File(_) => None,
            Self::Env(text) => Some(text.trim().to_owned()),
        }
    }
}

/// One table.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    /// As it is written: `queue`, `source.calls`.
    name: String,
    /// `AFTERCALL_QUEUE_`.
    env_prefix: String,
    table: Option<&'a DeTable<'a>>,
    /// Where the table begins; `None` when it is not in the file.
    place: Option<Place>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(source: &'a Source<'a>, name: &str, table: Option<(&'a DeTable<'a>, usize)>) -> Self {
        let place = table.map(|(_, offset)| source.place(offset));
        let mut section = Self {
            source,
            name: String::new(),
            env_prefix: String::new(),
            table: table.map(|(table, _)| table),
            place,
            known: Vec::new(),
        };
        section.rename(name);
        section
    }

    /// Once the name of an entry is known, faults and environment variables carry it.
    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        "AFTERCALL_".clone_into(&mut self.env_prefix);
        for letter in name.chars() {
            let letter = if letter.is_ascii_alphanumeric() {
                letter.to_ascii_uppercase()
            } else {
                '_'
            };
            self.env_prefix.push(letter);
        }
        self.env_prefix.push('_');
    }

    /// Whether the file has this table, or the environment one of these settings.
    pub(super) fn is_given(&self, keys: &[&str]) -> bool {
        self.table.is_some() || keys.iter().any(|key| self.env_value(key).is_some())
    }

    /// A sub-table.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.known.push(key);
        let (_, value) = self.entry(key)?;
        let Some(table) = value.get_ref().as_table() else {
            let place = self.source.place(value.span().start);
            self.fault(place, key, "should be a table");
            return None;
        };
        Some(Section::new(
            self.source,
            &format!("{}.{key}", self.name),
            Some((table, value.span().start)),
        ))
    }

    /// Sub-tables of one name: `[[…]]`, or a single `[…]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'a>> {
        self.know(key);
        let Some((_, value)) = self.entry(key) else {
            return Vec::new();
        };
        let items: Vec<&Spanned<DeValue<'a>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let name = format!("{}.{key}", self.name);
        let mut tables = Vec::new();
        for item in items {
            let start = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => tables.push(Section::new(self.source, &name, Some((table, start)))),
                None => self.fault(self.source.place(start), key, format!("should be a table: [[{name}]]")),
            }
        }
        tables
    }

    /// Keys of a table whose keys are the user's own.
    pub(super) fn free_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self
            .table
            .map(|table| table.keys().map(|key| key.get_ref().to_string()).collect())
            .unwrap_or_default();
        keys.sort();
        keys
    }

    /// A text under a key of the user's own.
    pub(super) fn free_text(&self, key: &str) -> Option<(String, Place)> {
        let (_, value) = self.entry(key)?;
        let place = self.source.place(value.span().start);
        if let Some(text) = value.get_ref().as_str() {
            return Some((text.to_owned(), place));
        }
        self.fault(place, key, "should be text");
        None
    }

    fn entry(&self, key: &str) -> Option<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key)
    }

    fn env_value(&self, key: &str) -> Option<(String, String)> {
        let name = format!("{}{}", self.env_prefix, key.to_uppercase());
        (self.source.env)(&name)
            .filter(|value| !value.trim().is_empty())
            .map(|value| (name, value))
    }

    pub(super) fn given(&mut self, key: &'static str) -> Option<(Given<'a>, Place)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        if let Some((name, value)) = self.env_value(key) {
            return Some((Given::Env(value), Place::Environment(name)));
        }
        let (_, value) = self.entry(key)?;
        Some((Given::File(value.get_ref()), self.source.place(value.span().start)))
    }

    pub(super) fn fault(&self, place: Place, key: &str, reason: impl Into<String>) {
        self.source.fault(place, &format!("{}.{key}", self.name), reason);
    }

    /// A fault of a setting, placed where the setting stands, or its table.
    pub(super) fn fault_at(&mut self, key: &'static str, reason: impl Into<String>) {
        let place = self.given(key).map(|(_, place)| place);
        let place = place.unwrap_or_else(|| self.own_place());
        self.fault(place, key, reason);
    }

    /// A fault of a sub-table, placed where it begins.
    pub(super) fn fault_of(&self, key: &'static str, reason: impl Into<String>) {
        let place = self.entry(key).map(|(_, value)| self.source.place(value.span().start));
        self.fault(place.unwrap_or_else(|| self.own_place()), key, reason);
    }

    /// Where the table stands.
    pub(super) fn own_place(&self) -> Place {
        self.place.clone().unwrap_or_else(|| self.source.place(0))
    }

    fn read<T>(&mut self, key: &'static str, read: impl FnOnce(&Given<'_>) -> Result<T, String>) -> Option<T> {
        let (given, place) = self.given(key)?;
        match read(&given) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.fault(place, key, reason);
                None
            }
        }
    }

    /// Text, not empty.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, |given| {
            let text = given
                .as_text()
                .ok_or_else(|| format!("should be text, not {}", given.kind()))?;
            if text.trim().is_empty() {
                Err("is empty".to_owned())
            } else {
                Ok(text.to_owned())
            }
        })
    }

    /// Text that must be there.
    pub(super) fn required_text(&mut self, key: &'static str, what: &str) -> Option<String> {
        self.required(key, what);
        self.text(key)
    }

    fn required(&mut self, key: &'static str, what: &str) {
        if self.given(key).is_none() {
            let place = self.own_place();
            self.fault(place, key, format!("is missing: {what}"));
        }
    }

    /// A path: in the file relative to the file, elsewhere to the working directory.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let from_file = matches!(self.given(key), Some((Given::File(_), _)));
        let text = self.text(key)?;
        Some(if from_file {
            self.source.base().join(text)
        } else {
            PathBuf::from(text)
        })
    }

    /// A path that must be there.
    pub(super) fn required_path(&mut self, key: &'static str, what: &str) -> Option<PathBuf> {
        self.required(key, what);
        self.path(key)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        self.read(key, |given| {
            let text = given.as_text().unwrap_or_default();
            if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
                return Ok(*value);
            }
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            Err(format!("should be {}", words.join(" or ")))
        })
        .unwrap_or(default)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, |given| match given {
            Given::File(DeValue::Boolean(value)) => Ok(*value),
            Given::Env(text) if text.trim() == "true" => Ok(true),
            Given::Env(text) if text.trim() == "false" => Ok(false),
            _ => Err("should be true or false".to_owned()),
        })
        .unwrap_or(default)
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&mut self, key: &'static str, default: u32, least: u32, most: u32) -> u32 {
        self.read(key, |given| {
            let number = given.number_text().and_then(|text| text.parse::<u32>().ok());
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("should be a whole number from {least} to {most}"))
        })
        .unwrap_or(default)
    }

    /// A number, where one is given.
    pub(super) fn number(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        self.read(key, |given| {
            let number = given.number_text().and_then(|text| text.parse::<f64>().ok());
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("should be a number from {least} to {most}"))
        })
    }

    /// A number that must be there.
    pub(super) fn required_number(&mut self, key: &'static str, least: f64, most: f64) -> f64 {
        self.required(key, &format!("a number from {least} to {most}"));
        self.number(key, least, most).unwrap_or(least)
    }

    /// A duration from `least` on.
    pub(super) fn duration(&mut self, key: &'static str, default: Duration, least: Duration) -> Duration {
        self.read(key, |given| {
            let text = given.as_text().ok_or_else(|| {
                "should be a duration in quotes, with its unit: \"200ms\", \"5m\", \"24h\"".to_owned()
            })?;
            let value = duration::parse(text)?;
            if value < least {
                return Err(format!("should be at least {}", duration::format(least)));
            }
            Ok(value)
        })
        .unwrap_or(default)
    }

    /// A list of durations; in the environment separated by commas.
    pub(super) fn durations(&mut self, key: &'static str, default: &[Duration]) -> Vec<Duration> {
        const SHAPE: &str = "should be a list of durations: [\"1m\", \"5m\"]";
        self.read(key, |given| match given {
            Given::Env(text) if text.trim() == "none" => Ok(Vec::new()),
            Given::Env(text) => text.split(',').map(duration::parse).collect(),
            Given::File(DeValue::Array(items)) => items
                .iter()
                .map(|item| duration::parse(item.get_ref().as_str().ok_or_else(|| SHAPE.to_owned())?))
                .collect(),
            Given::File(_) => Err(SHAPE.to_owned()),
        })
        .unwrap_or_else(|| default.to_vec())
    }

    /// Whether the file or the environment has this setting.
    pub(super) fn is_set(&mut self, key: &'static str) -> bool {
        self.given(key).is_some()
    }

    /// A list of texts; in the environment separated by commas. Default: none.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        const SHAPE: &str = "should be a list of texts: [\"one\", \"two\"]";
        self.read(key, |given| {
            let texts: Option<Vec<String>> = match given {
                Given::Env(text) => Some(text.split(',').map(|part| part.trim().to_owned()).collect()),
                Given::File(DeValue::Array(items)) => items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(|text| text.trim().to_owned()))
                    .collect(),
                Given::File(_) => None,
            };
            texts
                .filter(|texts| texts.iter().all(|text| !text.is_empty()))
                .ok_or_else(|| SHAPE.to_owned())
        })
        .unwrap_or_default()
    }

    /// This setting is one that there is.
    pub(super) fn know(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// A secret. A literal in the environment is one that is kept out of files already.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.secret_by(key, &self.secrets())
    }

    /// A secret that every command needs, those included that call nothing outside.
    pub(super) fn own_secret(&mut self, key: &'static str) -> Option<Secret> {
        let lookup = Lookup {
            unresolved: false,
            ..self.secrets()
        };
        self.secret_by(key, &lookup)
    }

    /// A secret of several lines that must be there: a private key.
    pub(super) fn required_lines(&mut self, key: &'static str, what: &str) -> Option<Secret> {
        self.required(key, what);
        let lookup = self.secrets();
        self.secret_of(key, |text| lookup.resolve_lines(text))
    }

    /// References to secrets of which any is good, each of at least so many bytes. Only who checks them follows them.
    pub(super) fn webhook_secrets(&mut self, key: &'static str, shortest: usize) -> Vec<Secret> {
        self.required(
            key,
            "references to the secrets that its sender signs with: [\"env:WEBHOOK_SECRET\"]",
        );
        let Some((given, place)) = self.given(key) else {
            return Vec::new();
        };
        if matches!(given, Given::File(DeValue::Array(items)) if items.is_empty()) {
            self.fault(place.clone(), key, "should name at least one secret");
        }
        let lookup = Lookup {
            unresolved: !self.source.webhook_secrets,
            ..self.secrets()
        };
        let mut secrets = Vec::new();
        for text in self.texts(key) {
            match lookup.resolve(&text) {
                Ok(secret) if !lookup.unresolved && secret.expose().len() < shortest => {
                    let reason = format!(
                        "{}: a secret has at least {shortest} bytes: `openssl rand -hex 32` makes one",
                        secret.reference()
                    );
                    self.fault(place.clone(), key, reason);
                }
                Ok(secret) => secrets.push(secret),
                Err(reason) => self.fault(place.clone(), key, reason),
            }
        }
        secrets
    }

    fn secret_by(&mut self, key: &'static str, lookup: &Lookup<'a>) -> Option<Secret> {
        self.secret_of(key, |text| lookup.resolve(text))
    }

    fn secret_of(&mut self, key: &'static str, resolve: impl FnOnce(&str) -> Result<Secret, String>) -> Option<Secret> {
        if let Some((name, value)) = self.env_value(key)
            && !value.starts_with("env:")
            && !value.starts_with("file:")
        {
            self.known.push(key);
            return Some(Secret::new(format!("env:{name}"), value.trim()));
        }
        let source = self.source;
        let text = self.text(key)?;
        match resolve(&text) {
            Ok(secret) => Some(secret),
            Err(reason) => {
                let place = self.given(key).map_or_else(|| source.place(0), |(_, place)| place);
                self.fault(place, key, reason);
                None
            }
        }
    }

    /// A secret that must be there.
    pub(super) fn required_secret(&mut self, key: &'static str, what: &str) -> Option<Secret> {
        self.required(key, what);
        self.secret(key)
    }

    /// How references to secrets are followed.
    pub(super) fn secrets(&self) -> Lookup<'a> {
        Lookup {
            env: self.source.env,
            base: self.source.base(),
            unresolved: self.source.without_secrets,
        }
    }

    /// Reports what the table holds beyond the settings read.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let reason = unknown_key(name, &self.known);
            self.fault(self.source.place(key.span().start), name, reason);
        }
    }
}

/// Says that a key is unknown, and which one was probably meant.
pub(super) fn unknown_key(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("unknown key; did you mean `{meant}`?"),
        None => format!("unknown key; known here: {}", known.join(", ")),
    }
}
