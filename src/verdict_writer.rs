//! Ends a session: its verdict, and the diagnosis that a failure calls for, in the caller's transaction.

use serde_json::{Value, json};

use crate::{
    db::{DbError, Tx},
    domain::{
        reading::{Reader, UNKNOWN_INTENT},
        session::{Generation, SessionKey},
        verdict::{PlaybookRef, Reason, Severity, Status, Verdict},
    },
    jobs::DiagnoseSession,
    queue,
    store::{sessions, verdicts},
};

/// Stores the verdict with what it changes against the generation before, and calls for the diagnosis of a failure.
///
/// # Errors
/// When the database refuses it.
pub async fn save(tx: &mut Tx, key: &SessionKey, generation: Generation, verdict: &Verdict) -> Result<(), DbError> {
    let before = verdicts::load_before(tx, key, generation).await?;
    let diff = before.map(|(number, before)| diff_of(number, &before, verdict));
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
            key.session_id
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

/// What a new generation changed, and why it may have.
fn diff_of(number: Generation, before: &Verdict, after: &Verdict) -> Value {
    let mut changes = Vec::new();
    if before.status != after.status {
        changes.push(json!({"what": "status", "before": before.status, "after": after.status}));
    }
    if before.reason != after.reason {
        changes.push(json!({"what": "reason", "before": before.reason, "after": after.reason}));
    }
    if before.intent != after.intent {
        changes.push(json!({"what": "intent", "before": before.intent, "after": after.intent}));
    }
    if before.findings != after.findings {
        changes.push(json!({"what": "findings", "before": before.findings.len(), "after": after.findings.len()}));
    }
    let mut because = Vec::new();
    if before.playbook != after.playbook {
        because.push("another playbook");
    }
    if before.reader != after.reader {
        because.push("another reader");
    }
    if before.looks != after.looks {
        because.push("other looks at the systems of record");
    }
    json!({"against_generation": number, "changes": changes, "because": because})
}
