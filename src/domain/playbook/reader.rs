//! Walks a parsed TOML table by hand, so that every fault of a playbook is reported at once, each with its line.
//!
//! A table hands out its keys by type and remembers which were asked for: what is left over in the end is unknown.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    ops::Range,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    expression::{Expression, Path, Source},
    fault::{PlaybookFault, suggestion},
};

/// Collects the faults of one file.
pub(crate) struct Faults<'t> {
    file: &'t str,
    text: &'t str,
    found: RefCell<Vec<PlaybookFault>>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            found: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn add(&self, at: &Range<usize>, what: impl Into<String>, reason: impl Into<String>) {
        let start = self.text.floor_char_boundary(at.start.min(self.text.len()));
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.found.borrow_mut().push(PlaybookFault {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: what.into(),
            reason: reason.into(),
        });
    }

    pub(crate) fn into_sorted(self) -> Vec<PlaybookFault> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| (a.line, a.column, &a.what).cmp(&(b.line, b.column, &b.what)));
        found.dedup();
        found
    }
}

/// A value with the place where it stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: Range<usize>,
}

/// One table of the file.
pub(crate) struct Table<'a, 'i> {
    keys: &'a DeTable<'i>,
    pub(crate) at: Range<usize>,
    /// `[[claim]] book`, once the name is known.
    title: RefCell<String>,
    asked: RefCell<BTreeSet<&'static str>>,
    /// The table's keys are free names: none is unknown.
    free: Cell<bool>,
    faults: &'a Faults<'a>,
}

impl<'a, 'i> Table<'a, 'i> {
    pub(crate) fn new(table: &'a DeTable<'i>, at: Range<usize>, title: &str, faults: &'a Faults<'a>) -> Self {
        Self {
            keys: table,
            at,
            title: RefCell::new(title.to_owned()),
            asked: RefCell::default(),
            free: Cell::new(false),
            faults,
        }
    }

    pub(crate) fn fault(&self, at: &Range<usize>, key: &str, reason: impl Into<String>) {
        let title = self.title.borrow();
        let what = if key.is_empty() {
            title.clone()
        } else if title.is_empty() {
            key.to_owned() // the root has no title
        } else {
            format!("{title}: {key}")
        };
        self.faults.add(at, what, reason);
    }

    fn get(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.borrow_mut().insert(key);
        self.keys
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str) {
        let reason = format!("must be {wanted}, not {}", value.get_ref().type_str());
        self.fault(&value.span(), key, reason);
    }

    pub(crate) fn text(&self, key: &'static str) -> Option<Placed<String>> {
        let value = self.get(key)?;
        if let Some(text) = value.get_ref().as_str() {
            return Some(Placed {
                value: text.to_owned(),
                at: value.span(),
            });
        }
        self.wrong_type(key, value, "a text");
        None
    }

    /// A text that must be there.
    pub(crate) fn required_text(&self, key: &'static str) -> Placed<String> {
        match self.text(key) {
            Some(text) if text.value.trim().is_empty() => {
                self.fault(&text.at, key, "must not be empty");
                text
            }
            Some(text) => text,
            None => {
                if !self.has(key) {
                    self.fault(&self.at, key, "is missing");
                }
                Placed::default()
            }
        }
    }

