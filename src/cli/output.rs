//! What commands print: tables for people, JSON for programs. Every cell and every text goes through
//! [`escape`](super::escape), so that no command can forget it.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

use super::{escape, failure::Failure};

/// Where and how to print.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    json: bool,
    colour: bool,
    /// Of the terminal; `None` into a pipe, where nothing is wrapped.
    width: Option<u16>,
}

impl Output {
    /// Looks at stdout and `NO_COLOR`.
    pub(crate) fn detect(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            colour: terminal && !no_colour,
            width: Table::new().width(),
        }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints JSON where it was asked for, else what people read.
    pub(crate) fn print<T: Serialize>(&self, value: &T, people: impl FnOnce(&Self) -> String) -> Result<(), Failure> {
        if self.json {
            let text = serde_json::to_string_pretty(value)
                .map_err(|error| Failure::Storage(format!("cannot write the answer as JSON: {error}")))?;
            write_line(&escape::json(&text))
        } else {
            write_line(&people(self))
        }
    }

    /// Renders a table as this output can show it.
    pub(crate) fn table(&self, grid: &Grid) -> String {
        grid.render(self.width, self.colour)
    }

    /// Paints a word, where colours are wanted.
    pub(crate) fn paint(&self, text: &str, tone: Tone) -> String {
        let text = escape::visible(text);
        match (self.colour, tone.code()) {
            (true, Some(code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text,
        }
    }

    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            json: false,
            colour: false,
            width: None,
        }
    }
}

fn write_line(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.trim_end_matches('\n').as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
    {
        // `aftercall sessions | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::from),
    }
}

/// What a cell says at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Warn,
    Dim,
}

impl Tone {
    fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::DarkGreen),
            Self::Bad => Some(Color::DarkRed),
            Self::Warn => Some(Color::DarkYellow),
            Self::Dim => Some(Color::DarkGrey),
        }
    }

    fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Good => Some(32),
            Self::Bad => Some(31),
            Self::Warn => Some(33),
            Self::Dim => Some(90),
        }
    }

    /// Of a session's status.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "pass" => Self::Good,
            "fail" | "error" => Self::Bad,
            "partial" => Self::Warn,
            "skipped" | "waiting" => Self::Dim,
            _ => Self::Plain,
        }
    }
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
            right: false,
        }
    }

    /// What is read like a number: right-aligned.
    pub(crate) fn number(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            tone: Tone::Plain,
            right: true,
        }
    }

    /// A number: right-aligned, and nothing to see when it is zero.
    pub(crate) fn count(count: u64) -> Self {
        Self {
            text: if count == 0 { "·".to_owned() } else { count.to_string() },
            tone: Tone::Plain,
            right: true,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A table before it is rendered.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    first_unbroken: bool,
}

impl Grid {
    pub(crate) fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self {
            header: header.into(),
            rows: Vec::new(),
            first_unbroken: false,
        }
    }

    /// What stands first is not wrapped, however narrow the terminal is: a name that is to be typed.
    pub(crate) fn first_unbroken(mut self) -> Self {
        self.first_unbroken = true;
        self
    }

    pub(crate) fn row(&mut self, row: impl Into<Vec<Cell>>) {
        self.rows.push(row.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn render(&self, width: Option<u16>, colour: bool) -> String {
        let mut table = Table::new();
        let line = LineStyle::new('─', '─', '─', '─');
        table.load_style(TableStyle::new().header_separator(line));
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if let Some(width) = width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        table.set_header(self.header.clone());
        for row in &self.rows {
            let cells = row.iter().map(|cell| {
                let mut shown = comfy_table::Cell::new(escape::visible(&cell.text));
                if let Some(tone) = cell.tone.colour() {
                    shown = shown.fg(tone);
                }
                if cell.right {
                    shown = shown.set_alignment(CellAlignment::Right);
                }
                shown
            });
            table.add_row(cells);
        }
        if self.first_unbroken
            && let Some(first) = table.column_mut(0)
        {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(["session", "status", "n"]);
        grid.row([
            Cell::from("a/\u{1b}[2Jb"),
            Cell::toned("pass", Tone::Good),
            Cell::count(12),
        ]);
        grid.row([Cell::from("b"), Cell::toned("fail", Tone::Bad), Cell::count(0)]);
        grid
    }

    #[test]
    fn a_table_into_a_pipe_has_no_colour_and_no_escape_of_a_session() {
        let text = grid().render(None, false);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("a/\\x1b[2Jb"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[2].ends_with("12") && lines[3].ends_with(" ·"), "{text}");
    }

    #[test]
    fn a_table_on_a_terminal_is_as_wide_as_the_terminal() {
        let mut grid = Grid::new(["session", "why"]);
        grid.row([Cell::from("s"), Cell::from("word ".repeat(40))]);
        for width in [40, 80] {
            let text = grid.render(Some(width), false);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= usize::from(width), "{widest} > {width}\n{text}");
        }
        assert!(grid.render(None, false).lines().any(|line| line.chars().count() > 150));
    }
}
