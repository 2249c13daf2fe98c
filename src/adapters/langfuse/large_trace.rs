//! A trace that the server refuses to give whole (422, above 80 MB of observations): its own words come from the list of
//! traces, its observations page by page. Ids and marks are the same as ever, and so is the digest.

use std::collections::BTreeSet;

use super::{
    refusal::{Refusal, RefusalKind},
    server::Query,
    traces::{MOST_PAGES, PAGE_BYTES, PATH, TracesApi, add_root, keep, next_page, of_session, root_id},
    wire::{List, Trace, observation_id},
};
use crate::{adapters::content::Content, ports::SessionRef};

const OBSERVATIONS_PATH: &str = "/observations";
/// Observations with their content in a page; halved while that is too much.
const LARGEST_PAGE: usize = 50;

impl TracesApi<'_> {
    /// Reads such a trace. `refusal` is what remains where that does not help either: the session's list does not hold it,
    /// since it names no session, or one observation alone is too much.
    pub(super) async fn gather_in_pages(
        &self,
        id: &str,
        session: &SessionRef,
        content: &mut Content,
        marks: &mut Vec<(String, String)>,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let mut page = 1;
        for _ in 0..MOST_PAGES {
            let reply = self
                .server
                .get(PATH, &of_session(session, page, "core,io"), PAGE_BYTES)
                .await?;
            let list: List<'_> = self.server.parse(PATH, &reply)?;
            let mut traces = list.data.iter().filter_map(|raw| Trace::read(raw));
            if let Some(trace) = traces.find(|trace| trace.id.0.as_deref() == Some(id)) {
                if !self.takes(&trace, session) {
                    return Ok(());
                }
                let says = trace.input.is_some() || trace.output.is_some();
                let speaks = says && add_root(id, &trace, &[], content);
                marks.push((root_id(id), trace.mark()));
                return self.keep_pages(id, &trace, speaks, content, marks, refusal).await;
            }
            match next_page(page, list.data.len(), &list.meta.total_pages) {
                Some(_) => page += 1,
                None => break,
            }
        }
        Err(refusal)
    }

    async fn keep_pages(
        &self,
        id: &str,
        trace: &Trace<'_>,
        speaks: bool,
        content: &mut Content,
        marks: &mut Vec<(String, String)>,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let (mut page, mut size) = (1, LARGEST_PAGE);
        // Pages shift while observations arrive, and begin again with a smaller size.
        let mut known = BTreeSet::new();
        for _ in 0..MOST_PAGES {
            let query: Query = vec![
                ("page", page.to_string()),
                ("limit", size.to_string()),
                ("traceId", id.to_owned()),
            ];
            let reply = match self.server.get(OBSERVATIONS_PATH, &query, PAGE_BYTES).await {
                Ok(reply) => reply,
                Err(too_large) if too_large.kind == RefusalKind::TooLarge && size > 1 => {
                    (page, size) = (1, size / 2);
                    continue;
                }
                Err(too_large) if too_large.kind == RefusalKind::TooLarge => return Err(refusal),
                Err(other) => return Err(other),
            };
            let list: List<'_> = self.server.parse(OBSERVATIONS_PATH, &reply)?;
            self.server.note_deprecation(list.deprecation);
            for raw in &list.data {
                if observation_id(raw).is_some_and(|id| known.insert(id)) {
                    keep(raw, trace, speaks.then(|| root_id(id)), content, marks);
                }
            }
            // Only an empty page is the end: a page's length says nothing where the server caps it.
            if list.data.is_empty() || list.meta.total_pages.as_u64().is_some_and(|total| page >= total) {
                return Ok(());
            }
            page += 1;
        }
        Err(refusal)
    }
}
