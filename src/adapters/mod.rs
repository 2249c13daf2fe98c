//! The outside world: one file or folder per system that we talk to, each behind a trait of [`crate::ports`].
//!
//! Everything that crosses this border is hostile or private. What comes in is bounded in time and size and read
//! leniently; what goes out is escaped for where it stands; and no error text carries an address with a secret, a header,
//! or words of a session.

pub mod aftercall_api;
pub mod bundle;
pub mod client;
pub mod cloud9;
mod content;
pub mod expert;
pub mod http_records;
pub mod langfuse;
pub mod llm_reader;
pub mod mask;
pub mod offline_classifier;
pub mod openai;
pub mod otlp;
mod percent;
pub(crate) use percent::decode as percent_decode;
pub mod plain_text;
pub mod secret;
pub mod sql_records;
pub mod watched;
