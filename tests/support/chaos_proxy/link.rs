//! One connection through the proxy.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Mode, holds};

/// A connection that counts as open until this is dropped.
pub(super) struct Counted(watch::Sender<usize>);

impl Counted {
    pub(super) fn new(open: watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    ToServer,
    ToClient,
}

pub(super) struct Link {
    pub(super) number: u64,
    pub(super) upstream: SocketAddr,
    pub(super) mode: watch::Receiver<Mode>,
}

impl Link {
    /// Until both ends have said that they are done, one is gone, or it is cut.
    pub(super) async fn run(self, mut client: TcpStream) {
        let mut server = None;
        let ended = tokio::select! {
            ended = self.both_ways(&mut client, &mut server) => ended.is_ok(),
            () = self.is_cut() => false,
        };
        if !ended {
            // Closed so, it is reset: the other end is told at once.
            for stream in [Some(&client), server.as_ref()].into_iter().flatten() {
                let _ = stream.set_zero_linger(); // it may be gone already
            }
        }
    }

    async fn both_ways(&self, client: &mut TcpStream, server: &mut Option<TcpStream>) -> std::io::Result<()> {
        self.passes(Way::ToServer).await;
        let server = server.insert(TcpStream::connect(self.upstream).await?);
        server.set_nodelay(true)?;
        client.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            self.one_way(Way::ToServer, from_client, to_server),
            self.one_way(Way::ToClient, from_server, to_client),
        )
        .map(drop)
    }

    async fn one_way(&self, way: Way, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> std::io::Result<()> {
        let mut bytes = vec![0; 64 * 1_024];
        loop {
            self.passes(way).await;
            let count = tokio::select! {
                count = from.read(&mut bytes) => count?,
                () = self.stops(way) => continue,
            };
            self.delayed(Instant::now()).await;
            // Read in the last moment, or while it was held.
            self.passes(way).await;
            if count == 0 {
                return to.shutdown().await;
            }
            to.write_all(&bytes[..count]).await?;
        }
    }

    fn may_pass(&self, mode: &Mode, way: Way) -> bool {
        let open = match way {
            Way::ToServer => mode.to_server,
            Way::ToClient => mode.to_client,
        };
        open && self.number >= mode.dead_before
    }

    async fn passes(&self, way: Way) {
        self.until(|mode| self.may_pass(mode, way)).await;
    }

    async fn stops(&self, way: Way) {
        self.until(|mode| !self.may_pass(mode, way)).await;
    }

    async fn is_cut(&self) {
        self.until(|mode| self.number < mode.cut_before).await;
    }

    /// Until what has arrived then is due; sooner, when the delay ends.
    async fn delayed(&self, arrived: Instant) {
        let mut mode = self.mode.clone();
        loop {
            let due = arrived + mode.borrow_and_update().delay;
            tokio::select! {
                () = sleep_until(due) => return,
                changed = mode.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn until(&self, so: impl FnMut(&Mode) -> bool) {
        holds(&mut self.mode.clone(), so).await;
    }
}
