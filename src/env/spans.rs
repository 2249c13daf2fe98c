//! Where spans go, from the configuration.

use crate::{
    adapters::{langfuse::OWN_ENVIRONMENT, otlp::OtlpClient},
    config::TelemetryConfig,
    telemetry::export::{self, Export},
};

/// From now on spans are sent where the configuration says, if anywhere. That they cannot be is said, and keeps nobody from
/// working.
pub fn send_spans(config: &TelemetryConfig) {
    let Some(endpoint) = config.traces_endpoint() else {
        return;
    };
    if let Some((header, secret)) = config
        .otlp_headers
        .iter()
        .find(|(_, secret)| secret.expose().is_empty())
    {
        // A command that needs no secret, where this one is not to be had.
        tracing::info!(header, secret = %secret, "no spans are sent: a header of the receiver is not known here");
        return;
    }
    let headers = config.otlp_headers.iter();
    let export = Export {
        endpoint,
        headers: headers
            .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
            .collect(),
        service_name: config.service_name.clone(),
        environment: OWN_ENVIRONMENT,
        sample_ratio: config.sample_ratio,
    };
    if let Err(error) = OtlpClient::build().and_then(|client| export::start(export, client)) {
        tracing::warn!(error, "no spans are sent");
    }
}
