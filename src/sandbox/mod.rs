//! The sandbox's servers: real HTTP servers on loopback that stand in for Langfuse, for a system of record and for a language
//! model, in the demo, behind `aftercall sandbox`, and in tests; and a PostgreSQL of one's own.
//!
//! They are scripted, faults included, and speak the same protocols as the real thing, so nothing above them knows the
//! difference.

pub mod cloud9;
pub mod demo;
pub mod langfuse;
pub mod language_model;
pub mod postgres;
pub mod records;
mod server;

pub use server::Server;
