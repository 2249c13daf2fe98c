//! `GET /v2/observations`: v4 servers, and v3 servers in preview.
//!
//! A scan asks for the light field groups only. A session is read in two steps, because an application may set the session's
//! id on a trace's root alone: which traces name the session, then every observation of these traces. Input and output are
//! asked for in small pages; what is known of all of them together decides the digest.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::value::RawValue;

use super::{
    Selection,
    back_end::{BackEnd, Page},
    plan::Ask,
    refusal::{Refusal, RefusalKind},
    server::{Query, Server},
    wire::{List, ObservationHead, texts, written},
};
use crate::{
    adapters::content::{Content, OBSERVATIONS},
    domain::{observation::Snapshot, session::digest_of},
    ports::{SeenObservation, SessionRef, UpstreamReason},
};

const PATH: &str = "/v2/observations";
/// The most that the server gives at once.
const LIGHT_PAGE: usize = 1_000;
/// Without input and output, a page of a thousand is far below this.
const LIGHT_BYTES: usize = 32 << 20;
/// Observations with their content in the first page; then as many as fit well.
const FIRST_PAGE: usize = 50;
const MOST_IN_PAGE: usize = 400;
/// A page above this is followed by a smaller one, one below an eighth of it by a larger one. Langfuse Cloud answers 5 MB at
/// most.
const GOOD_BYTES: usize = 2 << 20;
const MOST_BYTES: usize = 24 << 20;
/// Pages of one session: a list that goes on for ever is not read for ever.
const MOST_PAGES: usize = 20_000;

/// The newer generation.
#[derive(Debug)]
pub(super) struct ObservationsApi<'a> {
    pub(super) server: &'a Server,
    pub(super) selection: &'a Selection,
}

#[async_trait]
impl BackEnd for ObservationsApi<'_> {
    async fn page(&self, ask: &Ask) -> Result<Page, Refusal> {
        let mut fields = "core,basic,time".to_owned();
        if self.selection.end_signals.need_tags() {
            fields.push_str(",trace_context");
        }
        if self.selection.end_signals.need_metadata() {
            fields.push_str(",metadata");
        }
        let mut query: Query = vec![
            ("fields", fields),
            ("limit", LIGHT_PAGE.to_string()),
            ("fromStartTime", written(ask.from)),
            ("toStartTime", written(ask.to)),
        ];
        for environment in &self.selection.environments {
            query.push(("environment", environment.clone()));
        }
        query.extend(ask.position.clone().map(|cursor| ("cursor", cursor)));
        let reply = self.server.get(PATH, &query, LIGHT_BYTES).await?;
        let list: List<'_> = self.server.parse(PATH, &reply)?;
        self.server.note_deprecation(list.deprecation);
        let mut page = Page::before(list.meta.cursor.0);
        for raw in list.data {
            let seen = ObservationHead::read(raw);
            page.add(seen.and_then(|head| self.seen(head)), &self.selection.environments);
        }
        Ok(page)
    }

    async fn content(&self, session: &SessionRef, bound: usize) -> Result<Option<(Snapshot, String)>, Refusal> {
        let mut traces: BTreeSet<String> = session.trace_ids.iter().cloned().collect();
        traces.extend(self.traces_of(session).await?);
        let mut gathering = Gathering::new(bound);
        for trace in &traces {
            let kept = gathering.content.kept();
            // A trace belongs to one session: the first by alphabet, should its observations name several.
            let named = self.gather(trace, &mut gathering).await?;
            if named.is_some_and(|named| named != session.session_id) {
                gathering.content.take_back(kept);
                gathering.marks.retain(|(of, _), _| of != trace);
            }
        }
        if gathering.marks.is_empty() {
            return Ok(None);
        }
        let digest = digest_of(
            gathering
                .marks
                .iter()
                .map(|((_, id), kept)| (id.as_str(), kept.mark.as_str())),
        );
        Ok(Some((gathering.content.finish(), digest)))
    }
}

/// What was read of a session so far.
struct Gathering {
    content: Content,
    /// By trace and id: the same observation may come twice, and the newest version of it counts.
    marks: HashMap<(String, String), Kept>,
    page_size: usize,
    pages: usize,
}

struct Kept {
    mark: String,
    /// Where its content is, when it was kept.
    position: Option<usize>,
}

impl Gathering {
    fn new(bound: usize) -> Self {
        Self {
            content: Content::new(bound),
            marks: HashMap::new(),
            page_size: FIRST_PAGE,
            pages: 0,
        }
    }

