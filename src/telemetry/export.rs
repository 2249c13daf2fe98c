//! Sends spans to an OTLP receiver. A thread of its own does it, from a queue that is bounded: when the receiver is down or slow,
//! spans are dropped, and nobody waits.

use std::{collections::HashMap, fmt, sync::OnceLock, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, ParentBasedSampler, Sampler, SdkTracerProvider},
};

use super::trace::{self, Ids};

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Where spans go.
pub struct Export {
    /// The receiver's address for traces, `…/v1/traces`.
    pub endpoint: String,
    /// Sent with each request.
    pub headers: HashMap<String, String>,
    /// What we are called there.
    pub service_name: String,
    /// The environment that they carry, and that no source reads: aftercall does not judge itself.
    pub environment: &'static str,
    /// Share of traces, from 0 to 1, decided by their id: every process of a fleet decides alike.
    pub sample_ratio: f64,
}

/// Without the headers: they hold secrets.
impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Starts it, once per process; a second start keeps the first.
///
/// # Errors
/// When the address or a header is none.
pub fn start(export: Export, client: impl HttpClient + 'static) -> Result<(), String> {
    if PROVIDER.get().is_some() {
        return Ok(());
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(export.endpoint)
        .with_headers(export.headers)
        .build()
        .map_err(|error| error.to_string())?;
    // How many wait and for how long is OpenTelemetry's usual, or what OTEL_BSP_… say.
    let batches = BatchSpanProcessor::builder(exporter).build();
    // What OTEL_RESOURCE_ATTRIBUTES says is there, and ours stands over it.
    let resource = Resource::builder()
        .with_service_name(export.service_name)
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            // What Langfuse goes by first, and what everybody else does.
            KeyValue::new("langfuse.environment", export.environment),
            KeyValue::new("deployment.environment.name", export.environment),
        ])
        .build();
    let ratio = || Sampler::TraceIdRatioBased(export.sample_ratio);
    // A caller that decided against a trace is heard. One that decided for it may have had no exporter, and so no ratio.
    let sampler = ParentBasedSampler::new(ratio()).with_remote_parent_sampled(ratio());
    let provider = SdkTracerProvider::builder()
        .with_span_processor(batches)
        .with_resource(resource)
        .with_id_generator(Ids)
        .with_sampler(sampler)
        .build();
    trace::set_tracer(provider.tracer("aftercall"));
    let _ = PROVIDER.set(provider);
    Ok(())
}

/// Sends what is left, for `most` at most.
pub async fn stop(most: Duration) {
    let Some(provider) = PROVIDER.get() else { return };
    let stopping = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(most));
    // What the thread does after that nobody waits for.
    if !matches!(tokio::time::timeout(most, stopping).await, Ok(Ok(Ok(())))) {
        tracing::warn!("the last spans could not be sent in time");
    }
}
