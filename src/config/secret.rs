//! Secrets: named in the configuration, never written in it, and never printed.

use std::{fmt, fs, path::Path};

use serde::{Serialize, Serializer};

const ADVICE: &str = "a secret is not written here: put it into an environment variable and write \"env:NAME\", \
                      or into a file that only this user can read and write \"file:PATH\"";

/// A secret and where it comes from. Neither `Debug`, `Display` nor `Serialize` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    reference: String,
    value: String,
}

impl Secret {
    /// The secret itself: for the one place that sends it. Empty where secrets were left unresolved
    /// ([`Overrides::without_secrets`](super::Overrides)).
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Where it comes from: `env:NAME` or `file:PATH`.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// A secret that was read already, and where it came from.
    pub fn new(reference: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            reference: reference.into(),
            value: value.into(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "«secret of {}»", self.reference)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Follows `env:NAME` or `file:PATH`, which is relative to the working directory.
///
/// # Errors
/// Nothing is there, or it is no secret of one line.
pub fn follow(reference: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
    let lookup = Lookup {
        env,
        base: Path::new(""),
        unresolved: false,
    };
    lookup.resolve(reference)
}

/// Where secrets are looked up.
pub(super) struct Lookup<'a> {
    /// The environment.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// What `file:PATH` is relative to.
    pub(super) base: &'a Path,
    /// Check the reference, but do not follow it.
    pub(super) unresolved: bool,
}

impl Lookup<'_> {
    /// Follows `env:NAME` or `file:PATH` to a secret of several lines: a private key.
    pub(super) fn resolve_lines(&self, text: &str) -> Result<Secret, String> {
        Ok(Secret::new(text, self.follow(text)?))
    }

    /// Follows `env:NAME` or `file:PATH`, with an optional word before it (`Bearer env:NAME`).
    pub(super) fn resolve(&self, text: &str) -> Result<Secret, String> {
        let (prefix, reference) = match text.split_once(' ') {
            Some((word, rest)) if is_reference(rest) && word.chars().all(|letter| letter.is_ascii_alphanumeric()) => {
                (format!("{word} "), rest)
            }
            _ => (String::new(), text),
        };
        let value = self.follow(reference)?;
        // Checked with its prefix in mind: both end up in one header.
        if value.chars().any(char::is_control) {
            return Err(format!("{reference} holds a line break or another control character"));
        }
        Ok(Secret::new(reference, format!("{prefix}{value}")))
    }

    fn follow(&self, reference: &str) -> Result<String, String> {
        match (reference.strip_prefix("env:"), reference.strip_prefix("file:")) {
            (Some(name), _) => self.read_env(name),
            (_, Some(path)) => self.read_file(Path::new(path)),
            (None, None) => Err(ADVICE.to_owned()),
        }
    }

    fn read_env(&self, name: &str) -> Result<String, String> {
        if name.is_empty()
            || !name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            return Err("`env:` needs the name of an environment variable: env:NAME".to_owned());
        }
        if self.unresolved {
            return Ok(String::new());
        }
        match (self.env)(name) {
            Some(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
            Some(_) => Err(format!("the environment variable {name} is empty")),
            None => Err(format!("the environment variable {name} is not set")),
        }
    }

    fn read_file(&self, path: &Path) -> Result<String, String> {
        if path.as_os_str().is_empty() {
            return Err("`file:` needs a path: file:PATH".to_owned());
        }
        if self.unresolved {
            return Ok(String::new());
        }
        let path = self.base.join(path);
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read the secret {}: {error}", path.display()))?;
        match text.trim() {
            "" => Err(format!("the secret file {} is empty", path.display())),
            value => Ok(value.to_owned()),
        }
    }
}

fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, base: &Path) -> Result<Secret, String> {
        let env = |name: &str| match name {
            "KEY" => Some("sk-very-secret\n".to_owned()),
            "EMPTY" => Some(" ".to_owned()),
            "TWO_LINES" => Some("a\nb".to_owned()),
            _ => None,
        };
        let lookup = Lookup {
            env: &env,
            base,
            unresolved: false,
        };
        lookup.resolve(text)
    }

    #[test]
    fn a_secret_is_followed_to_the_environment_or_a_file_and_never_prints() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "file-secret\n").unwrap();
        let from_env = resolve("env:KEY", folder.path()).unwrap();
        assert_eq!(from_env.expose(), "sk-very-secret");
        assert_eq!(
            resolve("Bearer env:KEY", folder.path()).unwrap().expose(),
            "Bearer sk-very-secret"
        );
        assert_eq!(resolve("file:key", folder.path()).unwrap().expose(), "file-secret");
        for shown in [
            format!("{from_env:?}"),
            format!("{from_env}"),
            serde_json::to_string(&from_env).unwrap(),
        ] {
            assert!(!shown.contains("very-secret"), "{shown}");
            assert!(shown.contains("env:KEY"), "{shown}");
        }
    }

    #[test]
    fn a_literal_secret_is_refused_without_repeating_it() {
        for text in ["sk-very-secret", "Bearer sk-very-secret"] {
            let reason = resolve(text, Path::new("")).unwrap_err();
            assert!(reason.contains("env:NAME") && !reason.contains("very"), "{reason}");
        }
    }

    #[test]
    fn a_reference_that_leads_nowhere_says_where_it_led() {
        for (text, says) in [
            ("env:NOBODY", "NOBODY is not set"),
            ("env:EMPTY", "EMPTY is empty"),
            ("env:TWO_LINES", "control character"),
            ("env:", "env:NAME"),
            ("file:/nowhere/at/all", "/nowhere/at/all"),
        ] {
            let reason = resolve(text, Path::new("")).unwrap_err();
            assert!(reason.contains(says), "{text}: {reason}");
        }
    }
}
