//! `[telemetry]`: where spans go. Without an address none are made.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    records::read_headers,
    secret::{Lookup, Secret},
    section::Section,
    url,
};

/// What stands behind the address of a receiver.
const TRACES: &str = "/v1/traces";

/// `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TelemetryConfig {
    /// Address of an OTLP receiver over HTTP, before `/v1/traces`: `http://127.0.0.1:4318`. Default: that of
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, or none.
    pub otlp_endpoint: Option<String>,
    /// `[telemetry.otlp_headers]`: headers to send, each with a reference to a secret. Default: none.
    pub otlp_headers: BTreeMap<String, Secret>,
    /// What aftercall is called there. Default `aftercall`, or `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// Share of traces that are sent, from 0 to 1, decided by their id. Default 1.
    pub sample_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            otlp_headers: BTreeMap::new(),
            service_name: "aftercall".to_owned(),
            sample_ratio: 1.0,
        }
    }
}

/// What every program with OpenTelemetry goes by.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The same with the whole path.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

impl TelemetryConfig {
    /// The address that spans are sent to.
    pub fn traces_endpoint(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.as_ref()?;
        Some(if endpoint.ends_with(TRACES) {
            endpoint.clone()
        } else {
            format!("{endpoint}{TRACES}")
        })
    }

    pub(super) fn read(mut section: Section<'_>) -> Self {
        let default = Self::default();
        let env = section.secrets().env;
        let given = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        let endpoint = match section.text("otlp_endpoint") {
            Some(text) => match url::check(&text) {
                Ok(url) => Some(url),
                Err(reason) => {
                    section.fault_at("otlp_endpoint", reason);
                    None
                }
            },
            // Set for whatever runs here: what we cannot use is said, and is no fault of our configuration.
            None => [TRACES_ENDPOINT, ENDPOINT].into_iter().find_map(|name| {
                let text = given(name)?;
                url::check(text.trim())
                    .inspect_err(|reason| {
                        tracing::warn!(
                            variable = name,
                            reason,
                            "no spans are sent: what it holds is no address"
                        );
                    })
                    .ok()
            }),
        };
        let headers = section.table("otlp_headers");
        let headers = headers.map(|section| headers_of(&section)).unwrap_or_default();
        let read = Self {
            otlp_endpoint: endpoint,
            otlp_headers: headers,
            service_name: section
                .text("service_name")
                .or_else(|| given(SERVICE_NAME))
                .unwrap_or(default.service_name),
            sample_ratio: section.number("sample_ratio", 0.0, 1.0).unwrap_or(default.sample_ratio),
        };
        section.finish();
        read
    }
}

/// Followed also by commands that need no other secret, such as a scheduler. To those a header that leads nowhere is no fault:
/// it is empty then, and nothing is sent.
fn headers_of(section: &Section<'_>) -> BTreeMap<String, Secret> {
    let looks_only = section.secrets().unresolved;
    let mut headers = read_headers(section, &section.secrets());
    if looks_only {
        let followed = Lookup {
            unresolved: false,
            ..section.secrets()
        };
        for name in section.free_keys() {
            let Some((text, _)) = section.free_text(&name) else {
                continue;
            };
            if let (Ok(secret), Some(header)) = (followed.resolve(&text), headers.get_mut(&name)) {
                *header = secret;
            }
        }
    }
    headers
}
