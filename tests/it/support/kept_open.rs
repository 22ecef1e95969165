//! A server that keeps its connections open and counts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct KeptOpen {
    address: SocketAddr,
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl KeptOpen {
    /// Answers every request with 200 and this body.
    pub(crate) async fn start(body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (made, open) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (making, opening) = (Arc::clone(&made), Arc::clone(&open));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                making.fetch_add(1, Ordering::SeqCst);
                opening.fetch_add(1, Ordering::SeqCst);
                let opening = Arc::clone(&opening);
                tokio::spawn(async move {
                    // A client that hangs up is what is waited for.
                    let _ = serve(stream, body).await;
                    opening.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            made,
            open,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for KeptOpen {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, behind)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if behind.len() >= length {
                bytes.clear();
                stream.write_all(answer.as_bytes()).await?;
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}
