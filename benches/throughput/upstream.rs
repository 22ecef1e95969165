//! The API that is polled: the smallest HTTP/1.1 server there can be, so that what is measured is the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jobtrackd::simulator::quick::{answer, job};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Longest head of a request.
const MAX_HEAD: usize = 8 << 10;

/// A request: the id of the job, and when it came.
pub(crate) type Seen = (String, Instant);

/// Answers every `GET /jobs/ID` with a job that never changes.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    answered: Arc<AtomicU64>,
}

impl Upstream {
    /// Listens at a free port. `seen` gets each request.
    pub(crate) async fn start(seen: Option<mpsc::UnboundedSender<Seen>>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let answered = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&answered);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (counter, seen) = (Arc::clone(&counter), seen.clone());
                // A connection that breaks is the client's to deal with.
                tokio::spawn(async move { drop(serve(stream, &counter, seen).await) });
            }
        });
        Ok(Self { address, answered })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut stream: TcpStream,
    answered: &AtomicU64,
    seen: Option<mpsc::UnboundedSender<Seen>>,
) -> std::io::Result<()> {
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
        if let Some(seen) = &seen {
            // Nobody listens any more once the measurement is over.
            let _ = seen.send((id.to_owned(), Instant::now()));
        }
        let job = job(id, "in-progress", "pending");
        stream.write_all(answer(&job).as_bytes()).await?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
