//! Hears what other processes announce.
//!
//! A connection that only listens cannot tell silence from a dead peer: after some seconds of silence it is asked whether it
//! lives, and one that does not answer is replaced. Together that is 12 s.
//!
//! A pooler that gives a session another of its connections with each transaction lets nobody listen: what is announced
//! would reach whoever has that connection by then, in the middle of an answer that is not his. There, nobody listens.

use std::{sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, Executor as _, Row as _,
    postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions},
};
use tokio::sync::Notify;

use super::announce::CHANNEL;

/// Silence after which the connection is asked whether it lives.
const SILENCE: Duration = Duration::from_secs(8);
/// How long it may take to answer, or to connect.
const ANSWER: Duration = Duration::from_secs(4);
/// Between two tries to connect.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks whether a pooler still passes sessions around.
const STILL: Duration = Duration::from_mins(10);
/// How often two connections are asked who answers them.
const ROUNDS: usize = 4;

const WHO: &str = "-- who_answers\nSELECT pg_backend_pid()::text";

/// Never ends.
pub(super) async fn listen(options: PgConnectOptions, wake: Arc<Notify>) {
    let mut said = false;
    loop {
        let mut again = AGAIN;
        match tokio::time::timeout(ANSWER, connect(&options)).await {
            Ok(Ok(Some(listener))) => {
                // What was announced before it listened is not heard.
                wake.notify_one();
                hear(listener, &wake).await;
                wake.notify_one();
            }
            Ok(Ok(None)) => {
                again = STILL;
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        "the database is behind a pooler that shares sessions: what other processes announce is not heard, and \
                         their work starts with the next look (`queue.poll`); the server's own address, or a pool in session \
                         mode, mends that"
                    );
                }
            }
            Ok(Err(error)) => tracing::debug!(%error, "nothing is heard of other processes' work: the poll finds it"),
            Err(_) => tracing::debug!("nothing is heard of other processes' work: no answer"),
        }
        tokio::time::sleep(again).await;
    }
}

/// `None`: nobody can listen here.
async fn connect(options: &PgConnectOptions) -> Result<Option<PgListener>, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    let mut witness = options.connect().await?;
    let sessions_are_shared = sessions_are_shared(&mut listener, &mut witness).await?;
    drop(witness);
    if sessions_are_shared {
        return Ok(None);
    }
    listener.listen(CHANNEL).await?;
    Ok(Some(listener))
}

/// Whether two connections that are open at the same time are answered by one session of the server, or one of them by
/// several.
async fn sessions_are_shared(listener: &mut PgListener, witness: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut first: Option<[String; 2]> = None;
    for _ in 0..ROUNDS {
        // Text as it is, without preparing anything: a pooler may not pass on what was prepared.
        let one: String = listener.fetch_one(sqlx::raw_sql(WHO)).await?.try_get(0)?;
        let other: String = witness.fetch_one(sqlx::raw_sql(WHO)).await?.try_get(0)?;
        let now = [one, other];
        if now[0] == now[1] || first.as_ref().is_some_and(|first| *first != now) {
            return Ok(true);
        }
        first.get_or_insert(now);
    }
    Ok(false)
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
