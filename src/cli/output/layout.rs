//! How a table is laid out on a terminal that may be too narrow for it: an id that is broken over lines cannot be copied, and a
//! column two letters wide cannot be read.

use unicode_width::UnicodeWidthStr as _;

use super::{Cell, Grid};
use crate::cli::escape;

/// Blanks around a column.
const PADDING: usize = 2;
/// A word up to so long is kept whole: an id has 36.
const WHOLE: usize = 40;
/// A column of words is not made narrower than this.
const NARROWEST: usize = 16;

/// How a table is laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As wide as it is.
    Whole,
    /// These columns; those that are rigid as wide as they are, the others wrapped.
    Columns { columns: Vec<usize>, rigid: Vec<usize> },
    /// A block for each row.
    Cards,
}

impl Layout {
    /// Columns in which nothing is to be seen go first; then words are wrapped; then columns are given up.
    pub(super) fn of(grid: &Grid, width: usize) -> Self {
        let all = grid.columns();
        if natural(grid, &all) <= width {
            return Self::Whole;
        }
        let is_seen = |column: &usize| cells(grid, *column).any(|cell| !cell.is_empty());
        let columns: Vec<usize> = all.into_iter().filter(is_seen).collect();
        if natural(grid, &columns) <= width {
            return Self::Columns {
                rigid: columns.clone(),
                columns,
            };
        }
        let is_rigid = |column: &usize| {
            cells(grid, *column).all(|cell| !cell.text.contains(' ') && shown_width(&cell.text) <= WHOLE)
        };
        let rigid: Vec<usize> = columns.iter().copied().filter(is_rigid).collect();
        let least = |column: &usize| {
            let natural = column_width(grid, *column);
            PADDING
                + if rigid.contains(column) {
                    natural
                } else {
                    natural.min(NARROWEST)
                }
        };
        let needed: usize = columns.iter().map(least).sum();
        if needed <= width {
            return Self::Columns { columns, rigid };
        }
        // Two columns are a list of facts, which has no narrower form.
        if columns.len() <= 2 {
            return Self::Columns {
                columns,
                rigid: Vec::new(),
            };
        }
        Self::Cards
    }
}

fn natural(grid: &Grid, columns: &[usize]) -> usize {
    columns.iter().map(|column| column_width(grid, *column) + PADDING).sum()
}

fn column_width(grid: &Grid, column: usize) -> usize {
    let widest = cells(grid, column).map(|cell| shown_width(&cell.text)).max();
    widest.unwrap_or_default().max(grid.header[column].width())
}

fn cells(grid: &Grid, column: usize) -> impl Iterator<Item = &Cell> {
    grid.rows.iter().filter_map(move |row| row.get(column))
}

fn shown_width(text: &str) -> usize {
    escape::visible(text).width()
}
