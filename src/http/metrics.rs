//! `/metrics`: the queue, the fleet and the sessions in figures. They are the database's, so every process says the same.
//!
//! What takes too long to count is left out, and said to be: a history that grew too large to be counted must not hide that
//! a gate is shut.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use futures::{FutureExt as _, future::BoxFuture};

use super::{
    exposition::{MEDIA_TYPE, Metric},
    figures, health,
    server::{Answer, Asked},
};
use crate::{
    db::{
        Db, DbError,
        condition::{self, Space},
    },
    queue::inspect::{
        self, QueueDepth, WorkerRow,
        gates::{self, GateLine},
        schedules::{self, LastTick},
    },
    store::{
        ends,
        inspect::{
            coverage::{self, Coverage},
            freshness::{self, Ingestion},
        },
        llm, totals,
    },
};

/// How long the figures may take: less than the ten seconds that Prometheus waits.
pub(super) const EVALUATION: Duration = Duration::from_secs(8);

/// How long figures are kept that took so long to read: at least a second, and so long that reading them is at most a tenth
/// of what a few connections can do, however large the database is and however often somebody asks.
pub(super) fn kept_for(took: Duration) -> Duration {
    (took * 9).max(Duration::from_secs(1))
}

/// The figures as they are now.
pub(super) async fn answer(asked: &Asked) -> Answer {
    match read(asked).await {
        Ok(figures) => {
            let metrics = figures.metrics(asked.pulse.lease());
            let text = figures.remarks() + &metrics.iter().map(Metric::to_string).collect::<String>();
            Answer::new(StatusCode::OK, MEDIA_TYPE, text)
        }
        Err(why) => Answer::new(StatusCode::SERVICE_UNAVAILABLE, MEDIA_TYPE, remark(&why)),
    }
}

async fn read(asked: &Asked) -> Result<Figures, String> {
    health::database(asked).await?;
    match asked.figures.get() {
        Some(db) => Figures::read(db).await.map_err(|error| error.to_string()),
        None => Err("there is no connection to the database yet".to_owned()),
    }
}

/// A line for people.
fn remark(text: &str) -> String {
    format!("# {}\n", text.replace('\n', " "))
}

/// Some of the figures, or why they are not there.
type Part<T> = Result<T, String>;

async fn part<T>(rows: BoxFuture<'_, Result<T, DbError>>) -> Part<T> {
    match tokio::time::timeout(EVALUATION, rows).await {
        Ok(rows) => rows.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not counted within {} s", EVALUATION.as_secs())),
    }
}

/// What the database says, part by part.
struct Figures {
    queues: Part<Vec<QueueDepth>>,
    gates: Part<Vec<GateLine>>,
    processes: Part<Vec<WorkerRow>>,
    sessions: Part<Vec<Coverage>>,
    attempts: Part<Vec<totals::Attempts>>,
    verdicts: Part<Vec<totals::Verdicts>>,
    llm: Part<(Vec<totals::LlmCalls>, u64)>,
    lookups: Part<Vec<totals::Latency>>,
    webhooks: Part<Vec<ends::WebhookEvents>>,
    sources: Part<Vec<Ingestion>>,
    schedules: Part<Vec<LastTick>>,
    last_verdict: Part<Option<DateTime<Utc>>>,
    space: Part<Space>,
    now: DateTime<Utc>,
}

impl Figures {
    async fn read(db: &Db) -> Result<Self, DbError> {
        let now = db.now().await?;
        let llm = async { Ok((totals::llm_calls(db).await?, llm::under_way(db).await?)) };
        // The cheap ones first: they are asked on a few connections, and what takes long holds up none of them.
        let (
            gates,
            processes,
            attempts,
            verdicts,
            llm,
            lookups,
            webhooks,
            sources,
            schedules,
            last_verdict,
            space,
            queues,
            sessions,
        ) = tokio::join!(
            part(gates::all(db).boxed()),
            part(inspect::workers(db).boxed()),
            part(totals::attempts(db).boxed()),
            part(totals::verdicts(db).boxed()),
            part(llm.boxed()),
            part(totals::latencies(db).boxed()),
            part(ends::totals(db).boxed()),
            part(freshness::ingestion(db).boxed()),
            part(schedules::last_ticks(db).boxed()),
            part(freshness::last_verdict(db).boxed()),
            part(condition::space(db).boxed()),
            part(inspect::queue_depths(db).boxed()),
            part(coverage::by_source(db).boxed()),
        );
        Ok(Self {
            queues,
            gates,
            processes,
            sessions,
            attempts,
            verdicts,
            llm,
            lookups,
            webhooks,
            sources,
            schedules,
            last_verdict,
            space,
            now,
        })
    }

