//! A server may repeat in its answer what it was sent. Whatever a check found, no secret of the configuration leaves in it.

use super::Finding;
use crate::config::{Config, RecordsKind, Secret, SourceKind};

/// Shorter ones would tear words apart, and are no secrets.
const SHORTEST: usize = 4;

/// The secrets of a configuration, longest first, with what stands in their place.
pub(super) struct Redacted(Vec<(String, String)>);

impl Redacted {
    pub(super) fn of(config: &Config) -> Self {
        let mut secrets: Vec<&Secret> = Vec::new();
        secrets.extend(config.llm.as_ref().and_then(|llm| llm.api_key.as_ref()));
        for source in &config.sources {
            secrets.extend(source.webhooks.iter().flat_map(|webhook| &webhook.secrets));
            match &source.kind {
                SourceKind::Bundle { .. } => {}
                SourceKind::Langfuse(langfuse) => secrets.extend([&langfuse.public_key, &langfuse.secret_key]),
            }
        }
        for records in &config.records {
            match &records.kind {
                RecordsKind::Http { headers, more, .. } => {
                    let all = headers.values().chain(more.secrets());
                    secrets.extend(all.filter(|value| is_secret(value)));
                }
                RecordsKind::Cloud9(cloud9) => secrets.extend([&cloud9.client_id, &cloud9.user, &cloud9.password]),
                RecordsKind::Sql(sql) => {
                    secrets.extend(Some(&sql.url).filter(|url| is_secret(url)));
                    secrets.extend(&sql.password);
                }
            }
        }
        let mut redacted: Vec<(String, String)> = secrets
            .into_iter()
            .flat_map(|secret| {
                // `Bearer sk-1` is hidden as a whole, and so is `sk-1` alone; of an address its password as well.
                let value = secret.expose();
                let bare = value.rsplit(' ').next().unwrap_or(value);
                let password = password_in(value).unwrap_or(value);
                [value, bare, password].map(|value| (value.to_owned(), secret.to_string()))
            })
            .filter(|(value, _)| value.len() >= SHORTEST)
            .collect();
        redacted.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        redacted.dedup();
        Self(redacted)
    }

    pub(super) fn clean(&self, finding: &mut Finding) {
        let texts = [Some(&mut finding.found), finding.advice.as_mut()];
        for text in texts.into_iter().flatten() {
            for (secret, shown) in &self.0 {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), shown);
                }
            }
        }
    }
}

/// Of `scheme://user:password@host`.
fn password_in(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let (user, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    Some(user.split_once(':')?.1)
}

/// What was written in the configuration itself was allowed there, because it is none: `accept` and the like.
fn is_secret(value: &Secret) -> bool {
    value.reference().starts_with("env:") || value.reference().starts_with("file:")
}
