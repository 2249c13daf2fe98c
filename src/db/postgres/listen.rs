//! Hears what other processes announce.
//!
//! A connection that only listens cannot tell silence from a dead peer: after some seconds of silence it is asked whether it
//! lives, and one that does not answer is replaced. Together that is 12 s.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Executor as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::sync::Notify;

use super::announce::CHANNEL;

/// Silence after which the connection is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(8);
/// How long it may take to answer, or to connect.
const ANSWER: Duration = Duration::from_secs(4);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_secs(1);

/// Never ends.
pub(super) async fn listen(options: PgConnectOptions, wake: Arc<Notify>) {
    loop {
        match tokio::time::timeout(ANSWER, connect(&options)).await {
            Ok(Ok(listener)) => {
                // What was announced before it listened is not heard.
                wake.notify_one();
                hear(listener, &wake).await;
                wake.notify_one();
            }
            Ok(Err(error)) => tracing::debug!(%error, "nothing is heard of other processes' work: the poll finds it"),
            Err(_) => tracing::debug!("nothing is heard of other processes' work: no answer"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Until the connection is lost.
async fn hear(mut listener: PgListener, wake: &Notify) {
    loop {
        match tokio::time::timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_))) => {
                while listener.next_buffered().is_some() {}
                wake.notify_one();
            }
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => match tokio::time::timeout(ANSWER, listener.execute("-- alive\nSELECT 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}
