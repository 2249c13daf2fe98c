//! All tests that need more than one module, in one binary.

mod cli;
mod queue;
mod rules;
mod support;
