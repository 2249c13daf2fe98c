//! `[[source.webhook]]`: who may say from outside that a session of the source is over.

use serde::Serialize;

use super::{secret::Secret, section::Section};
use crate::domain::webhook::{Pointer, Shape};

/// Bytes of a secret, at least.
const SHORTEST: usize = 32;

/// One `[[source.webhook]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WebhookConfig {
    /// In which shape its requests come. Default `generic`.
    pub shape: Shape,
    /// Secrets that its sender signs with. Any of them is good, so that one can be exchanged for another.
    pub secrets: Vec<Secret>,
    /// Where in an event the session's id stands. Default: the vendor's own id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Pointer>,
    /// Where Twilio sends its requests, in full: its signature is over it. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl WebhookConfig {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let shapes = Shape::ALL.map(|shape| (shape.as_str(), shape));
        let shape = section.choice("shape", Shape::Generic, &shapes);
        let secrets = section.webhook_secrets("secrets", SHORTEST);
        let session_id = section
            .text("session_id")
            .and_then(|text| match text.parse::<Pointer>() {
                Ok(_) if shape == Shape::Generic => {
                    section.fault_at(
                        "session_id",
                        "is for events of a vendor: a generic request names its session in the path",
                    );
                    None
                }
                Ok(pointer) if shape == Shape::Twilio && pointer.to_string().matches('/').count() > 1 => {
                    section.fault_at(
                        "session_id",
                        "should name a parameter of the form or of the address: \"/session_id\"",
                    );
                    None
                }
                Ok(pointer) => Some(pointer),
                Err(reason) => {
                    section.fault_at("session_id", reason.to_string());
                    None
                }
            });
        let url = section.text("url");
        match (&url, shape) {
            (None, Shape::Twilio) => section.fault_at(
                "url",
                "is missing: where Twilio sends its requests, to the letter: https://HOST/api/v1/sources/SOURCE/webhooks/twilio",
            ),
            (Some(url), Shape::Twilio) if !url.starts_with("https://") && !url.starts_with("http://") => {
                section.fault_at("url", "should be an address such as https://host/path");
            }
            (Some(_), shape) if shape != Shape::Twilio => {
                section.fault_at("url", "is for shape = \"twilio\" alone: the others do not sign it");
            }
            _ => {}
        }
        section.finish();
        (!secrets.is_empty()).then_some(Self {
            shape,
            secrets,
            session_id,
            url,
        })
    }
}

/// All of a source, each shape once: its requests are told apart by their path.
pub(super) fn read_all(section: &mut Section<'_>) -> Vec<WebhookConfig> {
    let mut all: Vec<WebhookConfig> = Vec::new();
    let mut twins = Vec::new();
    for webhook in section.tables("webhook").into_iter().filter_map(WebhookConfig::read) {
        if all.iter().any(|known| known.shape == webhook.shape) {
            twins.push(webhook.shape);
        } else {
            all.push(webhook);
        }
    }
    for shape in twins {
        section.fault_of(
            "webhook",
            format!(
                "shape \"{}\" is given twice: write all of its secrets into one",
                shape.as_str()
            ),
        );
    }
    all
}
