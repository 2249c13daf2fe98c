//! Ends a session: its verdict, and the diagnosis that a failure calls for, in the caller's transaction.

use crate::{
    db::{DbError, Tx},
    domain::{
        reading::{Reader, UNKNOWN_INTENT},
        session::{Generation, SessionKey},
        shell,
        verdict::{PlaybookRef, Reason, Severity, Status, Verdict},
        verdict_diff::Diff,
    },
    jobs::DiagnoseSession,
    queue,
    store::{sessions, snapshots, verdicts},
};

/// Stores the verdict with what it changes against the generation before, and calls for the diagnosis of a failure.
///
/// # Errors
/// When the database refuses it.
pub async fn save(tx: &mut Tx, key: &SessionKey, generation: Generation, verdict: &Verdict) -> Result<(), DbError> {
    let diff = match verdicts::load_before(tx, key, generation).await? {
        Some((number, before)) => {
            let content_changed = snapshots::differ(tx, key, number, generation).await?.unwrap_or(false);
            let diff = Diff::of(number, &before, verdict, content_changed);
            Some(serde_json::to_value(diff).map_err(|error| DbError::other(error.to_string()))?)
        }
        None => None,
    };
    verdicts::save(tx, key, generation, verdict, diff.as_ref()).await?;
    if verdict.status.needs_diagnosis() {
        let SessionKey { source, session_id } = key.clone();
        queue::enqueue(
            tx,
            &DiagnoseSession {
                source,
                session_id,
                generation,
            },
        )
        .await?;
    }
    Ok(())
}

/// Ends a session whose work was given up, with the reason: reconcile must not call for it for ever.
///
/// # Errors
/// When the database refuses it.
pub async fn give_up(tx: &mut Tx, key: &SessionKey, generation: Generation, reason: &str) -> Result<(), DbError> {
    if !sessions::is_current(tx, key, generation).await? {
        return Ok(());
    }
    let verdict = Verdict {
        status: Status::Error,
        reason: Reason::GaveUp,
        severity: Severity::None,
        summary: format!(
            "Given up: {reason}. `aftercall reprocess {}` tries again.",
            shell::word(&key.session_id)
        ),
        intent: UNKNOWN_INTENT.to_owned(),
        confidence: 0.0,
        reader: Reader::Offline {
            why: "the analysis was given up".to_owned(),
        },
        findings: Vec::new(),
        playbook: PlaybookRef {
            name: String::new(),
            version: 0,
            hash: String::new(),
        },
        looks: 0,
        incomplete: true,
    };
    sessions::mark_current_content_judged(tx, key).await?;
    verdicts::save(tx, key, generation, &verdict, None).await
}
