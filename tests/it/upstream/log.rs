//! What the log says of the upstream: the beginning and the end of trouble.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jobtrackd::upstream::Auth;
use parking_lot::Mutex;
use tokio::time::sleep;
use tracing_subscriber::fmt::MakeWriter;

use super::server::{JOB, Server, granted, reply};
use super::{basiq, client_of, poll, poll_many};

#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Our own lines.
    fn ours(&self) -> Vec<String> {
        let text = self.text();
        let ours = text.lines().filter(|line| line.contains("jobtrackd"));
        ours.map(str::to_owned).collect()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

pub(super) fn logged(level: tracing::Level) -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_logged_once_and_so_is_its_end() {
    let (log, _guard) = logged(tracing::Level::INFO);
    let throttled = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&throttled);
    let server = Server::start(move |_| match answer.load(Ordering::SeqCst) {
        true => reply(429, "retry-after: 60\r\n", ""),
        false => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, Auth::None);
    poll_many(&upstream, 10).await;
    sleep(Duration::from_secs(1)).await;
    poll_many(&upstream, 10).await;
    sleep(Duration::from_secs(70)).await;
    poll_many(&upstream, 10).await;
    throttled.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(70)).await;
    poll_many(&upstream, 10).await;
    let lines = log.ours();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for part in [
        "reason=\"throttled\"",
        "error=\"HTTP 429\"",
        "retry_in_ms=1000",
    ] {
        assert!(lines[0].contains(part), "{part}: {lines:#?}");
    }
    assert!(lines[1].contains("polls are answered again"), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_throttles_every_other_poll_for_an_hour_is_not_a_line_per_poll() {
    let (log, _guard) = logged(tracing::Level::INFO);
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => reply(429, "", ""),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, Auth::None);
    for _ in 0..360 {
        poll(&upstream).await;
        sleep(Duration::from_secs(10)).await;
    }
    let lines = log.ours();
    let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(count("the upstream throttles us"), 12, "{lines:#?}");
    assert_eq!(count("polls are answered again"), 12, "{lines:#?}");
    assert_eq!(lines.len(), 24, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_login_page_for_every_job_is_one_line_and_its_end_another() {
    let (log, _guard) = logged(tracing::Level::INFO);
    let page = Arc::new(AtomicBool::new(true));
    let answer = Arc::clone(&page);
    let server = Server::start(move |_| match answer.load(Ordering::SeqCst) {
        true => reply(200, "", "<!doctype html>"),
        false => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, Auth::None);
    for _ in 0..10 {
        poll_many(&upstream, 10).await;
        sleep(Duration::from_secs(60)).await;
    }
    assert!(upstream.gate().is_down());
    page.store(false, Ordering::SeqCst);
    poll_many(&upstream, 10).await;
    let lines = log.ours();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("the upstream gives no usable answers"));
    assert!(
        lines[0].contains("error=\"HTTP 200, but the answer is not JSON"),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("gives usable answers again"),
        "{lines:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_for_a_while_is_logged_once_and_so_is_its_renewal() {
    let (log, _guard) = logged(tracing::Level::INFO);
    let down = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&down);
    let server = Server::start(move |request| match request.line.as_str() {
        "POST /token" if failing.load(Ordering::SeqCst) => reply(502, "", ""),
        "POST /token" => granted("t", 3600),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    poll(&upstream).await;
    down.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(3301)).await;
    for _ in 0..10 {
        poll(&upstream).await;
        sleep(Duration::from_secs(20)).await;
    }
    assert!(server.count("POST /token") > 3);
    down.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    poll(&upstream).await;
    let lines = log.ours();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("the token cannot be renewed"));
    assert!(lines[1].contains("INFO") && lines[1].contains("the token was renewed"));
}
