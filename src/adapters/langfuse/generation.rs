//! Which generation of the API a server speaks: asked once, kept, and asked again when the server turns out to have changed.

use super::{
    Langfuse,
    plan::Generation,
    refusal::{Refusal, RefusalKind},
    server::{Query, Server},
    wire::List,
};
use crate::ports::UpstreamReason;

/// Nothing begins this late: the answer is small on every server.
const LATE: &str = "2100-01-01T00:00:00.000Z";
const LATER: &str = "2100-01-01T00:00:01.000Z";
const ANSWER_BYTES: usize = 1 << 20;

/// What the configuration says of the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Api {
    /// The newer one where the server has it.
    #[default]
    Auto,
    /// `GET /v2/observations` always.
    Observations,
    /// `GET /traces` always.
    Traces,
}

impl Langfuse {
    /// The generation to ask.
    pub(super) async fn generation(&self) -> Result<Generation, Refusal> {
        match self.api {
            Api::Observations => return Ok(Generation::Observations),
            Api::Traces => return Ok(Generation::Traces),
            Api::Auto => {}
        }
        // Held while it is asked: one question is enough for everybody.
        let mut known = self.generation.lock().await;
        if let Some(generation) = *known {
            return Ok(generation);
        }
        let generation = probe(&self.server).await?;
        tracing::info!(
            source = self.server.source,
            api = generation.name(),
            "this is how the source is read"
        );
        *known = Some(generation);
        Ok(generation)
    }

    /// The server does not speak it any more.
    pub(super) async fn forget(&self, generation: Generation) {
        let mut known = self.generation.lock().await;
        if *known == Some(generation) {
            tracing::warn!(
                source = self.server.source,
                api = generation.name(),
                "the server does not offer this any more, was it upgraded? It is asked again what it speaks"
            );
            *known = None;
        }
    }

    /// A refusal for good: both generations were tried, or the configuration names the wrong one.
    pub(super) fn no_generation(&self, mut refusal: Refusal) -> Refusal {
        if self.api != Api::Auto {
            refusal.error.detail.push_str("; set api = \"auto\"");
        }
        refusal
    }
}

/// Asks the server. Its version alone does not tell: v3 may offer the newer API as a preview, and v4 both.
pub(super) async fn probe(server: &Server) -> Result<Generation, Refusal> {
    let newer: Query = vec![("limit", "1".to_owned()), ("fromStartTime", LATE.to_owned())];
    match server.get("/v2/observations", &newer, ANSWER_BYTES).await {
        Ok(reply) => {
            let list: List<'_> = server.parse("/v2/observations", &reply)?;
            server.note_deprecation(list.deprecation);
            return Ok(Generation::Observations);
        }
        Err(refusal) if matches!(refusal.kind, RefusalKind::OtherApi | RefusalKind::NotFound) => {}
        Err(refusal) => return Err(refusal),
    }
    // An address that is not Langfuse's answers 404 as well.
    let older: Query = vec![
        ("page", "1".to_owned()),
        ("limit", "1".to_owned()),
        ("orderBy", "timestamp.asc".to_owned()),
        ("fields", "core".to_owned()),
        ("fromTimestamp", LATE.to_owned()),
        ("toTimestamp", LATER.to_owned()),
    ];
    match server.get("/traces", &older, ANSWER_BYTES).await {
        Ok(reply) => {
            let list: List<'_> = server.parse("/traces", &reply)?;
            server.note_deprecation(list.deprecation);
            Ok(Generation::Traces)
        }
        Err(refusal) if matches!(refusal.kind, RefusalKind::OtherApi | RefusalKind::NotFound) => {
            Err(Refusal::failed(server.error(
                UpstreamReason::BadAnswer,
                "the server offers neither v2/observations nor traces below base_url (status 404): is it the address of a Langfuse \
                 server?",
            )))
        }
        Err(refusal) => Err(refusal),
    }
}
