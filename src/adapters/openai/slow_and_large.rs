//! Against servers that send bytes as no HTTP library would: late, drop by drop, packed, without end.

use std::io::Write as _;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::*;
use crate::ports::{ChatMessage, Role};

/// How the one connection is answered, after its request was read.
enum Peer {
    /// These bytes; then it hangs up.
    Says(Vec<u8>),
    /// These bytes, then this one again and again as fast as they are taken: nobody reads it to an end.
    Floods(Vec<u8>),
    /// Nothing.
    Silent,
    /// These bytes, then a space every 20 ms for ever.
    Drips(Vec<u8>),
}

const LIMIT: usize = 4_000_000;

async fn serve(mut stream: TcpStream, peer: Peer) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    // The client may hang up at any moment.
    match peer {
        Peer::Says(bytes) => {
            let _ = stream.write_all(&bytes).await;
        }
        Peer::Floods(start) => {
            let _ = stream.write_all(&start).await;
            let mut sent = 0;
            while sent < 30_000_000 && stream.write_all(&[b' '; 10_000]).await.is_ok() {
                sent += 10_000;
            }
            assert!(sent < 30_000_000, "it was all read");
        }
        Peer::Silent => std::future::pending().await,
        Peer::Drips(start) => {
            let _ = stream.write_all(&start).await;
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn asked(peer: Peer) -> Result<ChatAnswer, UpstreamError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, peer).await;
    });
    let client = OpenAi::new(OpenAiConfig {
        timeout: Duration::from_millis(600),
        max_bytes: LIMIT,
        ..OpenAiConfig::new("default", format!("http://{address}/v1"), "gpt-x")
    })
    .unwrap();
    let request = ChatRequest {
        messages: vec![ChatMessage {
            role: Role::User,
            content: "Read.".to_owned(),
        }],
        schema: None,
        max_tokens: 32,
    };
    let answer = client.complete(&request).await;
    drop(client);
    if server.is_finished() {
        server.await.unwrap();
    } else {
        server.abort();
    }
    answer
}

fn head(more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}\r\n").into_bytes()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(body).unwrap();
    let body = gzip.finish().unwrap();
    let mut answer = head(&format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", body.len()));
    answer.extend(body);
    answer
}

#[tokio::test]
async fn a_packed_answer_is_unpacked() {
    let body = json!({
        "choices": [{"message": {"content": "{\"name\": \"Zoë\"}"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5},
    });
    let answer = asked(Peer::Says(packed(body.to_string().as_bytes()))).await.unwrap();
    assert_eq!(answer.text, "{\"name\": \"Zoë\"}");
    assert_eq!(answer.usage.completion_tokens, 5);
}

#[tokio::test]
async fn a_bomb_of_zeros_and_an_answer_of_thirty_megabytes_are_let_go_early() {
    let bomb = packed(&vec![b' '; 60_000_000]);
    assert!(bomb.len() < 100_000);
    for peer in [
        Peer::Says(bomb),
        Peer::Floods(head("Content-Length: 30000000\r\n")),
        Peer::Floods(head("")),
        Peer::Floods(b"HTTP/1.1 500 Oops\r\nContent-Length: 30000000\r\n\r\n".to_vec()),
    ] {
        let error = asked(peer).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::BadAnswer, "{error}");
        assert!(error.detail.contains("larger than 4000000 bytes"), "{error}");
    }
}

#[tokio::test]
async fn a_late_first_byte_and_bytes_that_drip_are_cut_by_the_total_time() {
    for peer in [
        Peer::Silent,
        Peer::Drips(head("Content-Length: 1000000\r\n")),
        Peer::Drips([head("Content-Type: text/event-stream\r\n"), b"data: {}\n\n".to_vec()].concat()),
        Peer::Drips(b"HTTP/1.1 200 OK\r\nX-Slow: ".to_vec()),
    ] {
        let started = Instant::now();
        let error = asked(peer).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::Unreachable, "{error}");
        assert!(error.detail.contains("no complete answer within 600ms"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn what_is_no_http_is_unreachable_and_what_breaks_off_is_never_taken_for_the_whole() {
    for bytes in [Vec::new(), b"220 mail.example ESMTP\r\n".to_vec()] {
        let error = asked(Peer::Says(bytes)).await.unwrap_err();
        assert_eq!(error.reason, UpstreamReason::Unreachable, "{error}");
    }
    let whole = json!({"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}]}).to_string();
    let cut = [head("Content-Length: 1000\r\n"), whole.into_bytes()].concat();
    let error = asked(Peer::Says(cut)).await.unwrap_err();
    assert!(error.detail.contains("broke off"), "{error}");
}