    /// The table's name: required, unique in `taken`, and from now on part of its title.
    pub(crate) fn name(&self, key: &'static str, taken: &mut BTreeSet<String>) -> String {
        let name = self.required_text(key);
        if !name.value.is_empty() {
            let title = format!("{} {}", self.title.borrow(), name.value);
            *self.title.borrow_mut() = title;
            if !name
                .value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            {
                self.fault(&name.at, key, "may hold only letters, digits, `_` and `-`");
            }
            if !taken.insert(name.value.clone()) {
                self.fault(&name.at, key, format!("\"{}\" is defined twice", name.value));
            }
        }
        name.value
    }

    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        if let Some(flag) = value.get_ref().as_bool() {
            return Some(flag);
        }
        self.wrong_type(key, value, "true or false");
        None
    }

    pub(crate) fn count(&self, key: &'static str) -> Option<u32> {
        let value = self.get(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        let parsed = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        if parsed.is_none() {
            self.fault(&value.span(), key, "must be a whole number from 0 to 4294967295");
        }
        parsed
    }

    pub(crate) fn decimal(&self, key: &'static str) -> Option<f64> {
        let value = self.get(key)?;
        let text = match value.get_ref() {
            DeValue::Float(float) => float.as_str().to_owned(),
            DeValue::Integer(integer) => integer.as_str().to_owned(),
            _ => {
                self.wrong_type(key, value, "a number");
                return None;
            }
        };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Some(number),
            _ => {
                self.fault(&value.span(), key, "must be a number from 0 up");
                None
            }
        }
    }

    /// One text or a list of texts.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<Placed<String>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        self.texts_of(key, value)
    }

    fn texts_of(&self, key: &str, value: &Spanned<DeValue<'i>>) -> Vec<Placed<String>> {
        let one = |item: &Spanned<DeValue<'i>>| {
            if let Some(text) = item.get_ref().as_str() {
                return Some(Placed {
                    value: text.to_owned(),
                    at: item.span(),
                });
            }
            self.wrong_type(key, item, "a text");
            None
        };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(one).collect(),
            DeValue::String(_) => one(value).into_iter().collect(),
            _ => {
                self.wrong_type(key, value, "a text or a list of texts");
                Vec::new()
            }
        }
    }

    pub(crate) fn plain_texts(&self, key: &'static str) -> Vec<String> {
        self.texts(key).into_iter().map(|text| text.value).collect()
    }

    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a, 'i>> {
        let value = self.get(key)?;
        if let DeValue::Table(table) = value.get_ref() {
            let title = self.title.borrow();
            let title = if title.is_empty() {
                format!("[{key}]")
            } else {
                format!("{title}: {key}")
            };
            return Some(Table::new(table, value.span(), &title, self.faults));
        }
        self.wrong_type(key, value, "a table");
        None
    }

    pub(crate) fn tables(&self, key: &'static str) -> Vec<Table<'a, 'i>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let title = self.title.borrow();
        let title = if title.is_empty() {
            format!("[[{key}]]")
        } else {
            format!("{title}: {key}")
        };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, &format!("a list of tables ([[{key}]])"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => tables.push(Table::new(table, item.span(), &title, self.faults)),
                _ => self.wrong_type(key, item, "a table"),
            }
        }
        tables
    }

    /// Every key of a table whose keys are free names.
    pub(crate) fn entries(&self) -> Vec<(Placed<String>, &'a Spanned<DeValue<'i>>)> {
        self.free.set(true);
        self.keys
            .iter()
            .map(|(name, value)| {
                let name = Placed {
                    value: name.get_ref().to_string(),
                    at: name.span(),
                };
                (name, value)
            })
            .collect()
    }

    /// A table of name = text.
    pub(crate) fn text_map(&self) -> Vec<(Placed<String>, Placed<String>)> {
        let mut map = Vec::new();
        for (name, value) in self.entries() {
            match value.get_ref().as_str() {
                Some(text) => map.push((
                    name,
                    Placed {
                        value: text.to_owned(),
                        at: value.span(),
                    },
                )),
                None => self.wrong_type(&name.value, value, "a text"),
            }
        }
        map
    }

    /// A table of name = texts.
    pub(crate) fn texts_map(&self) -> Vec<(Placed<String>, Vec<Placed<String>>)> {
        self.entries()
            .into_iter()
            .map(|(name, value)| {
                let texts = self.texts_of(&name.value, value);
                (name, texts)
            })
            .collect()
    }

    /// A table inside this one, under a free name.
    pub(crate) fn nested(&self, table: &'a DeTable<'i>, at: Range<usize>, key: &str) -> Table<'a, 'i> {
        let title = format!("{}: {key}", self.title.borrow());
        Table::new(table, at, &title, self.faults)
    }

    /// A flag, or `None` without a fault where a list stands in its place.
    pub(crate) fn flag_or_list(&self, key: &'static str) -> Option<bool> {
        match self.get(key)?.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Paths into a record: they begin with names of its own.
    pub(crate) fn record_paths(&self, key: &'static str) -> Vec<Path> {
        let texts = self.texts(key);
        texts.iter().filter_map(|text| self.compile_path(key, text)).collect()
    }

    pub(crate) fn path(&self, key: &'static str) -> Option<Path> {
        let text = self.text(key)?;
        self.compile_path(key, &text)
    }

    fn compile_path(&self, key: &str, text: &Placed<String>) -> Option<Path> {
        Path::compile(&text.value)
            .map_err(|reason| self.fault(&text.at, key, format!("{reason} in `{}`", text.value)))
            .ok()
    }

    pub(crate) fn expression(&self, key: &'static str, variables: &[&str]) -> Option<Expression> {
        let text = self.text(key)?;
        self.compile_expression(key, &text, variables)
    }

    pub(crate) fn compile_expression(
        &self,
        key: &str,
        text: &Placed<String>,
        variables: &[&str],
    ) -> Option<Expression> {
        Expression::compile(&text.value, variables)
            .map_err(|reason| self.fault(&text.at, key, reason))
            .ok()
    }

    /// A path, a list of paths, or `{ paths = …, all = …, value = "CEL" }`. Paths begin with one of `variables`, unless
    /// there are none to begin with.
    pub(crate) fn source(&self, key: &'static str, variables: &[&str]) -> Option<Source> {
        let value = self.get(key)?;
        Some(self.source_of(key, value, variables))
    }

    pub(crate) fn source_of(&self, key: &str, value: &Spanned<DeValue<'i>>, variables: &[&str]) -> Source {
        if let DeValue::Table(table) = value.get_ref() {
            let title = format!("{}: {key}", self.title.borrow());
            let inner = Table::new(table, value.span(), &title, self.faults);
            let paths = inner.texts("paths");
            let source = Source {
                paths: self.paths_of(key, &paths, variables),
                all: inner.flag("all").unwrap_or(false),
                value: inner.expression("value", variables),
            };
            if !inner.has("paths") && !inner.has("value") {
                inner.fault(&inner.at, "", "needs `paths` or `value`");
            }
            inner.finish();
            return source;
        }
        let paths = self.texts_of(key, value);
        Source {
            paths: self.paths_of(key, &paths, variables),
            ..Source::default()
        }
    }

    fn paths_of(&self, key: &str, texts: &[Placed<String>], variables: &[&str]) -> Vec<Path> {
        let mut paths = Vec::new();
        for text in texts {
            let Some(path) = self.compile_path(key, text) else {
                continue;
            };
            match path.first_name() {
                Some(name) if !variables.contains(&name) => {
                    let hint = suggestion(name, variables.iter().copied());
                    self.fault(
                        &text.at,
                        key,
                        format!(
                            "`{}` begins with \"{name}\", which does not exist here{hint}",
                            text.value
                        ),
                    );
                }
                _ => paths.push(path),
            }
        }
        paths
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(&self) {
        if self.free.get() {
            return;
        }
        let asked = self.asked.borrow();
        for (name, _) in self.keys {
            if !asked.contains(name.get_ref().as_ref()) {
                let hint = suggestion(name.get_ref(), asked.iter().copied());
                self.fault(&name.span(), "", format!("unknown key \"{}\"{hint}", name.get_ref()));
            }
        }
    }
}
