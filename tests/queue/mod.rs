//! The queue's conformance suite: every function here takes a database.

mod away;
mod bench;
mod bulk;
mod control;
mod counters;
mod cron;
mod enqueue;
mod finish;
mod gates;
mod lease;
mod limits;
mod marks;
mod model;
mod other_programs;
mod outcomes;
mod plans;
mod shutdown;
mod why;
pub(crate) mod world;
