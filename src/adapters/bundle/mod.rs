//! Sessions from a file of JSON Lines, one observation per line in the shape of `GET /api/public/v2/observations`: for
//! import, backfill, tests and the demo.
//!
//! Memory holds an index of where each session's lines are, never what they say. A scan advances in bounded slices; its
//! watermark says how far the file was read, with a fingerprint of what was read, so that a file that grew is read on from
//! there and one that was replaced is read again. A line that cannot be read is reported by its number; the others go on.

mod index;
mod line;
mod probe;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use self::index::{Index, LineRef, Taken, short_hash};
use super::content::{Content, OBSERVATIONS};
use crate::{
    domain::{hex::hex, observation::Snapshot},
    ports::{Probe, SessionRef, Slice, SourceFault, TraceSource, UpstreamError, UpstreamReason},
};

/// Faults reported by one slice.
const FAULTS_PER_SLICE: usize = 1_000;
/// Bytes at each end of what was read that tell whether it is still the same file.
const FINGERPRINT_BYTES: u64 = 4_096;

/// When a session of the file is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleSettle {
    /// At the end of the file: it is whole.
    EndOfFile,
    /// When nothing more comes for a while: the file is still being written. A last line without its line end is waited for.
    Idle,
}

/// One configured bundle.
#[derive(Debug, Clone)]
pub struct BundleConfig {
    /// Name of the source.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// When a session is over.
    pub settle: BundleSettle,
    /// A longer line is reported and left out.
    pub max_line_bytes: usize,
    /// Sessions in one slice.
    pub slice_sessions: usize,
    /// Bytes of lines read for one slice.
    pub slice_bytes: u64,
    /// Bytes of input and output kept of one session.
    pub session_bytes: usize,
}

impl BundleConfig {
    /// With the defaults: whole file, lines to 64 MB, slices of 1,000 sessions or 16 MB, sessions to 8 MB.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            settle: BundleSettle::EndOfFile,
            max_line_bytes: 64 << 20,
            slice_sessions: 1_000,
            slice_bytes: 16 << 20,
            session_bytes: 8 << 20,
        }
    }
}

/// A file of JSON Lines as a source of sessions.
#[derive(Debug, Clone)]
pub struct Bundle {
    name: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: BundleConfig,
    index: Mutex<Index>,
}

/// How far a scan got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Watermark {
    /// Bytes read.
    offset: u64,
    /// Lines read.
    line: u64,
    /// Of what was read.
    fingerprint: String,
    /// Where the lines begin whose sessions have still to be reported when the file's end is reached.
    cycle: u64,
    /// The end is reached; the next session to report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closing: Option<usize>,
}

impl Bundle {
    /// A source over a file. The file is opened at each scan, so it may appear later.
    pub fn new(config: BundleConfig) -> Self {
        Self {
            name: config.name.clone(),
            shared: Arc::new(Shared {
                config,
                index: Mutex::new(Index::default()),
            }),
        }
    }

    async fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, UpstreamError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(done) => done,
            Err(_) => Err(self.shared.error("reading was interrupted".to_owned())),
        }
    }
}

#[async_trait]
impl TraceSource for Bundle {
    fn name(&self) -> &str {
        &self.name
    }

    async fn scan(&self, watermark: Option<&Value>, _now: DateTime<Utc>) -> Result<Slice, UpstreamError> {
        // A watermark that does not parse is another source's: begin again.
        let watermark = watermark
            .and_then(|stored| Watermark::deserialize(stored).ok())
            .unwrap_or_default();
        self.off_the_runtime(move |shared| shared.scan(watermark)).await
    }

    async fn read(&self, session: &SessionRef) -> Result<Option<(Snapshot, String)>, UpstreamError> {
        let session_id = session.session_id.clone();
        self.off_the_runtime(move |shared| shared.read(&session_id)).await
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.off_the_runtime(Shared::probe).await
    }
}

impl Shared {
    fn error(&self, detail: String) -> UpstreamError {
        UpstreamError {
            upstream: format!("source:{}", self.config.name),
            reason: UpstreamReason::Unreachable,
            detail,
            retry_after: None,
        }
    }

