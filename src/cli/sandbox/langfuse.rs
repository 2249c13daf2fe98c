//! `aftercall sandbox langfuse`: a Langfuse of any release to try aftercall against.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use serde_json::json;

use super::{Context, Failure, listen, until_told};
use crate::sandbox::langfuse::{self, FakeLangfuse, RateLimit, Recorded, Version};

const EXAMPLE: &str = "\
Example:
  $ aftercall sandbox langfuse ./my-sessions.jsonl --behave-as v3 --listen 127.0.0.1:3000

FILE holds one observation per line, in the shape of Langfuse's GET /api/public/v2/observations. The server answers as that
release does, errors and page sizes included. Its keys are printed; nothing that is written to it outlives it.";

/// Serves a file of observations as a Langfuse of any release, for trying aftercall against its API
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ServeLangfuse {
    /// The observations; none makes an empty server
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The release to behave as: v2, v3, v4, or v4-dual (v4 with the old reads as well)
    #[arg(long, value_name = "RELEASE", default_value = "v4", value_parser = release)]
    behave_as: Version,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Limit requests as Langfuse Cloud does on its smallest plan
    #[arg(long)]
    rate_limit: bool,
}

fn release(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "not one of v2, v3, v4, v4-dual".to_owned())
}

impl ServeLangfuse {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let langfuse = FakeLangfuse::new(self.behave_as);
        let observations = self.read()?;
        let count = observations.len();
        langfuse.ingest(observations);
        langfuse.limit_rate(self.rate_limit.then_some(RateLimit::HOBBY));
        let listener = listen(self.listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (public_key, secret_key) = (langfuse::PUBLIC_KEY, langfuse::SECRET_KEY);
        let started = json!({
            "url": url,
            "release": self.behave_as.release(),
            "observations": count,
            "public_key": public_key,
            "secret_key": secret_key,
        });
        context.out.print(&started, |_| {
            format!(
                "serving {count} observations as Langfuse {} on {url}; public key {public_key}, secret key {secret_key}; \
                 Ctrl-C stops",
                self.behave_as.release()
            )
        })?;
        Ok(langfuse::serve(Arc::new(langfuse), listener, until_told()?).await?)
    }

    fn read(&self) -> Result<Vec<Recorded>, Failure> {
        let Some(path) = &self.file else {
            return Ok(Vec::new());
        };
        let unreadable = |error: std::io::Error| Failure::Fault(format!("cannot read {}: {error}", path.display()));
        let mut observations = Vec::new();
        for (index, line) in BufReader::new(File::open(path).map_err(unreadable)?)
            .lines()
            .enumerate()
        {
            let line = line.map_err(unreadable)?;
            if line.trim().is_empty() {
                continue;
            }
            let observation = Recorded::read(&line)
                .map_err(|reason| Failure::Fault(format!("{}, line {}: {reason}", path.display(), index + 1)))?;
            observations.push(observation);
        }
        Ok(observations)
    }
}
