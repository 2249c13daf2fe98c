//! The whole flow on loopback: what must hold of it whatever the sessions, the reader and the systems of record do.

mod airline;
mod airline_judge;
mod alerts;
mod bad_bundles;
mod bad_readers;
mod bad_records;
mod coverage;
mod demo;
mod endings;
mod hostile;
mod limits;
mod outages;
mod verdicts;
mod waiting;