    fn broken(&self, error: &io::Error) -> UpstreamError {
        let path = self.config.path.display();
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "check the source's `path`",
            io::ErrorKind::PermissionDenied => "let the user that aftercall runs as read it",
            io::ErrorKind::IsADirectory => "give the file itself, not its folder",
            io::ErrorKind::InvalidData => "it changed while it was read; the next scan starts over",
            _ => "check the file and its disk",
        };
        self.error(format!("cannot read {path}: {error}; {advice}"))
    }

    fn open(&self) -> io::Result<(File, u64)> {
        // Before opening it: opening a pipe waits for whoever writes into it.
        let metadata = std::fs::metadata(&self.config.path)?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let file = File::open(&self.config.path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn scan(&self, watermark: Watermark) -> Result<Slice, UpstreamError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        self.scan_file(&mut index, watermark)
            .map_err(|error| self.broken(&error))
    }

    fn scan_file(&self, index: &mut Index, mut mark: Watermark) -> io::Result<Slice> {
        let (mut file, size) = self.open()?;
        if mark.offset > size || fingerprint(&mut file, mark.offset)? != mark.fingerprint {
            if mark != Watermark::default() {
                tracing::info!(source = %self.config.name, "the file was replaced: it is read again from its beginning");
            }
            mark = Watermark::default();
        }
        refresh(index, &mut file, size)?;
        let whole = self.config.settle == BundleSettle::EndOfFile;
        // After a restart the index is empty: read again what the watermark has behind it.
        let before = mark.offset;
        index.extend(&mut file, before, self.config.max_line_bytes, whole)?;

        let mut slice = Slice::default();
        let mut touched = Vec::new();
        if mark.closing.is_none() {
            let taken = self.take_lines(index, &mut file, &mut mark, &mut slice)?;
            touched = taken.sessions;
            slice.more = !taken.at_end;
            if taken.at_end && whole && mark.offset > mark.cycle {
                mark.closing = Some(0);
            }
            if taken.at_end || !whole {
                let since = if whole { mark.cycle } else { before };
                slice.faults.extend(notes_of_orphans(index, since, mark.offset));
            }
        }
        if let Some(next) = mark.closing {
            let (page, rest) = index.page(next, mark.cycle, self.config.slice_sessions);
            touched = page;
            slice.more = true;
            mark.closing = rest;
            if rest.is_none() {
                mark.cycle = mark.offset;
                slice.more = mark.offset < size;
            }
        } else if whole {
            touched.clear();
        } else {
            mark.cycle = mark.offset;
        }
        slice.sessions = touched
            .into_iter()
            .filter_map(|ordinal| index.seen(ordinal, whole))
            .collect();
        mark.fingerprint = fingerprint(&mut file, mark.offset)?;
        index.fingerprint = fingerprint(&mut file, index.end)?;
        slice.watermark = serde_json::to_value(&mark).map_err(io::Error::other)?;
        Ok(slice)
    }

    /// Reads the slice's lines, whether the index has them already or not.
    fn take_lines(
        &self,
        index: &mut Index,
        file: &mut File,
        mark: &mut Watermark,
        slice: &mut Slice,
    ) -> io::Result<TakenLines> {
        let mut lines = line::Lines::from(file, mark.offset, self.config.max_line_bytes)?;
        let mut taken = TakenLines::default();
        let begin = mark.offset;
        let whole = self.config.settle == BundleSettle::EndOfFile;
        let mut noted = std::collections::HashSet::new();
        while mark.offset - begin < self.config.slice_bytes
            && slice.faults.len() < FAULTS_PER_SLICE
            && (whole || taken.sessions.len() < self.config.slice_sessions)
        {
            let Some(next) = lines.next(whole)? else {
                taken.at_end = true;
                break;
            };
            let number = mark.line + 1;
            match index.take(mark.offset, number, next) {
                Taken::Nothing => {}
                Taken::Session(ordinal) => {
                    if noted.insert(ordinal) {
                        taken.sessions.push(ordinal);
                    }
                }
                Taken::Fault(reason) => slice.faults.push(SourceFault {
                    position: format!("line {number}"),
                    reason,
                }),
            }
            mark.offset += next.length;
            mark.line = number;
        }
        Ok(taken)
    }

    fn read(&self, session_id: &str) -> Result<Option<(Snapshot, String)>, UpstreamError> {
        self.read_file(session_id).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                // Changed in its middle, which the two ends do not show: the next read must not go by this index.
                *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Index::default();
            }
            self.broken(&error)
        })
    }

    fn read_file(&self, session_id: &str) -> io::Result<Option<(Snapshot, String)>> {
        let (mut file, size) = self.open()?;
        let Some((lines, digest)) = self.lines_of(&mut file, size, session_id)? else {
            return Ok(None);
        };
        // Without the lock: other sessions are read at the same time.
        let snapshot = collect(&mut file, &lines, self.config.session_bytes)?;
        Ok(Some((snapshot, digest)))
    }

    fn lines_of(&self, file: &mut File, size: u64, session_id: &str) -> io::Result<Option<(Vec<LineRef>, String)>> {
        let index = &mut *self.index.lock().unwrap_or_else(PoisonError::into_inner);
        refresh(index, file, size)?;
        let whole = self.config.settle == BundleSettle::EndOfFile;
        let before = index.end;
        index.extend(file, u64::MAX, self.config.max_line_bytes, whole)?;
        if index.end > before {
            index.fingerprint = fingerprint(file, index.end)?;
        }
        Ok(index
            .session(session_id)
            .map(|session| (session.lines(), session.digest())))
    }
}

