//! Sessions that are judged again.

use super::{Operation, Position, run::Part};
use crate::{
    db::{DbError, Tx},
    domain::session::SessionKey,
    reprocess,
    store::inspect::sessions::{self as listed, SessionFilter},
};

/// Sessions that one batch opens the next generation of: at a server, and in a file, in which everybody who writes waits for its end.
const AT_SERVER: u32 = 100;
const IN_FILE: u32 = 5;

pub(super) async fn reprocess(tx: &mut Tx, operation: &Operation, filter: &SessionFilter) -> Result<Part, DbError> {
    let after = match &operation.position {
        Some(Position::Session(key)) => key.clone(),
        _ => SessionKey::new("", ""),
    };
    let batch = if tx.is_on_server() { AT_SERVER } else { IN_FILE };
    let window = listed::window(tx, filter, &after, operation.created_at, batch).await?;
    let mut part = Part {
        more: window.more,
        position: Some(Position::Session(window.end)),
        ..Part::default()
    };
    for key in &window.matching {
        match reprocess::reprocess(tx, key).await? {
            Some(_) => part.changed += 1,
            None => *part.skipped.entry("unknown".to_owned()).or_default() += 1,
        }
    }
    Ok(part)
}
