//! Asks a process on this machine how it is: the other end of [`Server`](super::Server), for a container that has no tool
//! for it.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Far more than `/readyz` says.
const MOST: u64 = 64 * 1024;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

impl Told {
    /// A 2xx.
    pub fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// One `GET`, answered within `patience`.
///
/// # Errors
/// When nobody listens there, or nothing that can be read is answered in time.
pub async fn ask(address: SocketAddr, path: &str, patience: Duration) -> io::Result<Told> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the answer ends with the connection, and is not cut into chunks.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(patience, exchange)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {patience:?}")))??;
    read(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what listens there does not speak HTTP"))
}

fn read(answer: &str) -> Option<Told> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    let speaks = words.next()?.starts_with("HTTP/1.");
    let status = words.next()?.parse().ok()?;
    speaks.then(|| Told {
        status,
        body: body.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body_and_anything_else_is_none() {
        let told = read("HTTP/1.0 503 Service Unavailable\r\ncontent-length: 3\r\n\r\n{}\n").unwrap();
        assert_eq!((told.status, told.body.as_str(), told.is_well()), (503, "{}", false));
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").unwrap().is_well());
        for other in [
            "",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(read(other), None, "{other:?}");
        }
    }
}
