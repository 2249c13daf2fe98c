//! Which gates there are.

use super::advice;
use crate::{
    config::Config,
    db::{Db, DbError},
    queue::inspect::gates,
};

/// Refuses a gate that no job goes through: closed, it would hold nothing, and nobody would notice.
///
/// # Errors
/// When the database cannot answer; the inner one says which gates there are.
pub async fn check(db: &Db, config: &Config, key: &str) -> Result<Result<(), String>, DbError> {
    let shut = gates::all(db).await?.into_iter().map(|gate| gate.key);
    let known = known(config, shut);
    if known.iter().any(|gate| gate == key) {
        return Ok(Ok(()));
    }
    Ok(Err(format!(
        "no job goes through a gate `{key}`; {}",
        advice(key, &known)
    )))
}

/// The gates of what is configured, and those that were shut before.
fn known(config: &Config, shut: impl Iterator<Item = String>) -> Vec<String> {
    let mut known: Vec<String> = shut.collect();
    for source in &config.sources {
        known.push(format!("source:{}", source.name));
        known.push(format!("llm:default/{}", source.name));
    }
    known.extend(config.records.iter().map(|records| format!("records:{}", records.name)));
    known.push("llm:default".to_owned());
    known.sort();
    known.dedup();
    known
}
