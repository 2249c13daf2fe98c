//! Tiny sessions of the airline's domain: each cancels one reservation, and passes.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Value, json};

pub(super) fn session_id(n: u64) -> String {
    format!("bench-{n:06}")
}

pub(super) fn reservation(n: u64) -> String {
    format!("R{n:06}")
}

/// Two turns and one tool call each.
pub(super) fn write_bundle(path: &Path, sessions: u64) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = BufWriter::new(file);
    for n in 0..sessions {
        for line in tiny(n) {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The observations of one.
pub(super) fn tiny(n: u64) -> [Value; 2] {
    let (session, id) = (session_id(n), reservation(n));
    let trace = format!("{session}-t1");
    let root = json!({
        "id": format!("{trace}-root"), "traceId": trace, "sessionId": session, "type": "AGENT", "name": "turn-1",
        "isRootObservation": true, "startTime": "2026-03-02T10:00:00.000Z", "endTime": "2026-03-02T10:00:02.000Z",
        "input": format!("Please cancel my reservation {id}."),
        "output": format!("Your reservation {id} has been cancelled."),
    });
    let tool = json!({
        "id": format!("{trace}-tool"), "traceId": trace, "sessionId": session, "type": "TOOL",
        "name": "cancel_reservation", "parentObservationId": format!("{trace}-root"),
        "startTime": "2026-03-02T10:00:01.000Z", "endTime": "2026-03-02T10:00:01.500Z",
        "input": json!({ "reservation_id": id }).to_string(),
        "output": json!({ "reservation_id": id, "status": "cancelled" }).to_string(),
    });
    [root, tool]
}