    /// Each part, and why it is missing.
    fn parts(&self) -> [(&'static str, Option<&str>); 13] {
        fn why<T>(part: &Part<T>) -> Option<&str> {
            part.as_ref().err().map(String::as_str)
        }
        [
            ("queues", why(&self.queues)),
            ("gates", why(&self.gates)),
            ("processes", why(&self.processes)),
            ("sessions", why(&self.sessions)),
            ("attempts", why(&self.attempts)),
            ("verdicts", why(&self.verdicts)),
            ("llm", why(&self.llm)),
            ("lookups", why(&self.lookups)),
            ("webhooks", why(&self.webhooks)),
            ("sources", why(&self.sources)),
            ("schedules", why(&self.schedules)),
            ("last_verdict", why(&self.last_verdict)),
            ("space", why(&self.space)),
        ]
    }

    /// Why something is missing, for people.
    fn remarks(&self) -> String {
        let parts = self.parts().into_iter();
        parts
            .filter_map(|(part, why)| Some(remark(&format!("{part}: {}", why?))))
            .collect()
    }

    /// A part that is missing has no samples: zeros would say that all is well.
    fn metrics(&self, lease: Duration) -> Vec<Metric> {
        let now = self.now;
        let mut metrics = Vec::new();
        if let Ok(queues) = &self.queues {
            metrics.extend(figures::of_queues(queues, now));
            metrics.extend(figures::of_limits(queues));
        }
        if let Ok(gates) = &self.gates {
            metrics.extend(figures::of_gates(gates, now));
        }
        if let Ok(processes) = &self.processes {
            metrics.extend(figures::of_processes(processes, now, lease));
        }
        if let Ok(sources) = &self.sessions {
            metrics.extend(figures::of_sessions(sources));
        }
        if let Ok(attempts) = &self.attempts {
            metrics.extend(figures::of_attempts(attempts));
        }
        if let Ok(verdicts) = &self.verdicts {
            metrics.push(figures::of_verdicts(verdicts));
        }
        if let Ok((calls, under_way)) = &self.llm {
            metrics.extend(figures::of_llm_calls(calls));
            metrics.push(figures::of_calls_under_way(*under_way));
        }
        if let Ok(systems) = &self.lookups {
            metrics.push(figures::of_lookups(systems));
        }
        if let Ok(events) = &self.webhooks {
            metrics.push(figures::of_webhooks(events));
        }
        if let Ok(sources) = &self.sources {
            metrics.push(figures::of_sources(sources, now));
        }
        if let Ok(schedules) = &self.schedules {
            metrics.extend(figures::of_schedules(schedules, now));
        }
        if let Ok(at) = self.last_verdict {
            metrics.push(figures::of_last_verdict(at, now));
        }
        if let Ok(space) = &self.space {
            metrics.extend(figures::of_space(space));
        }
        let mut missing = Metric::gauge(
            "aftercall_metrics_missing",
            "1 for a part of these figures that could not be counted in time.",
            &["part"],
        );
        for (part, why) in self.parts() {
            missing.set([part], f64::from(u8::from(why.is_some())));
        }
        metrics.push(missing);
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Location;

    #[tokio::test]
    async fn what_could_not_be_counted_is_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&Location::sqlite(folder.path().join("t.db"))).await.unwrap();
        let mut figures = Figures::read(&db).await.unwrap();
        figures.sessions = part(async { Err(DbError::other("too\nmany")) }.boxed()).await;
        assert_eq!(figures.remarks(), "# sessions: too many\n");
        let metrics = figures.metrics(Duration::from_secs(12));
        let text: String = metrics.iter().map(Metric::to_string).collect();
        for line in [
            "aftercall_metrics_missing{part=\"sessions\"} 1\n",
            "aftercall_metrics_missing{part=\"gates\"} 0\n",
            "aftercall_workers_alive 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(
            !text.contains("aftercall_verdicts{") && !text.contains("aftercall_coverage_gap"),
            "{text}"
        );
    }

    #[test]
    fn figures_that_are_slow_to_read_are_kept_longer() {
        assert_eq!(kept_for(Duration::from_millis(3)), Duration::from_secs(1));
        assert_eq!(kept_for(Duration::from_secs(2)), Duration::from_secs(18));
    }
}
