//! How a process of a fleet goes on and ends.

use super::{failure::Failure, health, signals::Signals};
use crate::{
    db::Db,
    http::{Bound, Served},
    queue::Running,
};

/// Goes on until it is told to stop, and says how it is where a port was taken for that; then lets running jobs end, hands
/// back what is left, and says goodbye.
pub(super) async fn until_told(
    signals: &Signals,
    db: &Db,
    running: Running,
    bound: Option<Bound>,
    api: Option<Served>,
) -> Result<(), Failure> {
    let server = health::serve(bound, db, running.pulse(), api)?;
    signals.told().await;
    tracing::info!("stopping: running jobs end first, a second signal leaves at once");
    running.shutdown().await;
    // Last: until then an orchestrator can see that it is on its way.
    if let Some(server) = server {
        server.stop().await;
    }
    db.close().await;
    tracing::info!("stopped");
    Ok(())
}
