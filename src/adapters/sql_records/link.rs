//! The one connection to a database: made when it is needed, given up after any error, closed when it is not used.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    answer::Bounds,
    server::{Connection, Server},
    trouble::Trouble,
};
use crate::domain::lookup::SqlLookup;

/// The server ends a statement itself; we wait a little longer, for a server that has fallen silent.
const SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Link {
    server: Server,
    /// Of connecting.
    timeout: Duration,
    idle: Duration,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug)]
struct Held {
    connection: Option<Connection>,
    used_at: Instant,
    /// Somebody closes it when it is idle.
    is_watched: bool,
}

impl Link {
    pub(super) fn to(server: Server, timeout: Duration, idle: Duration) -> Self {
        Self {
            server,
            timeout,
            idle,
            held: Arc::new(Mutex::new(Held {
                connection: None,
                used_at: Instant::now(),
                is_watched: false,
            })),
        }
    }

    /// Asks. A connection that turns out to have died while it was idle is replaced once.
    pub(super) async fn ask(&self, how: &SqlLookup, values: &[&str], bounds: Bounds) -> Result<Vec<Value>, Trouble> {
        let mut held = self.held.lock().await;
        loop {
            // Taken out: whoever is cancelled in the middle of a statement leaves no half-read answer behind.
            let kept = held.connection.take();
            let was_idle = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let asked = timeout(bounds.timeout + SILENCE, connection.ask(how, values, bounds)).await;
            match asked {
                // A file may be replaced by another, and who has the old one open goes on reading that. Opening costs little.
                Ok(Ok(rows)) if connection.is_a_file() => {
                    let _ = timeout(SILENCE, connection.close()).await;
                    return Ok(rows);
                }
                Ok(Ok(rows)) => {
                    held.connection = Some(connection);
                    held.used_at = Instant::now();
                    if !held.is_watched {
                        held.is_watched = true;
                        tokio::spawn(close_when_idle(Arc::downgrade(&self.held), self.idle));
                    }
                    return Ok(rows);
                }
                Ok(Err(Trouble::Lost(_))) if was_idle => {}
                Ok(Err(trouble)) => return Err(trouble),
                Err(_) => return Err(Trouble::too_slow()),
            }
        }
    }

    /// A connection beside the one that is held.
    pub(super) async fn connect(&self) -> Result<Connection, Trouble> {
        timeout(self.timeout, self.server.connect())
            .await
            .unwrap_or_else(|_| Err(Trouble::unreachable("no connection within `timeout`")))
    }
}

/// Ends with the connection, or with the adapter.
async fn close_when_idle(held: Weak<Mutex<Held>>, idle: Duration) {
    loop {
        let Some(held) = held.upgrade() else { return };
        let mut held = held.lock_owned().await;
        let rested = held.used_at.elapsed();
        if held.connection.is_none() || rested >= idle {
            held.is_watched = false;
            let connection = held.connection.take();
            drop(held);
            if let Some(connection) = connection {
                let _ = timeout(SILENCE, connection.close()).await;
            }
            return;
        }
        drop(held);
        tokio::time::sleep(idle.saturating_sub(rested)).await;
    }
}
