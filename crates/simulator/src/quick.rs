//! The peers of a daemon that is measured: an API of the default dialect and a receiver at one address, which answer at once
//! and with as little work as there can be, so that what is measured is the daemon.
//!
//! `GET …/ID` is answered by a job that never changes. One whose id begins with [`ENDED`] has ended already; a request for one
//! whose id begins with [`ANNOUNCED`] is announced. Every `POST` is answered by 204, its signature is not checked.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How the ids of jobs begin that have ended.
pub const ENDED: &str = "end";

/// How the ids of jobs begin whose requests are announced.
pub const ANNOUNCED: &str = "row";

/// The question how many jobs were requested.
pub const POLLS: &str = "polls";

/// The question how many events came.
pub const DELIVERIES: &str = "deliveries";

/// Memory for a request to begin with.
const USUAL: usize = 16 << 10;

/// Largest request, in bytes: 8 MiB.
const LARGEST: usize = 8 << 20;

/// What a benchmark adds to these peers. Nothing: `()`.
pub trait More: Send + Sync + 'static {
    /// The answer to a request for this job; `None`: it is none of its jobs.
    fn job(&self, _id: &str) -> Option<String> {
        None
    }

    /// An event came, with this body.
    fn event(&self, _body: &[u8]) {}

    /// The answer to another question, on one line; `None`: it does not know the question.
    fn ask(&self, _question: &str) -> Option<String> {
        None
    }
}

impl More for () {}

/// What has come.
struct Seen<M> {
    polls: AtomicU64,
    deliveries: AtomicU64,
    more: M,
}

/// Serves as a process of its own, until the end of standard input: the first line on standard output is the base URL of
/// both. Then a line with the id for each request that is announced, and for each question ([`POLLS`], [`DELIVERIES`])
/// on standard input a line with the number.
///
/// # Errors
/// When it cannot listen or write, or is asked something else.
pub async fn serve(more: impl More) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("http://{}", listener.local_addr()?))?;
    let seen = Arc::new(Seen {
        polls: AtomicU64::new(0),
        deliveries: AtomicU64::new(0),
        more,
    });
    let mut questions = questions();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (seen, (stream, _)) = (Arc::clone(&seen), accepted?);
                // A connection that breaks is the client's to deal with.
                tokio::spawn(async move { drop(converse(stream, &seen).await) });
            }
            question = questions.recv() => {
                let answer = match question.as_deref() {
                    Some(POLLS) => Some(seen.polls.load(Ordering::Relaxed).to_string()),
                    Some(DELIVERIES) => Some(seen.deliveries.load(Ordering::Relaxed).to_string()),
                    Some(other) => seen.more.ask(other),
                    None => return Ok(()),
                };
                say(&answer.ok_or(io::ErrorKind::InvalidInput)?)?;
            }
        }
    }
}

/// The lines of standard input.
fn questions() -> mpsc::UnboundedReceiver<String> {
    let (asked, questions) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for question in io::stdin().lines().map_while(Result::ok) {
            if asked.send(question).is_err() {
                return;
            }
        }
    });
    questions
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

async fn converse(mut stream: TcpStream, seen: &Seen<impl More>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(USUAL);
    while let Some(body) = read(&mut stream, &mut request).await? {
        if request.starts_with(b"POST") {
            seen.deliveries.fetch_add(1, Ordering::Relaxed);
            seen.more.event(request.get(body..).unwrap_or_default());
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            continue;
        }
        let line = String::from_utf8_lossy(&request[..body]);
        let path = line.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        if id.starts_with(ANNOUNCED) {
            say(id)?;
        }
        let shown = seen
            .more
            .job(id)
            .unwrap_or_else(|| match id.starts_with(ENDED) {
                true => job(id, "success", "success"),
                false => job(id, "in-progress", "pending"),
            });
        stream.write_all(answer(&shown).as_bytes()).await?;
        seen.polls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads a whole request in place of the one before; returns where its body begins, or `None` at the end of the connection.
///
/// # Errors
/// When the connection breaks.
pub async fn read(stream: &mut TcpStream, request: &mut Vec<u8>) -> io::Result<Option<usize>> {
    request.clear();
    let (mut head, mut length) = (0, 0);
    while head == 0 || request.len() < head + length {
        if request.len() >= LARGEST || stream.read_buf(request).await? == 0 {
            return Ok(None);
        }
        if head == 0
            && let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n")
        {
            head = end + 4;
            length = length_of(&request[..head]);
        }
    }
    Ok(Some(head))
}

fn length_of(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text.split("content-length:").nth(1);
    value
        .and_then(|value| value.lines().next()?.trim().parse().ok())
        .unwrap_or(0)
}

/// A 200 with this body.
#[must_use]
pub fn answer(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A job whose second and third steps stand as given.
#[must_use]
pub fn job(id: &str, second: &str, third: &str) -> String {
    format!(
        r#"{{"type":"job","id":"{id}","created":"2026-11-22T15:04:05Z","updated":"2026-11-22T15:04:09Z","steps":[{{"title":"verify-credentials","status":"success","result":{{"type":"link","url":"/users/ea3a81/connections/8fce3b"}}}},{{"title":"retrieve-accounts","status":"{second}","result":null}},{{"title":"retrieve-transactions","status":"{third}","result":null}}],"links":{{"self":"https://api.example/jobs/{id}"}}}}"#
    )
}
