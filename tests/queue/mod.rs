//! The queue's conformance suite: every function here takes a database.

mod away;
mod control;
mod cron;
mod enqueue;
mod finish;
mod gates;
mod lease;
mod limits;
mod model;
mod other_programs;
mod outcomes;
mod plans;
mod shutdown;
pub(crate) mod world;
