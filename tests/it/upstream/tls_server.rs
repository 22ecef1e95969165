//! A server over TLS that speaks HTTP/2 or HTTP/1.1, as the script says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, server};
use http::Response;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A self-signed certificate for 127.0.0.1 with its key.
pub(super) const CERTIFICATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/loopback.pem");

/// Requests at once over one connection; the least that servers should allow.
const MOST_STREAMS: u32 = 100;

/// What the server does with a request.
#[derive(Clone)]
pub(super) enum Reply {
    /// 200.
    Body(String),
    /// 200, as soon as there were so many requests.
    BodyAfter(usize, String),
    /// 200 on a connection that takes no more requests.
    LastBody(String),
    /// 200 with so many bytes of headers.
    Headers(usize),
    /// Not read.
    Refuse,
    /// The connection is closed with this reason, and the request is not read.
    Close(Reason),
    /// Nothing comes any more on this connection.
    Dead,
}

type Script = dyn Fn(usize) -> Reply + Send + Sync;

pub(super) struct TlsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    versions: Vec<&'static str>,
    made: usize,
    open: usize,
    most_of_one: usize,
}

struct Shared {
    log: Mutex<Log>,
    requests: tokio::sync::watch::Sender<usize>,
    /// How many connections are closed without a request read.
    closing: AtomicUsize,
    script: Box<Script>,
}

impl TlsServer {
    /// A server that offers these protocols; the script gets the number of the request, from 1.
    pub(super) async fn start(
        offered: &[&str],
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            requests: tokio::sync::watch::Sender::default(),
            closing: AtomicUsize::new(0),
            script: Box::new(script),
        });
        let (tls, sharing) = (acceptor(offered), Arc::clone(&shared));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), Arc::clone(&sharing));
                tokio::spawn(async move {
                    // Clients open more connections than they use, and close them.
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = shared.serve(stream).await;
                    }
                });
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The next so many connections are closed at their first request, which is not read.
    pub(super) fn close_unread(&self, connections: usize) {
        self.shared.closing.store(connections, Ordering::SeqCst);
    }

    /// The protocol of each request that was read.
    pub(super) fn versions(&self) -> Vec<&'static str> {
        self.shared.log.lock().versions.clone()
    }

    /// Connections with requests so far.
    pub(super) fn made(&self) -> usize {
        self.shared.log.lock().made
    }

    /// Those that are open.
    pub(super) fn open(&self) -> usize {
        self.shared.log.lock().open
    }

    /// Most requests of one connection.
    pub(super) fn most_of_one(&self) -> usize {
        self.shared.log.lock().most_of_one
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn acceptor(offered: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_file(CERTIFICATE).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = offered.iter().map(|name| name.as_bytes().into()).collect();
    TlsAcceptor::from(Arc::new(config))
}

impl Shared {
    async fn serve(&self, stream: TlsStream<TcpStream>) -> Result<(), h2::Error> {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let less = |left: usize| left.checked_sub(1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.closing.fetch_update(set, fetch, less).is_ok() {
            let _ = close_unread(stream).await;
            return Ok(());
        }
        let mut is_used = false;
        let ended = match is_h2 {
            true => self.serve_h2(stream, &mut is_used).await,
            false => self.serve_h1(stream, &mut is_used).await,
        };
        self.log.lock().open -= usize::from(is_used);
        ended
    }

    /// Notes a request; what becomes of it.
    fn request(&self, version: &'static str, is_used: &mut bool) -> Reply {
        let mut log = self.log.lock();
        if !std::mem::replace(is_used, true) {
            log.made += 1;
            log.open += 1;
        }
        log.versions.push(version);
        let number = log.versions.len();
        self.requests.send_replace(number);
        (self.script)(number)
    }

    async fn serve_h1(
        &self,
        mut stream: TlsStream<TcpStream>,
        is_used: &mut bool,
    ) -> Result<(), h2::Error> {
        let mut bytes = Vec::new();
        while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            if !bytes.ends_with(b"\r\n\r\n") {
                continue;
            }
            bytes.clear();
            let Reply::Body(body) = self.request("http/1.1", is_used) else {
                panic!("only HTTP/2 has this reply");
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
        Ok(())
    }

    async fn serve_h2(
        &self,
        stream: TlsStream<TcpStream>,
        is_used: &mut bool,
    ) -> Result<(), h2::Error> {
        let mut connection = server::Builder::new()
            .max_concurrent_streams(MOST_STREAMS)
            .handshake(stream)
            .await?;
        let mut requests = 0;
        while let Some(accepted) = connection.accept().await {
            let (_, mut respond) = accepted?;
            requests += 1;
            {
                let mut log = self.log.lock();
                log.most_of_one = log.most_of_one.max(requests);
            }
            match self.request("h2", is_used) {
                Reply::Body(body) => answer(&mut respond, body, 0),
                Reply::BodyAfter(count, body) => {
                    let mut seen = self.requests.subscribe();
                    tokio::spawn(async move {
                        seen.wait_for(|seen| *seen >= count).await.unwrap();
                        answer(&mut respond, body, 0);
                    });
                }
                Reply::LastBody(body) => {
                    connection.graceful_shutdown();
                    answer(&mut respond, body, 0);
                }
                Reply::Headers(bytes) => answer(&mut respond, super::server::JOB.to_owned(), bytes),
                Reply::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
                Reply::Close(reason) => connection.abrupt_shutdown(reason),
                Reply::Dead => std::future::pending().await,
            }
        }
        Ok(())
    }
}

/// Closes the connection when a request comes, and says that none was read. The frames are in RFC 9113, 4.1 and 6.
async fn close_unread(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    stream.write_all(SETTINGS).await?;
    stream.read_exact(&mut [0; 24]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        if head[3] == HEADERS {
            stream.write_all(GOAWAY).await?;
            return stream.shutdown().await;
        }
    }
}

fn answer(respond: &mut SendResponse<Bytes>, body: String, headers: usize) {
    let mut response = Response::builder();
    for n in 0..headers.div_ceil(1024) {
        // With the name and what each line counts beside it 1 KiB.
        response = response.header(format!("x-{n:03}"), "x".repeat(1024 - 32 - 5));
    }
    let response = response.body(()).unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    stream.send_data(body.into(), true).unwrap();
}
