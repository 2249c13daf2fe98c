//! What the server holds, and what of it a reader sees now.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    data::{Arrival, Recorded, SentTrace},
    faults::Faults,
    log::Logged,
    rate::RateLimits,
    scores::Score,
    version::Version,
};
use crate::domain::observation::Observation;

/// Id of the one project.
pub(super) const PROJECT: &str = "sandbox-project";

/// Everything behind the server's lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) version: Version,
    pub(super) observations: Vec<Arrival<Recorded>>,
    pub(super) traces: Vec<Arrival<SentTrace>>,
    pub(super) scores: Vec<Score>,
    pub(super) faults: Faults,
    pub(super) rates: RateLimits,
    pub(super) log: Vec<Logged>,
    /// A query that finds more rows is too large for the database (422).
    pub(super) most_rows: Option<usize>,
    /// From a score's arrival until it can be read.
    pub(super) score_delay: Duration,
    /// Scores of these names are accepted and then dropped, as one that fails its configuration is.
    pub(super) dropped_scores: HashSet<String>,
    order: Order,
}

/// The visible rows in the order in which they are read. Sorting anew for each page of a long scan would take longer than
/// everything else.
#[derive(Debug, Default)]
struct Order {
    held: usize,
    visible: usize,
    rows: Vec<usize>,
}

/// One observation as a reader sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) recorded: &'a Recorded,
    arrived: DateTime<Utc>,
}

impl Row<'_> {
    pub(super) fn created_at(&self) -> DateTime<Utc> {
        self.recorded.more.created_at.unwrap_or(self.arrived)
    }

    pub(super) fn updated_at(&self) -> DateTime<Utc> {
        self.recorded.observation.updated_at.unwrap_or(self.arrived)
    }
}

impl State {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            observations: Vec::new(),
            traces: Vec::new(),
            scores: Vec::new(),
            faults: Faults::default(),
            rates: RateLimits::default(),
            log: Vec::new(),
            most_rows: None,
            score_delay: Duration::ZERO,
            dropped_scores: HashSet::new(),
            order: Order::default(),
        }
    }

    /// Every visible observation: newest start first, then by trace and id from the end, as the API orders them.
    pub(super) fn rows(&mut self, now: DateTime<Utc>) -> Vec<Row<'_>> {
        let held = self.observations.len();
        let visible = self.observations.iter().filter(|row| row.visible_after <= now).count();
        if (self.order.held, self.order.visible) != (held, visible) {
            let rows = ordered(&self.observations, now);
            self.order = Order { held, visible, rows };
        }
        let row = |index: &usize| {
            let arrival = &self.observations[*index];
            Row {
                recorded: &arrival.what,
                arrived: arrival.visible_after,
            }
        };
        self.order.rows.iter().map(row).collect()
    }

    /// Every visible trace by its id, made of what was sent as one and of its observations.
    pub(super) fn traces(&mut self, now: DateTime<Utc>) -> Vec<TraceView<'_>> {
        // Filled first: the rows borrow everything.
        self.rows(now);
        let mut views: BTreeMap<&str, TraceView<'_>> = BTreeMap::new();
        for arrival in self.traces.iter().filter(|trace| trace.visible_after <= now) {
            let view = views.entry(&arrival.what.id).or_insert_with(TraceView::empty);
            view.id = &arrival.what.id;
            view.sent = Some((&arrival.what, arrival.visible_after));
        }
        for index in &self.order.rows {
            let arrival = &self.observations[*index];
            let id = &arrival.what.observation.trace_id;
            let view = views.entry(id).or_insert_with(TraceView::empty);
            view.id = id;
            view.rows.push(Row {
                recorded: &arrival.what,
                arrived: arrival.visible_after,
            });
        }
        views.into_values().collect()
    }
}

fn ordered(arrivals: &[Arrival<Recorded>], now: DateTime<Utc>) -> Vec<usize> {
    let mut by_arrival: Vec<usize> = (0..arrivals.len())
        .filter(|index| arrivals[*index].visible_after <= now)
        .collect();
    by_arrival.sort_by_key(|index| arrivals[*index].visible_after);
    let mut newest: HashMap<(&str, &str), usize> = HashMap::new();
    let mut rows = Vec::new();
    for index in by_arrival {
        let Arrival { what, unmerged, .. } = &arrivals[index];
        if *unmerged {
            rows.push(index);
        } else {
            newest.insert((&what.observation.trace_id, &what.observation.id), index);
        }
    }
    rows.extend(newest.into_values());
    rows.sort_by(|a, b| {
        let key = |index: usize| {
            let observation = &arrivals[index].what.observation;
            (
                observation.start_time,
                &observation.trace_id,
                &observation.id,
                std::cmp::Reverse(index),
            )
        };
        key(*b).cmp(&key(*a))
    });
    rows
}

