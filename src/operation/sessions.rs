//! Sessions that are judged again.

use std::collections::BTreeMap;

use super::{Operation, Position, run::Done};
use crate::{
    db::{DbError, Tx},
    domain::session::SessionKey,
    reprocess,
    store::inspect::sessions::{self as listed, SessionFilter},
};

/// Sessions that one batch opens the next generation of.
const BATCH: u32 = 100;

pub(super) async fn reprocess(tx: &mut Tx, operation: &Operation, filter: &SessionFilter) -> Result<Done, DbError> {
    let after = match &operation.position {
        Some(Position::Session(key)) => key.clone(),
        _ => SessionKey::new("", ""),
    };
    let window = listed::window(tx, filter, &after, operation.created_at, BATCH).await?;
    let mut done = Done {
        done: 0,
        skipped: BTreeMap::new(),
        more: window.more,
        position: Some(Position::Session(window.end)),
    };
    for key in &window.matching {
        match reprocess::reprocess(tx, key).await? {
            Some(_) => done.done += 1,
            None => *done.skipped.entry("unknown".to_owned()).or_default() += 1,
        }
    }
    Ok(done)
}
