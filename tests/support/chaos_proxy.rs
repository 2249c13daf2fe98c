//! A proxy between clients and a server that does to their connections what networks do: cut, half-open, deaf in one
//! direction, slow. What it holds back it does not read, so that both ends see what they see when packets are lost: their
//! own buffers fill, and nothing tells them that the other is gone.

mod link;
mod schedule;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::JoinHandle,
};

pub(crate) use self::schedule::{Fault, Random, Schedule};
use super::PATIENCE;

/// What happens to connections now.
#[derive(Debug, Clone, Copy)]
struct Mode {
    listens: bool,
    /// Clients' bytes reach the server.
    to_server: bool,
    /// The server's bytes reach clients.
    to_client: bool,
    delay: Duration,
    /// Number of the next connection.
    next: u64,
    /// Connections with a smaller number are reset.
    cut_before: u64,
    /// Connections with a smaller number never pass anything again.
    dead_before: u64,
}

impl Mode {
    const PASS: Self = Self {
        listens: true,
        to_server: true,
        to_client: true,
        delay: Duration::ZERO,
        next: 0,
        cut_before: 0,
        dead_before: 0,
    };
}

/// What becomes of connections that were held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Old {
    /// They go on, and nothing of what was sent is lost: the network was away for a while.
    Resume,
    /// They stay half-open for ever: a machine between forgot them.
    Dead,
}

/// A running proxy. Dropped, it resets all connections.
pub(crate) struct ChaosProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Whether it listens by now, as the mode says.
    listening: watch::Receiver<bool>,
    open: watch::Sender<usize>,
    accepting: JoinHandle<()>,
}

impl ChaosProxy {
    /// Starts before the server at this address, and lets everything pass.
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::PASS);
        let open = watch::Sender::new(0);
        let (tell, listening) = watch::channel(true);
        let accepting = tokio::spawn(accept(listener, upstream, mode.clone(), open.clone(), tell));
        Self {
            address,
            mode,
            listening,
            open,
            accepting,
        }
    }

    /// Where clients connect to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open now, half-open ones included.
    pub(crate) fn connections(&self) -> usize {
        *self.open.borrow()
    }

    /// Connections that there ever were.
    pub(crate) fn accepted(&self) -> u64 {
        self.mode.borrow().next
    }

    /// Waits until this many connections are open.
    pub(crate) async fn connected(&self, count: usize) {
        wait(
            &mut self.open.subscribe(),
            &format!("{count} connections are open"),
            |open| *open == count,
        )
        .await;
    }

    /// Everything that is open is reset, and who connects is refused: the server is down. It has happened when this returns.
    pub(crate) async fn cut(&self) {
        self.mode.send_modify(|mode| {
            mode.cut_before = mode.next;
            mode.listens = false;
        });
        wait(&mut self.listening.clone(), "the proxy stops listening", |listening| {
            !listening
        })
        .await;
        // One that was accepted in between is cut as well.
        self.mode.send_modify(|mode| mode.cut_before = mode.next);
        self.connected(0).await;
    }

    /// Everything stays open and nothing passes. Who connects is accepted, and nothing passes there either.
    pub(crate) fn black_hole(&self) {
        self.mode
            .send_modify(|mode| (mode.to_server, mode.to_client) = (false, false));
    }

    /// What clients say reaches the server, and no answer comes back.
    pub(crate) fn half_open_one_way(&self) {
        self.mode
            .send_modify(|mode| (mode.to_server, mode.to_client) = (true, false));
    }

    /// Everything passes, in each direction this much later.
    pub(crate) fn delay(&self, delay: Duration) {
        self.mode.send_modify(|mode| mode.delay = delay);
    }

    /// From now on everything passes at once; `old` says what becomes of what was held back.
    pub(crate) async fn heal(&self, old: Old) {
        self.mode.send_modify(|mode| {
            let held_back = !mode.to_server || !mode.to_client;
            *mode = Mode {
                next: mode.next,
                cut_before: mode.cut_before,
                dead_before: if held_back && old == Old::Dead {
                    mode.next
                } else {
                    mode.dead_before
                },
                ..Mode::PASS
            };
        });
        wait(&mut self.listening.clone(), "the proxy listens", |listening| *listening).await;
    }

    /// Does one thing of a schedule.
    pub(crate) async fn apply(&self, fault: Fault) {
        match fault {
            Fault::Cut => self.cut().await,
            Fault::BlackHole => self.black_hole(),
            Fault::HalfOpenOneWay => self.half_open_one_way(),
            Fault::Delay(delay) => self.delay(delay),
            Fault::Heal(old) => self.heal(old).await,
        }
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.mode.send_modify(|mode| mode.cut_before = u64::MAX);
    }
}

async fn wait<T>(signal: &mut watch::Receiver<T>, what: &str, holds: impl FnMut(&T) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, signal.wait_for(holds)).await;
    let seen = waited.unwrap_or_else(|_| panic!("it did not happen that {what}"));
    assert!(seen.is_ok(), "the proxy ended before {what}");
}

/// Accepts as long as the mode says so. In between the port stays ours: bound, not listening, so that who connects is
/// refused.
async fn accept(
    mut listener: TcpListener,
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    open: watch::Sender<usize>,
    tell: watch::Sender<bool>,
) {
    let address = listener.local_addr().unwrap();
    let mut modes = mode.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let mut number = 0;
                mode.send_modify(|mode| {
                    number = mode.next;
                    mode.next += 1;
                });
                let counted = link::Counted::new(open.clone());
                let link = link::Link { number, upstream, mode: mode.subscribe() };
                tokio::spawn(async move {
                    link.run(client).await;
                    drop(counted);
                });
            }
            () = holds(&mut modes, |mode| !mode.listens) => {
                drop(listener);
                let socket = bind_again(address).await;
                tell.send_replace(false);
                holds(&mut modes, |mode| mode.listens).await;
                listener = socket.listen(1_024).unwrap();
                tell.send_replace(true);
            }
        }
    }
}

/// Takes a port of ours again once nobody listens at it: a process that another test is just starting has what we had open until
/// it runs its program.
async fn bind_again(address: SocketAddr) -> TcpSocket {
    let bound = async {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            match socket.bind(address) {
                Ok(()) => return socket,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{address}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, bound).await.unwrap()
}

/// Waits until the mode is so; for ever, when it never will be.
async fn holds(mode: &mut watch::Receiver<Mode>, so: impl FnMut(&Mode) -> bool) {
    if mode.wait_for(so).await.is_err() {
        // The proxy is gone; its last word was to cut everything.
        std::future::pending::<()>().await;
    }
}
