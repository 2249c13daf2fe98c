//! Why a session waits whose upstream is down: read from the upstream's gate, so that all sessions behind it say the same, and
//! none says it any longer once it is back.

use chrono::{DateTime, Utc};

use crate::db::{Db, DbError};

/// A gate that is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shut {
    key: String,
    reason: String,
    detail: String,
    probe_at: Option<DateTime<Utc>>,
}

/// All gates that are not open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ShutGates(Vec<Shut>);

impl ShutGates {
    pub(super) async fn read(db: &Db) -> Result<Self, DbError> {
        let rows = db
            .fetch_all(
                "-- shut_gates\nSELECT key, reason, detail, probe_at FROM gates WHERE state <> 'open' ORDER BY key",
                &[],
            )
            .await?;
        let shut = rows.iter().map(|row| {
            Ok(Shut {
                key: row.get("key")?,
                reason: row.get::<Option<String>>("reason")?.unwrap_or_default(),
                detail: row.get::<Option<String>>("detail")?.unwrap_or_default(),
                probe_at: row.get("probe_at")?,
            })
        });
        Ok(Self(shut.collect::<Result<_, DbError>>()?))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a session in this state waits for: the reason, and when the upstream is tried next.
    pub(super) fn before(
        &self,
        state: &str,
        source: &str,
        system: Option<&str>,
    ) -> Option<(String, Option<DateTime<Utc>>)> {
        let of_source = self.find(&format!("source:{source}"));
        // Its content is stored already: only a source that is not configured any more, and its playbook with it, holds it.
        let unknown_source = of_source.filter(|gate| gate.reason == "not_configured");
        let gate = match state {
            "open" | "reopened" => of_source,
            "settled" => of_source.or_else(|| self.model(source)),
            "analyzing" => self.model(source).or(unknown_source),
            "verifying" => system
                .and_then(|system| self.find(&format!("records:{system}")))
                .or(unknown_source),
            _ => None,
        }?;
        let Shut {
            key, reason, detail, ..
        } = gate;
        Some((format!("{key} is not available ({reason}): {detail}"), gate.probe_at))
    }

    fn find(&self, key: &str) -> Option<&Shut> {
        self.0.iter().find(|gate| gate.key == key)
    }

    /// The LLM, or this source's part of it.
    fn model(&self, source: &str) -> Option<&Shut> {
        self.0.iter().find(|gate| match gate.key.split_once('/') {
            None => gate.key.starts_with("llm:"),
            Some((whole, part)) => whole.starts_with("llm:") && part == source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(keys: &[&str]) -> ShutGates {
        let gates = keys.iter().map(|key| Shut {
            key: (*key).to_owned(),
            reason: "rate_limited".to_owned(),
            detail: "status 429".to_owned(),
            probe_at: None,
        });
        ShutGates(gates.collect())
    }

    #[test]
    fn a_session_waits_for_the_upstream_that_its_state_needs_next() {
        let why = |keys: &[&str], state: &str, system: Option<&str>| {
            let before = shut(keys).before(state, "calls", system);
            before.map(|(reason, _)| reason.split(' ').next().unwrap_or_default().to_owned())
        };
        let all = ["llm:default", "records:kitchen", "source:calls"];
        assert_eq!(why(&all, "open", None).as_deref(), Some("source:calls"));
        assert_eq!(why(&all, "settled", None).as_deref(), Some("source:calls"));
        assert_eq!(why(&all[..2], "settled", None).as_deref(), Some("llm:default"));
        assert_eq!(why(&all, "analyzing", None).as_deref(), Some("llm:default"));
        assert_eq!(
            why(&all, "verifying", Some("kitchen")).as_deref(),
            Some("records:kitchen")
        );
        assert_eq!(
            why(&all, "verifying", Some("till")),
            None,
            "the source is not needed any more"
        );
        assert_eq!(why(&all, "done", None), None);
        assert_eq!(why(&["llm:default/others"], "settled", None), None);
        assert_eq!(
            why(&["llm:default/calls"], "settled", None).as_deref(),
            Some("llm:default/calls")
        );
        assert_eq!(why(&["source:others"], "open", None), None);
    }
}
