//! The whole flow on loopback: what must hold of it whatever the sessions, the reader and the systems of record do.

mod airline_judge;
mod coverage;
mod demo;
mod hostile;
mod limits;
mod verdicts;
