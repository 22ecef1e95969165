//! Requests as bytes.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::world::World;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Status line and headers, in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    /// Reads one answer; `None` when the connection ends before one. A body that does not come, as after HEAD, is empty.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            body.clear();
        }
        let body = String::from_utf8(body).unwrap();
        Some(Self { status, head, body })
    }

    /// The value of a header, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The status, and the code of the API's error envelope; empty when it has none.
    pub(super) fn verdict(&self) -> (u16, String) {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let code = body["data"][0]["code"].as_str().unwrap_or_default();
        (self.status, code.to_owned())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

/// Writes what can be written; the peer may have hung up.
pub(super) async fn say(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
}

/// The address, with the system's port.
pub(super) fn address(world: &mut World) -> String {
    world.daemon().status_address().unwrap().to_string()
}

pub(super) fn port(world: &mut World) -> u16 {
    let address = world.daemon().status_address().unwrap();
    address.tcp().unwrap().port()
}

pub(super) async fn connect(world: &mut World) -> TcpStream {
    let port = port(world);
    let connecting = TcpStream::connect(("127.0.0.1", port));
    world.clock.held(connecting).await.unwrap()
}

/// Says it and reads the answer while time stands still.
pub(super) async fn exchange(
    world: &World,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> Answer {
    let asking = async {
        say(stream, request.as_bytes()).await;
        Answer::read(stream).await
    };
    let answer = world.clock.held(asking).await;
    answer.unwrap_or_else(|| panic!("no answer to {request:?}"))
}

/// The answer to a request on a connection of its own; `PORT` in it is the server's port.
pub(super) async fn ask(world: &mut World, request: &str) -> Answer {
    let request = request.replace("PORT", &port(world).to_string());
    let mut stream = connect(world).await;
    exchange(world, &mut stream, &request).await
}

/// The same for a request line and headers, with the right `Host` unless they have one.
pub(super) async fn ask_with(world: &mut World, line: &str, headers: &[&str]) -> Answer {
    let mut request = format!("{line} HTTP/1.1\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        request += "Host: 127.0.0.1:PORT\r\n";
    }
    for header in headers {
        request += &format!("{header}\r\n");
    }
    ask(world, &format!("{request}\r\n")).await
}
