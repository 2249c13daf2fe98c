//! Where to listen. Health and metrics ask nobody for a token, so that only this machine may ask unless somebody says
//! otherwise, or everybody is asked for one.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Why nothing can be served at an address.
#[derive(Debug, thiserror::Error)]
pub enum Unlistenable {
    /// Others than this machine could ask.
    #[error(
        "{0} can be reached from other machines, and nobody is asked for a token: listen on 127.0.0.1, or say that it is \
         meant with --listen-unprotected, where only machines of your own reach it (a container's network)"
    )]
    Public(SocketAddr),
    /// Others than this machine could ask the API, and there is no token that they could have.
    #[error(
        "{0} can be reached from other machines, and there is no token yet that is good: `aftercall token create --name NAME` \
         makes one; or listen on 127.0.0.1, or say with --listen-unprotected that only machines of your own reach it (a \
         container's network): then health and metrics are open to them, and the API is not"
    )]
    NoToken(SocketAddr),
    /// It is taken, or not ours.
    #[error("cannot listen on {0}: {1}; choose another address, or port 0 for a free one")]
    Refused(SocketAddr, io::Error),
}

/// A port that is ours. Whoever connects is answered once a [`Server`](super::Server) is started on it.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Bound {
    /// Takes the port.
    ///
    /// # Errors
    /// When it is taken, or when others than this machine could ask and `unprotected` does not say that this is meant.
    pub fn new(address: SocketAddr, unprotected: bool) -> Result<Self, Unlistenable> {
        if !unprotected && is_public(address) {
            return Err(Unlistenable::Public(address));
        }
        let bound = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bound().map_err(|error| Unlistenable::Refused(address, error))
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Whether others than this machine could ask there.
pub fn is_public(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_ask_unless_somebody_says_otherwise() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
            let refused = Bound::new(address.parse().unwrap(), false).unwrap_err();
            assert!(matches!(refused, Unlistenable::Public(_)), "{address}");
            assert!(refused.to_string().contains("--listen-unprotected"), "{refused}");
        }
        let loopback = Bound::new("127.0.0.1:0".parse().unwrap(), false).unwrap();
        assert!(loopback.url().starts_with("http://127.0.0.1:"), "{}", loopback.url());
        assert!(Bound::new("0.0.0.0:0".parse().unwrap(), true).is_ok());
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let first = Bound::new("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let refused = Bound::new(first.address, false).unwrap_err();
        assert!(refused.to_string().contains(&first.address.to_string()), "{refused}");
    }
}
