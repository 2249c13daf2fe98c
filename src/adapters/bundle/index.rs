//! Where each session's lines are: a pure function of the file's first [`Index::end`] bytes.

use std::{collections::HashMap, fs::File, io};

use chrono::DateTime;
use sha2::{Digest as _, Sha256};

use super::line::{Head, Line, Lines, Located};
use crate::{domain::hex::hex, ports::SeenSession};

/// Everything known of the file so far.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Bytes of the file that it covers.
    pub(super) end: u64,
    /// Of those bytes.
    pub(super) fingerprint: String,
    lines: u64,
    sessions: Vec<Session>,
    by_id: HashMap<String, usize>,
    traces: HashMap<u64, Trace>,
}

/// Whose a trace's lines without a session id are.
#[derive(Debug)]
enum Trace {
    /// The first session that named it.
    Of(usize),
    /// Nobody's yet.
    Waiting(Vec<LineRef>),
}

/// One line. Ids and contents are kept as hashes: the file has them.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineRef {
    pub(super) offset: u64,
    pub(super) length: u64,
    number: u64,
    id: u64,
    pub(super) content: u64,
    trace: u64,
    /// First and last activity, and when it was changed, in microseconds: there may be millions of these.
    start: i64,
    last: i64,
    changed: i64,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    id: String,
    environment: Option<String>,
    lines: Vec<LineRef>,
    /// Offset of the line that was the last to change it.
    touched: u64,
}

/// What a line came to.
pub(super) enum Taken {
    /// A blank line, or one that waits for its trace to get a session.
    Nothing,
    /// A line of this session.
    Session(usize),
    /// A line that cannot be read.
    Fault(String),
}

impl Index {
    /// Reads on, up to an offset or the end of the file. Faults are the scan's to report.
    pub(super) fn extend(&mut self, file: &mut File, to: u64, max_line: usize, whole: bool) -> io::Result<()> {
        if self.end >= to {
            return Ok(());
        }
        let mut lines = Lines::from(file, self.end, max_line)?;
        while self.end < to {
            let Some(line) = lines.next(whole)? else { break };
            let (offset, number) = (self.end, self.lines + 1);
            self.take(offset, number, line);
        }
        Ok(())
    }

    /// Takes one line in, unless it already has it, and says whose it is.
    pub(super) fn take(&mut self, offset: u64, number: u64, line: Line<'_>) -> Taken {
        let new = offset >= self.end;
        if new {
            self.end = offset + line.length;
            self.lines = number;
        }
        if let Some(max) = line.too_long {
            return Taken::Fault(format!("the line is longer than {max} bytes"));
        }
        if line.bytes.is_empty() {
            return Taken::Nothing;
        }
        let head = match Head::read(line.bytes) {
            Ok(head) => head,
            Err(reason) => return Taken::Fault(reason),
        };
        if new {
            self.add(offset, number, line, &head);
        }
        let session = match &head.session_id {
            Some(id) => self.by_id.get(id).copied(),
            None => match self.traces.get(&short_hash(head.trace_id.as_bytes())) {
                Some(Trace::Of(ordinal)) => Some(*ordinal),
                _ => None,
            },
        };
        session.map_or(Taken::Nothing, Taken::Session)
    }

