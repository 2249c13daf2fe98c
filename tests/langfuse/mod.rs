//! The Langfuse source against servers of four releases.

mod read;
mod recorded;
mod refusals;
mod replay;
mod scan;
mod upgrade;
mod world;
