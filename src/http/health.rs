//! `/healthz` and `/readyz`.

use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;

use super::server::{Answer, Asked};
use crate::{
    db::{self, Db},
    queue::Pulse,
};

/// How long the database may take to answer.
pub(super) const DATABASE: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// One thing that has to hold.
#[derive(Serialize)]
struct Check {
    #[serde(rename = "check")]
    of: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Check {
    fn new(of: &'static str, held: Result<(), String>) -> Self {
        Self {
            of,
            ok: held.is_ok(),
            why: held.err(),
        }
    }
}

/// The process lives: it answers.
pub(super) fn alive() -> Answer {
    let health = Health {
        status: "ok",
        checks: Vec::new(),
    };
    Answer::json(StatusCode::OK, &health)
}

/// Whether the process can do its work.
pub(super) async fn ready(asked: &Asked) -> Answer {
    let pulse = &asked.pulse;
    let checks = vec![
        Check::new("database", database(asked).await),
        Check::new("heartbeat", heartbeat(pulse)),
        Check::new("claimer", claimer(pulse)),
        Check::new("running", running(pulse)),
    ];
    let ready = checks.iter().all(|check| check.ok);
    let health = Health {
        status: if ready { "ok" } else { "not_ready" },
        checks,
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Answer::json(status, &health)
}

/// The database answers, in time, and with a schema that this version can work with.
pub(super) async fn database(asked: &Asked) -> Result<(), String> {
    let Some(db) = asked.health.get() else {
        return Err("there is no connection to it yet".to_owned());
    };
    match tokio::time::timeout(DATABASE, answers(db)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("it did not answer within {} s", DATABASE.as_secs())),
    }
}

async fn answers(db: &Db) -> Result<(), String> {
    let words = |error: db::DbError| error.to_string();
    // A transaction and not a mere read: also a file that is gone, or that somebody holds locked, could still be read.
    db.begin().await.map_err(words)?.commit().await.map_err(words)?;
    let applied = db::applied_version(db).await.map_err(words)?;
    let known = db::latest_version();
    // A newer one is what a rolling deployment looks like to the old version: what it uses is still there.
    if applied < known {
        return Err(format!(
            "its schema is {applied}, this version needs {known}: `aftercall migrate` brings it up to date"
        ));
    }
    Ok(())
}

/// Past its lease the jobs of a silent process run elsewhere.
fn heartbeat(pulse: &Pulse) -> Result<(), String> {
    let (silence, lease) = (pulse.silence(), pulse.lease());
    if silence <= lease {
        return Ok(());
    }
    Err(format!(
        "no sign of life of this process has reached the database for {} s, more than a lease ({} s)",
        silence.as_secs(),
        lease.as_secs()
    ))
}

fn claimer(pulse: &Pulse) -> Result<(), String> {
    if pulse.claims() || pulse.is_stopping() {
        return Ok(());
    }
    Err("the thread that claims jobs and fires schedules has ended: restart the process".to_owned())
}

fn running(pulse: &Pulse) -> Result<(), String> {
    if pulse.is_stopping() {
        return Err("it was told to stop: its running jobs end, and it claims no more".to_owned());
    }
    Ok(())
}
