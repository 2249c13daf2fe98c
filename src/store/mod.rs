//! All SQL about sessions, one file per noun. Writes take a [`Tx`](crate::db::Tx), so that the caller decides what belongs
//! together; reads that stand alone take a [`Db`](crate::db::Db).
//!
//! The database is authoritative for everything here: the queue's table can be lost and is rebuilt from these
//! (`jobs/reconcile.rs`).

pub mod alerts;
mod compress;
pub mod diagnoses;
pub mod ends;
pub mod evidence;
pub mod export;
pub mod idempotency;
pub mod inspect;
pub mod lanes;
pub mod llm;
pub mod readings;
pub mod retention;
pub mod seen;
pub mod sessions;
pub mod snapshots;
pub mod sources;
pub mod tokens;
pub mod totals;
pub mod verdicts;

#[cfg(test)]
mod tests;
