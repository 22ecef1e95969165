//! The API as a peer whose answers are large and differ at every poll, in the shapes that cost their reader the most.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::percentile;

/// Bytes of a large answer: what is read at most, without some for its head and tail.
const LARGE: usize = (1 << 20) - 2048;

/// Longest head of a request.
const MAX_HEAD: usize = 8 << 10;

/// What large answers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `[0,0,0,…]`, half a million numbers.
    Numbers,
    /// `{"a":0},` by the hundred thousand.
    Objects,
    /// One object with a hundred thousand keys.
    Keys,
    /// One string of escapes, each of which is escaped again wherever it is kept as a text.
    Escapes,
    /// A thousand steps, each with another result at each poll.
    Steps,
    /// One step that waits with an error whose code is a list of objects.
    Errors,
    /// Fifteen steps that wait with a challenge, another one at each poll; half as large, so that their events are sent.
    Challenges,
    /// Bytes that are not UTF-8, three times as long once they are a text; as many of them as are read.
    Bytes,
    /// Numbers, compressed.
    Packed,
}

const SHAPES: [(&str, Shape); 9] = [
    ("numbers", Shape::Numbers),
    ("objects", Shape::Objects),
    ("keys", Shape::Keys),
    ("escapes", Shape::Escapes),
    ("steps", Shape::Steps),
    ("errors", Shape::Errors),
    ("challenges", Shape::Challenges),
    ("bytes", Shape::Bytes),
    ("packed", Shape::Packed),
];

/// The names of all shapes.
pub(crate) fn shapes() -> impl Iterator<Item = &'static str> {
    SHAPES.iter().map(|(name, _)| *name)
}

struct Api {
    shape: Shape,
    filler: Vec<u8>,
    polls: AtomicU64,
    /// When each of the small jobs was last polled, and the times between their polls in milliseconds.
    small: Mutex<(HashMap<String, Instant>, Vec<f64>)>,
}

/// Says where it listens. Jobs named `large-…` are answered in the shape, others with a small job; `/said` says how many
/// polls of large ones there were, and how far apart those of small ones.
pub(crate) async fn serve(shape: &str) -> anyhow::Result<()> {
    let found = SHAPES.iter().find(|(name, _)| *name == shape);
    let shape = found.context("no such shape")?.1;
    let api = Arc::new(Api {
        shape,
        filler: filler(shape),
        polls: AtomicU64::new(0),
        small: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let api = Arc::clone(&api);
        // A connection that breaks is the client's to deal with.
        tokio::spawn(async move { drop(answer(stream, &api).await) });
    }
}

async fn answer(mut stream: TcpStream, api: &Api) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(MAX_HEAD);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD || stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let line = String::from_utf8_lossy(&head);
        let path = line.split(' ').nth(1).unwrap_or_default();
        let id = path.rsplit('/').next().unwrap_or_default();
        let body = if id == "said" {
            api.said().into_bytes()
        } else if id.starts_with("large-") {
            api.large(id)?
        } else {
            api.small(id)
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
    }
}

impl Api {
    fn large(&self, id: &str) -> anyhow::Result<Vec<u8>> {
        let poll = self.polls.fetch_add(1, Ordering::Relaxed);
        let mut body = Vec::with_capacity(1 << 20);
        write!(body, r#"{{"type":"job","id":"{id}","steps":["#)?;
        let (steps, filler) = match self.shape {
            Shape::Steps => (1000, self.filler.as_slice()),
            Shape::Challenges => (15, self.filler.as_slice()),
            _ => (1, self.filler.as_slice()),
        };
        for step in 0..steps {
            if step > 0 {
                body.push(b',');
            }
            let (status, key) = match self.shape {
                Shape::Errors => ("pending", "code"),
                _ => ("in-progress", "more"),
            };
            write!(
                body,
                r#"{{"title":"step {step}","status":"{status}","result":"#
            )?;
            match self.shape {
                Shape::Challenges => write!(
                    body,
                    r#"{{"type":"mfa","method":"token","description":"{poll}","input":["code"],"links":{{"response":"/jobs/{id}/mfa"}},"more":"#
                )?,
                _ => write!(body, r#"{{"type":"poll-{poll}","{key}":"#)?,
            }
            body.extend_from_slice(filler);
            body.extend_from_slice(b"}}");
        }
        body.extend_from_slice(b"]}");
        if self.shape == Shape::Packed {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(&body)?;
            return Ok(packer.finish()?);
        }
        Ok(body)
    }

    fn small(&self, id: &str) -> Vec<u8> {
        let now = Instant::now();
        let mut small = self.small.lock();
        let (last, gaps) = &mut *small;
        if let Some(before) = last.insert(id.to_owned(), now) {
            gaps.push((now - before).as_secs_f64() * 1000.0);
        }
        let poll = gaps.len();
        format!(
            r#"{{"type":"job","id":"{id}","steps":[{{"title":"a","status":"in-progress","result":{{"type":"poll","n":{poll}}}}}]}}"#
        )
        .into_bytes()
    }

    fn said(&self) -> String {
        let mut small = self.small.lock();
        let gaps = &mut small.1;
        let (half, most, all) = (
            percentile(gaps, 50),
            percentile(gaps, 99),
            percentile(gaps, 100),
        );
        let polls = self.polls.load(Ordering::Relaxed);
        format!(
            "{polls} polls; {} of small jobs, {half:.0} ms apart, p99 {most:.0} ms, most {all:.0} ms\n",
            gaps.len()
        )
    }
}

/// What makes a result large.
fn filler(shape: Shape) -> Vec<u8> {
    let list = |item: &str, bytes: usize| {
        let items = vec![item; bytes / (item.len() + 1)];
        format!("[{}]", items.join(",")).into_bytes()
    };
    match shape {
        Shape::Numbers | Shape::Packed => list("0", LARGE),
        Shape::Objects | Shape::Errors => list(r#"{"a":0}"#, LARGE),
        Shape::Keys => {
            let keys = (0..LARGE / 11).map(|key| format!(r#""{key:06}":0"#));
            format!("{{{}}}", keys.collect::<Vec<_>>().join(",")).into_bytes()
        }
        Shape::Escapes => format!("\"{}\"", r#"\""#.repeat(LARGE / 2)).into_bytes(),
        // With their heads they come to a mebibyte.
        Shape::Steps => list("0", 950),
        Shape::Challenges => list("0", LARGE / 2 / 15 - 200),
        Shape::Bytes => [b"\"".as_slice(), &vec![0xff; LARGE / 3 * 2], b"\""].concat(),
    }
}

/// What the API at this address says of its polls.
pub(crate) async fn said(base_url: &str) -> anyhow::Result<String> {
    let address = base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /said HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b" ms\n") {
        anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "the API is gone");
    }
    let text = String::from_utf8_lossy(&answer);
    let (_, body) = text.split_once("\r\n\r\n").context("not an answer")?;
    Ok(body.trim().to_owned())
}
