//! The peers of the daemon in one process on one core: an API and a receiver that answer at once, with as little work as
//! there can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::flows::Flows;
use super::receiver::read;
use super::upstream::{answer, job};

/// What has come.
#[derive(Default)]
struct Seen {
    polls: AtomicU64,
    deliveries: AtomicU64,
    flows: Flows,
}

/// Says where the API and the receiver listen (the same address), then answers questions: `polls`, `deliveries`, and `flows`
/// with [`Flows::figures`].
///
/// A job whose id begins with `end` has ended, one with `flow` goes through its steps; all others never change.
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
            question = questions.recv() => {
                let count = match question.as_deref() {
                    Some("polls") => &seen.polls,
                    Some("deliveries") => &seen.deliveries,
                    Some("flows") => {
                        println!("{}", seen.flows.figures());
                        continue;
                    }
                    Some(other) => anyhow::bail!("not a question: {other}"),
                    None => return Ok(()),
                };
                println!("{}", count.load(Ordering::Relaxed));
            }
        }
    }
}

async fn converse(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(16 << 10);
    while let Some(body) = read(&mut stream, &mut request).await? {
        if request.starts_with(b"POST") {
            seen.deliveries.fetch_add(1, Ordering::Relaxed);
            let sent = request.get(body..).unwrap_or_default();
            seen.flows.delivered(&String::from_utf8_lossy(sent));
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            continue;
        }
        let line = String::from_utf8_lossy(&request[..body]);
        let path = line.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        let shown = match id.split('-').next() {
            Some("end") => job(id, "success").replace("\"pending\"", "\"success\""),
            Some("flow") => seen.flows.job(id),
            _ => job(id, "in-progress"),
        };
        stream.write_all(answer(&shown).as_bytes()).await?;
        seen.polls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