    fn add(&mut self, offset: u64, number: u64, line: Line<'_>, head: &Located) {
        let trace = short_hash(head.trace_id.as_bytes());
        let reference = LineRef {
            offset,
            length: line.length,
            number,
            id: short_hash(head.id.as_bytes()),
            content: short_hash(line.bytes),
            trace,
            start: head.start.timestamp_micros(),
            last: head.last.timestamp_micros(),
            changed: head.changed.timestamp_micros(),
        };
        let Some(id) = &head.session_id else {
            match self.traces.entry(trace).or_insert_with(|| Trace::Waiting(Vec::new())) {
                Trace::Of(ordinal) => {
                    let session = &mut self.sessions[*ordinal];
                    session.lines.push(reference);
                    session.touched = offset;
                }
                Trace::Waiting(lines) => lines.push(reference),
            }
            return;
        };
        let ordinal = *self.by_id.entry(id.clone()).or_insert_with(|| {
            self.sessions.push(Session {
                id: id.clone(),
                environment: None,
                lines: Vec::new(),
                touched: offset,
            });
            self.sessions.len() - 1
        });
        let session = &mut self.sessions[ordinal];
        session.lines.push(reference);
        session.touched = offset;
        if session.environment.is_none() {
            session.environment.clone_from(&head.environment);
        }
        let trace = self.traces.entry(trace).or_insert(Trace::Of(ordinal));
        if let Trace::Waiting(lines) = trace {
            session.lines.append(lines);
            *trace = Trace::Of(ordinal);
        }
    }

    /// Sessions touched since an offset, from an ordinal on, with the ordinal to go on from.
    pub(super) fn page(&self, from: usize, since: u64, limit: usize) -> (Vec<usize>, Option<usize>) {
        let mut page = Vec::new();
        for ordinal in from..self.sessions.len() {
            if self.sessions[ordinal].touched < since {
                continue;
            }
            if page.len() == limit {
                return (page, Some(ordinal));
            }
            page.push(ordinal);
        }
        (page, None)
    }

    /// Numbers of the lines between two offsets that belong to no session.
    pub(super) fn orphans(&self, from: u64, to: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for trace in self.traces.values() {
            if let Trace::Waiting(lines) = trace {
                let within = lines.iter().filter(|line| (from..to).contains(&line.offset));
                numbers.extend(within.map(|line| line.number));
            }
        }
        numbers
    }

    /// A session by its id.
    pub(super) fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(*self.by_id.get(id)?)
    }

    /// A session as a scan reports it.
    pub(super) fn seen(&self, ordinal: usize, ended: bool) -> Option<SeenSession> {
        let session = self.sessions.get(ordinal)?;
        let lines = session.lines();
        let mut traces: Vec<u64> = lines.iter().map(|line| line.trace).collect();
        traces.sort_unstable();
        traces.dedup();
        Some(SeenSession {
            session_id: session.id.clone(),
            environment: session.environment.clone(),
            first_activity: lines
                .iter()
                .map(|line| line.start)
                .min()
                .and_then(DateTime::from_timestamp_micros)?,
            last_activity: lines
                .iter()
                .map(|line| line.last)
                .max()
                .and_then(DateTime::from_timestamp_micros)?,
            observations: lines.len() as u64,
            traces: traces.len() as u64,
            digest: session.digest(),
            ended,
        })
    }
}

impl Session {
    /// Its lines in order of the file; of lines with the same id, only the last.
    pub(super) fn lines(&self) -> Vec<LineRef> {
        let mut last: HashMap<u64, LineRef> = HashMap::with_capacity(self.lines.len());
        for line in &self.lines {
            let kept = last.entry(line.id).or_insert(*line);
            if line.offset > kept.offset {
                *kept = *line;
            }
        }
        let mut lines: Vec<LineRef> = last.into_values().collect();
        lines.sort_unstable_by_key(|line| line.offset);
        lines
    }

    /// Hash of count, ids with their contents, and newest change: independent of the order and repetition of lines.
    pub(super) fn digest(&self) -> String {
        let mut lines = self.lines();
        lines.sort_unstable_by_key(|line| line.id);
        let mut hash = Sha256::new();
        hash.update((lines.len() as u64).to_le_bytes());
        for line in &lines {
            hash.update(line.id.to_le_bytes());
            hash.update(line.content.to_le_bytes());
        }
        if let Some(newest) = lines.iter().map(|line| line.changed).max() {
            hash.update(newest.to_le_bytes());
        }
        hex(&hash.finalize())
    }
}

/// 64 bits of SHA-256: two lines of one session that share them are not to be expected in any file that fits a disk.
pub(super) fn short_hash(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(short)
}
