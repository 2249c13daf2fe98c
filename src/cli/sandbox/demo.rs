//! `aftercall sandbox demo`: everything outside that the demo's sessions need, for processes of one's own.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;

use super::{Context, Failure, listen, until_told};
use crate::sandbox::{
    cloud9::CREDENTIALS,
    demo::{self, DemoSource, served},
    langfuse::{PUBLIC_KEY, SECRET_KEY},
};

const EXAMPLE: &str = "\
Example:
  $ aftercall sandbox demo --listen 127.0.0.1:8080

The made-up calls of `aftercall demo`, in a Langfuse of version 4 and one of version 3, with the practice's Cloud9 and a scripted
LLM: a source, a system of record and a reader for a fleet to be tried on. demo/aftercall.toml is a configuration for it.";

/// Serves the demo's whole world on one address: two Langfuse servers, a practice's Cloud9 and an LLM
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ServeDemo {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

impl ServeDemo {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let sessions = demo::sessions().map_err(|error| Failure::Fault(format!("{error:#}")))?;
        let listener = listen(self.listen).await?;
        let stopping = until_told()?;
        let url = format!("http://{}", listener.local_addr()?);
        let (client_id, user, password) = CREDENTIALS;
        let newer = format!("{url}{}", served::langfuse_path(DemoSource::Newer));
        let older = format!("{url}{}", served::langfuse_path(DemoSource::Older));
        let practice = format!("{url}{}", served::practice_path());
        let model = format!("{url}{}", served::model_path());
        let started = json!({
            "url": url,
            "sessions": sessions.len(),
            "langfuse": [newer, older],
            "public_key": PUBLIC_KEY,
            "secret_key": SECRET_KEY,
            "cloud9": practice,
            "client_id": client_id,
            "user": user,
            "password": password,
            "llm": model,
        });
        context.out.print(&started, |_| {
            format!(
                "serving {} made-up calls on {url}; Ctrl-C stops\n\
                 Langfuse 4   {newer}\n\
                 Langfuse 3   {older}\n             public key {PUBLIC_KEY}, secret key {SECRET_KEY}\n\
                 Cloud9       {practice}\n             client id {client_id}, user {user}, password {password}\n\
                 LLM          {model}",
                sessions.len()
            )
        })?;
        Ok(served::serve(&sessions, listener, stopping).await?)
    }
}
