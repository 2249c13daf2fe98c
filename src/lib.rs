//! # aftercall
//!
//! After each finished agent session, aftercall checks in the system of record whether the caller really got what they
//! asked for, keeps one verdict per session, and explains every failure.

pub mod adapters;
pub mod db;
pub mod domain;
pub mod ports;
pub mod sandbox;
pub mod store;
