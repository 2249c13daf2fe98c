//! What a person should know before the first session is checked: that the database answers, that its role only reads, and that
//! it can read every statement of the playbooks.

use chrono::{DateTime, Utc};

use super::{SqlRecords, trouble::Trouble};
use crate::{
    domain::sql::Dialect,
    ports::{Probe, UpstreamError},
};

/// What a database says of itself.
#[derive(Debug)]
pub(super) struct About {
    /// Name and version.
    pub(super) server: String,
    /// Its clock, where it has one of its own.
    pub(super) now: Option<DateTime<Utc>>,
    /// By what its role could change something.
    pub(super) may_write: Option<String>,
}

impl SqlRecords {
    /// Statements are prepared, not run.
    pub(super) async fn try_statements(&self) -> Result<Probe, UpstreamError> {
        let mut probe = Probe::default();
        let mut connection = match self.link.connect().await {
            Ok(connection) => connection,
            Err(trouble) => {
                probe.warn(self.down(trouble)?);
                return Ok(probe);
            }
        };
        match connection.about().await {
            Ok(about) => {
                probe.server_date = about.now;
                probe.ok(format!("it answers: {}", about.server));
                match about.may_write {
                    Some(how) => probe.warn(format!(
                        "its role may write, {how}: a lookup never does, but give it a role that may only SELECT"
                    )),
                    None if self.dialect != Dialect::Sqlite => probe.ok("its role may only read"),
                    None => {}
                }
            }
            Err(trouble) => {
                let reason = self.down(trouble)?;
                probe.warn(format!("it does not say what it is: {reason}"));
            }
        }
        let mut held = 0;
        for (record, lookup) in &self.lookups {
            match connection.check(&lookup.statement, self.bounds).await {
                Ok(()) => held += 1,
                Err(trouble @ (Trouble::Refused(_) | Trouble::Wrong { .. })) => {
                    let reason = match trouble {
                        // No value was sent that these words could repeat.
                        Trouble::Wrong { reason, words } => format!("{words}: {reason}"),
                        other => self.down(other)?,
                    };
                    probe.warn(format!("lookup.sql of `{record}`: {reason}"));
                    // After a refusal a transaction takes no more statements.
                    connection = match self.link.connect().await {
                        Ok(connection) => connection,
                        Err(trouble) => {
                            probe.warn(self.down(trouble)?);
                            return Ok(probe);
                        }
                    };
                }
                Err(trouble) => {
                    probe.warn(self.down(trouble)?);
                    return Ok(probe);
                }
            }
        }
        if held > 0 {
            probe.ok(format!(
                "it can read the statements of the playbooks, number of these: {held}"
            ));
        }
        if self.lookups.is_empty() {
            probe.ok("no playbook of an enabled source asks it anything");
        }
        connection.close().await;
        Ok(probe)
    }
}
