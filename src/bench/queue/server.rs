//! A database of the bench's own: in a cluster that is gone afterwards, or on a server that somebody names.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use crate::{
    db::{Db, Location},
    sandbox::postgres::{Cluster, Options},
};

/// Its name. On a server that is named it is dropped first, and afterwards.
const NAME: &str = "aftercall_bench";
const CREATE: &str = "-- create_bench\nCREATE DATABASE aftercall_bench";
const DROP: &str = "-- drop_bench\nDROP DATABASE IF EXISTS aftercall_bench WITH (FORCE)";

/// Where it is.
#[derive(Debug)]
pub(in crate::bench) struct Server {
    /// Held until the end.
    cluster: Option<Cluster>,
    /// A database that is there already: databases are made from it.
    admin: Db,
    /// Of that one.
    pub(super) admin_url: String,
    /// Of the bench's.
    pub(in crate::bench) url: String,
    pub(super) pgbench: PathBuf,
}

impl Server {
    /// Makes the database.
    pub(in crate::bench) async fn open(at: Option<&str>, pgbench: Option<PathBuf>) -> anyhow::Result<Self> {
        let cluster = if at.is_some() {
            None
        } else {
            // As a server in earnest, but for checkpoints: one in the middle of a case is nothing to compare.
            let options = Options::durable()
                .set("max_wal_size", "8GB")
                .set("checkpoint_timeout", "1h");
            Some(tokio::task::spawn_blocking(move || Cluster::start(&options)).await??)
        };
        let pgbench = match (pgbench, &cluster) {
            (Some(named), _) => named,
            (None, Some(cluster)) => cluster.pgbench()?,
            (None, None) => "pgbench".into(),
        };
        let own = cluster.as_ref().map(|cluster| cluster.url("postgres"));
        let admin_url = own.or(at.map(str::to_owned)).unwrap_or_default();
        let url = with_database(&admin_url, NAME)?;
        let admin = Db::open_as_is(&Location::postgres(admin_url.as_str())).await?;
        admin.write_alone(DROP, &[]).await?;
        admin.write_alone(CREATE, &[]).await?;
        Ok(Self {
            cluster,
            admin,
            admin_url,
            url,
            pgbench,
        })
    }

    /// Takes the database away again.
    pub(in crate::bench) async fn remove(self) -> anyhow::Result<()> {
        self.admin.write_alone(DROP, &[]).await?;
        self.admin.close().await;
        drop(self.cluster);
        Ok(())
    }
}

/// The same address with another database.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url
        .split_once("://")
        .context("--postgres is an address: postgres://…")?;
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let host = place.split('/').next().unwrap_or_default();
    ensure!(!host.is_empty(), "--postgres names no server");
    let question = if parameters.is_empty() { "" } else { "?" };
    Ok(format!("{scheme}://{host}/{name}{question}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_of_an_address_changes() {
        let mut changed = Vec::new();
        for url in ["postgres://me@db:5433/calls?sslmode=require", "postgres://db"] {
            changed.push(with_database(url, "b").unwrap());
        }
        assert_eq!(changed, ["postgres://me@db:5433/b?sslmode=require", "postgres://db/b"]);
        assert!(with_database("db", "b").is_err());
    }
}
