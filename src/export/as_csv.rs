//! CSV by RFC 4180. A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and these cells hold what callers
//! said: such texts get a `'` in front.

use std::io::{self, Write};

use super::{Column, Sink, Value};

pub(super) struct Table<W: Write> {
    out: ::csv::Writer<W>,
}

impl<W: Write> Table<W> {
    pub(super) fn new(columns: &'static [Column], out: W) -> io::Result<Self> {
        let mut out = ::csv::Writer::from_writer(out);
        out.write_record(columns.iter().map(|column| column.name))?;
        Ok(Self { out })
    }
}

impl<W: Write> Sink for Table<W> {
    fn row(&mut self, row: &[Value]) -> io::Result<()> {
        let cells = row.iter().map(|value| match value {
            Value::Text(text) => harmless(text.clone()),
            Value::Json(_) => harmless(value.words()),
            other => other.words(),
        });
        self.out.write_record(cells).map_err(io::Error::from)
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

fn harmless(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for formula in ["=HYPERLINK(\"http://evil\")", "+1", "-1+1", "@SUM(A1)", "\t=1"] {
            assert_eq!(harmless(formula.to_owned()), format!("'{formula}"));
        }
        assert_eq!(harmless("a = b".to_owned()), "a = b");
    }
}
