//! The sessions of a bundle, read as a worker reads them.

use std::path::Path;

use anyhow::{Context as _, bail};
use chrono::DateTime;

use crate::{
    adapters::{
        bundle::{Bundle, BundleConfig},
        offline_classifier,
    },
    domain::{judge::Case, playbook::Playbook, reading::Reader, session::SessionKey, transcript::Transcript},
    ports::{SeenSession, SessionRef, TraceSource as _},
    readings_file::ReadingsFile,
};

/// Name of the source.
const SOURCE: &str = "eval";

/// Reads all of them, in the order of their ids. What cannot be read is an error: a score over the rest would be another's.
pub(super) async fn read(
    bundle: &Path,
    readings: Option<&ReadingsFile>,
    playbook: &Playbook,
) -> anyhow::Result<Vec<Case>> {
    if !bundle.is_file() {
        bail!("cannot read the sessions {}: no such file", bundle.display());
    }
    let source = Bundle::new(BundleConfig::new(SOURCE, bundle));
    let mut seen: Vec<SeenSession> = Vec::new();
    let mut watermark = None;
    loop {
        // A file is whole whatever the time.
        let slice = source.scan(watermark.as_ref(), DateTime::UNIX_EPOCH).await?;
        if let Some(fault) = slice.faults.first() {
            bail!(
                "{}, {}: {} ({} faults in all); mend the file first",
                bundle.display(),
                fault.position,
                fault.reason,
                slice.faults.len()
            );
        }
        seen.extend(slice.sessions);
        watermark = Some(slice.watermark);
        if !slice.more {
            break;
        }
    }
    seen.sort_by(|one, other| one.session_id.cmp(&other.session_id));
    seen.dedup_by(|one, other| one.session_id == other.session_id);
    let mut cases = Vec::new();
    for session in seen {
        let which = SessionRef {
            session_id: session.session_id.clone(),
            trace_ids: Vec::new(),
            first_activity: session.first_activity,
            last_activity: session.last_activity,
        };
        let (snapshot, _) = source
            .read(&which)
            .await?
            .with_context(|| format!("session {} is no longer in {}", session.session_id, bundle.display()))?;
        let transcript = Transcript::of(&snapshot, playbook);
        let given = readings.and_then(|file| file.of(&session.session_id));
        let read = match given {
            Some(reading) => (reading.clone(), Reader::File),
            None => offline_classifier::read(playbook, &transcript, "no LLM is asked by an evaluation"),
        };
        let key = SessionKey::new(SOURCE, &session.session_id);
        cases.push(Case::new(playbook, key, transcript, read, snapshot.cut.is_some()));
    }
    Ok(cases)
}
