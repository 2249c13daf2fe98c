//! Whether a system of record answers as an API does, by asking for a record that cannot exist.
//!
//! The trap is an address that is almost right: a proxy, a login page or a web site that answers 404 to everything looks
//! like a system in which every record is missing, and every question to it ends as unknown.

use std::collections::BTreeMap;

use super::{Asked, HttpRecords, Lookups, Reply, answer::Answered};
use crate::{
    adapters::client,
    domain::lookup::{Fact, HttpMethod, Lookup},
    ports::{Probe, UpstreamError, UpstreamReason},
};

/// Stands for every value of a session in the question.
const NOBODY: &str = "aftercall-probe";

impl HttpRecords {
    /// Only GETs are sent: a POST may be more than a search.
    pub(super) async fn look_for_what_cannot_be(&self) -> Result<Probe, UpstreamError> {
        let mut probe = Probe::default();
        let Some((record, lookups, target)) = self.lookups.iter().find_map(|(record, lookups)| {
            let target = self.question_about_nobody(record, lookups)?;
            Some((record, lookups, target))
        }) else {
            return self.look_at_base(probe).await;
        };
        let reply = self.get(&target).await?;
        probe.server_date = reply.date;
        if let Some(refused) = self.refusal(&reply) {
            return Err(refused);
        }
        let status = client::status_name(reply.status);
        let fact = self.read(&reply, lookups).map(|answered| match answered {
            Answered::Fact(fact) => fact,
            Answered::Json(answer) => Self::select(answer, lookups),
        });
        match fact {
            Ok(Fact::Absent) => probe.ok(format!("it answers, and has no `{record}` called {NOBODY} ({status})")),
            _ if matches!(reply.status, 404 | 410) => probe.warn(format!(
                "it answers {status} to GET {target}, and not as an API does: a wrong base_url looks like this; check base_url and the \
                 playbook's lookup of `{record}`; where the API itself says so that there is no such record, name its words in absent_when"
            )),
            _ if reply.is_html() => probe.warn(format!(
                "it answers {status} with a page for people to GET {target}: check base_url and sign-in"
            )),
            Ok(Fact::Unknown { .. }) => probe.ok(format!(
                "it answers; a made-up `{record}` is refused ({status}), which tells no more"
            )),
            Ok(Fact::Found { .. }) => probe.warn(format!(
                "it answers {status} with a record to GET {target}, which nobody made: every record would be found; look at the \
                 playbook's lookup of `{record}`"
            )),
            Err(error) if error.reason == UpstreamReason::BadAnswer => {
                probe.warn(format!("GET {target}: {}; check base_url", error.detail));
            }
            Err(error) => return Err(error),
        }
        Ok(probe)
    }

    /// Asks for what the API describes itself by.
    pub(super) async fn look_at(&self, target: &str) -> Result<Probe, UpstreamError> {
        let mut probe = Probe::default();
        let reply = self.get(target).await?;
        probe.server_date = reply.date;
        if let Some(refused) = self.refusal(&reply) {
            return Err(refused);
        }
        let status = client::status_name(reply.status);
        let is_json = serde_json::from_slice::<serde_json::Value>(&reply.body).is_ok();
        if reply.is_success() && is_json {
            probe.ok(format!("it answers {status} to GET {target}"));
        } else {
            let what = if is_json {
                ""
            } else {
                " with something that is not JSON"
            };
            probe.warn(format!(
                "it answers {status}{what} to GET {target}, where its API describes itself: check base_url and preset"
            ));
        }
        Ok(probe)
    }

    async fn look_at_base(&self, mut probe: Probe) -> Result<Probe, UpstreamError> {
        let reply = self.get("").await?;
        probe.server_date = reply.date;
        if let Some(refused) = self.refusal(&reply) {
            return Err(refused);
        }
        let status = client::status_name(reply.status);
        let why = if self.lookups.is_empty() {
            "no playbook of an enabled source asks it anything"
        } else {
            "the playbooks ask it by POST only, which is not tried"
        };
        probe.ok(format!("its base_url answers {status}; {why}"));
        Ok(probe)
    }

    /// The path and query of a lookup with a made-up value for everything; `None` where that cannot be asked.
    fn question_about_nobody(&self, record: &str, lookups: &Lookups) -> Option<String> {
        if lookups.how.method != HttpMethod::Get {
            return None;
        }
        let mut keys = BTreeMap::new();
        for (_, template) in self.templates.address.templates() {
            for name in template.undeclared_variables(false) {
                keys.insert(name, NOBODY.to_owned());
            }
        }
        let lookup = Lookup {
            system: self.name.clone(),
            record: record.to_owned(),
            id: Some(NOBODY.to_owned()),
            keys,
        };
        Some(self.question(&lookup, lookups).ok()?.target)
    }

    async fn get(&self, target: &str) -> Result<Reply, UpstreamError> {
        let address = self.address(target).ok_or_else(|| UpstreamError {
            upstream: self.upstream.clone(),
            reason: UpstreamReason::BadAnswer,
            detail: "base_url and the playbook's lookup give no address: check both".to_owned(),
            retry_after: None,
        })?;
        let asked = Asked {
            method: HttpMethod::Get,
            address,
            body: None,
        };
        self.send(&asked).await
    }
}
