//! Connections with answers that no route gives just now.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::routing::get;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::server::serve_routes;
use super::{Access, Limits, Listen, Listener, StatusSettings, Stopping};
use crate::clock::Clock;

/// A body that says one word, and then nothing or the same word for ever.
struct Endless {
    said: bool,
    talks: bool,
}

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.said, true) && !self.talks {
            return std::task::Poll::Pending;
        }
        let word = if self.talks {
            vec![b'x'; 1 << 16]
        } else {
            b"hello".to_vec()
        };
        std::task::Poll::Ready(Some(Ok(Frame::data(word.into()))))
    }
}

fn endless(talks: bool) -> Body {
    Body::new(Endless { said: false, talks })
}

async fn serving(limits: Limits) -> (String, CancellationToken, JoinHandle<()>) {
    let routes = Router::new()
        .route("/silent", get(async || endless(false)))
        .route("/large", get(async || vec![b'x'; 16 << 20]))
        .route("/talks", get(async || endless(true)))
        .route(
            "/waits",
            get(async |stop: axum::Extension<Stopping>| stop.0.0.cancelled().await),
        )
        .route("/stuck", get(std::future::pending::<()>));
    let settings = StatusSettings {
        listen: None,
        token: None,
        tokens: Vec::new(),
        dashboard: true,
        hosts: Vec::new(),
    };
    let listen: Listen = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&listen).await.unwrap();
    let address = listener.address().clone();
    let stop = CancellationToken::new();
    let access = Access::new(&settings);
    let guard = Guard::new(
        access,
        address.clone(),
        limits,
        Clock::system(),
        stop.clone(),
    );
    let serving = serve_routes(listener, guard.around(routes), limits, stop.clone());
    (address.to_string(), stop, tokio::spawn(serving))
}

async fn asked(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Lets everything happen that needs no time.
async fn settled() {
    for _ in 0..100 {
        tokio::task::spawn_blocking(std::thread::yield_now)
            .await
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_streams_and_those_who_wait_for_it_at_once() {
    let (address, stop, server) = serving(Limits::default()).await;
    let mut silent = asked(&address, "/silent").await;
    let mut waits = asked(&address, "/waits").await;
    let mut heard = [0; 4096];
    let first = silent.read(&mut heard).await.unwrap();
    assert!(heard[..first].starts_with(b"HTTP/1.1 200"));
    settled().await;
    let began = Instant::now();
    stop.cancel();
    server.await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let mut rest = heard[..first].to_vec();
    silent.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"5\r\nhello\r\n0\r\n\r\n"), "a whole answer");
    let mut answer = String::new();
    waits.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_requests_under_way_only_so_long() {
    let limits = Limits::default();
    let (address, stop, server) = serving(limits).await;
    let _stuck = asked(&address, "/stuck").await;
    settled().await;
    let began = Instant::now();
    stop.cancel();
    server.await.unwrap();
    assert_eq!(began.elapsed(), limits.drain);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_of_its_answer_is_cut_off_and_one_that_is_sent_nothing_is_not() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let (address, _stop, _server) = serving(limits).await;
    let mut silent = asked(&address, "/silent").await;
    let mut heard = [0; 4096];
    assert_ne!(silent.read(&mut heard).await.unwrap(), 0);
    let _takes_nothing = asked(&address, "/talks").await;
    settled().await;
    // It gets the place of the one that was cut off.
    let began = Instant::now();
    let mut next = asked(&address, "/silent").await;
    let long = Duration::from_secs(3600);
    let read = timeout(long, next.read(&mut heard)).await;
    assert_ne!(read.unwrap().unwrap(), 0);
    assert_eq!(began.elapsed().as_secs(), limits.write.as_secs());
    let more = timeout(long, silent.read(&mut heard)).await;
    assert!(more.is_err(), "a stream that is silent goes on");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_its_answer_in_drops_is_cut_off_after_two_minutes() {
    let limits = Limits::default();
    let (address, _stop, _server) = serving(limits).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let mut slow = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!("GET /large HTTP/1.1\r\nHost: {address}\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    settled().await;
    let (began, mut taken, mut length) = (Instant::now(), vec![0; 1 << 16], 0);
    loop {
        // So much that the kernel asks the server for more.
        for _ in 0..8 {
            match timeout(Duration::ZERO, slow.read(&mut taken)).await {
                Ok(Ok(some)) if some > 0 => length += some,
                Ok(_) => {
                    let cut_off = began.elapsed().as_secs();
                    assert!((120..=130).contains(&cut_off), "after {cut_off} s");
                    assert!((1 << 20..16 << 20).contains(&length), "{length}");
                    return;
                }
                Err(_) => settled().await,
            }
        }
        assert!(began.elapsed() < 2 * limits.answer, "it is cut off");
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}
