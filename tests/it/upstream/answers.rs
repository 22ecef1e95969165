//! What each answer of a job's URL means.

use std::time::Duration;

use jobtrackd::core::poll::{MAX_BODY, PollOutcome, Trouble, TroubleClass};
use jobtrackd::upstream::Auth;

use super::server::{Reply, Server, envelope, reply};
use super::{client, client_of, poll, settings};

async fn outcome_of(script: impl Fn() -> Reply + Send + Sync + 'static) -> PollOutcome {
    let server = Server::start(move |_| script()).await;
    let poll = poll(&client_of(&server, Auth::None)).await;
    assert_eq!(poll.requests, 1);
    poll.outcome
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
async fn an_answer_about_the_job_is_no_trouble() {
    let answered = |body: &str| PollOutcome::Answered {
        body: body.to_owned(),
    };
    assert_outcome(200, "", r#"{"id":"61723"}"#, answered(r#"{"id":"61723"}"#)).await;
    assert_outcome(202, "", "ä", answered("ä")).await;
    assert_outcome(204, "", "", answered("")).await;
    assert_outcome(404, "", "", PollOutcome::Gone { status: 404 }).await;
    assert_outcome(410, "", "<html>", PollOutcome::Gone { status: 410 }).await;
    let detail = "HTTP 400, parameter-not-valid: Job ID\\nvalue".to_owned();
    let body = envelope("parameter-not-valid", "Job ID\\nvalue");
    assert_outcome(400, "", &body, PollOutcome::Rejected { detail }).await;
    let detail = "HTTP 403, forbidden-access: Forbidden".to_owned();
    let body = envelope("forbidden-access", "Forbidden");
    assert_outcome(403, "", &body, PollOutcome::Forbidden { detail }).await;
    let detail = "HTTP 401".to_owned();
    assert_outcome(401, "", "", PollOutcome::CredentialsRefused { detail }).await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_poll_knows_how_long_to_wait() {
    for (status, headers, seconds) in [
        (429, "", None),
        (429, "retry-after: 7\r\n", Some(7)),
        (
            429,
            "retry-after: Sun, 06 Nov 1994 08:51:37 GMT\r\n",
            Some(120),
        ),
        (
            429,
            "retry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n",
            Some(0),
        ),
        (429, "retry-after: 99999999999999999999\r\n", Some(86_400)),
        (429, "retry-after: -1\r\n", None),
        (429, "retry-after: \u{fffd}\r\n", None),
        (503, "retry-after: 5\r\n", Some(5)),
    ] {
        let retry_after = seconds.map(Duration::from_secs);
        assert_outcome(
            status,
            headers,
            "",
            PollOutcome::Throttled {
                status,
                retry_after,
            },
        )
        .await;
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
    let whole = |size| move || reply(200, "", "x".repeat(size));
    let chunked = |size: usize| {
        move || {
            let chunks: Vec<u8> = "x"
                .repeat(size)
                .as_bytes()
                .chunks(60_000)
                .flat_map(chunk)
                .collect();
            Reply::Bytes([CHUNKED.as_bytes(), &chunks, b"0\r\n\r\n"].concat())
        }
    };
    for outcome in [
        outcome_of(whole(MAX_BODY)).await,
        outcome_of(chunked(MAX_BODY)).await,
    ] {
        let PollOutcome::Answered { body } = outcome else {
            panic!("not answered");
        };
        assert_eq!(body.len(), MAX_BODY);
    }
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
    let gone = outcome_of(endless("404 Not Found")).await;
    assert_eq!(gone, PollOutcome::Gone { status: 404 });
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

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_are_rubbish() {
    let compressed = || {
        reply(
            200,
            "content-encoding: gzip\r\n",
            [0x1f, 0x8b, 0x08, 0x00, 0xff],
        )
    };
    assert_eq!(trouble_of(compressed).await.class, TroubleClass::Rubbish);
    assert_eq!(
        trouble_of(|| reply(200, "", [0xc3, 0x28])).await.class,
        TroubleClass::Rubbish
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
    let gone = outcome_of_silence_after("HTTP/1.1 404 X\r\ncontent-length: 9\r\n\r\n").await;
    assert_eq!(gone, PollOutcome::Gone { status: 404 });
}

#[tokio::test(start_paused = true)]
async fn a_request_says_what_it_takes_and_who_it_is() {
    let server = Server::start(|_| reply(200, "", "{}")).await;
    let base = format!("{}/api/", server.url());
    poll(&client(&settings(&base, Auth::None))).await;
    let request = server.requests().remove(0);
    assert_eq!(request.line, "GET /api/jobs/61723");
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(
        request.header("user-agent"),
        Some(concat!("jobtrackd/", env!("CARGO_PKG_VERSION")))
    );
    for absent in ["authorization", "accept-encoding", "referer", "cookie"] {
        assert_eq!(request.header(absent), None);
    }
}