    fn add(&mut self, head: &ObservationHead, raw: &RawValue) {
        let (Some(id), Some(trace)) = (head.id.0.clone(), head.trace_id.0.clone()) else {
            return;
        };
        let mark = head.mark();
        match self.marks.entry((trace, id)) {
            Entry::Occupied(mut known) => {
                if known.get().mark < mark {
                    if let Some(position) = known.get().position
                        && let Some(one) = self.content.read(raw.get().as_bytes())
                    {
                        self.content.replace(position, one);
                    }
                    known.get_mut().mark = mark;
                }
            }
            Entry::Vacant(place) => {
                let position = self.content.kept();
                let one = (position < OBSERVATIONS)
                    .then(|| self.content.read(raw.get().as_bytes()))
                    .flatten();
                let kept = one.is_some();
                match one {
                    Some(one) => self.content.add(one),
                    None => self.content.leave_out(raw.get().len() as u64),
                }
                place.insert(Kept {
                    mark,
                    position: kept.then_some(position),
                });
            }
        }
    }
}

impl ObservationsApi<'_> {
    fn seen(&self, head: ObservationHead) -> Option<SeenObservation> {
        let mark = head.mark();
        let last_activity = head.last_activity()?;
        let name = head.name.0.as_deref().unwrap_or_default();
        let ends_session = self
            .selection
            .end_signals
            .given_by(name, &texts(&head.tags), &head.metadata);
        Some(SeenObservation {
            id: head.id.0?,
            trace_id: head.trace_id.0?,
            session_id: head.session_id.0,
            user_id: head.user_id.0,
            environment: head.environment.0,
            started_at: head.start_time.0?,
            last_activity,
            mark,
            ends_session,
        })
    }

    /// The traces of which at least one observation names the session.
    async fn traces_of(&self, session: &SessionRef) -> Result<BTreeSet<String>, Refusal> {
        let margin = TimeDelta::days(1);
        let mut query: Query = vec![
            ("fields", "core".to_owned()),
            ("limit", LIGHT_PAGE.to_string()),
            ("sessionId", session.session_id.clone()),
            ("fromStartTime", written(session.first_activity - margin)),
            ("toStartTime", written(session.last_activity + margin)),
        ];
        let fixed = query.len();
        let mut traces = BTreeSet::new();
        for _ in 0..MOST_PAGES {
            let reply = self.server.get(PATH, &query, LIGHT_BYTES).await?;
            let list: List<'_> = self.server.parse(PATH, &reply)?;
            for raw in &list.data {
                traces.extend(ObservationHead::read(raw).and_then(|head| head.trace_id.0));
            }
            query.truncate(fixed);
            match list.meta.cursor.0 {
                Some(cursor) => query.push(("cursor", cursor)),
                None => break,
            }
        }
        Ok(traces)
    }

    /// Every observation of a trace, with its content. Gives the session that they name.
    async fn gather(&self, trace: &str, gathering: &mut Gathering) -> Result<Option<String>, Refusal> {
        let mut named: Option<String> = None;
        let mut cursor: Option<String> = None;
        let mut with_content = true;
        loop {
            gathering.pages += 1;
            if gathering.pages > MOST_PAGES {
                return Err(Refusal::failed(self.server.error(
                    UpstreamReason::BadAnswer,
                    "the list of a session's observations does not end",
                )));
            }
            let size = if with_content { gathering.page_size } else { 1 };
            let groups = if with_content {
                "core,basic,time,io,metadata,trace_context"
            } else {
                "core,basic,time,trace_context"
            };
            let mut query: Query = vec![
                ("fields", groups.to_owned()),
                ("limit", size.to_string()),
                ("traceId", trace.to_owned()),
            ];
            query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
            let reply = match self.server.get(PATH, &query, MOST_BYTES).await {
                Ok(reply) => reply,
                Err(refusal) if too_much(&refusal) && size > 1 => {
                    gathering.page_size = size / 2;
                    continue;
                }
                // One observation whose content the server cannot give, or we cannot take: known, and marked as cut.
                Err(refusal) if too_much(&refusal) && with_content => {
                    with_content = false;
                    continue;
                }
                Err(refusal) => return Err(refusal),
            };
            let list: List<'_> = self.server.parse(PATH, &reply)?;
            for raw in &list.data {
                let Some(head) = ObservationHead::read(raw) else {
                    continue;
                };
                if !self.selection.takes(head.environment.0.as_deref()) {
                    continue;
                }
                named = named.into_iter().chain(head.session_id.0.clone()).min();
                if !with_content {
                    gathering.content.cut_bytes(MOST_BYTES as u64);
                }
                gathering.add(&head, raw);
            }
            gathering.page_size = next_size(size, reply.body.len(), with_content);
            with_content = true;
            match list.meta.cursor.0 {
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(named),
            }
        }
    }
}

/// Asking for less may help.
fn too_much(refusal: &Refusal) -> bool {
    refusal.kind == RefusalKind::TooLarge
        || (refusal.kind == RefusalKind::Failed && refusal.error.reason == UpstreamReason::BadAnswer)
}

fn next_size(size: usize, bytes: usize, with_content: bool) -> usize {
    if !with_content {
        return 1;
    }
    if bytes > GOOD_BYTES {
        (size / 2).max(1)
    } else if bytes < GOOD_BYTES / 8 {
        (size * 2).min(MOST_IN_PAGE)
    } else {
        size
    }
}
