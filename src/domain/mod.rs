//! Types and rules of the domain: no IO, no async, no SQL.
//!
//! In the order of the flow: a [`session`] is a set of [`observation`]s; a [`transcript`] is what they say, turn by turn
//! and tool call by tool call; a [`reading`] is what was asked and said; a [`claim`] is what the tools say they did; a
//! [`lookup`] asks the system of record (in [`sql`] where it is a database) and a [`lookup::Fact`] is its answer; a [`verdict`]
//! compares them all, and a [`verdict_diff`] says what a new one changed; a [`diagnosis`] explains a failure. A [`playbook`]
//! teaches all of these a domain. An [`api_token`] lets somebody ask about them, and a [`webhook`] says that a
//! session is over.

pub mod api_token;
pub mod claim;
pub mod compare;
pub mod diagnosis;
pub mod end_signal;
pub mod grouping;
pub(crate) mod hex;
pub mod http_api;
pub(crate) mod id;
pub mod judge;
pub mod lookup;
pub mod nesting;
pub mod observation;
#[cfg(test)]
pub(crate) mod observation_fixture;
pub mod playbook;
pub mod reading;
pub mod session;
pub mod shell;
pub mod signals;
pub mod sql;
pub mod transcript;
pub mod verdict;
pub mod verdict_diff;
pub mod webhook;
