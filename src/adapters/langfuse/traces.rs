//! `GET /traces` and `GET /traces/{id}`: v2 and v3 servers.
//!
//! These servers list traces, each with the ids of its observations, and say of a trace alone when it was changed. So an
//! observation's mark is that it is there, and the trace stands as an observation of its own, with the trace's mark: under
//! the id that newer servers give it (`t-…`), and with the trace's own input and output as content.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::{Value, value::RawValue};

use super::{
    Selection,
    back_end::{BackEnd, Page},
    plan::Ask,
    refusal::{Refusal, RefusalKind},
    server::{Query, Server},
    wire::{List, ObservationHead, Trace, TraceAsRoot, observation_id, texts, written},
};
use crate::{
    adapters::{
        content::{Content, Gathered, OBSERVATIONS},
        percent,
    },
    domain::{observation::Snapshot, session::digest_of},
    ports::{SeenObservation, SessionRef},
};

pub(super) const PATH: &str = "/traces";
/// The most that the server gives at once.
const PAGE: usize = 100;
/// Servers before v3.73 send every trace with its input and output.
pub(super) const PAGE_BYTES: usize = 64 << 20;
/// The server itself refuses traces above 80 MB of observations.
const TRACE_BYTES: usize = 96 << 20;
/// The mark of an observation that only its trace's list tells of.
const THERE: &str = "there";
/// Pages of one session's traces.
pub(super) const MOST_PAGES: usize = 1_000;

/// The older generation.
#[derive(Debug)]
pub(super) struct TracesApi<'a> {
    pub(super) server: &'a Server,
    pub(super) selection: &'a Selection,
}

#[async_trait]
impl BackEnd for TracesApi<'_> {
    async fn page(&self, ask: &Ask) -> Result<Page, Refusal> {
        let number = ask
            .position
            .as_deref()
            .and_then(|page| page.parse::<u64>().ok())
            .unwrap_or(1);
        let mut fields = "core,observations,metrics".to_owned();
        if self.selection.end_signals.need_metadata() {
            fields.push_str(",io");
        }
        let mut query = list_query(number, fields);
        query.push(("fromTimestamp", written(ask.from)));
        query.push(("toTimestamp", written(ask.to)));
        for environment in &self.selection.environments {
            query.push(("environment", environment.clone()));
        }
        let reply = self.server.get(PATH, &query, PAGE_BYTES).await?;
        let list: List<'_> = self.server.parse(PATH, &reply)?;
        self.server.note_deprecation(list.deprecation);
        let mut page = Page::before(next_page(number, list.data.len(), &list.meta.total_pages));
        for raw in list.data {
            let seen = Trace::read(raw).and_then(|trace| self.seen(&trace));
            for one in seen.unwrap_or_else(|| vec![None]) {
                page.add(one, &self.selection.environments);
            }
        }
        Ok(page)
    }

    async fn content(&self, session: &SessionRef, bound: usize) -> Result<Option<(Snapshot, String)>, Refusal> {
        let mut ids: BTreeSet<String> = session.trace_ids.iter().cloned().collect();
        ids.extend(self.traces_of(session).await?);
        let mut content = Content::new(bound);
        let mut marks: Vec<(String, String)> = Vec::new();
        for id in &ids {
            self.gather(id, session, &mut content, &mut marks).await?;
        }
        if marks.is_empty() {
            return Ok(None);
        }
        let digest = digest_of(marks.iter().map(|(id, mark)| (id.as_str(), mark.as_str())));
        Ok(Some((content.finish(), digest)))
    }
}

/// Always bounded and with its fields named: a server may refuse, or fill in defaults of its own.
fn list_query(page: u64, fields: String) -> Query {
    vec![
        ("page", page.to_string()),
        ("limit", PAGE.to_string()),
        ("orderBy", "timestamp.asc".to_owned()),
        ("fields", fields),
    ]
}

/// A page of the session's traces.
pub(super) fn of_session(session: &SessionRef, page: u64, fields: &str) -> Query {
    let margin = TimeDelta::days(1);
    let mut query = list_query(page, fields.to_owned());
    query.push(("sessionId", session.session_id.clone()));
    query.push(("fromTimestamp", written(session.first_activity - margin)));
    query.push(("toTimestamp", written(session.last_activity + margin)));
    query
}

/// A page that is not full is the last one, whatever the server counts.
pub(super) fn next_page(page: u64, length: usize, total_pages: &Value) -> Option<String> {
    let last = total_pages.as_u64().is_some_and(|total| page >= total);
    (length > 0 && !last && (length >= PAGE || total_pages.is_u64())).then(|| (page + 1).to_string())
}

/// The id under which newer servers keep a trace's own words.
pub(super) fn root_id(trace: &str) -> String {
    format!("t-{trace}")
}

