//! # aftercall
//!
//! After each finished agent session, aftercall checks in the system of record whether the caller really got what they
//! asked for, keeps one verdict per session, and explains every failure.

pub mod db;
pub mod domain;
pub mod fault;
pub mod ports;
pub mod queue;
