//! Peers that send too much, too slowly, or too often.

use std::time::Duration;

use jobtrackd::simulator::Phase;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::raw::{Answer, address, ask, ask_with, connect, exchange, port, say};
use crate::support::world::World;

const JSON: &str = "Content-Type: application/json";

/// Paused time after which nothing is expected to happen any more.
const LONG: Duration = Duration::from_secs(3600);

const SECOND: Duration = Duration::from_secs(1);

/// A whole request that is answered, on a connection that stays.
async fn greet(world: &mut World, stream: &mut TcpStream) {
    let host = address(world);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    assert_eq!(exchange(world, stream, &request).await.status, 200);
}

/// How long it takes until the peer hangs up, and what it says before.
async fn hung_up(stream: &mut TcpStream) -> (Duration, String) {
    let (began, mut said) = (Instant::now(), Vec::new());
    let end = timeout(LONG, stream.read_to_end(&mut said)).await;
    // A peer that did not read everything resets the connection.
    let _ = end.expect("the peer hangs up");
    (began.elapsed(), String::from_utf8(said).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_body_has_at_most_64_kib_whether_it_says_so_or_not() {
    let mut world = World::running().await;
    let passed = (404, "resource-not-found".to_owned());
    let refused = (413, "content-too-large".to_owned());
    // The second one is refused before any of it is there.
    let fits = format!("Content-Length: 65536\r\n\r\n{}", "x".repeat(65536));
    let said = "Content-Length: 65537\r\n".to_owned();
    let chunks = |many: usize| {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{}0\r\n",
            chunk.repeat(many)
        )
    };
    for (body, expected) in [
        (fits, &passed),
        (said, &refused),
        (chunks(16), &passed),
        (chunks(17), &refused),
    ] {
        let start: String = body.chars().take(60).collect();
        let answer = ask_with(&mut world, "POST /nowhere", &[JSON, &body]).await;
        assert_eq!(&answer.verdict(), expected, "{start:?}");
    }
    let answer = ask_with(&mut world, "GET /healthz", &["Content-Length: 99999"]).await;
    assert_eq!(answer.verdict(), refused, "whatever the method");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_at_most_64_headers_and_16_kib() {
    let mut world = World::running().await;
    let many = |count: usize| "x: y\r\n".repeat(count);
    let long = |length: usize| format!("x: {}\r\n", "y".repeat(length));
    for (headers, status) in [
        (many(63), 200),
        (many(64), 431),
        (long(16_000), 200),
        (long(16_500), 431),
        (long(200_000), 431),
    ] {
        let start: String = headers.chars().take(20).collect();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n{headers}\r\n");
        let answer = ask(&mut world, &request).await;
        assert_eq!(answer.status, status, "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_bring_no_request_end_after_ten_seconds() {
    let mut world = World::running().await;
    let mut idle = connect(&mut world).await;
    greet(&mut world, &mut idle).await;
    let mut slow = connect(&mut world).await;
    greet(&mut world, &mut slow).await;
    say(&mut slow, b"GET /healthz HTTP/1.1\r\nHost: ").await;
    let mut silent = connect(&mut world).await;
    let mut other = connect(&mut world).await;
    greet(&mut world, &mut other).await;
    let (ends, says) = tokio::join!(hung_up(&mut idle), async {
        tokio::time::sleep(9 * SECOND).await;
        say(&mut slow, b"127").await;
        tokio::join!(hung_up(&mut slow), hung_up(&mut silent))
    });
    assert_eq!((ends.0.as_secs(), ends.1.as_str()), (10, ""));
    for (time, said) in [says.0, says.1] {
        assert_eq!((time.as_secs(), said.as_str()), (1, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up_after_ten_seconds() {
    let mut world = World::running().await;
    let mut stream = connect(&mut world).await;
    greet(&mut world, &mut stream).await;
    let host = address(&mut world);
    let head =
        format!("POST /nowhere HTTP/1.1\r\nHost: {host}\r\n{JSON}\r\nContent-Length: 9\r\n\r\n123");
    say(&mut stream, head.as_bytes()).await;
    let mut other = connect(&mut world).await;
    greet(&mut world, &mut other).await;
    let began = Instant::now();
    let answer = timeout(LONG, Answer::read(&mut stream))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer.verdict(), (408, "request-timeout".to_owned()));
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(hung_up(&mut stream).await.0, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn connections_without_a_request_under_way_make_room_for_others() {
    let mut world = World::new().await;
    world.limits.connections = 2;
    world.start().await;
    let (mut first, mut second) = (connect(&mut world).await, connect(&mut world).await);
    greet(&mut world, &mut first).await;
    greet(&mut world, &mut second).await;
    let began = Instant::now();
    let answer = ask_with(&mut world, "GET /readyz", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(hung_up(&mut first).await.1, "");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_just_accepted_is_not_closed_for_others() {
    let mut world = World::new().await;
    world.limits.connections = 4;
    world.start().await;
    let (mut first, mut second) = (connect(&mut world).await, connect(&mut world).await);
    greet(&mut world, &mut first).await;
    greet(&mut world, &mut second).await;
    let (mut fresh, mut slow) = (connect(&mut world).await, connect(&mut world).await);
    let host = address(&mut world);
    say(&mut slow, b"GET /healthz HTTP/1.1\r\n").await;
    // Work on other threads lets the server accept them.
    world.rows("SELECT 1").await;
    let began = Instant::now();
    let answer = ask_with(&mut world, "GET /readyz", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(hung_up(&mut first).await.1, "");
    assert_eq!(hung_up(&mut second).await.1, "");
    greet(&mut world, &mut fresh).await;
    let rest = format!("Host: {host}\r\n\r\n");
    assert_eq!(exchange(&world, &mut slow, &rest).await.status, 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_gets_its_first_answer_while_another_one_waits_makes_room() {
    let mut world = World::new().await;
    world.limits.connections = 1;
    world.start().await;
    let mut fresh = connect(&mut world).await;
    world.rows("SELECT 1").await;
    let mut waiting = connect(&mut world).await;
    let host = address(&mut world);
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    say(&mut waiting, request.as_bytes()).await;
    world.rows("SELECT 1").await;
    let began = Instant::now();
    greet(&mut world, &mut fresh).await;
    let answer = timeout(LONG, Answer::read(&mut waiting)).await.unwrap();
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn peers_that_never_finish_a_head_keep_nobody_waiting_for_more_than_ten_seconds() {
    let mut world = World::new().await;
    world.limits.connections = 2;
    world.start().await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&mut world).await;
        say(&mut stream, b"GET /rea").await;
        slow.push(stream);
    }
    // Work on other threads makes the server read what has come.
    world.rows("SELECT 1").await;
    let began = Instant::now();
    let mut waiting = connect(&mut world).await;
    let host = address(&mut world);
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {host}\r\n\r\n");
    say(&mut waiting, request.as_bytes()).await;
    let answer = timeout(LONG, Answer::read(&mut waiting)).await.unwrap();
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(began.elapsed().as_secs(), 10);
}

/// Follows a job of almost 1 MiB, and returns once it was seen.
async fn follow_large_job(world: &mut World) {
    let long = "x".repeat(1 << 20);
    let body = format!(
        r#"{{"type":"job","id":"1","steps":[],"n":"{}"}}"#,
        &long[100..]
    );
    world.tell("1", vec![Phase::verbatim(0, body)]);
    world.enqueue("1").await;
    let looked = "SELECT count(*) FROM jobs WHERE polls > 0";
    world.until(60 * SECOND, looked, "1").await;
}

/// A connection of a peer that takes little ahead.
async fn connect_small(world: &mut World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let at = format!("127.0.0.1:{}", port(world)).parse().unwrap();
    world.clock.held(socket.connect(at)).await.unwrap()
}

/// The same, with a request of which only the first byte of the answer is taken.
async fn hang_at(world: &mut World, path: &str) -> TcpStream {
    let mut stream = connect_small(world).await;
    let host = address(world);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    say(&mut stream, request.as_bytes()).await;
    assert_eq!(world.clock.held(stream.read_u8()).await.unwrap(), b'H');
    stream
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_being_sent_take_no_more_memory_than_there_is_for_all_of_them() {
    let mut world = World::new().await;
    world.limits.answers = 3 << 20;
    world.start().await;
    follow_large_job(&mut world).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        slow.push(hang_at(&mut world, "/jobs/1").await);
    }
    let began = Instant::now();
    for path in ["GET /jobs/1", "GET /jobs", "GET /events"] {
        let refused = ask_with(&mut world, path, &[]).await;
        assert_eq!(
            refused.verdict(),
            (503, "service-unavailable".to_owned()),
            "{path}"
        );
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(began.elapsed().as_secs(), 6, "each waits for two seconds");
    for path in ["GET /healthz", "GET /readyz", "GET /openapi.json"] {
        assert_eq!(ask_with(&mut world, path, &[]).await.status, 200, "{path}");
    }
    let body = r#"{"id":"new"}"#;
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let posted = ask_with(&mut world, "POST /jobs", &[JSON, &length]).await;
    assert_eq!(posted.status, 202);
    let body = r#"{"mfa-response":["1"]}"#;
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let answered = ask_with(&mut world, "POST /jobs/1/mfa", &[JSON, &length]).await;
    assert_eq!(answered.verdict(), (409, "request-not-valid".to_owned()));
    drop(slow);
    for path in ["GET /jobs/1", "GET /jobs", "GET /events"] {
        assert_eq!(ask_with(&mut world, path, &[]).await.status, 200, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_has_not_sent_counts_too() {
    let mut world = World::new().await;
    world.limits.answers = 3 << 19;
    world.start().await;
    follow_large_job(&mut world).await;
    world.sql("UPDATE jobs SET cancel_requested = 1").await;
    world.until_ended(60 * SECOND).await;
    let slow = hang_at(&mut world, "/stream?after=0").await;
    world.rows("SELECT 1").await;
    let refused = ask_with(&mut world, "GET /jobs/1", &[]).await;
    assert_eq!(refused.verdict(), (503, "service-unavailable".to_owned()));
    drop(slow);
    assert_eq!(ask_with(&mut world, "GET /jobs/1", &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_cut_off() {
    const REQUESTS: usize = 12;
    let mut world = World::running().await;
    follow_large_job(&mut world).await;
    let mut stream = connect_small(&mut world).await;
    let host = address(&mut world);
    let request = format!("GET /jobs/1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
    say(&mut stream, request.repeat(REQUESTS).as_bytes()).await;
    // Answers of others let this one get as far as it can.
    for _ in 0..REQUESTS {
        assert_eq!(ask_with(&mut world, "GET /jobs/1", &[]).await.status, 200);
    }
    world.pass(31 * SECOND).await;
    let mut said = Vec::new();
    let reading = timeout(LONG, stream.read_to_end(&mut said)).await;
    let _ = reading.expect("the peer hangs up");
    assert!(said.len() < REQUESTS << 20, "{}", said.len());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_connections_that_are_idle() {
    let mut world = World::running().await;
    let mut idle = connect(&mut world).await;
    greet(&mut world, &mut idle).await;
    let began = Instant::now();
    world.stop().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(hung_up(&mut idle).await.1, "");
}
