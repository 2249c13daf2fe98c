//! `aftercall export`: verdicts, their findings and their evidence as JSON Lines, CSV or Parquet.
//!
//! `sheets` say what the rows are; the others write them. Sessions are read page by page: an export holds few of
//! them in memory, however many there are.

mod as_csv;
mod as_jsonl;
mod as_parquet;
mod sheets;

use std::io::{self, Write};

pub use self::sheets::{Column, Kind, Sheet, Value};
use crate::{
    db::{Db, DbError},
    store::{
        evidence,
        export::{self, ExportFilter},
    },
};

/// Sessions read at once.
const PAGE: u32 = 200;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Jsonl,
    /// RFC 4180, with a head line.
    Csv,
    /// Apache Parquet, compressed with Snappy.
    Parquet,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It cannot be written.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
}

/// Writes rows of one sheet.
trait Sink {
    fn row(&mut self, row: &[Value]) -> io::Result<()>;
    /// Writes what is left.
    fn end(self: Box<Self>) -> io::Result<()>;
}

/// Writes all rows; answers how many.
///
/// # Errors
/// When the database cannot be read or the output cannot be written. What was written so far is no whole export.
pub async fn write(
    db: &Db,
    sheet: Sheet,
    filter: &ExportFilter,
    format: Format,
    out: impl Write + Send + 'static,
) -> Result<u64, ExportError> {
    let columns = sheet.columns();
    let mut sink: Box<dyn Sink> = match format {
        Format::Jsonl => Box::new(as_jsonl::Lines::new(columns, out)),
        Format::Csv => Box::new(as_csv::Table::new(columns, out)?),
        Format::Parquet => Box::new(as_parquet::File::new(columns, out)?),
    };
    let mut rows = 0;
    let mut after = None;
    loop {
        let page = export::page(db, filter, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for judged in &page {
            let looked = match sheet {
                Sheet::Evidence => evidence::load(db, &judged.key, judged.generation).await?,
                Sheet::Verdicts | Sheet::Findings => Vec::new(),
            };
            for row in sheet.rows(judged, &looked) {
                sink.row(&row)?;
                rows += 1;
            }
        }
    }
    sink.end()?;
    Ok(rows)
}
