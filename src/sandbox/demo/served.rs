//! The demo's world behind one address, for processes that are not this one, such as a fleet in containers.
//!
//! Everything has been said, and ended a moment before it is served: nothing happens later and nothing is down, so that whoever
//! asks is told the same, however many ask.

use std::{io, sync::Arc};

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    DemoSession, DemoSource, language_model, practice,
    stage::{APART, ending_at},
};
use crate::sandbox::{
    cloud9,
    langfuse::{self, FakeLangfuse, Version},
    language_model as model,
};

const CLOUD9: &str = "/cloud9";
const MODEL: &str = "/llm";

/// What a source's `base_url` is below the address.
pub fn langfuse_path(source: DemoSource) -> &'static str {
    match source {
        DemoSource::Newer => "/langfuse",
        DemoSource::Older => "/langfuse-older",
    }
}

/// What the `url` of the practice's Cloud9 is.
pub fn practice_path() -> String {
    format!("{CLOUD9}{}", cloud9::PATH)
}

/// What the `base_url` of the language model is.
pub fn model_path() -> String {
    format!("{MODEL}/v1")
}

/// Serves these sessions on a listener of the caller's until `stopping` is cancelled. `/healthz` answers, too.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(sessions: &[DemoSession], listener: TcpListener, stopping: CancellationToken) -> io::Result<()> {
    let mut router = Router::new().route("/healthz", get(async || StatusCode::OK));
    for (source, version) in [(DemoSource::Newer, Version::V4), (DemoSource::Older, Version::V3)] {
        let server = langfuse::router(langfuse_of(sessions, source, version), stopping.clone());
        router = router.nest_service(langfuse_path(source), server);
    }
    let router = router
        .nest_service(CLOUD9, cloud9::router(Arc::new(practice(sessions)), stopping.clone()))
        .nest_service(
            MODEL,
            model::router(Arc::new(language_model(sessions)), stopping.clone()),
        );
    axum::serve(listener, router)
        .with_graceful_shutdown(stopping.cancelled_owned())
        .await
}

fn langfuse_of(sessions: &[DemoSession], source: DemoSource, version: Version) -> Arc<FakeLangfuse> {
    let langfuse = FakeLangfuse::new(version);
    let now = langfuse.clock().now();
    for (session, ago) in sessions.iter().rev().zip(1..) {
        if session.source == source {
            langfuse.ingest(ending_at(now - APART * ago, session.observations.clone()));
        }
    }
    Arc::new(langfuse)
}
