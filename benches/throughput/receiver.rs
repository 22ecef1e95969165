//! Webhooks at as many origins as there are: raw sockets, because a server that costs as much as the daemon would be what is
//! measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobtrackd::simulator::quick::read;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// Memory for a request to begin with.
const USUAL: usize = 64 << 10;

/// Listens at one port per webhook and answers 204.
pub(crate) struct Receivers {
    pub(crate) addresses: Vec<SocketAddr>,
    counted: Arc<Counted>,
}

#[derive(Default)]
struct Counted {
    requests: AtomicU64,
    /// When the first and the latest of them came.
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Receivers {
    /// Each answer takes so long; `None`: it never comes.
    pub(crate) async fn start(webhooks: usize, latency: Option<Duration>) -> anyhow::Result<Self> {
        let counted = Arc::new(Counted::default());
        let mut addresses = Vec::new();
        for _ in 0..webhooks {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?);
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let counted = Arc::clone(&counted);
                    // A connection that breaks is the client's to deal with.
                    tokio::spawn(async move { drop(serve(stream, latency, &counted).await) });
                }
            });
        }
        Ok(Self { addresses, counted })
    }

    /// Forgets what came.
    pub(crate) fn clear(&self) {
        self.counted.requests.store(0, Ordering::Relaxed);
        *self.counted.span.lock() = None;
    }

    /// Waits until so many requests have come, and says how long that took from the first one on, in seconds.
    pub(crate) async fn got(&self, requests: u64) -> anyhow::Result<f64> {
        let begun = Instant::now();
        while self.counted.requests.load(Ordering::Relaxed) < requests {
            anyhow::ensure!(
                begun.elapsed() < Duration::from_secs(90),
                "{} of {requests} requests have come",
                self.counted.requests.load(Ordering::Relaxed)
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let span = *self.counted.span.lock();
        Ok(span.map_or(0.0, |(first, last)| (last - first).as_secs_f64()))
    }
}

impl Counted {
    fn arrived(&self, now: Instant) {
        let mut span = self.span.lock();
        *span = Some(span.map_or((now, now), |(first, _)| (first, now)));
    }
}

async fn serve(
    mut stream: TcpStream,
    latency: Option<Duration>,
    counted: &Counted,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = Vec::with_capacity(USUAL);
    while read(&mut stream, &mut request).await?.is_some() {
        match latency {
            None => std::future::pending::<()>().await,
            Some(Duration::ZERO) => {}
            Some(latency) => tokio::time::sleep(latency).await,
        }
        counted.arrived(Instant::now());
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        counted.requests.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
