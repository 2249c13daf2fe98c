//! Fleets of real processes on PostgreSQL: killed, frozen, cut off, and with the database restarted under them.
//!
//! The same tests in two sizes: short leases and windows by default, the real ones with `AFTERCALL_SOAK` (`scripts/soak`).

mod chaos;
mod clocks;
mod frozen;
mod incident;
mod kills;
mod lanes;
mod partitions;
mod pooler;

use std::time::Duration;

use aftercall::{
    db::{Db, Location},
    sandbox::postgres::{Cluster, Options},
};

use crate::support::{
    bakery::{self, Session},
    is_soak,
    world::{Plan, World},
};

/// How large and how slow.
struct Scale {
    lease: Duration,
    sessions: u64,
    workers: usize,
    /// Between two kills.
    kills_every: Duration,
    /// Sessions that end between two kills: a slow machine has as many kills for its work as a fast one.
    done_between_kills: u64,
    /// Between two faults that the whole fleet notices. After each of them nobody trusts an expiry for a lease: were they
    /// closer to each other, a dead worker's job could never be told from one that could not be renewed.
    outages_every: Duration,
    /// Starts of diagnoses in any window, and the window.
    diagnoses: (u32, Duration),
}

impl Scale {
    fn now() -> Self {
        if is_soak() {
            Self {
                lease: Duration::from_secs(12),
                sessions: 2_000,
                workers: 8,
                kills_every: Duration::from_secs(1),
                done_between_kills: 0,
                outages_every: Duration::from_mins(1),
                diagnoses: (3, Duration::from_secs(1)),
            }
        } else {
            Self {
                lease: Duration::from_millis(1_200),
                sessions: 120,
                workers: 8,
                kills_every: Duration::from_millis(700),
                done_between_kills: 2,
                outages_every: Duration::from_secs(5),
                diagnoses: (3, Duration::from_millis(150)),
            }
        }
    }
}

/// A server of its own, that may be restarted.
struct Server {
    cluster: Cluster,
}

impl Server {
    const DATABASE: &str = "fleet";

    fn start() -> Self {
        let cluster = Cluster::start(&Options::fast()).unwrap();
        cluster.create_database(Self::DATABASE).unwrap();
        Self { cluster }
    }

    fn url(&self) -> String {
        self.cluster.url(Self::DATABASE)
    }

    async fn db(&self) -> Db {
        Db::open(&Location::postgres(self.url())).await.unwrap()
    }
}

/// A world of these sessions on this server.
async fn world(sessions: &[Session], url: &str, scale: &Scale, change: impl FnOnce(Plan) -> Plan) -> World {
    let millis = |time: Duration| format!("'{}ms'", time.as_millis());
    let plan = Plan::of(sessions)
        .model(bakery::model(sessions))
        .set("database", "url", &format!("'{url}'"))
        .set("queue", "lease", &millis(scale.lease))
        .set("queue", "heartbeat", &millis(scale.lease / 4))
        .set("limits", "diagnose_starts", &scale.diagnoses.0.to_string())
        .set("limits", "diagnose_window", &millis(scale.diagnoses.1));
    change(plan).start().await
}
