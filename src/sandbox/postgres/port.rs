//! A port that stays ours while the server is down for a moment.

use std::net::{Ipv4Addr, TcpListener};

use uuid::Uuid;

use super::ClusterError;

/// Below the ports that the system gives to whoever asks for any (from 32768 on Linux, from 49152 elsewhere), so that none
/// is given to somebody else between a stop and the next start.
const FIRST: u128 = 20_000;
const COUNT: u128 = 12_000;
const TRIED: u32 = 100;

/// A port of 127.0.0.1 that nobody listens on.
///
/// # Errors
/// When others have all that were tried.
pub fn free() -> Result<u16, ClusterError> {
    for _ in 0..TRIED {
        let any = FIRST + Uuid::new_v4().as_u128() % COUNT;
        let Ok(port) = u16::try_from(any) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ClusterError::NoPort)
}
