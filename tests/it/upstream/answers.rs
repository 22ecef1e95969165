//! What each answer of a job's URL means.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jobtrackd::core::etag::Etag;
use jobtrackd::core::poll::{MAX_BODY, Poll, PollOutcome, Trouble, TroubleClass};
use jobtrackd::upstream::{Auth, PollRequest};
use reqwest::header::{ETAG, HeaderMap, HeaderValue};

use super::server::{JOB, Reply, Server, envelope, reply};
use super::{client, client_of, poll, settings};
use crate::support::kept_open::KeptOpen;

async fn poll_of(script: impl Fn() -> Reply + Send + Sync + 'static) -> Poll {
    let server = Server::start(move |_| script()).await;
    let poll = poll(&client_of(&server, Auth::None)).await;
    assert_eq!(poll.requests, 1);
    poll
}

async fn outcome_of(script: impl Fn() -> Reply + Send + Sync + 'static) -> PollOutcome {
    poll_of(script).await.outcome
}

/// The job's body as it was read.
async fn body_of(script: impl Fn() -> Reply + Send + Sync + 'static) -> String {
    match outcome_of(script).await {
        PollOutcome::Snapshot { snapshot, .. } => snapshot.body.unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn trouble_of(script: impl Fn() -> Reply + Send + Sync + 'static) -> Trouble {
    match outcome_of(script).await {
        PollOutcome::Trouble(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

fn trouble(class: TroubleClass, detail: &str) -> PollOutcome {
    PollOutcome::Trouble(Trouble {
        class,
        detail: detail.to_owned(),
    })
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn assert_outcome(status: u16, headers: &'static str, body: &str, expected: PollOutcome) {
    let body = body.to_owned();
    let outcome = outcome_of(move || reply(status, headers, &body)).await;
    assert_eq!(outcome, expected, "{status}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_the_job_is_not_trouble() {
    let body = r#"{"id":"61723","x":"ä"}"#;
    for status in [200, 202] {
        assert_eq!(body_of(move || reply(status, "", body)).await, body);
    }
    let gone = envelope("resource-not-found", "Not found");
    for status in [404, 410] {
        assert_outcome(status, "", &gone, PollOutcome::Gone { status }).await;
    }
    let detail = "HTTP 400, parameter-not-valid: Job ID\\nvalue".to_owned();
    let body = envelope("parameter-not-valid", "Job ID\\nvalue");
    assert_outcome(400, "", &body, PollOutcome::Rejected { detail }).await;
    let detail = "HTTP 403, forbidden-access: Forbidden".to_owned();
    let body = envelope("forbidden-access", "Forbidden");
    let status = 403;
    assert_outcome(403, "", &body, PollOutcome::Forbidden { status, detail }).await;
    let detail = "HTTP 401".to_owned();
    assert_outcome(401, "", "", PollOutcome::CredentialsRefused { detail }).await;
}

#[tokio::test(start_paused = true)]
async fn the_body_that_was_recorded_last_is_known_again_and_not_read() {
    let server = Server::start(|_| reply(200, "", JOB)).await;
    let upstream = client_of(&server, Auth::None);
    let id = jobtrackd::core::job::JobId::parse("1").unwrap();
    let url = upstream.target(&id, None).unwrap();
    let ask = async |known| {
        let request = PollRequest {
            url: &url,
            job: &id,
            expected: Some(&id),
            known,
            if_none_match: None,
        };
        upstream.poll(&request).await.outcome
    };
    let PollOutcome::Snapshot { hash, .. } = ask(None).await else {
        panic!("not seen");
    };
    assert_eq!(ask(Some(hash)).await, PollOutcome::Unchanged);
    assert!(matches!(
        ask(Some(!hash)).await,
        PollOutcome::Snapshot { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_304_is_an_answer_only_to_a_request_that_asked_with_a_tag() {
    let server = Server::start(|_| reply(304, "etag: \"1\"\r\nretry-after: 5\r\n", "")).await;
    let upstream = client_of(&server, Auth::None);
    let id = jobtrackd::core::job::JobId::parse("1").unwrap();
    let url = upstream.target(&id, None).unwrap();
    let headers = [(ETAG, HeaderValue::from_static("W/\"1\""))];
    let etag = Etag::of(200, &HeaderMap::from_iter(headers)).unwrap();
    for (known, if_none_match, expected, asked) in [
        (Some(1), Some(&etag), "answered", Some("W/\"1\"")),
        (Some(1), None, "redirect", None),
        (None, Some(&etag), "redirect", None),
    ] {
        let request = PollRequest {
            url: &url,
            job: &id,
            expected: Some(&id),
            known,
            if_none_match,
        };
        let poll = upstream.poll(&request).await;
        assert_eq!(poll.outcome.as_str(), expected);
        assert_eq!((poll.retry_after, poll.requests), (None, 1));
        let sent = server.requests().pop().unwrap();
        assert_eq!(sent.header("if-none-match"), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_with_a_status_that_would_end_a_job_is_trouble() {
    for (status, body) in [
        (404, ""),
        (404, "<html>404 Not Found nginx</html>"),
        (404, r#"{"message":"no Route matched with those values"}"#),
        (410, "<html>"),
        (400, "<html>400 Bad Request</html>"),
        (400, r#"{"data":[]}"#),
        (400, r#"{"data":[{"title":"no code"}]}"#),
    ] {
        let detail = format!("HTTP {status}");
        let outcome = outcome_of(move || reply(status, "", body)).await;
        let PollOutcome::Trouble(trouble) = outcome else {
            panic!("{status} {body}: {outcome:?}");
        };
        assert_eq!(trouble.class, TroubleClass::Foreign);
        assert!(trouble.detail.starts_with(&detail), "{}", trouble.detail);
        assert!(trouble.detail.ends_with("not in the API's own words"));
    }
    let body = envelope(
        "resource-not-found",
        "Route not found for this API version.",
    );
    let detail = "HTTP 404, resource-not-found: Route not found for this API version.";
    assert_outcome(404, "", &body, trouble(TroubleClass::Foreign, detail)).await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_poll_and_other_refusals_know_how_long_this_job_waits() {
    let limited = envelope("too-many-requests", "Query limit reached");
    let gone = envelope("resource-not-found", "Not found");
    let long = "retry-after: 99999999999999999999\r\n";
    for (status, headers, body, word, seconds) in [
        (429, "", "", "throttled", None),
        (429, "retry-after: 7\r\n", "", "throttled", Some(7)),
        (429, "retry-after: 4, 4\r\n", "", "throttled", Some(4)),
        (429, long, "", "throttled", Some(3600)),
        (429, "retry-after: -1\r\n", "", "throttled", None),
        (429, "retry-after: \u{fffd}\r\n", "", "throttled", None),
        (503, "retry-after: 5\r\n", "", "throttled", Some(5)),
        (
            403,
            "retry-after: 5\r\n",
            limited.as_str(),
            "throttled",
            Some(5),
        ),
        (403, "", limited.as_str(), "throttled", None),
        (403, "retry-after: 5\r\n", "", "forbidden", Some(5)),
        (
            401,
            "retry-after: 5\r\n",
            "",
            "credentials_refused",
            Some(5),
        ),
        (404, "retry-after: 5\r\n", gone.as_str(), "gone", Some(5)),
        (404, "retry-after: 5\r\n", "", "foreign", Some(5)),
        (418, "retry-after: 5\r\n", "", "status", Some(5)),
        (500, "retry-after: 5\r\n", "", "status", Some(5)),
        (302, "retry-after: 5\r\n", "", "redirect", None),
    ] {
        let body = body.to_owned();
        let poll = poll_of(move || reply(status, headers, &body)).await;
        let found = (poll.outcome.as_str(), poll.retry_after);
        let expected = (word, seconds.map(Duration::from_secs));
        assert_eq!(found, expected, "{status} {headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_status_is_trouble_with_what_the_api_says_of_it() {
    let said = envelope("e", "t");
    for (status, body, detail) in [
        (503, "", "HTTP 503"),
        (502, "<html>Bad Gateway</html>", "HTTP 502"),
        (500, said.as_str(), "HTTP 500, e: t"),
        (418, "", "HTTP 418"),
    ] {
        assert_outcome(status, "", body, trouble(TroubleClass::Status, detail)).await;
    }
    let detail = "HTTP 304, a redirect to nowhere, not followed";
    assert_outcome(304, "", "", trouble(TroubleClass::Redirect, detail)).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
    let job = |size: usize| format!("{JOB}{}", " ".repeat(size - JOB.len()));
    let whole = move |size| move || reply(200, "", job(size));
    let chunked = move |size: usize| {
        move || {
            let chunks: Vec<u8> = job(size)
                .as_bytes()
                .chunks(60_000)
                .flat_map(chunk)
                .collect();
            Reply::Bytes([CHUNKED.as_bytes(), &chunks, b"0\r\n\r\n"].concat())
        }
    };
    assert_eq!(body_of(whole(MAX_BODY)).await, JOB);
    assert_eq!(body_of(chunked(MAX_BODY)).await, JOB);
    for trouble in [
        trouble_of(whole(MAX_BODY + 1)).await,
        trouble_of(chunked(MAX_BODY + 1)).await,
    ] {
        assert_eq!(trouble.class, TroubleClass::TooLarge);
        assert_eq!(trouble.detail, "a body above 1024 KiB");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_an_end_is_cut_off_at_the_limit() {
    let endless = |status: &str| {
        let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n");
        move || Reply::Endless(head.clone().into_bytes(), chunk(&[b'x'; 10_000]))
    };
    assert_eq!(
        trouble_of(endless("200 OK")).await.class,
        TroubleClass::TooLarge
    );
    let foreign = trouble_of(endless("404 Not Found")).await;
    assert_eq!(foreign.class, TroubleClass::Foreign);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_broken_wherever_it_does() {
    for bytes in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf",
        CHUNKED,
        "no http at all\r\n\r\n",
    ] {
        let reset = trouble_of(move || Reply::Reset(bytes.into())).await;
        assert_eq!(
            reset.class,
            TroubleClass::Broken,
            "{bytes:?}: {}",
            reset.detail
        );
        let closed = trouble_of(move || Reply::Bytes(bytes.into())).await;
        assert_eq!(
            closed.class,
            TroubleClass::Broken,
            "{bytes:?}: {}",
            closed.detail
        );
    }
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_loose_on_the_wire_is_read_all_the_same() {
    for (headers, body, read) in [
        ("", b"\xef\xbb\xbf{\"type\":\"job\"}".to_vec(), JOB),
        ("content-encoding: gzip\r\n", packed(JOB.as_bytes()), JOB),
        ("", packed(b"\xef\xbb\xbf{\"type\":\"job\"}"), JOB),
        (
            "",
            b"{\"type\":\"job\",\"x\":\"M\xfcller \\ud83d\"}".to_vec(),
            r#"{"type":"job","x":"M\u{fffd}ller \ufffd"}"#,
        ),
    ] {
        let found = body_of(move || reply(200, headers, &body)).await;
        assert_eq!(found, read.replace("\\u{fffd}", "\u{fffd}"));
    }
    let body = packed(envelope("resource-not-found", "Not found").as_bytes());
    let gone = outcome_of(move || reply(404, "", &body)).await;
    assert_eq!(gone, PollOutcome::Gone { status: 404 });
}

#[tokio::test(start_paused = true)]
async fn what_is_compressed_stops_at_the_limit_and_is_unusable_when_broken() {
    let whole = format!("{JOB}{}", " ".repeat(MAX_BODY - JOB.len()));
    let (fits, beyond) = (
        packed(whole.as_bytes()),
        packed(format!("{whole} ").as_bytes()),
    );
    assert_eq!(body_of(move || reply(200, "", &fits)).await, JOB);
    let too_large = trouble_of(move || reply(200, "", &beyond)).await;
    assert_eq!(too_large.class, TroubleClass::TooLarge);
    let broken = || {
        reply(
            200,
            "content-encoding: gzip\r\n",
            [0x1f, 0x8b, 0x08, 0x00, 0xff],
        )
    };
    assert_eq!(trouble_of(broken).await.class, TroubleClass::Unusable);
    let other = || reply(200, "content-encoding: br\r\n", [0x8b, 0x02, 0x80]);
    assert_eq!(trouble_of(other).await.class, TroubleClass::Unusable);
    assert_eq!(
        trouble_of(|| reply(204, "", "")).await.class,
        TroubleClass::Unusable
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_listener_there_is_no_connection() {
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let PollOutcome::Trouble(trouble) = poll(&client(&settings(&closed, Auth::None))).await.outcome
    else {
        panic!("no trouble");
    };
    assert_eq!(trouble.class, TroubleClass::Connect);
    assert!(!trouble.detail.contains("61723"), "{}", trouble.detail);
}

/// Polls a server that falls silent after `bytes`, and lets `upstream.timeout` pass.
async fn outcome_of_silence_after(bytes: &'static str) -> PollOutcome {
    let server = Server::start(move |_| Reply::Hang(bytes.into())).await;
    let upstream = client_of(&server, Auth::None);
    let polling = tokio::spawn(async move { poll(&upstream).await });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        // The bytes are on their way through loopback; each turn lets both sides work.
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_millis(14_900)).await;
    assert!(!polling.is_finished());
    tokio::time::advance(Duration::from_millis(101)).await;
    polling.await.unwrap().outcome
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_end_in_time_is_a_timeout() {
    for bytes in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf",
    ] {
        assert_eq!(
            outcome_of_silence_after(bytes).await,
            trouble(TroubleClass::Timeout, "no complete answer within 15s")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_counts_even_when_its_body_does_not_end() {
    let throttled = outcome_of_silence_after("HTTP/1.1 429 X\r\ncontent-length: 9\r\n\r\n").await;
    assert_eq!(throttled, PollOutcome::Throttled { status: 429 });
}

#[tokio::test(start_paused = true)]
async fn a_request_says_what_it_takes_and_who_it_is() {
    let server = Server::start(|_| reply(200, "", JOB)).await;
    let base = format!("{}/api/", server.url());
    poll(&client(&settings(&base, Auth::None))).await;
    let request = server.requests().remove(0);
    assert_eq!(request.line, "GET /api/jobs/61723");
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(
        request.header("user-agent"),
        Some(concat!("jobtrackd/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    for absent in ["authorization", "referer", "cookie"] {
        assert_eq!(request.header(absent), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_is_replaced_after_five_minutes_so_that_another_address_is_found() {
    let server = KeptOpen::start(JOB).await;
    let upstream = client(&settings(&server.url(), Auth::None));
    let mut connections = Vec::new();
    for second in 0..=900_u64 {
        super::assert_read(&poll(&upstream).await);
        if second % 150 == 0 {
            connections.push(server.made());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(connections, [1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(server.open(), 1, "the old ones are closed");
}
