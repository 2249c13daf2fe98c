//! Between a client and a server that says everything back.

use std::{io, net::Ipv4Addr, time::Instant};

use aftercall::sandbox::postgres::port;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

use super::*;

/// A server that says everything back; `heard` is what it was told.
struct Echo {
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 1_024];
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        let _ = tell.send(bytes[..count].to_vec());
                        if stream.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, heard }
    }
}

async fn world() -> (Echo, ChaosProxy) {
    let echo = Echo::start().await;
    let proxy = ChaosProxy::start(echo.address).await;
    (echo, proxy)
}

async fn client(proxy: &ChaosProxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.unwrap()
}

async fn say(client: &mut TcpStream, word: &str) {
    client.write_all(word.as_bytes()).await.unwrap();
}

async fn hear(client: &mut TcpStream, word: &str) {
    let mut heard = vec![0; word.len()];
    tokio::time::timeout(PATIENCE, client.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), word);
}

async fn echoes(client: &mut TcpStream, word: &str) {
    say(client, word).await;
    hear(client, word).await;
}

/// Nothing has come, and it still seems to be connected. Whoever asks has waited for something that came after.
fn hears_nothing(client: &TcpStream) {
    let mut bytes = [0; 16];
    assert_eq!(
        client.try_read(&mut bytes).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

async fn is_reset(client: &mut TcpStream) {
    let mut bytes = [0; 16];
    let read = tokio::time::timeout(PATIENCE, client.read(&mut bytes)).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn everything_passes_and_an_end_is_passed_on() {
    let (_echo, proxy) = world().await;
    let (mut one, mut other) = (client(&proxy).await, client(&proxy).await);
    echoes(&mut one, "one").await;
    echoes(&mut other, "other").await;
    assert_eq!((proxy.connections(), proxy.accepted()), (2, 2));

    // What the client says last is answered, although it has closed its half.
    say(&mut one, "last").await;
    one.shutdown().await.unwrap();
    hear(&mut one, "last").await;
    assert_eq!(one.read(&mut [0; 1]).await.unwrap(), 0);
    proxy.connected(1).await;
    drop(other);
    proxy.connected(0).await;
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn a_cut_resets_what_is_open_and_refuses_what_is_new_until_it_is_healed() {
    let (_echo, proxy) = world().await;
    let mut old = client(&proxy).await;
    echoes(&mut old, "before").await;
    proxy.cut().await;
    assert_eq!(proxy.connections(), 0);
    is_reset(&mut old).await;
    for _ in 0..3 {
        let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
    proxy.cut().await; // once more is the same
    proxy.heal(Old::Resume).await;
    echoes(&mut client(&proxy).await, "after").await;
}

#[tokio::test]
async fn in_a_black_hole_all_stays_open_and_what_was_said_comes_once_it_is_healed() {
    let (mut echo, proxy) = world().await;
    let mut old = client(&proxy).await;
    echoes(&mut old, "before").await;
    assert_eq!(echo.heard.recv().await.unwrap(), b"before");
    proxy.black_hole();
    say(&mut old, "held").await;
    let mut new = client(&proxy).await;
    say(&mut new, "held too").await;
    proxy.connected(2).await;

    // Another proxy passes: by then these would have come.
    let clear = ChaosProxy::start(echo.address).await;
    echoes(&mut client(&clear).await, "clear").await;
    assert_eq!(echo.heard.recv().await.unwrap(), b"clear");
    hears_nothing(&old);
    hears_nothing(&new);

    proxy.heal(Old::Resume).await;
    hear(&mut old, "held").await;
    hear(&mut new, "held too").await;
}

#[tokio::test]
async fn what_was_in_a_black_hole_may_stay_dead() {
    let (mut echo, proxy) = world().await;
    let mut old = client(&proxy).await;
    echoes(&mut old, "before").await;
    proxy.black_hole();
    say(&mut old, "lost").await;
    proxy.heal(Old::Dead).await;
    let mut new = client(&proxy).await;
    echoes(&mut new, "after").await;
    hears_nothing(&old);
    assert_eq!(proxy.connections(), 2, "it is half-open");
    for word in ["before", "after"] {
        assert_eq!(echo.heard.recv().await.unwrap(), word.as_bytes());
    }
    // Healed once more, also from nothing, the old one stays dead and the new one lives.
    proxy.heal(Old::Dead).await;
    echoes(&mut new, "again").await;
    hears_nothing(&old);
    proxy.cut().await;
    is_reset(&mut old).await;
}

#[tokio::test]
async fn one_way_the_server_hears_and_its_answers_do_not_come() {
    let (mut echo, proxy) = world().await;
    let mut old = client(&proxy).await;
    echoes(&mut old, "before").await;
    proxy.half_open_one_way();
    let mut new = client(&proxy).await;
    for (client, word) in [(&mut old, "one"), (&mut new, "two")] {
        say(client, word).await;
        while echo.heard.recv().await.unwrap() != word.as_bytes() {}
    }
    hears_nothing(&old);
    hears_nothing(&new);
    proxy.heal(Old::Resume).await;
    hear(&mut old, "one").await;
    hear(&mut new, "two").await;
}

#[tokio::test]
async fn a_delay_counts_in_each_direction_until_it_is_healed() {
    let (_echo, proxy) = world().await;
    let mut client = client(&proxy).await;
    echoes(&mut client, "before").await;
    let delay = Duration::from_millis(50);
    proxy.delay(delay);
    let began = Instant::now();
    echoes(&mut client, "slow").await;
    assert!(began.elapsed() >= 2 * delay, "{:?}", began.elapsed());
    // Also what is under way comes at once.
    proxy.delay(PATIENCE * 10);
    say(&mut client, "at once").await;
    proxy.heal(Old::Resume).await;
    hear(&mut client, "at once").await;
}

#[tokio::test]
async fn a_cut_does_not_wait_for_what_is_delayed_or_stuck() {
    let (_echo, proxy) = world().await;
    let mut slow = client(&proxy).await;
    echoes(&mut slow, "before").await;
    proxy.delay(PATIENCE * 10);
    say(&mut slow, "delayed").await;
    proxy.cut().await;
    is_reset(&mut slow).await;
    proxy.heal(Old::Resume).await;
    // Answers that nobody reads fill every buffer on the way.
    let mut full = client(&proxy).await;
    echoes(&mut full, "before").await;
    proxy.half_open_one_way();
    let some = vec![b'x'; 1 << 20];
    while let Ok(sent) = tokio::time::timeout(Duration::from_millis(100), full.write_all(&some)).await {
        sent.unwrap();
    }
    proxy.cut().await;
    full.write_all(&some).await.unwrap_err();
}

#[tokio::test]
async fn a_server_that_is_away_looks_away_through_the_proxy() {
    let (echo, _proxy) = world().await;
    let gone = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free().unwrap()));
    drop(echo);
    let proxy = ChaosProxy::start(gone).await;
    is_reset(&mut client(&proxy).await).await;
    proxy.connected(0).await;
    let mut left = client(&proxy).await;
    drop(proxy);
    is_reset(&mut left).await;
}

#[tokio::test]
async fn a_schedule_is_the_same_for_the_same_seed_and_ends_healed() {
    let longest = Duration::from_millis(20);
    let schedule = Schedule::from_seed(7, 12, longest);
    assert_eq!(schedule, Schedule::from_seed(7, 12, longest));
    assert_ne!(schedule.steps, Schedule::from_seed(8, 12, longest).steps);
    assert!(schedule.to_string().starts_with("schedule of seed 7: +"), "{schedule}");
    assert!(schedule.steps.iter().all(|(after, _)| *after <= longest));
    for fault in [Fault::Cut, Fault::BlackHole, Fault::HalfOpenOneWay] {
        assert!(schedule.steps.iter().any(|(_, step)| *step == fault), "{schedule}");
    }

    let (_echo, proxy) = world().await;
    let mut held = client(&proxy).await;
    echoes(&mut held, "before").await;
    schedule.run(&proxy).await;
    echoes(&mut client(&proxy).await, "after").await;
}
