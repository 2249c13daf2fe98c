//! What a person should know of a Langfuse server before the first scan.

use super::{
    Langfuse,
    generation::{self, Api},
    plan::Generation,
    server::Query,
    wire::{Health, Projects},
};
use crate::{
    adapters::plain_text::one_line,
    ports::{Probe, UpstreamError},
};

const ANSWER_BYTES: usize = 1 << 20;

impl Langfuse {
    pub(super) async fn look_at_server(&self) -> Result<Probe, UpstreamError> {
        let mut probe = Probe::default();
        // Not counted against the rate limit; a v4 server answers the removed reads before it looks at the keys.
        let reply = self
            .server
            .get("/projects", &Query::new(), ANSWER_BYTES)
            .await
            .map_err(|refusal| refusal.error)?;
        let projects: Projects = self
            .server
            .parse("/projects", &reply)
            .map_err(|refusal| refusal.error)?;
        let names: Vec<String> = projects
            .data
            .iter()
            .map(|project| one_line(project.name.0.as_deref().unwrap_or("without a name"), 80))
            .collect();
        if names.is_empty() {
            probe.warn("the keys are taken, but belong to no project: use a project's keys, not an organisation's");
        } else {
            probe.ok(format!("keys accepted: project {}", names.join(", ")));
        }
        probe.server_date = reply.date;
        self.probe_version(&mut probe).await;
        self.probe_generation(&mut probe).await?;
        self.describe_limits(&mut probe);
        if let Some((answers, sunset)) = self.server.deprecations() {
            probe.warn(format!(
                "{answers} answers said that this API is going away (sunset: {sunset}): api = \"auto\" moves on as soon as the \
                 server offers the new one"
            ));
        }
        Ok(probe)
    }

    async fn probe_version(&self, probe: &mut Probe) {
        match self.server.get("/health", &Query::new(), ANSWER_BYTES).await {
            Ok(reply) => match self.server.parse::<Health>("/health", &reply) {
                Ok(Health { version }) => probe.ok(format!(
                    "Langfuse {}",
                    one_line(version.0.as_deref().unwrap_or("of an unknown version"), 40)
                )),
                Err(_) => probe.warn("its /health is not Langfuse's: check base_url"),
            },
            Err(refusal) => probe.warn(format!("its /health does not answer: {}", refusal.error.detail)),
        }
    }

    async fn probe_generation(&self, probe: &mut Probe) -> Result<(), UpstreamError> {
        let generation = generation::probe(&self.server).await.map_err(|refusal| refusal.error)?;
        let wanted = match self.api {
            Api::Auto => generation,
            Api::Observations => Generation::Observations,
            Api::Traces => Generation::Traces,
        };
        if wanted == Generation::Observations && generation == Generation::Traces {
            probe.warn(
                "the server offers no v2/observations, but api = \"observations\" asks for it: set api = \"auto\"",
            );
            return Ok(());
        }
        probe.ok(format!("read through its {}", wanted.name()));
        if wanted == Generation::Traces && generation == Generation::Observations {
            probe.warn(
                "the server offers v2/observations, but api = \"traces\" asks for the API that Langfuse v4 removes: set api = \
                 \"auto\"",
            );
        } else if wanted == Generation::Traces && !self.selection.end_spans.is_empty() {
            probe.warn("end_spans are compared with the names of traces only: this API does not list those of spans");
        }
        Ok(())
    }

    fn describe_limits(&self, probe: &mut Probe) {
        let head_room = self.server.pace.head_room();
        match (head_room.limit, head_room.remaining) {
            (Some(limit), Some(0)) => probe.warn(format!(
                "its rate limit of {limit} requests was reached: set requests_per_minute below it, the limit is shared by the \
                 whole organisation"
            )),
            (Some(limit), remaining) => probe.ok(format!(
                "rate limit: {limit} requests{}",
                remaining.map_or_else(String::new, |left| format!(", {left} left"))
            )),
            (None, _) => probe.ok("it names no rate limit"),
        }
    }
}
