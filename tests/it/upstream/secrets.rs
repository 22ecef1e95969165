//! Keys and tokens go to the upstream's origin, and nowhere else: not to other servers, not into texts, not into logs.

use std::io::Write;
use std::sync::{Arc, Mutex};

use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::{PollOutcome, TroubleClass};
use jobtrackd::upstream::Auth;
use tracing_subscriber::fmt::MakeWriter;
use url::Url;

use super::server::{Reply, Server, granted, reply};
use super::{basiq, client_of, poll, poll_many};

const KEY: &str = "canary-key-5f2a";
const TOKEN: &str = "canary-token-91bc";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
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
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn logged(level: tracing::Level) -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

fn assert_clean(text: &str) {
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_port_is_not_followed() {
    let other = Server::start(|_| reply(200, "", "{}")).await;
    let location = format!("location: {}/x?t={TOKEN}\r\n", other.url());
    let server = Server::start(move |request| match request.line.as_str() {
        "POST /token" => granted(TOKEN, 3600),
        _ => reply(307, &location, ""),
    })
    .await;
    let PollOutcome::Trouble(trouble) = poll(&client_of(&server, basiq(KEY))).await.outcome else {
        panic!("no trouble");
    };
    assert_eq!(trouble.class, TroubleClass::Redirect);
    assert_eq!(
        trouble.detail,
        format!("HTTP 307, a redirect to {}/x, not followed", other.url())
    );
    assert!(other.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_redirected_token_request_gives_the_key_to_nobody() {
    let other = Server::start(|_| granted(TOKEN, 3600)).await;
    let location = format!("location: {}/token\r\n", other.url());
    let server = Server::start(move |_| reply(308, &location, "")).await;
    let poll = poll(&client_of(&server, basiq(KEY))).await;
    assert!(
        matches!(poll.outcome, PollOutcome::NotSent { .. }),
        "{:?}",
        poll.outcome
    );
    assert!(other.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_url_of_another_origin_is_never_requested() {
    let other = Server::start(|_| reply(200, "", "{}")).await;
    let server = Server::start(|_| granted(TOKEN, 3600)).await;
    let upstream = client_of(&server, basiq(KEY));
    let id = JobId::parse("1").unwrap();
    assert!(
        upstream
            .target(&id, Some(&format!("{}/jobs/1", other.url())))
            .is_err()
    );
    let poll = upstream.poll(&Url::parse(&other.url()).unwrap()).await;
    assert!(matches!(poll.outcome, PollOutcome::Rejected { .. }));
    assert_eq!(poll.requests, 0);
    assert!(other.requests().is_empty() && server.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_echoes_our_secrets_does_not_get_them_into_texts_or_logs() {
    let (log, _guard) = logged(tracing::Level::TRACE);
    let echo = format!(
        r#"{{"data":[{{"code":"{TOKEN}","title":"key {KEY} token {TOKEN}","detail":"{KEY}{TOKEN}"}}]}}"#
    );
    for status in [400, 401, 403, 404, 429, 500, 503] {
        let (at_token, at_job) = (echo.replace(TOKEN, "-"), echo.replace(KEY, "-"));
        let refusing = Server::start(move |_| reply(status, "", &at_token)).await;
        let granting = Server::start(move |request| match request.line.as_str() {
            "POST /token" => granted(TOKEN, 3600),
            _ => reply(status, "", &at_job),
        })
        .await;
        for server in [&refusing, &granting] {
            let upstream = client_of(server, basiq(KEY));
            for _ in 0..4 {
                assert_clean(&format!("{:?}", poll(&upstream).await));
            }
            assert_clean(&format!("{upstream:?} {:?}", upstream.gate().degraded()));
            assert_clean(&format!("{:?}", upstream.check().await));
        }
        let bearer = client_of(
            &granting,
            Auth::Bearer {
                token: TOKEN.to_owned().into(),
            },
        );
        assert_clean(&format!("{:?} {bearer:?}", poll(&bearer).await));
    }
    let broken = Server::start(|request| match request.line.as_str() {
        "POST /token" => granted(TOKEN, 3600),
        _ => Reply::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".into()),
    })
    .await;
    assert_clean(&format!(
        "{:?}",
        poll(&client_of(&broken, basiq(KEY))).await
    ));
    assert_clean(&log.text());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_no_header_can_hold_is_refused_without_being_shown() {
    for key in ["", "canary\nx", "canary\0"] {
        for auth in [
            basiq(key),
            Auth::Bearer {
                token: key.to_owned().into(),
            },
        ] {
            let settings = super::settings("http://127.0.0.1:1", auth);
            let clock = jobtrackd::clock::Clock::system();
            let error = jobtrackd::upstream::Upstream::new(
                &settings,
                clock,
                jobtrackd::clock::Jitter::seeded(1),
            );
            assert_clean(&format!("{:?} {settings:?}", error.unwrap_err()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_once_of_a_pause_and_once_of_its_end() {
    let (log, _guard) = logged(tracing::Level::INFO);
    let throttled = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let answer = Arc::clone(&throttled);
    let server = Server::start(
        move |_| match answer.load(std::sync::atomic::Ordering::SeqCst) {
            true => reply(429, "retry-after: 60\r\n", ""),
            false => reply(200, "", "{}"),
        },
    )
    .await;
    let upstream = client_of(&server, Auth::None);
    poll_many(&upstream, 10).await;
    tokio::time::sleep(std::time::Duration::from_secs(70)).await;
    poll_many(&upstream, 10).await;
    throttled.store(false, std::sync::atomic::Ordering::SeqCst);
    tokio::time::sleep(std::time::Duration::from_secs(70)).await;
    poll_many(&upstream, 10).await;
    let text = log.text();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("jobtrackd"))
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].contains("error=HTTP 429") && lines[0].contains("retry_in_ms=6"),
        "{text}"
    );
    assert!(lines[1].contains("polls are answered again"), "{text}");
}
