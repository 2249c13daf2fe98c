//! `/metrics`: the queue, the fleet and the sessions in figures. They are the database's, so every process says the same.
//!
//! What takes too long to count is left out, and said to be: a history that grew too large to be counted must not hide that
//! a gate is shut.

use std::time::Duration;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use futures::{FutureExt as _, future::BoxFuture};

use super::{
    exposition::{Gauge, MEDIA_TYPE},
    figures, health,
    server::{Answer, Asked},
};
use crate::{
    db::{Db, DbError},
    queue::inspect::{
        self, QueueDepth, WorkerRow,
        gates::{self, GateLine},
    },
    store::inspect::coverage::{self, Coverage},
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
            let gauges = figures.gauges(asked.pulse.lease());
            let text = figures.remarks() + &gauges.iter().map(Gauge::to_string).collect::<String>();
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

/// What the database says, part by part.
struct Figures {
    queues: Part<QueueDepth>,
    gates: Part<GateLine>,
    processes: Part<WorkerRow>,
    sessions: Part<Coverage>,
    now: DateTime<Utc>,
}

/// Some of the figures, or why they are not there.
type Part<T> = Result<Vec<T>, String>;

async fn part<T>(rows: BoxFuture<'_, Result<Vec<T>, DbError>>) -> Part<T> {
    match tokio::time::timeout(EVALUATION, rows).await {
        Ok(rows) => rows.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not counted within {} s", EVALUATION.as_secs())),
    }
}

impl Figures {
    async fn read(db: &Db) -> Result<Self, DbError> {
        let now = db.now().await?;
        let (queues, gates, processes, sessions) = tokio::join!(
            part(inspect::queue_depths(db).boxed()),
            part(gates::all(db).boxed()),
            part(inspect::workers(db).boxed()),
            part(coverage::by_source(db).boxed()),
        );
        Ok(Self {
            queues,
            gates,
            processes,
            sessions,
            now,
        })
    }

    /// Each part, and why it is missing.
    fn parts(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("queues", self.queues.as_ref().err().map(String::as_str)),
            ("gates", self.gates.as_ref().err().map(String::as_str)),
            ("processes", self.processes.as_ref().err().map(String::as_str)),
            ("sessions", self.sessions.as_ref().err().map(String::as_str)),
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
    fn gauges(&self, lease: Duration) -> Vec<Gauge> {
        let mut gauges = Vec::new();
        if let Ok(queues) = &self.queues {
            gauges.extend(figures::of_queues(queues, self.now));
            gauges.extend(figures::of_limits(queues));
        }
        if let Ok(gates) = &self.gates {
            gauges.push(figures::of_gates(gates));
        }
        if let Ok(processes) = &self.processes {
            gauges.extend(figures::of_processes(processes, self.now, lease));
        }
        if let Ok(sources) = &self.sessions {
            gauges.extend(figures::of_sessions(sources));
        }
        let mut missing = Gauge::new(
            "aftercall_metrics_missing",
            "1 for a part of these figures that could not be counted in time.",
            &["part"],
        );
        for (part, why) in self.parts() {
            missing.set([part], f64::from(u8::from(why.is_some())));
        }
        gauges.push(missing);
        gauges
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
        let gauges = figures.gauges(Duration::from_secs(12));
        let text: String = gauges.iter().map(Gauge::to_string).collect();
        for line in [
            "aftercall_metrics_missing{part=\"sessions\"} 1\n",
            "aftercall_metrics_missing{part=\"gates\"} 0\n",
            "aftercall_workers_alive 0\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("aftercall_verdicts"), "{text}");
    }

    #[test]
    fn figures_that_are_slow_to_read_are_kept_longer() {
        assert_eq!(kept_for(Duration::from_millis(3)), Duration::from_secs(1));
        assert_eq!(kept_for(Duration::from_secs(2)), Duration::from_secs(18));
    }
}