/// A trace as the old reads show it.
#[derive(Debug)]
pub(super) struct TraceView<'a> {
    pub(super) id: &'a str,
    sent: Option<(&'a SentTrace, DateTime<Utc>)>,
    /// Newest start first.
    pub(super) rows: Vec<Row<'a>>,
}

impl<'a> TraceView<'a> {
    fn empty() -> Self {
        Self {
            id: "",
            sent: None,
            rows: Vec::new(),
        }
    }

    /// The observation that stands for the trace.
    fn root(&self) -> Option<&'a Recorded> {
        let mut oldest_first = self.rows.iter().rev().map(|row| row.recorded);
        oldest_first
            .clone()
            .find(|recorded| recorded.observation.is_root_observation)
            .or_else(|| oldest_first.next())
    }

    /// The first of what was sent and then of the observations that has it.
    fn first<T>(
        &self,
        sent: impl Fn(&'a SentTrace) -> Option<T>,
        recorded: impl Fn(&'a Recorded) -> Option<T>,
    ) -> Option<T> {
        self.sent
            .and_then(|(trace, _)| sent(trace))
            .or_else(|| self.root().and_then(&recorded))
            .or_else(|| self.rows.iter().rev().find_map(|row| recorded(row.recorded)))
    }

    pub(super) fn timestamp(&self) -> DateTime<Utc> {
        let starts = self.rows.iter().map(|row| row.recorded.observation.start_time);
        self.sent
            .map(|(trace, _)| trace.timestamp)
            .or_else(|| starts.min())
            .unwrap_or_default()
    }

    pub(super) fn name(&self) -> Option<&'a str> {
        self.first(
            |trace| trace.name.as_deref(),
            |recorded| recorded.observation.trace_name.as_deref(),
        )
        .or_else(|| self.root().map(|recorded| recorded.observation.name.as_str()))
    }

    pub(super) fn session_id(&self) -> Option<&'a str> {
        self.first(
            |trace| trace.session_id.as_deref(),
            |recorded| recorded.observation.session_id.as_deref(),
        )
    }

    pub(super) fn user_id(&self) -> Option<&'a str> {
        self.first(
            |trace| trace.user_id.as_deref(),
            |recorded| recorded.observation.user_id.as_deref(),
        )
    }

    pub(super) fn environment(&self) -> &'a str {
        self.first(
            |trace| trace.environment.as_deref(),
            |recorded| recorded.observation.environment.as_deref(),
        )
        .unwrap_or("default")
    }

    pub(super) fn release(&self) -> Option<&'a str> {
        self.first(
            |trace| trace.release.as_deref(),
            |recorded| recorded.more.release.as_deref(),
        )
    }

    pub(super) fn version(&self) -> Option<&'a str> {
        self.first(
            |trace| trace.version.as_deref(),
            |recorded| recorded.more.version.as_deref(),
        )
    }

    pub(super) fn tags(&self) -> Vec<&'a str> {
        let sent = self.sent.into_iter().flat_map(|(trace, _)| &trace.tags);
        let recorded = self.rows.iter().flat_map(|row| &row.recorded.observation.tags);
        let mut tags: Vec<&str> = sent.chain(recorded).map(String::as_str).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Input, output or metadata: what was sent, else the root's.
    pub(super) fn content(&self, sent: fn(&SentTrace) -> &Value, root: fn(&Recorded) -> &Value) -> Value {
        let sent = self.sent.map(|(trace, _)| sent(trace)).filter(|value| !value.is_null());
        sent.or_else(|| self.root().map(root)).cloned().unwrap_or_default()
    }

    pub(super) fn created_at(&self) -> DateTime<Utc> {
        let rows = self.rows.iter().map(Row::created_at);
        rows.chain(self.sent.map(|(_, arrived)| arrived))
            .min()
            .unwrap_or_default()
    }

    pub(super) fn updated_at(&self) -> DateTime<Utc> {
        let rows = self.rows.iter().map(Row::updated_at);
        rows.chain(self.sent.map(|(_, arrived)| arrived))
            .max()
            .unwrap_or_default()
    }

    /// From the first start to the last instant known. v2 looks at ends alone.
    pub(super) fn latency(&self, version: Version) -> Value {
        let observations = || self.rows.iter().map(|row| &row.recorded.observation);
        let start = observations().map(|observation| observation.start_time).min();
        let end = if version.is_v2() {
            observations().filter_map(|observation| observation.end_time).max()
        } else {
            observations().map(Observation::last_activity).max()
        };
        match (start, end) {
            (Some(start), Some(end)) => super::time::seconds_between(start, end),
            _ => json!(0),
        }
    }

    pub(super) fn total_cost(&self) -> Value {
        let costs = self
            .rows
            .iter()
            .filter_map(|row| row.recorded.more.cost_details.get("total"));
        let total: f64 = costs.filter_map(Value::as_f64).sum();
        if total == 0.0 { json!(0) } else { json!(total) }
    }
}
