//! SQL of a playbook: one statement that reads, with parameters that are written `:name`.
//!
//! What a session says is only ever bound to a parameter and never written into the text, so the text that a database is sent
//! is the playbook's own. For that the parameters must be told from colons in quotes, comments and casts. Databases differ in
//! what these are: where two would read a text in different ways, it is refused and not guessed.

mod mark;
mod scanner;

use std::collections::BTreeSet;

use self::{mark::Mark, scanner::scan};

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// By the address of a database.
    pub fn of_address(address: &str) -> Option<Self> {
        match address.split_once(':')?.0 {
            "postgres" | "postgresql" => Some(Self::Postgres),
            "mysql" | "mariadb" => Some(Self::MySql),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    text: String,
    parts: Vec<Part>,
    /// What in it some databases read in another way than we do.
    marks: BTreeSet<Mark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Parameter(String),
}

impl Statement {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (parts, marks) = scan(text)?;
        Ok(Self {
            text: text.trim().to_owned(),
            parts,
            marks,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Names of its parameters, each as often as it is used.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Parameter(name) => Some(name.as_str()),
        })
    }

    /// The text for a database: each use of a parameter, numbered from 1, is a placeholder of its own, since a value may be
    /// compared with columns of several types.
    pub fn with_placeholders(&self, placeholder: impl Fn(usize) -> String) -> String {
        let mut text = String::with_capacity(self.text.len() + 16);
        let mut number = 0;
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Parameter(_) => {
                    number += 1;
                    text.push_str(&placeholder(number));
                }
            }
        }
        text
    }

    /// Whether a database of this dialect reads it as we do.
    ///
    /// # Errors
    /// What to write instead.
    pub fn fits(&self, dialect: Dialect) -> Result<(), String> {
        match self.marks.iter().find_map(|mark| mark.refused_by(dialect)) {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests;
