//! `aftercall export`: verdicts, findings and evidence for other programs.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{context::Context, failure::Failure, sessions::Which};
use crate::{
    db::Db,
    export::{self, ExportError, Format, Sheet},
    store::export::ExportFilter,
};

const EXAMPLE: &str = "\
Examples:
  $ aftercall export > verdicts.jsonl
  $ aftercall export findings --status fail --since 7d --format csv --output failures.csv
  $ aftercall export evidence --output evidence.parquet

Of each session its latest verdict. Evidence is masked as it is stored; findings hold what was asked and what is there. Without
--output rows go to stdout. The format is that of the file's ending where --format does not say it.";

/// Writes verdicts, their findings or their evidence as JSON Lines, CSV or Parquet
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Export {
    /// What: one row per session, per request and field, or per question to a system of record
    #[arg(value_enum, default_value_t = What::Verdicts)]
    what: What,
    #[command(flatten)]
    which: Which,
    /// How [default: by the ending of --output, else jsonl]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// A file to write, in place of stdout; it is there once it is whole
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Verdicts,
    Findings,
    Evidence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Jsonl,
    Csv,
    Parquet,
}

#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    rows: u64,
}

impl Export {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let format = self.format()?;
        let db = context.open_existing().await?;
        let filter = self.filter(&db).await?;
        let sheet = match self.what {
            What::Verdicts => Sheet::Verdicts,
            What::Findings => Sheet::Findings,
            What::Evidence => Sheet::Evidence,
        };
        let Some(file) = self.output else {
            return match export::write(&db, sheet, &filter, format, io::stdout()).await {
                // `aftercall export | head` is no failure.
                Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => Ok(other.map(drop)?),
            };
        };
        let rows = into_file(&file, async |part| {
            Ok(export::write(&db, sheet, &filter, format, part).await?)
        })
        .await?;
        let written = Written { file, rows };
        context.out.print(&written, |_| {
            format!("{} rows: {}", written.rows, written.file.display())
        })
    }

    fn format(&self) -> Result<Format, Failure> {
        let ending = self.output.as_deref().and_then(Path::extension);
        let by_ending = match ending.and_then(|ending| ending.to_str()) {
            Some("csv") => Format::Csv,
            Some("parquet") => Format::Parquet,
            _ => Format::Jsonl,
        };
        let format = match self.format {
            None => by_ending,
            Some(FormatName::Jsonl) => Format::Jsonl,
            Some(FormatName::Csv) => Format::Csv,
            Some(FormatName::Parquet) => Format::Parquet,
        };
        if format == Format::Parquet && self.output.is_none() {
            return Err(Failure::Usage(
                "Parquet is no text: name a file with --output".to_owned(),
            ));
        }
        Ok(format)
    }

    async fn filter(&self, db: &Db) -> Result<ExportFilter, Failure> {
        let filter = self.which.filter(db.now().await?, 0);
        if filter.statuses.iter().any(|status| status == "waiting") {
            return Err(Failure::Usage(
                "sessions that wait have no verdict to export: `aftercall sessions --status waiting` lists them"
                    .to_owned(),
            ));
        }
        Ok(ExportFilter {
            source: filter.source,
            statuses: filter.statuses,
            intent: filter.intent,
            since: filter.since,
        })
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::Storage(error.to_string())
    }
}

/// Writes beside the file and puts it in its place at the end: who reads it never sees half of it. It holds what callers said,
/// and is its owner's alone.
async fn into_file(file: &Path, write: impl AsyncFnOnce(File) -> Result<u64, Failure>) -> Result<u64, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let part = file.with_file_name(format!("{name}.part"));
    let cannot = |error: io::Error| Failure::Storage(format!("cannot write {}: {error}", file.display()));
    let opened = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(cannot)?;
    let written = write(opened).await;
    if written.is_err() {
        // What is there is no whole export.
        let _ = fs::remove_file(&part);
    }
    let rows = written?;
    fs::rename(&part, file).map_err(cannot)?;
    Ok(rows)
}
