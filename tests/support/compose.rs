//! `docker-compose.yml` as Compose reads it: merged, and with variables filled in.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names and values.
pub(crate) type Variables = BTreeMap<String, String>;

/// The variables of a file of `NAME=value` lines.
pub(crate) fn variables(file: &str) -> Variables {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{file}: {line}"));
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// The whole file.
pub(crate) struct Compose(Value);

/// One service.
#[derive(Clone, Copy)]
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    value: &'a Value,
}

impl Compose {
    /// The file, or what is said of a variable that is needed and not there.
    pub(crate) fn read(variables: &Variables) -> Result<Self, String> {
        let text = fs::read_to_string(root().join("docker-compose.yml")).unwrap();
        let document = YamlLoader::load_from_str(&text).unwrap().remove(0);
        filled(&merged(&document), variables).map(Self)
    }

    pub(crate) fn services(&self) -> Vec<Service<'_>> {
        let services = self.0["services"].as_object().unwrap();
        services.iter().map(|(name, value)| Service { name, value }).collect()
    }

    pub(crate) fn service(&self, name: &str) -> Service<'_> {
        let found = self.services().into_iter().find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("there is no service {name}"))
    }

    pub(crate) fn has_volume(&self, name: &str) -> bool {
        self.0["volumes"].get(name).is_some()
    }
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().unwrap().to_owned()).collect()
}

impl<'a> Service<'a> {
    pub(crate) fn get(&self, key: &str) -> &'a Value {
        &self.value[key]
    }

    /// It is this program, and not another's image.
    pub(crate) fn is_ours(&self) -> bool {
        self.value["image"] == "aftercall"
    }

    pub(crate) fn command(&self) -> Vec<String> {
        texts(&self.value["command"])
    }

    pub(crate) fn profiles(&self) -> Vec<String> {
        texts(&self.value["profiles"])
    }

    pub(crate) fn volumes(&self) -> Vec<String> {
        texts(&self.value["volumes"])
    }

    /// What `healthcheck` runs.
    pub(crate) fn check(&self) -> Option<Vec<String>> {
        let test = texts(self.value.get("healthcheck")?.get("test")?);
        assert_eq!(test[0], "CMD", "{}: there is no shell in the image", self.name);
        Some(test[1..].to_vec())
    }

    /// Names and conditions.
    pub(crate) fn depends_on(&self) -> Vec<(&'a str, &'a str)> {
        let all = self.value["depends_on"].as_object().into_iter().flatten();
        all.map(|(name, how)| (name.as_str(), how["condition"].as_str().unwrap()))
            .collect()
    }

    /// What stands in `environment`.
    pub(crate) fn environment(&self) -> Variables {
        let all = self.value["environment"].as_object().into_iter().flatten();
        all.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect()
    }

    /// Files of more environment, and whether they have to be there.
    pub(crate) fn env_files(&self) -> Vec<(&'a str, bool)> {
        let all = self.value["env_file"].as_array().into_iter().flatten();
        all.map(|file| (file["path"].as_str().unwrap(), file["required"] != false))
            .collect()
    }
}

/// With `<<` merged in: a table's own keys win.
fn merged(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Hash(hash) => {
            let mut all = Map::new();
            for (key, value) in hash {
                if key.as_str() == Some("<<") {
                    let Value::Object(below) = merged(value) else {
                        panic!("only tables are merged")
                    };
                    for (key, value) in below {
                        all.entry(key).or_insert(value);
                    }
                } else {
                    all.insert(key.as_str().unwrap().to_owned(), merged(value));
                }
            }
            Value::Object(all)
        }
        Yaml::Array(items) => items.iter().map(merged).collect(),
        Yaml::String(text) => text.clone().into(),
        Yaml::Integer(number) => (*number).into(),
        Yaml::Boolean(flag) => (*flag).into(),
        Yaml::Null => Value::Null,
        other => panic!("not expected here: {other:?}"),
    }
}

fn filled(value: &Value, variables: &Variables) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => interpolated(text, variables)?.into(),
        Value::Array(items) => items
            .iter()
            .map(|item| filled(item, variables))
            .collect::<Result<_, _>>()?,
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| Ok((key.clone(), filled(value, variables)?)))
            .collect::<Result<_, String>>()?,
        other => other.clone(),
    })
}

/// `${NAME:-default}` and `${NAME:?what is missing}`.
fn interpolated(text: &str, variables: &Variables) -> Result<String, String> {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        let inner = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let (inner, after) = inner.unwrap_or_else(|| panic!("`$` without braces in {text}"));
        let (name, otherwise) = inner
            .split_once(':')
            .unwrap_or_else(|| panic!("{text}: say what holds without it"));
        let value = variables.get(name).filter(|value| !value.is_empty());
        done.push_str(before);
        match (value, otherwise.split_at(1)) {
            (Some(value), _) => done.push_str(value),
            (None, ("-", default)) => done.push_str(default),
            (None, (_, message)) => return Err(format!("{name}: {message}")),
        }
        rest = after;
    }
    Ok(done + rest)
}
