//! Why a job does not run.

use super::{COUNTED, Code, Fleet, Holder, Reason, fleet, number};
use crate::{
    db::{Db, DbError},
    params,
    queue::inspect::JobRow,
};

/// Everything that holds a job, in the order in which it has to give way.
///
/// # Errors
/// When the database cannot answer.
pub async fn of_job(db: &Db, fleet: &Fleet, job: &JobRow) -> Result<Vec<Reason>, DbError> {
    let mut reasons = match job.state.as_str() {
        "running" => vec![running(fleet, job)],
        "completed" | "cancelled" | "discarded" => ended(db, job).await?,
        _ => waiting(db, fleet, job).await?,
    };
    reasons.extend(fleet.slow());
    Ok(reasons)
}

fn running(fleet: &Fleet, job: &JobRow) -> Reason {
    let worker = job.worker.as_deref().unwrap_or("an unknown process");
    let attempt = format!("attempt {} of {}", job.attempt, job.max_attempts);
    if !fleet.lives(worker) {
        return Reason::new(
            Code::WorkerSilent,
            format!("{worker}, which ran it ({attempt}), gives no sign of life: another takes it up when its lease has ended"),
        )
        .since(job.started_at)
        .until(job.lease_expires_at)
        .act("`aftercall workers` shows who lives");
    }
    match job.cancel_requested_at {
        Some(at) => Reason::new(
            Code::CancelRequested,
            format!("it was asked to stop, and {worker} still runs it ({attempt})"),
        )
        .since(at),
        None => Reason::new(Code::Running, format!("it runs on {worker} ({attempt})")).since(job.started_at),
    }
}

async fn ended(db: &Db, job: &JobRow) -> Result<Vec<Reason>, DbError> {
    let error = job.last_error.as_deref().unwrap_or("no error was kept");
    let text = match job.state.as_str() {
        "discarded" => format!(
            "it was given up after attempt {} of {}: {error}",
            job.attempt, job.max_attempts
        ),
        "cancelled" => "it was cancelled".to_owned(),
        _ => "it is done".to_owned(),
    };
    let mut reason = Reason::new(Code::Ended, text).since(job.finished_at);
    let mut reasons = Vec::new();
    if let Some(twin) = twin(db, job).await? {
        reasons.push(twin);
    } else if job.state != "completed" {
        reason = reason.act(format!("`aftercall jobs retry {}` runs it once more", job.id));
    }
    reasons.insert(0, reason);
    Ok(reasons)
}

/// The live job that does the same.
async fn twin(db: &Db, job: &JobRow) -> Result<Option<Reason>, DbError> {
    let Some(key) = &job.unique_key else { return Ok(None) };
    let row = db
        .fetch_optional(
            "-- live_twin
             SELECT id, state, worker, started_at FROM jobs WHERE queue = $1 AND unique_key = $2
                AND state IN ('available', 'scheduled', 'running', 'retryable')",
            &params![&job.queue, key],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let holder = Holder {
        job: row.get("id")?,
        worker: row.get("worker")?,
        since: row.get("started_at")?,
    };
    let state: String = row.get("state")?;
    let act = format!("`aftercall why {}`", holder.job);
    let text = format!(
        "job {} does the same and is {state}: two of one key never live at once",
        holder.job
    );
    Ok(Some(
        Reason {
            by: vec![holder],
            ..Reason::new(Code::UniqueTwin, text)
        }
        .act(act),
    ))
}

async fn waiting(db: &Db, fleet: &Fleet, job: &JobRow) -> Result<Vec<Reason>, DbError> {
    let mut reasons = Vec::new();
    let gate = match (&job.held_by, &job.gate) {
        (Some(key), _) => fleet.shut().get(key),
        (None, Some(key)) => fleet.shut().before(key, job.id),
        (None, None) => None,
    };
    reasons.extend(gate.map(|gate| fleet::shut_gate(gate, None)));
    let is_later = job.held_by.is_none() && job.run_at > fleet.now;
    if is_later {
        reasons.push(later(job));
    }
    reasons.extend(fleet.paused(&job.queue));
    reasons.extend(fleet.unserved(&job.queue));
    reasons.extend(fleet::limit(db, fleet.now, &job.limit_key, job.rate_charged).await?);
    if job.state == "available" && gate.is_none() {
        let ahead = ahead(db, job).await?;
        if ahead > 0 {
            reasons.push(Reason::new(
                Code::BehindOthers,
                format!("jobs of {} that come first: {}", job.limit_key, number(ahead)),
            ));
        }
    }
    if reasons.is_empty() {
        let serving = fleet.serving(&job.queue);
        reasons.push(
            Reason::new(
                Code::Ready,
                format!("nothing holds it; processes that may take it: {serving}"),
            )
            .since(job.run_at),
        );
    }
    Ok(reasons)
}

fn later(job: &JobRow) -> Reason {
    if job.state == "retryable" {
        let error = job.last_error.as_deref().unwrap_or("no error was kept");
        let text = format!("attempt {} of {} failed: {error}", job.attempt, job.max_attempts);
        return Reason::new(Code::BackingOff, text)
            .until(job.run_at)
            .act(format!("`aftercall jobs retry {}` runs it now", job.id));
    }
    let why = job.wait_reason.as_deref().unwrap_or("it was enqueued for later");
    Reason::new(Code::Scheduled, why).until(job.run_at)
}

/// How many jobs of its key come first, as far as they are counted.
async fn ahead(db: &Db, job: &JobRow) -> Result<usize, DbError> {
    let most = u32::try_from(COUNTED + 1).unwrap_or(u32::MAX);
    let rows = db
        .fetch_all(
            "-- first_of_key
             SELECT id FROM jobs WHERE limit_key = $1 AND state = 'available' ORDER BY priority DESC, run_at, id LIMIT $2",
            &params![&job.limit_key, most],
        )
        .await?;
    let mut ahead = 0;
    for row in &rows {
        if row.get::<uuid::Uuid>("id")? == job.id {
            return Ok(ahead);
        }
        ahead += 1;
    }
    Ok(ahead)
}
