//! JSON Lines: one object per row, empty cells as null.

use std::io::{self, BufWriter, Write};

use serde_json::{Map, Value as Json};

use super::{Column, Sink, Value, sheets::instant};

pub(super) struct Lines<W: Write> {
    columns: &'static [Column],
    out: BufWriter<W>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(columns: &'static [Column], out: W) -> Self {
        Self {
            columns,
            out: BufWriter::new(out),
        }
    }
}

impl<W: Write> Sink for Lines<W> {
    fn row(&mut self, row: &[Value]) -> io::Result<()> {
        let mut object = Map::new();
        for (column, value) in self.columns.iter().zip(row) {
            let json = match value {
                Value::Empty => Json::Null,
                Value::Text(text) => Json::from(text.as_str()),
                Value::Integer(number) => Json::from(*number),
                Value::Float(number) => Json::from(*number),
                Value::Flag(flag) => Json::from(*flag),
                Value::Time(time) => Json::from(instant(*time)),
                Value::Json(value) => value.clone(),
            };
            object.insert(column.name.to_owned(), json);
        }
        serde_json::to_writer(&mut self.out, &object)?;
        self.out.write_all(b"\n")
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}
