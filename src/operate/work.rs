//! Work that somebody calls for by hand.

use crate::{
    db::{DbError, Tx},
    domain::session::{Generation, SessionKey},
    jobs::DiscoverSessions,
    queue::{self, Enqueued, control},
    reprocess as generations,
};

/// Calls for a scan of a source: a twin where one is on its way.
///
/// # Errors
/// When the database refuses it.
pub async fn discover(tx: &mut Tx, source: &str, actor: &str) -> Result<Enqueued, DbError> {
    let job = DiscoverSessions {
        source: source.to_owned(),
    };
    let enqueued = queue::enqueue(tx, &job).await?;
    control::audit(tx, actor, "discover", source, Some(&format!("job {}", enqueued.id()))).await?;
    Ok(enqueued)
}

/// Opens the next generation of a session; `None` for one that is not known.
///
/// # Errors
/// When the database refuses it.
pub async fn reprocess(tx: &mut Tx, key: &SessionKey, actor: &str) -> Result<Option<Generation>, DbError> {
    let generation = generations::reprocess(tx, key).await?;
    if let Some(generation) = generation {
        let detail = format!("generation {generation}");
        control::audit(tx, actor, "reprocess", &key.to_string(), Some(&detail)).await?;
    }
    Ok(generation)
}