impl TracesApi<'_> {
    /// A trace of a list as what it stands for: itself and its observations, those without an id as none.
    fn seen(&self, trace: &Trace<'_>) -> Option<Vec<Option<SeenObservation>>> {
        let id = trace.id.0.clone()?;
        let started_at = trace.timestamp.0?;
        let name = trace.name.0.as_deref().unwrap_or_default();
        let metadata: Value = trace
            .metadata
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let root = SeenObservation {
            id: root_id(&id),
            trace_id: id,
            session_id: trace.session_id.0.clone(),
            user_id: trace.user_id.0.clone(),
            environment: trace.environment.0.clone(),
            started_at,
            last_activity: trace.end().unwrap_or(started_at),
            mark: trace.mark(),
            ends_session: self
                .selection
                .end_signals
                .given_by(name, &texts(&trace.tags), &metadata),
        };
        let mut seen = Vec::new();
        for raw in trace.observations.iter().flatten() {
            seen.push(observation_id(raw).map(|id| SeenObservation {
                id,
                mark: THERE.to_owned(),
                ends_session: false,
                ..root.clone()
            }));
        }
        seen.push(Some(root));
        Some(seen)
    }

    async fn traces_of(&self, session: &SessionRef) -> Result<BTreeSet<String>, Refusal> {
        let mut ids = BTreeSet::new();
        let mut number = 1;
        for _ in 0..MOST_PAGES {
            let reply = self
                .server
                .get(PATH, &of_session(session, number, "core"), PAGE_BYTES)
                .await?;
            let list: List<'_> = self.server.parse(PATH, &reply)?;
            self.server.note_deprecation(list.deprecation);
            for raw in &list.data {
                ids.extend(Trace::read(raw).and_then(|trace| trace.id.0));
            }
            match next_page(number, list.data.len(), &list.meta.total_pages) {
                Some(_) => number += 1,
                None => break,
            }
        }
        Ok(ids)
    }

    /// A trace with everything in it.
    async fn gather(
        &self,
        id: &str,
        session: &SessionRef,
        content: &mut Content,
        marks: &mut Vec<(String, String)>,
    ) -> Result<(), Refusal> {
        if id == "." || id == ".." {
            return Ok(()); // no path leads there
        }
        let path = format!("{PATH}/{}", percent::encode(id));
        let reply = match self.server.get(&path, &Query::new(), TRACE_BYTES).await {
            Ok(reply) => reply,
            // Deleted since it was listed.
            Err(refusal) if refusal.kind == RefusalKind::NotFound => return Ok(()),
            Err(mut refusal) if refusal.kind == RefusalKind::TooLarge => {
                refusal
                    .error
                    .detail
                    .push_str("; a trace that the server itself cannot give can be read after an upgrade to v4 only");
                return self.gather_in_pages(id, session, content, marks, refusal).await;
            }
            Err(refusal) => return Err(refusal),
        };
        let mut trace: Trace<'_> = self.server.parse(&path, &reply)?;
        self.server.note_deprecation(trace.deprecation.take());
        if !self.takes(&trace, session) {
            return Ok(());
        }
        let observations = trace.observations.take().unwrap_or_default();
        let speaks = add_root(id, &trace, &observations, content);
        marks.push((root_id(id), trace.mark()));
        for raw in observations {
            keep(raw, &trace, speaks.then(|| root_id(id)), content, marks);
        }
        Ok(())
    }

    /// Whether a trace is of the session, and of an environment that is watched.
    pub(super) fn takes(&self, trace: &Trace<'_>, session: &SessionRef) -> bool {
        let of_another = trace.session_id.0.as_ref().is_some_and(|of| *of != session.session_id);
        !of_another && self.selection.takes(trace.environment.0.as_deref())
    }
}

/// Keeps an observation of a trace, or what is known of it where there is no room.
pub(super) fn keep(
    raw: &RawValue,
    trace: &Trace<'_>,
    parent: Option<String>,
    content: &mut Content,
    marks: &mut Vec<(String, String)>,
) {
    let Some(observation_id) = observation_id(raw) else {
        return;
    };
    marks.push((observation_id, THERE.to_owned()));
    let one = (content.kept() < OBSERVATIONS)
        .then(|| content.read(raw.get().as_bytes()))
        .flatten();
    match one {
        Some(mut one) => {
            complete(&mut one, trace, parent);
            content.add(one);
        }
        None => content.leave_out(raw.get().len() as u64),
    }
}

/// Keeps the trace's own words as an observation. `true` when both sides speak in them: then its observations are steps
/// below it, as newer servers have them.
pub(super) fn add_root(id: &str, trace: &Trace<'_>, observations: &[&RawValue], content: &mut Content) -> bool {
    if trace.input.is_none() && trace.output.is_none() && !observations.is_empty() {
        return false;
    }
    let ends = observations.iter().filter_map(|raw| {
        let head = serde_json::from_str::<ObservationHead>(raw.get()).ok()?;
        head.last_activity()
    });
    let root = TraceAsRoot {
        id: root_id(id),
        trace_id: id,
        is_root_observation: true,
        kind: "SPAN",
        name: trace.name.0.as_deref().unwrap_or_default(),
        start_time: trace.timestamp.0.map(written).unwrap_or_default(),
        end_time: ends.max().map(written),
        updated_at: trace.updated_at.0.map(written),
        level: "DEFAULT",
        input: trace.input,
        output: trace.output,
        metadata: trace.metadata,
    };
    let Some(mut one) = serde_json::to_vec(&root).ok().and_then(|object| content.read(&object)) else {
        return false;
    };
    complete(&mut one, trace, None);
    content.add(one);
    trace.input.is_some() && trace.output.is_some()
}

/// What older servers say of the trace alone, newer ones say of each of its observations.
fn complete(one: &mut Gathered, trace: &Trace<'_>, parent: Option<String>) {
    let observation = one.observation_mut();
    observation.session_id.clone_from(&trace.session_id.0);
    observation.user_id.clone_from(&trace.user_id.0);
    observation.trace_name.clone_from(&trace.name.0);
    observation.tags = texts(&trace.tags);
    if observation.environment.is_none() {
        observation.environment.clone_from(&trace.environment.0);
    }
    if observation.parent_observation_id.is_none() {
        observation.parent_observation_id = parent;
    }
}
