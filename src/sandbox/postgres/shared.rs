//! One cluster for a whole process, and databases in it that nobody else has.

use std::sync::OnceLock;

use super::{Cluster, ClusterError, MAINTENANCE, Options, plain};

/// A database of one's own. Dropped, it is dropped, whoever is still connected to it.
#[derive(Debug)]
pub struct FreshDatabase<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl FreshDatabase<'_> {
    /// Its name, for [`Cluster::kill_backends`] and [`Cluster::psql`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where to connect to.
    pub fn url(&self) -> String {
        self.cluster.url(&self.name)
    }
}

impl Drop for FreshDatabase<'_> {
    fn drop(&mut self) {
        // It goes with the cluster at the latest, and the server may be down on purpose.
        let _ = self.cluster.drop_database(&self.name);
    }
}

impl Cluster {
    /// The cluster of this process, started by whoever asks first; the others wait. It ends with the process.
    ///
    /// # Errors
    /// When it did not start: once for all.
    pub fn shared() -> Result<&'static Self, &'static ClusterError> {
        static SHARED: OnceLock<Result<Cluster, ClusterError>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::fast())).as_ref()
    }

    /// An empty database that nobody else has.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn fresh_database(&self) -> Result<FreshDatabase<'_>, ClusterError> {
        self.fresh_database_from("template1")
    }

    /// A copy of a template that nobody else has; see [`Self::template`].
    ///
    /// # Errors
    /// When there is no such template, or the server does not answer.
    pub fn fresh_database_from(&self, template: &str) -> Result<FreshDatabase<'_>, ClusterError> {
        let name = self.fresh_name();
        self.create_database_from(template, &name)?;
        Ok(FreshDatabase { cluster: self, name })
    }

    /// Makes a database to copy from, once: the first to ask fills it, given its URL, and the others wait for that. Afterwards
    /// nobody can connect to it, since that would hinder copies.
    ///
    /// # Errors
    /// When it cannot be made or filled; the next to ask tries again.
    pub async fn template<E: From<ClusterError>>(
        &self,
        name: &str,
        fill: impl AsyncFnOnce(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut made = self.templates.lock().await;
        if made.contains(name) {
            return Ok(());
        }
        // What is left of one that was not filled.
        self.drop_database(name)?;
        self.create_database(name)?;
        fill(&self.url(name)).await?;
        let closed = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", plain(name)?);
        self.psql(MAINTENANCE, &closed)?;
        self.kill_backends(name)?;
        made.insert(name.to_owned());
        Ok(())
    }
}
