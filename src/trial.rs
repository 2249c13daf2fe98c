//! One session judged by a playbook, stage by stage, without writing anything: what `aftercall playbook test` shows.
//!
//! Systems of record are asked as a worker asks them, one after another and with their pause; what they cannot answer is shown
//! as such. No LLM is asked: the reading is one's own, the stored one, or the offline classifier's.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    adapters::offline_classifier,
    db::{Db, DbError},
    domain::{
        claim::Claim,
        judge::{self, Case},
        lookup::{Fact, Facts, Lookup},
        observation::Snapshot,
        playbook::Playbook,
        reading::{Reader, Reading},
        session::SessionKey,
        transcript::{ToolCall, Transcript, Turn},
        verdict::{PlaybookRef, Verdict},
    },
    env::{RecordsEntry, SourceEntry},
    ports::SessionRef,
    readings_file::ReadingsFile,
    store::{
        readings::{self, StoredReading},
        sessions, snapshots,
    },
};

/// A playbook that asks one question after the other is stopped.
const MOST_LOOKUPS: usize = 200;

/// A session, and what there is to judge it by.
#[derive(Debug, Clone)]
pub struct Session {
    /// Which one.
    pub key: SessionKey,
    /// Its content.
    pub snapshot: Snapshot,
    /// What somebody read in it.
    pub reading: Option<(Reading, Reader)>,
    /// It never came to rest.
    pub incomplete: bool,
}

/// One question to a system of record.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// What the judge wanted to know.
    pub lookup: Lookup,
    /// The request as sent, without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The answer.
    pub fact: Fact,
}

/// All stages of one session.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// The source's id of it.
    pub session_id: String,
    /// What judged it.
    pub playbook: PlaybookRef,
    /// What was said.
    pub turns: Vec<Turn>,
    /// What was done.
    pub calls: Vec<ToolCall>,
    /// What the calls claim.
    pub claims: Vec<Claim>,
    /// What was asked, and what the agent said.
    pub reading: Reading,
    /// Who read.
    pub reader: Reader,
    /// What the systems of record were asked.
    pub lookups: Vec<Asked>,
    /// What was asked against what is there.
    pub verdict: Verdict,
}

/// A session of a source, by its whole content: read anew. Only sources that give whole sessions can be asked.
///
/// # Errors
/// When the source cannot answer, or holds no such session.
pub async fn read_source(
    entry: &SourceEntry,
    session_id: &str,
    at: chrono::DateTime<chrono::Utc>,
) -> anyhow::Result<Session> {
    let mut watermark = None;
    let mut known = Vec::new();
    loop {
        let slice = entry.source.scan(watermark.as_ref(), at).await?;
        for seen in slice.sessions {
            if seen.session_id != session_id {
                known.push(seen.session_id);
                continue;
            }
            let which = SessionRef {
                session_id: seen.session_id,
                trace_ids: Vec::new(),
                first_activity: seen.first_activity,
                last_activity: seen.last_activity,
            };
            if let Some((snapshot, _)) = entry.source.read(&which).await? {
                return Ok(Session {
                    key: SessionKey::new(entry.name(), session_id),
                    snapshot,
                    reading: None,
                    incomplete: false,
                });
            }
        }
        watermark = Some(slice.watermark);
        if !slice.more {
            break;
        }
    }
    known.truncate(5);
    anyhow::bail!(
        "there is no session `{session_id}`; there are {}{}",
        if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        },
        if known.len() < 5 { "" } else { ", …" }
    )
}

/// A session that was analysed before, as the analysis saw it.
///
/// # Errors
/// When the database cannot answer.
pub async fn read_stored(db: &Db, key: &SessionKey) -> Result<Option<Session>, DbError> {
    let Some(session) = sessions::load(db, key).await? else {
        return Ok(None);
    };
    let Some((snapshot, _)) = snapshots::load(db, key, session.generation).await? else {
        return Ok(None);
    };
    let reading = readings::load(db, key, session.generation).await?;
    Ok(Some(Session {
        key: key.clone(),
        snapshot,
        reading: reading.map(|StoredReading { reading, reader, .. }| (reading, reader)),
        incomplete: session.incomplete,
    }))
}

/// Takes the reading of the user's own file in place of another, where it has one.
pub fn take_reading(session: &mut Session, file: &ReadingsFile) {
    if let Some(reading) = file.of(&session.key.session_id) {
        session.reading = Some((reading.clone(), Reader::File));
    }
}

/// Judges it.
pub async fn run(playbook: &Playbook, systems: &BTreeMap<String, RecordsEntry>, session: Session) -> Trial {
    let transcript = Transcript::of(&session.snapshot, playbook);
    let read = session
        .reading
        .unwrap_or_else(|| offline_classifier::read(playbook, &transcript, "no LLM is asked by a test of a playbook"));
    let incomplete = session.incomplete || session.snapshot.cut.is_some();
    let case = Case::new(playbook, session.key, transcript, read, incomplete);
    let mut facts = Facts::new();
    let mut lookups = Vec::new();
    loop {
        let plan = judge::plan(playbook, &case, &facts);
        if plan.is_empty() || lookups.len() >= MOST_LOOKUPS {
            break;
        }
        for lookup in plan {
            let asked = ask(systems, lookup).await;
            facts.insert(asked.lookup.clone(), asked.fact.clone());
            lookups.push(asked);
        }
    }
    let verdict = judge::judge(playbook, &case, &facts, 1);
    Trial {
        session_id: case.session.session_id,
        playbook: playbook.reference(),
        turns: case.transcript.turns,
        calls: case.transcript.calls,
        claims: case.claims,
        reading: case.reading,
        reader: case.reader,
        lookups,
        verdict,
    }
}

async fn ask(systems: &BTreeMap<String, RecordsEntry>, lookup: Lookup) -> Asked {
    let unknown = |lookup, reason: String| Asked {
        lookup,
        request: None,
        fact: Fact::Unknown { reason },
    };
    let Some(entry) = systems.get(&lookup.system) else {
        let reason = format!("no [[records]] is called `{}`", lookup.system);
        return unknown(lookup, reason);
    };
    let answer = entry.system.look_up(&lookup).await;
    tokio::time::sleep(entry.pace).await;
    match answer {
        Ok(answer) => Asked {
            lookup,
            request: Some(answer.request),
            fact: answer.fact,
        },
        Err(error) => unknown(lookup, error.to_string()),
    }
}
