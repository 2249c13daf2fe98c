//! SQL of a playbook: one statement that reads, with parameters that are written `:name`.
//!
//! What a session says is only ever bound to a parameter and never written into the text, so the text that a database is sent
//! is the playbook's own. For that the parameters must be told from colons in quotes, comments and casts. Databases differ in
//! what these are: where two would read a text in different ways, it is refused and not guessed.

use std::collections::BTreeSet;

use super::playbook::suggestion;

/// How a statement may begin.
const READS: [&str; 2] = ["SELECT", "WITH"];

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

    /// Signs that begin a placeholder of its own, and are nothing else there.
    fn own_placeholders(self) -> &'static [char] {
        match self {
            // `?` is an operator of jsonb, `@` of many types. `$1` is refused for all.
            Self::Postgres => &[],
            // `@name` is a variable of the session.
            Self::MySql => &['?'],
            Self::Sqlite => &['?', '@', '$'],
        }
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    text: String,
    parts: Vec<Part>,
    /// Signs outside of quotes and comments that are placeholders in some databases.
    signs: BTreeSet<char>,
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
        let mut scanner = Scanner {
            text,
            at: 0,
            copied: 0,
            parts: Vec::new(),
            signs: BTreeSet::new(),
            begun: false,
        };
        match scanner.statement() {
            Ok(()) => Ok(Self {
                text: text.trim().to_owned(),
                parts: scanner.parts,
                signs: scanner.signs,
            }),
            Err(reason) => Err(scanner.placed(reason)),
        }
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

    /// Whether a database of this dialect reads its signs as we do.
    ///
    /// # Errors
    /// What to write instead.
    pub fn fits(&self, dialect: Dialect) -> Result<(), String> {
        match dialect.own_placeholders().iter().find(|sign| self.signs.contains(sign)) {
            None => Ok(()),
            Some(sign) => Err(format!(
                "`{sign}` is a placeholder of {}: write parameters as `:name`",
                dialect.name()
            )),
        }
    }
}

/// Walks over the text once. Everything that is no parameter is copied as it stands.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Up to where the text is in the parts.
    copied: usize,
    parts: Vec<Part>,
    signs: BTreeSet<char>,
    /// The first word was read.
    begun: bool,
}

