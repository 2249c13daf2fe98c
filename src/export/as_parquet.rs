//! Apache Parquet: every column optional, compressed with Snappy, some thousand rows to a group.

use std::{
    io::{self, Write},
    sync::Arc,
};

use ::parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::Type,
};

use super::{Column, Kind, Sink, Value};

/// Rows in memory before they are written: a group.
const GROUP: usize = 5_000;

pub(super) struct File<W: Write + Send> {
    columns: &'static [Column],
    out: SerializedFileWriter<W>,
    rows: Vec<Vec<Value>>,
}

impl<W: Write + Send> File<W> {
    pub(super) fn new(columns: &'static [Column], out: W) -> io::Result<Self> {
        let mut fields = Vec::new();
        for column in columns {
            fields.push(Arc::new(field(column).map_err(io::Error::other)?));
        }
        let schema = Type::group_type_builder("export")
            .with_fields(fields)
            .build()
            .map_err(io::Error::other)?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let out = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(io::Error::other)?;
        Ok(Self {
            columns,
            out,
            rows: Vec::new(),
        })
    }

    fn write_group(&mut self) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let mut group = self.out.next_row_group().map_err(io::Error::other)?;
        let mut at = 0;
        while let Some(mut writer) = group.next_column().map_err(io::Error::other)? {
            let cells = rows.iter().map(|row| &row[at]);
            write_column(&mut writer, self.columns[at].kind, cells)?;
            writer.close().map_err(io::Error::other)?;
            at += 1;
        }
        group.close().map_err(io::Error::other)?;
        Ok(())
    }
}

impl<W: Write + Send> Sink for File<W> {
    fn row(&mut self, row: &[Value]) -> io::Result<()> {
        self.rows.push(row.to_vec());
        if self.rows.len() >= GROUP {
            self.write_group()?;
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.write_group()?;
        self.out.close().map_err(io::Error::other)?;
        Ok(())
    }
}

fn field(column: &Column) -> ::parquet::errors::Result<Type> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

/// Values of one column: an empty cell is a level of 0 and no value.
fn write_column<'v>(
    writer: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = &'v Value> + Clone,
) -> io::Result<()> {
    let levels: Vec<i16> = cells.clone().map(|cell| i16::from(*cell != Value::Empty)).collect();
    let written = match kind {
        Kind::Text | Kind::Json => {
            let filled = cells.filter(|cell| **cell != Value::Empty);
            let values: Vec<ByteArray> = filled.map(|cell| cell.words().into_bytes().into()).collect();
            writer
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&levels), None)
        }
        Kind::Integer | Kind::Time => {
            let whole = |cell: &Value| match cell {
                Value::Integer(number) => Some(*number),
                Value::Time(time) => Some(time.timestamp_micros()),
                _ => None,
            };
            let values: Vec<i64> = cells.filter_map(whole).collect();
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels), None)
        }
        Kind::Float => {
            let number = |cell: &Value| match cell {
                Value::Float(number) => Some(*number),
                _ => None,
            };
            let values: Vec<f64> = cells.filter_map(number).collect();
            writer.typed::<DoubleType>().write_batch(&values, Some(&levels), None)
        }
        Kind::Flag => {
            let flag = |cell: &Value| match cell {
                Value::Flag(flag) => Some(*flag),
                _ => None,
            };
            let values: Vec<bool> = cells.filter_map(flag).collect();
            writer.typed::<BoolType>().write_batch(&values, Some(&levels), None)
        }
    };
    written.map(drop).map_err(io::Error::other)
}
