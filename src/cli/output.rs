//! What commands print: tables for people, JSON for programs. Every cell and every text goes through
//! [`escape`](super::escape), so that no command can forget it.

mod layout;

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle};
use serde::Serialize;

use self::layout::Layout;
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

    /// Columns of the terminal; `None` into a pipe, where nothing is cut or wrapped.
    pub(crate) fn width(&self) -> Option<u16> {
        self.width
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

impl Cell {
    /// Nothing to see.
    fn is_empty(&self) -> bool {
        self.text.is_empty() || self.text == "·"
    }

    fn shown(&self) -> comfy_table::Cell {
        let mut shown = comfy_table::Cell::new(escape::visible(&self.text));
        if let Some(tone) = self.tone.colour() {
            shown = shown.fg(tone);
        }
        if self.right {
            shown = shown.set_alignment(CellAlignment::Right);
        }
        shown
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
        let layout = width.map_or(Layout::Whole, |width| Layout::of(self, usize::from(width)));
        match layout {
            Layout::Whole => self.lines(&self.columns(), &[], None, colour),
            Layout::Columns { columns, rigid } => self.lines(&columns, &rigid, width, colour),
            Layout::Cards => self.cards(width, colour),
        }
    }

    fn columns(&self) -> Vec<usize> {
        (0..self.header.len()).collect()
    }

    /// One line for each row, or more where a column has to be wrapped: those that are not `rigid`.
    fn lines(&self, columns: &[usize], rigid: &[usize], width: Option<u16>, colour: bool) -> String {
        let mut table = new_table(width, colour);
        let line = LineStyle::new('─', '─', '─', '─');
        table.load_style(TableStyle::new().header_separator(line));
        table.set_header(columns.iter().map(|column| self.header[*column]));
        for row in &self.rows {
            table.add_row(columns.iter().filter_map(|column| row.get(*column)).map(Cell::shown));
        }
        for (place, column) in columns.iter().enumerate() {
            if rigid.contains(column)
                && let Some(column) = table.column_mut(place)
            {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        if self.first_unbroken
            && let Some(first) = table.column_mut(0)
        {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        table.trim_fmt()
    }

    /// One block for each row: what the columns are called beside what is in them.
    fn cards(&self, width: Option<u16>, colour: bool) -> String {
        let mut cards = Vec::new();
        for row in &self.rows {
            let mut card = new_table(width, colour);
            for (name, cell) in self.header.iter().zip(row).filter(|(_, cell)| !cell.is_empty()) {
                let mut value = cell.clone();
                value.right = false;
                card.add_row([Cell::toned(*name, Tone::Dim).shown(), value.shown()]);
            }
            if let Some(names) = card.column_mut(0) {
                names.set_constraint(ColumnConstraint::ContentWidth);
            }
            cards.push(card.trim_fmt());
        }
        cards.join("\n\n")
    }
}

fn new_table(width: Option<u16>, colour: bool) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
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
    table
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

    fn jobs() -> Grid {
        let mut grid = Grid::new(["job", "queue", "key", "state", "cancelled", "worker", "why"]);
        grid.row([
            Cell::from("0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80"),
            Cell::from("verify_session"),
            Cell::from(""),
            Cell::toned("scheduled", Tone::Warn),
            Cell::count(0),
            Cell::from("0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f81"),
            Cell::from("records:practice is not available (closed_hours): opens at 8"),
        ]);
        grid
    }

    #[test]
    fn at_a_narrow_terminal_ids_stay_whole_and_empty_columns_go() {
        let text = jobs().render(Some(120), false);
        assert!(text.contains("3c4f5d6e7f80") && text.contains("3c4f5d6e7f81"), "{text}");
        assert!(text.contains("verify_session") && !text.contains("cancelled"), "{text}");
        assert!(text.lines().next().unwrap().trim().starts_with("job"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        // Into a pipe every column is there.
        assert!(jobs().render(None, false).contains("cancelled"));
    }

    #[test]
    fn where_columns_do_not_fit_at_all_each_row_is_a_block() {
        let text = jobs().render(Some(60), false);
        assert!(text.contains("0199e0a2-7c1e-7b43-9a55-3c4f5d6e7f80"), "{text}");
        assert!(
            text.lines()
                .any(|line| line.trim().starts_with("state") && line.ends_with("scheduled")),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }
}
