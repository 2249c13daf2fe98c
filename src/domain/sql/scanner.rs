//! Finds the parameters of a statement, in one walk over its text.

use std::collections::BTreeSet;

use super::{Part, mark::Mark};
use crate::domain::playbook::suggestion;

/// How a statement may begin.
const READS: [&str; 2] = ["SELECT", "WITH"];

/// What a statement is made of, and what in it databases read in different ways.
pub(super) fn scan(text: &str) -> Result<(Vec<Part>, BTreeSet<Mark>), String> {
    let mut scanner = Scanner {
        text,
        at: 0,
        copied: 0,
        parts: Vec::new(),
        marks: BTreeSet::new(),
        begun: false,
        open: Vec::new(),
        last: Last::Other,
    };
    match scanner.statement() {
        Ok(()) => Ok((scanner.parts, scanner.marks)),
        Err(reason) => Err(scanner.placed(reason)),
    }
}

/// Walks over the text once. Everything that is no parameter is copied as it stands.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
    /// Up to where the text is in the parts.
    copied: usize,
    parts: Vec<Part>,
    marks: BTreeSet<Mark>,
    /// The first word was read.
    begun: bool,
    /// What is open around here, the innermost last.
    open: Vec<Open>,
    last: Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Parenthesis,
    /// `ARRAY[…]`.
    List,
    /// `a[…]`, in which a colon may stand between two bounds.
    Subscript,
}

/// What stands before, blanks and comments left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The word ARRAY.
    Array,
    /// What an element of a list may follow.
    ListSign,
    Other,
}