/// Reads these lines and puts them in order. Of too many observations, the first and the last are kept.
fn collect(file: &mut File, lines: &[LineRef], bound: usize) -> io::Result<Snapshot> {
    let half = OBSERVATIONS / 2;
    let left_out = half..lines.len().saturating_sub(half).max(half);
    let mut content = Content::new(bound);
    let mut bytes = Vec::new();
    for (position, line) in lines.iter().enumerate() {
        let mut kept = None;
        if !left_out.contains(&position) {
            bytes.clear();
            file.seek(SeekFrom::Start(line.offset))?;
            (&mut *file).take(line.length).read_to_end(&mut bytes)?;
            let line_bytes = bytes.trim_ascii_end();
            if short_hash(line_bytes) != line.content {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is another file now"));
            }
            kept = content.read(line_bytes);
        }
        match kept {
            Some(one) => content.add(one),
            None => content.leave_out(line.length),
        }
    }
    Ok(content.finish())
}

/// Forgets an index of a file that is no longer there.
fn refresh(index: &mut Index, file: &mut File, size: u64) -> io::Result<()> {
    if index.end > size || (index.end > 0 && fingerprint(file, index.end)? != index.fingerprint) {
        *index = Index::default();
    }
    Ok(())
}

#[derive(Default)]
struct TakenLines {
    /// Sessions with a line among them, in order of appearance.
    sessions: Vec<usize>,
    at_end: bool,
}

/// Lines without a session: grouping is off for this source, so they cannot be judged, and that must be seen.
fn notes_of_orphans(index: &Index, from: u64, to: u64) -> Vec<SourceFault> {
    let mut lines = index.orphans(from, to);
    lines.sort_unstable();
    let more = lines.len().saturating_sub(FAULTS_PER_SLICE);
    lines.truncate(FAULTS_PER_SLICE);
    let mut notes: Vec<SourceFault> = Vec::new();
    for line in lines {
        notes.push(SourceFault {
            position: format!("line {line}"),
            reason: "no session id, and no other line of its trace has one".to_owned(),
        });
    }
    if more > 0 {
        notes.push(SourceFault {
            position: "file".to_owned(),
            reason: format!("{more} further lines without a session id"),
        });
    }
    notes
}

/// Of the first `end` bytes, by their two ends: a file that only grew keeps it.
fn fingerprint(file: &mut File, end: u64) -> io::Result<String> {
    if end == 0 {
        return Ok(String::new());
    }
    let mut hash = Sha256::new();
    let part = end.min(FINGERPRINT_BYTES);
    for from in [0, end - part] {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.take(part).read_to_end(&mut bytes)?;
        hash.update(&bytes);
    }
    Ok(hex(&hash.finalize()[..16]))
}

#[cfg(test)]
mod tests;
