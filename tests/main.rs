//! All tests that need more than one module, in one binary.

mod faults;
mod pipeline;
mod queue;
mod support;