impl Scanner<'_> {
    fn statement(&mut self) -> Result<(), String> {
        // SQLite would end the statement there, also within quotes.
        if let Some(at) = self.text.find('\0') {
            self.at = at;
            return Err("holds the character U+0000".to_owned());
        }
        while let Some(next) = self.peek() {
            if is_blank(next) {
                self.at += 1;
                continue;
            }
            if self.sees("--") {
                self.line_comment()?;
                continue;
            }
            if self.sees("/*") {
                self.block_comment()?;
                continue;
            }
            if !self.begun && !is_word(next) {
                return Err(not_reading(&next.to_string()));
            }
            let mut last = Last::Other;
            match next {
                '\'' | '"' | '`' => self.quoted(next)?,
                '$' => self.dollar()?,
                ':' => self.colon()?,
                ';' => return self.end(),
                '[' => {
                    self.bracket();
                    last = Last::ListSign;
                }
                '(' => {
                    self.open.push(Open::Parenthesis);
                    self.at += 1;
                }
                ')' | ']' => {
                    self.open.pop();
                    self.at += 1;
                }
                ',' => {
                    self.at += 1;
                    last = Last::ListSign;
                }
                '?' => self.sign(Mark::Question),
                '@' => self.sign(Mark::At),
                '#' => self.sign(Mark::Hash),
                _ if is_word(next) => last = self.word()?,
                _ => self.at += next.len_utf8(),
            }
            self.last = last;
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

    fn sign(&mut self, mark: Mark) {
        self.marks.insert(mark);
        self.at += 1;
    }

    fn copy(&mut self, to: usize) {
        if self.copied < to {
            self.parts.push(Part::Text(self.text[self.copied..to].to_owned()));
        }
        self.copied = to;
    }

    /// `'it''s'`, `"a name"`, `` `a name` ``.
    fn quoted(&mut self, quote: char) -> Result<(), String> {
        if quote == '`' {
            self.marks.insert(Mark::Backtick);
        }
        self.at += 1;
        loop {
            let Some(end) = self.rest().find(quote) else {
                return Err(self.unclosed(&quote.to_string()));
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

    /// An apostrophe in what only some databases take for a comment or a name opens a text.
    fn unclosed(&self, quote: &str) -> String {
        let hint = if self.marks.contains(&Mark::Hash) {
            "; `#` begins a comment in MySQL alone: write `-- `"
        } else if self.marks.contains(&Mark::Bracket) {
            "; `[` quotes a name in SQLite alone: write the name as \"…\""
        } else {
            ""
        };
        format!("a {quote} is not closed{hint}")
    }

    /// What follows an `E`: backslashes escape.
    fn escaped(&mut self) -> Result<(), String> {
        self.marks.insert(Mark::EscapeString);
        self.at += 1;
        loop {
            let Some(next) = self.peek() else {
                return Err(self.unclosed("'"));
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
        if self.peek().is_some_and(|next| !is_blank(next)) {
            return Err("`--` without a space after it is no comment to MySQL: write `-- `".to_owned());
        }
        let length = self.rest().find('\n').unwrap_or(self.rest().len());
        let comment = &self.rest()[..length];
        // To PostgreSQL it ends the comment by itself.
        if comment.strip_suffix('\r').unwrap_or(comment).contains('\r') {
            return Err(
                "a comment holds a carriage return, which does not end it in each database: end the line".to_owned(),
            );
        }
        self.at += length;
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
        // With the star of its end: `/*/` opens one more to PostgreSQL.
        if self.rest()[..=end].contains("/*") {
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
            self.sign(Mark::Dollar);
            return Ok(());
        };
        let quote = &self.rest()[..length];
        let Some(end) = self.rest()[length..].find(quote) else {
            return Err(format!("a {quote} is not closed"));
        };
        self.marks.insert(Mark::DollarQuote);
        self.at += length + end + length;
        Ok(())
    }

    /// Whether it is a list or a subscript; and whether SQLite sees a name that holds signs.
    fn bracket(&mut self) {
        let after = &self.rest()[1..];
        let is_plain = |letter: char| is_word(letter) || letter.is_ascii_digit() || letter == ' ';
        let name = after.split(']').next().unwrap_or(after);
        if name.len() == after.len() || !name.chars().all(is_plain) {
            self.marks.insert(Mark::Bracket);
        }
        let in_list = self.open.last() == Some(&Open::List) && self.last == Last::ListSign;
        self.open.push(if in_list || self.last == Last::Array {
            Open::List
        } else {
            Open::Subscript
        });
        self.at += 1;
    }

    /// A parameter, a `::` of a cast, or a sign.
    fn colon(&mut self) -> Result<(), String> {
        if self.sees("::") {
            self.at += 2;
            return Ok(());
        }
        let after = &self.rest()[1..];
        let ends = |next: char| !next.is_ascii_alphanumeric() && next != '_';
        let (name, behind) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let behind = behind.chars().next();
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if behind.is_some_and(|next| is_word(next) || next == '$') {
            return Err(format!(
                "`:{name}` goes on with a sign that no parameter has in its name: it is made of letters a to z, digits and _"
            ));
        }
        if !is_name {
            if !name.is_empty() {
                self.marks.insert(Mark::ColonNumber);
            }
            self.at += 1;
            return Ok(());
        }
        // `:e'…'` is a parameter and a text, or an E'…'.
        if behind == Some('\'') {
            return Err(format!("put a space behind `:{name}`"));
        }
        // `a[1:b]` ends at the column b: whether that or a parameter is meant is not guessed.
        if self.open.last() == Some(&Open::Subscript) {
            return Err(format!(
                "inside of [ ] a colon stands between two bounds: write a parameter as `(:{name})`, and a column after a space"
            ));
        }
        // A placeholder would become a part of the word, or with it something else.
        let before = self.text[..self.at].chars().next_back();
        if before.is_some_and(|before| is_word(before) || before.is_ascii_digit() || "$@?#:".contains(before)) {
            return Err(format!("put a space before `:{name}`"));
        }
        let name = name.to_owned();
        self.copy(self.at);
        self.at += 1 + name.len();
        self.copied = self.at;
        self.parts.push(Part::Parameter(name));
        Ok(())
    }

    fn word(&mut self) -> Result<Last, String> {
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
            self.escaped()?;
        }
        Ok(if word.eq_ignore_ascii_case("array") {
            Last::Array
        } else {
            Last::Other
        })
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
            } else if is_blank(next) {
                self.at += 1;
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

/// A blank to every database. Others, such as U+00A0, are letters to them.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

/// A letter of a word, to any database.
fn is_word(letter: char) -> bool {
    letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii()
}
