//! A receiver that writes raw bytes on its socket, for what no HTTP server can do: broken, endless and hanging answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// The request line without its end.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The connection it came on, counted from 1.
    pub(crate) connection: usize,
}

/// What the receiver does once it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Writes this and waits for the next request on the same connection.
    Whole(String),
    /// Writes this and resets the connection.
    Reset(String),
    /// Writes this, then a byte a second for as long as the peer listens.
    Drip(String),
    /// Writes this, then this many bytes.
    Flood(String, usize),
    /// Writes nothing and keeps the connection.
    Hang,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Bytes of the last reply that the system took.
    pub(crate) written: usize,
    /// Whether the peer was gone before the reply was complete.
    pub(crate) cut: bool,
}

/// A listening receiver; it answers every request in the same way.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    endings: mpsc::UnboundedReceiver<Ending>,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    requests: Vec<Request>,
}

impl Receiver {
    /// Listens at a free port of 127.0.0.1.
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let (ended, endings) = mpsc::unbounded_channel();
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, seen, ended) = (reply.clone(), Arc::clone(&shared), ended.clone());
                tokio::spawn(async move {
                    let _ = ended.send(serve(stream, &reply, &seen).await);
                });
            }
        });
        Self {
            address,
            seen,
            endings,
        }
    }

    /// Answers every request with this status line and these header lines (each ended by CR LF), and no body.
    pub(crate) async fn answering(status: &str, headers: &str) -> Self {
        let reply = format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n");
        Self::start(Reply::Whole(reply)).await
    }

    /// Its URL, by address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?token=canary", self.address)
    }

    /// The requests read so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().requests.clone()
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().connections
    }

    /// Waits until a connection has ended.
    pub(crate) async fn ending(&mut self) -> Ending {
        self.endings.recv().await.unwrap()
    }
}

async fn serve(mut stream: TcpStream, reply: &Reply, seen: &Mutex<Seen>) -> Ending {
    let connection = {
        let mut seen = seen.lock();
        seen.connections += 1;
        seen.connections
    };
    let mut written = 0;
    while let Ok(request) = read_request(&mut stream, connection).await {
        seen.lock().requests.push(request);
        match write_reply(&mut stream, reply, &mut written).await {
            Ok(true) => {}
            Ok(false) => {
                return Ending {
                    written,
                    cut: false,
                };
            }
            Err(_) => return Ending { written, cut: true },
        }
    }
    Ending {
        written,
        cut: false,
    }
}

/// Whether the connection may bring another request.
async fn write_reply(
    stream: &mut TcpStream,
    reply: &Reply,
    written: &mut usize,
) -> io::Result<bool> {
    match reply {
        Reply::Whole(text) => {
            stream.write_all(text.as_bytes()).await?;
            Ok(true)
        }
        Reply::Reset(text) => {
            stream.write_all(text.as_bytes()).await?;
            stream.set_zero_linger()?;
            Ok(false)
        }
        Reply::Drip(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream.write_all(b"x").await?;
                *written += 1;
            }
        }
        Reply::Flood(head, bytes) => {
            stream.write_all(head.as_bytes()).await?;
            let chunk = [b'x'; 4096];
            while *written < *bytes {
                *written += stream.write(&chunk).await?;
            }
            Ok(true)
        }
        Reply::Hang => std::future::pending().await,
    }
}

async fn read_request(stream: &mut TcpStream, connection: usize) -> io::Result<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    for header in lines {
        let (name, value) = header.split_once(':').unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    let length = headers["content-length"].to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Request {
        line,
        headers,
        body,
        connection,
    })
}
