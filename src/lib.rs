//! # aftercall
//!
//! After each finished agent session, aftercall checks in the system of record whether the caller really got what they
//! asked for, keeps one verdict per session, and explains every failure.

pub mod adapters;
pub mod domain;
pub mod ports;
