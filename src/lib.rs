//! # aftercall
//!
//! After each finished agent session, aftercall checks in the system of record whether the caller really got what they
//! asked for, keeps one verdict per session, and explains every failure.

pub mod config;
pub mod db;
pub mod adapters;
pub mod domain;
pub mod fault;
pub mod ports;
pub mod store;
pub mod queue;
pub mod sandbox;
