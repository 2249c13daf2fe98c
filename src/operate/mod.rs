//! What an operator may ask and change, the same for the command line and the HTTP API: neither has a copy of its own.
//!
//! Reads answer what both show; writes take a transaction and the actor, and stand in `audit_log` in that transaction. What
//! needs no more than the queue or the store is asked there ([`control`](crate::queue::control),
//! [`inspect`](crate::queue::inspect), [`store::inspect`](crate::store::inspect)).

pub mod about;
pub mod coverage;
pub mod gates;
pub mod jobs;
pub mod look;
pub mod many;
pub mod page;
pub mod plain;
pub mod queues;
pub mod sources;
pub mod tokens;
pub mod work;

use crate::config::nearest;

/// `did you mean …?`, or what there is.
fn advice(word: &str, known: &[String]) -> String {
    match nearest(word, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known: {}", known.join(", ")),
    }
}
