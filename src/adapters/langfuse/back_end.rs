//! What both generations of the API can do for us.

use std::collections::{HashMap, hash_map::Entry};

use async_trait::async_trait;

use super::{OWN_ENVIRONMENT, plan::Ask, refusal::Refusal};
use crate::{
    domain::observation::Snapshot,
    ports::{SeenObservation, SessionRef},
};

/// One generation of the API.
#[async_trait]
pub(super) trait BackEnd: Send + Sync {
    /// One page of what began in a window, without content.
    async fn page(&self, ask: &Ask) -> Result<Page, Refusal>;

    /// A session's content, at most about `bound` bytes of it, and its digest. `None`: nothing of it is there.
    async fn content(&self, session: &SessionRef, bound: usize) -> Result<Option<(Snapshot, String)>, Refusal>;
}

/// One page of a window.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) observations: Vec<SeenObservation>,
    /// Entries that are no observation: no id, no start, or an id that cannot be kept.
    pub(super) unreadable: usize,
    /// Where the window goes on.
    pub(super) next: Option<String>,
    /// First and last entry: what tells this page from another.
    pub(super) held: String,
    /// By trace and id, where each observation is.
    places: HashMap<(String, String), usize>,
}

impl Page {
    /// An empty page, after which the window goes on here.
    pub(super) fn before(next: Option<String>) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Adds an entry, unless it is of an environment that is not watched.
    pub(super) fn add(&mut self, seen: Option<SeenObservation>, environments: &[String]) {
        let Some(seen) = seen else {
            self.unreadable += 1;
            return;
        };
        let held = self.held.split_once(' ').map_or(seen.id.as_str(), |(first, _)| first);
        self.held = format!("{held} {}", seen.id);
        if !is_watched(seen.environment.as_deref(), environments) {
            return;
        }
        // A database that has not merged its rows yet gives an observation twice: its newest version counts.
        match self.places.entry((seen.trace_id.clone(), seen.id.clone())) {
            Entry::Occupied(place) => {
                let known = &mut self.observations[*place.get()];
                if known.mark < seen.mark {
                    *known = seen;
                }
            }
            Entry::Vacant(place) => {
                place.insert(self.observations.len());
                self.observations.push(seen);
            }
        }
    }
}

/// Whether observations of an environment are read. Our own traces never are: we must not judge ourselves.
pub(super) fn is_watched(environment: Option<&str>, environments: &[String]) -> bool {
    let environment = environment.unwrap_or("default");
    environment != OWN_ENVIRONMENT
        && (environments.is_empty() || environments.iter().any(|watched| watched == environment))
}
