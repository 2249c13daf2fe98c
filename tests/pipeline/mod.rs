//! The whole flow on loopback: what must hold of it whatever the sessions, the reader and the systems of record do.

mod airline;
mod airline_eval;
mod airline_judge;
mod alerts;
mod bad_bundles;
mod bad_readers;
mod bad_records;
mod budget;
mod cloud9;
mod cloud9_faults;
mod cloud9_rules;
mod completion;
mod coverage;
mod demo;
mod drill;
mod endings;
mod fhir;
mod hostile;
mod limits;
mod original_faults;
mod orthodontics_rules;
mod outages;
mod plans;
mod sql_records;
mod verdicts;
mod waiting;
