//! A Langfuse project as a second source of a world, beside its bundle.

use std::sync::Arc;

use aftercall::sandbox::{
    Server,
    langfuse::{self, Clock, FakeLangfuse, Recorded, SECRET_KEY},
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    bakery::Session,
    world::{Plan, SOURCE},
};

/// Name of the source.
pub(crate) const PROJECT: &str = "project";
/// What the sessions of a bakery begin with.
const WRITTEN: &str = "2026-05-04T10:00:00Z";

/// What a server that these sessions were sent to holds, had their day been the one that begins at `began`.
pub(crate) fn sent(sessions: &[Session], began: DateTime<Utc>) -> Vec<Recorded> {
    let later = began - WRITTEN.parse::<DateTime<Utc>>().unwrap();
    let observations = sessions.iter().flat_map(|session| &session.observations);
    observations
        .map(|observation| {
            let mut observation = observation.clone();
            for key in ["startTime", "endTime"] {
                let at: DateTime<Utc> = observation[key].as_str().unwrap().parse().unwrap();
                observation[key] = (at + later).to_rfc3339().into();
            }
            Recorded::read(&observation.to_string()).unwrap()
        })
        .collect()
}

/// Some hours ago: inside the look back of a first scan, and long settled.
pub(crate) fn hours_ago(hours: i64) -> DateTime<Utc> {
    Clock::running().now() - TimeDelta::hours(hours)
}

/// Starts the server, and makes it a source of the world, judged by the playbook `orthodontics`.
pub(crate) async fn with_project(plan: Plan, langfuse: &Arc<FakeLangfuse>, public_key: &str) -> (Plan, Server) {
    let server = langfuse::start(Arc::clone(langfuse)).await.unwrap();
    // A budget of its own: the one that a refusal names is kept by the machine's clock, which no test moves.
    let source = format!(
        "\n[[source]]\nname = '{PROJECT}'\nkind = 'langfuse'\nbase_url = '{}'\npublic_key = 'file:langfuse_public'\n\
         secret_key = 'file:langfuse_secret'\nplaybook = 'orthodontics'\nsettle_after = '1s'\nslice = '12h'\n\
         requests_per_minute = 100000\ntimeout = '1s'\n",
        server.url()
    );
    assert_ne!(SOURCE, PROJECT);
    let plan = plan
        .append(&source)
        .files(&[("langfuse_public", public_key), ("langfuse_secret", SECRET_KEY)]);
    (plan, server)
}