impl Scanner<'_> {
    fn statement(&mut self) -> Result<(), String> {
        while let Some(next) = self.peek() {
            let is_aside = next.is_whitespace() || self.sees("--") || self.sees("/*");
            if !self.begun && !is_aside && !is_word(next) {
                return Err(not_reading(&next.to_string()));
            }
            match next {
                '\'' | '"' | '`' => self.quoted(next)?,
                '-' if self.sees("--") => self.line_comment()?,
                '/' if self.sees("/*") => self.block_comment()?,
                '$' => self.dollar()?,
                ':' => self.colon(),
                ';' => return self.end(),
                '\0' => return Err("holds the character U+0000".to_owned()),
                '?' | '@' => {
                    self.signs.insert(next);
                    self.at += 1;
                }
                _ if is_word(next) => self.word()?,
                _ => self.at += next.len_utf8(),
            }
        }
        if !self.begun {
            return Err("is empty: write SELECT … FROM … WHERE … = :id".to_owned());
        }
        self.copy(self.at);
        Ok(())
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn sees(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    fn copy(&mut self, to: usize) {
        if self.copied < to {
            self.parts.push(Part::Text(self.text[self.copied..to].to_owned()));
        }
        self.copied = to;
    }

    /// `'it''s'`, `"a name"`, `` `a name` ``.
    fn quoted(&mut self, quote: char) -> Result<(), String> {
        self.at += 1;
        loop {
            let Some(end) = self.rest().find(quote) else {
                return Err(format!("a {quote} is not closed"));
            };
            // To MySQL it escapes the quote, to others it is a letter and the text ends here.
            let slashes = self.rest()[..end]
                .bytes()
                .rev()
                .take_while(|byte| *byte == b'\\')
                .count();
            if quote != '`' && slashes % 2 == 1 {
                return Err(format!(
                    "`\\{quote}` is read in different ways by databases: write a quote inside of quotes as {quote}{quote}"
                ));
            }
            self.at += end + 1;
            if self.peek() != Some(quote) {
                return Ok(());
            }
            self.at += 1;
        }
    }

    /// What follows an `E`: backslashes escape.
    fn escaped(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            let Some(next) = self.peek() else {
                return Err("a ' is not closed".to_owned());
            };
            self.at += next.len_utf8();
            match next {
                '\'' if self.peek() != Some('\'') => return Ok(()),
                '\'' => self.at += 1,
                '\\' => self.at += self.peek().map_or(0, char::len_utf8),
                _ => {}
            }
        }
    }

    fn line_comment(&mut self) -> Result<(), String> {
        self.at += 2;
        if self.peek().is_some_and(|next| !next.is_whitespace()) {
            return Err("`--` without a space after it is no comment to MySQL: write `-- `".to_owned());
        }
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        Ok(())
    }

    fn block_comment(&mut self) -> Result<(), String> {
        self.at += 2;
        if self.sees("!") || self.sees("M!") {
            return Err("`/*!` is no comment to MySQL, but a statement: leave it out".to_owned());
        }
        let Some(end) = self.rest().find("*/") else {
            return Err("a /* is not closed".to_owned());
        };
        if self.rest()[..end].contains("/*") {
            return Err("a comment inside a comment ends in different places in databases: leave it out".to_owned());
        }
        self.at += end + 2;
        Ok(())
    }

    /// `$$text$$`, `$tag$text$tag$`, or a sign.
    fn dollar(&mut self) -> Result<(), String> {
        let after = &self.rest()[1..];
        if after.starts_with(|next: char| next.is_ascii_digit()) {
            return Err("a `$` and a number: write parameters as `:name`".to_owned());
        }
        let tag = after.find(|next: char| !is_word(next) && !next.is_ascii_digit());
        let opens = tag.filter(|end| after[*end..].starts_with('$'));
        let Some(length) = opens.map(|end| end + 2) else {
            self.signs.insert('$');
            self.at += 1;
            return Ok(());
        };
        let quote = &self.rest()[..length];
        let Some(end) = self.rest()[length..].find(quote) else {
            return Err(format!("a {quote} is not closed"));
        };
        self.at += length + end + length;
        Ok(())
    }

    /// A parameter, a `::` of a cast, or a sign.
    fn colon(&mut self) {
        if self.sees("::") {
            self.at += 2;
            return;
        }
        let after = &self.rest()[1..];
        let ends = |next: char| !next.is_ascii_alphanumeric() && next != '_';
        let name = &after[..after.find(ends).unwrap_or(after.len())];
        if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            self.at += 1;
            return;
        }
        let name = name.to_owned();
        self.copy(self.at);
        self.at += 1 + name.len();
        self.copied = self.at;
        self.parts.push(Part::Parameter(name));
    }

    fn word(&mut self) -> Result<(), String> {
        let ends = |next: char| !is_word(next) && !next.is_ascii_digit() && next != '$';
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let word = self.rest()[..length].to_owned();
        if !self.begun && !READS.iter().any(|read| word.eq_ignore_ascii_case(read)) {
            return Err(not_reading(&word));
        }
        self.begun = true;
        if word.eq_ignore_ascii_case("into") {
            return Err("INTO writes: only statements that read are sent".to_owned());
        }
        self.at += length;
        if word.eq_ignore_ascii_case("e") && self.peek() == Some('\'') {
            return self.escaped();
        }
        Ok(())
    }

    /// After a `;` there is nothing but comments.
    fn end(&mut self) -> Result<(), String> {
        self.copy(self.at);
        self.at += 1;
        while let Some(next) = self.peek() {
            if self.sees("--") {
                self.line_comment()?;
            } else if self.sees("/*") {
                self.block_comment()?;
            } else if next.is_whitespace() {
                self.at += next.len_utf8();
            } else {
                return Err("holds several statements: write one, without the `;`".to_owned());
            }
        }
        Ok(())
    }

    /// Says where in a statement of several lines.
    fn placed(&self, reason: String) -> String {
        let text = self.text.trim_end();
        if !text.contains('\n') {
            return reason;
        }
        let line = 1 + self.text[..self.at].matches('\n').count();
        format!("line {line} of the statement: {reason}")
    }
}

fn not_reading(word: &str) -> String {
    let near = suggestion(word, READS);
    format!("begins with \"{word}\": only a SELECT, or a WITH … SELECT, is sent{near}")
}

/// A letter of a word, to any database.
fn is_word(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii() && !letter.is_whitespace()
}

#[cfg(test)]
mod tests;
