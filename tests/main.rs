//! All tests that need more than one module, in one binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod faults;
mod fleet;
mod http;
mod langfuse;
mod pipeline;
mod queue;
mod rules;
mod sql_records;
mod support;
