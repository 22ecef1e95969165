//! The peers of the daemon in one process on one core: an API and receivers that answer at once, with as little work as
//! there can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::percentile;
use super::upstream::job;

/// Longest request.
const LONGEST: usize = 1 << 20;

/// What it has seen.
#[derive(Default)]
struct Seen {
    polls: AtomicU64,
    deliveries: AtomicU64,
    /// When the first and the latest delivery came since `clear`.
    span: Mutex<Option<(Instant, Instant)>>,
    /// Milliseconds from the answer with an end to the delivery.
    delays: Mutex<Vec<f64>>,
    ended: Mutex<std::collections::HashMap<String, Instant>>,
}

/// Says where the API and the receiver listen (the same address), then answers questions: `polls`, `deliveries`, `seconds`
/// (from the first delivery to the latest), `delays` (p50 and p99 from answer to delivery), `clear`.
///
/// A job whose id begins with `end` has ended; all others never change.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let seen = Arc::new(Seen::default());
    let (asked, mut questions) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for question in std::io::stdin().lines().map_while(Result::ok) {
            if asked.send(question).is_err() {
                return;
            }
        }
    });
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (seen, (stream, _)) = (Arc::clone(&seen), accepted?);
                // A connection that breaks is the client's to deal with.
                tokio::spawn(async move { drop(converse(stream, &seen).await) });
            }
            question = questions.recv() => match question {
                Some(question) => println!("{}", seen.answer(&question)?),
                None => return Ok(()),
            },
        }
    }
}

impl Seen {
    fn answer(&self, question: &str) -> anyhow::Result<String> {
        Ok(match question {
            "polls" => self.polls.load(Ordering::Relaxed).to_string(),
            "deliveries" => self.deliveries.load(Ordering::Relaxed).to_string(),
            "seconds" => {
                let (first, last) = self.span.lock().context("nothing was delivered")?;
                (last - first).as_secs_f64().to_string()
            }
            "delays" => {
                let mut delays = self.delays.lock();
                format!(
                    "{} {}",
                    percentile(&mut delays, 50),
                    percentile(&mut delays, 99)
                )
            }
            "clear" => {
                self.polls.store(0, Ordering::Relaxed);
                self.deliveries.store(0, Ordering::Relaxed);
                *self.span.lock() = None;
                self.delays.lock().clear();
                "cleared".to_owned()
            }
            other => anyhow::bail!("not a question: {other}"),
        })
    }

    fn delivered(&self, body: &str) {
        let now = Instant::now();
        let mut span = self.span.lock();
        *span = Some(span.map_or((now, now), |(first, _)| (first, now)));
        let id = body
            .split("\"job_id\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        if let Some(then) = id.and_then(|id| self.ended.lock().remove(id)) {
            self.delays.lock().push((now - then).as_secs_f64() * 1000.0);
        }
        self.deliveries.fetch_add(1, Ordering::Relaxed);
    }
}

async fn converse(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(16 << 10);
    loop {
        request.clear();
        let (mut head, mut length) = (0, 0);
        while head == 0 || request.len() < head + length {
            if request.len() >= LONGEST || stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
            if head == 0
                && let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n")
            {
                head = end + 4;
                length = length_of(&request[..head]);
            }
        }
        if request.starts_with(b"POST") {
            seen.delivered(&String::from_utf8_lossy(&request[head..]));
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            continue;
        }
        let line = String::from_utf8_lossy(&request);
        let path = line.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        let has_ended = id.starts_with("end");
        let body = match has_ended {
            true => job(id, "success").replace("\"pending\"", "\"success\""),
            false => job(id, "in-progress"),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if has_ended {
            seen.ended.lock().insert(id.to_owned(), Instant::now());
        }
        stream.write_all(answer.as_bytes()).await?;
        seen.polls.fetch_add(1, Ordering::Relaxed);
    }
}

fn length_of(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text.split("content-length:").nth(1);
    value
        .and_then(|value| value.lines().next()?.trim().parse().ok())
        .unwrap_or(0)
}
