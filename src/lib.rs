//! # aftercall
//!
//! After each finished agent session, aftercall checks in the system of record whether the caller really got what they
//! asked for, keeps one verdict per session, and explains every failure.
//!
//! # Layout
//!
//! ```text
//! main → cli → desk, http, mcp → operate → jobs → store, queue, ports → domain
//!                                           adapters ───┘
//! ```
//!
//! - [`jobs`] is what the program does: one file per job, in the order of the flow.
//! - [`domain`] holds types and rules, without IO; [`domain::judge`] computes the verdict.
//! - [`ports`] says what we need of the world; [`adapters`] are the systems that give it.
//! - [`queue`] is the durable queue and knows nothing of sessions; [`store`] is all other SQL; [`db`] is the seam below
//!   which SQLite and PostgreSQL differ.
//! - [`reader`], [`expert`], [`paid`] and [`outside`] are how jobs use an LLM: what to ask, and that each answer is bought
//!   once. [`verdict_writer`] and [`reprocess`] are how a session ends and begins again, [`ending`] how it ends by
//!   what is told from outside.
//! - [`mod@why`] says what holds a queue, a job or a session, [`timeline`] what became of a session when; [`operation`] is what an operator does to many of them.
//! - [`mod@env`] wires it all from [`config`]; [`pipeline`] runs it; [`operate`] is what an operator may ask and change, by [`cli`] (through a [`desk`], at the database or at another aftercall's API), by [`http`] or, to look only, by [`mcp`]; [`doctor`] looks at what it
//!   needs; [`sandbox`] is a world to try it in.

pub mod adapters;
pub mod bench;
pub mod cli;
pub mod config;
pub mod db;
pub mod desk;
pub mod doctor;
pub mod domain;
pub mod ending;
pub mod env;
pub mod eval;
pub mod expert;
pub mod export;
pub mod fault;
pub mod http;
#[path = "../jobs/mod.rs"]
pub mod jobs;
pub mod mcp;
pub mod operate;
pub mod operation;
pub mod outside;
pub mod paid;
pub mod pipeline;
pub mod ports;
pub mod queue;
pub mod reader;
pub mod readings_file;
pub mod reprocess;
pub mod sandbox;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod test_support;
pub mod timeline;
pub mod trial;
pub mod verdict_writer;
pub mod why;
