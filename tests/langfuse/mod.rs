//! The Langfuse source against servers of four releases.

mod read;
mod refusals;
mod scan;
mod world;
