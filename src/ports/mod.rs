//! What we need of the world, in our words. Adapters implement these; jobs use them.

pub mod language_model;
pub mod probe;
pub mod system_of_record;
pub mod trace_source;
pub mod upstream;

pub use language_model::{ChatAnswer, ChatMessage, ChatRequest, Finish, JsonSchema, LanguageModel, Role, Usage};
pub use probe::{Probe, ProbeNote};
pub use system_of_record::{Answer, SystemOfRecord};
pub use trace_source::{SeenObservation, SeenSession, SessionRef, Slice, SourceFault, TraceSource};
pub use upstream::{UpstreamError, UpstreamReason};
