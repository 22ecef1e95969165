//! The sender of webhooks against real sockets.

use std::time::Duration;

use bytes::Bytes;
use jobtrackd::clock::Clock;
use jobtrackd::core::answer::MAX_ANSWER;
use jobtrackd::core::delivery::{AttemptErrorClass, AttemptResult, WebhookName};
use jobtrackd::core::event::EventType;
use jobtrackd::core::signature::SigningKey;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::sockets::Sockets;
use jobtrackd::webhook::{AttemptReport, CustomHeader, Message, Sender, Trust, WebhookSettings};
use tokio::net::TcpListener;

use crate::support::hostile::{Receiver, Reply};

mod addresses;
mod answers;
mod tls;

const SECRETS: [&str; 2] = [
    "whsec_b2xkIGtleSBvZiAzMiBieXRlcyBmb3IgdGVzdHMuLi4=",
    "whsec_bmV3IGtleSBvZiAzMiBieXRlcyBmb3IgdGVzdHMuLi4=",
];

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: UnixMillis = UnixMillis(784_111_777_250);

const TIMEOUT: Duration = Duration::from_secs(15);

const OK: &str = "HTTP/1.1 200 OK\r\n";

fn settings(url: &str) -> WebhookSettings {
    WebhookSettings {
        name: WebhookName::new("billing"),
        url: Some(url.parse().unwrap()),
        keys: SECRETS.map(|s| SigningKey::parse(s).unwrap()).to_vec(),
        events: EventType::DEFAULT.to_vec(),
        timeout: TIMEOUT,
        max_in_flight: 8,
        retry: Vec::new(),
        allow_private: true,
        headers: Vec::new(),
        trust: Trust::default(),
        fallback: None,
    }
}

fn message() -> Message<'static> {
    Message {
        id: "evt_1",
        body: Bytes::from_static("{\"type\":\"job.failed\", \"data\" : \"ü\"}".as_bytes()),
        attempt: 1,
        is_replay: false,
    }
}

/// Makes one attempt in paused time.
async fn send(webhook: &WebhookSettings) -> AttemptReport {
    let sender = Sender::new(
        Clock::driven(NOW),
        std::slice::from_ref(webhook),
        Sockets::default(),
    )
    .unwrap();
    sender.send(webhook, &message()).await.unwrap()
}

async fn answer_of(status: &str, headers: &str) -> AttemptResult {
    let receiver = Receiver::answering(status, headers).await;
    send(&settings(&receiver.url())).await.result
}

async fn reply_of(reply: Reply) -> AttemptReport {
    let receiver = Receiver::start(reply).await;
    send(&settings(&receiver.url())).await
}

fn refused(status: u16, detail: &str) -> AttemptResult {
    AttemptResult::Refused {
        status,
        detail: detail.to_owned(),
        too_slow: false,
    }
}

/// The class and the detail of an attempt that brought no status.
fn unreachable(result: AttemptResult) -> (AttemptErrorClass, String) {
    match result {
        AttemptResult::Unreachable { class, detail } => {
            assert!(!detail.is_empty() && detail.chars().count() <= 201);
            assert!(!detail.contains("canary") && !detail.contains("hook"));
            (class, detail)
        }
        other => panic!("a status came: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn headers_of_the_operators_own_are_sent_beside_ours() {
    let receiver = Receiver::answering("204 No Content", "").await;
    let mut webhook = settings(&receiver.url());
    for (name, value) in [("X-Api-Key", "k1"), ("authorization", "Bearer t")] {
        webhook
            .headers
            .push(CustomHeader::parse(name, value).unwrap());
    }
    send(&webhook).await;
    let [request] = receiver.requests().try_into().unwrap();
    for (name, value) in [
        ("x-api-key", "k1"),
        ("authorization", "Bearer t"),
        ("webhook-id", "evt_1"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(request.headers[name], value);
    }
}

#[tokio::test]
async fn the_official_library_verifies_what_was_sent() {
    let receiver = Receiver::answering("204 No Content", "").await;
    let clock = Clock::system();
    let sender = Sender::new(clock.clone(), &[], Sockets::default()).unwrap();
    let before = clock.now();
    let report = sender
        .send(&settings(&receiver.url()), &message())
        .await
        .unwrap();
    assert_eq!(report.result, AttemptResult::Delivered { status: 204 });
    assert!(before <= report.started_at && report.started_at <= clock.now());

    let [request] = receiver.requests().try_into().unwrap();
    assert_eq!(request.body, message().body);
    for secret in SECRETS {
        let verifier = standardwebhooks::Webhook::new(secret).unwrap();
        verifier.verify(&request.body, &request.headers).unwrap();
    }
    let tampered = [&request.body[..], b" "].concat();
    let verifier = standardwebhooks::Webhook::new(SECRETS[0]).unwrap();
    verifier.verify(&tampered, &request.headers).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_the_documented_headers_and_no_others() {
    let receiver = Receiver::answering("200 OK", "").await;
    let report = send(&settings(&receiver.url())).await;
    assert_eq!(report.started_at, NOW);
    let [request] = receiver.requests().try_into().unwrap();
    assert_eq!(request.line, "POST /hook?token=canary HTTP/1.1");
    let mut names: Vec<&str> = request.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "webhook-attempt",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp"
        ]
    );
    let header = |name: &str| request.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("accept-encoding"), "identity");
    assert_eq!(header("webhook-id"), "evt_1");
    assert_eq!(header("webhook-timestamp"), "784111777");
    assert_eq!(header("webhook-attempt"), "1");
    assert_eq!(
        header("user-agent"),
        concat!("jobtrackd/", env!("CARGO_PKG_VERSION"))
    );
    let signatures: Vec<&str> = header("webhook-signature").split(' ').collect();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|item| item.starts_with("v1,")));
}

#[tokio::test(start_paused = true)]
async fn every_class_of_status_has_its_result() {
    for status in [200, 201, 202, 299] {
        let result = answer_of(&format!("{status} Whatever"), "").await;
        assert_eq!(result, AttemptResult::Delivered { status });
    }
    assert_eq!(answer_of("410 Gone", "").await, AttemptResult::Gone);
    let refusals = [
        (101, "Switching Protocols"),
        (304, "Not Modified"),
        (400, "Bad Request"),
        (404, "Not Found"),
        (429, "Too Many Requests"),
        (500, "Internal Server Error"),
        (503, "Service Unavailable"),
        (599, "a status without a registered name"),
    ];
    for (status, detail) in refusals {
        let result = answer_of(&format!("{status} canary"), "").await;
        assert_eq!(result, refused(status, detail));
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_heard_in_seconds_and_as_a_date_on_429_and_503_only() {
    let throttled = |status, seconds| AttemptResult::Throttled {
        status,
        retry_after: Duration::from_secs(seconds),
    };
    let seconds = answer_of("429 Slow", "retry-after: 120\r\n").await;
    assert_eq!(seconds, throttled(429, 120));
    let absurd = answer_of("503 Busy", "Retry-After: 99999999999\r\n").await;
    assert_eq!(absurd, throttled(503, 86_400));
    let date = "retry-after: Sun, 06 Nov 1994 08:51:37 GMT\r\n";
    let AttemptResult::Throttled { retry_after, .. } = answer_of("503 Busy", date).await else {
        panic!("a date is a Retry-After too")
    };
    // The clock stands at a quarter past the second.
    assert_eq!(retry_after, Duration::from_millis(119_750));
    let past = "retry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n";
    assert_eq!(answer_of("429 Slow", past).await, throttled(429, 0));
    assert_eq!(
        answer_of("429 Slow", "retry-after: soon\r\n").await,
        refused(429, "Too Many Requests")
    );
    assert_eq!(
        answer_of("500 Broken", "retry-after: 120\r\n").await,
        refused(500, "Internal Server Error")
    );
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_a_refusal_that_names_where_it_pointed_and_is_not_followed() {
    let other = Receiver::answering("200 OK", "").await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}\r\n", other.url());
        let AttemptResult::Refused {
            status: got,
            detail,
            ..
        } = answer_of(&format!("{status} Moved"), &location).await
        else {
            panic!("{status} is no success")
        };
        assert_eq!(got, status);
        assert!(detail.ends_with(" to http://127.0.0.1"), "{detail}");
    }
    assert_eq!(other.connections(), 0);
    assert_eq!(
        answer_of(
            "302 Found",
            "location: https://new.example/a?key=canary\r\n"
        )
        .await,
        refused(302, "Found, which is not followed, to https://new.example")
    );
    assert_eq!(
        answer_of("302 Found", "location: javascript:canary\r\n").await,
        refused(302, "Found")
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_after_the_status_ends_at_the_deadline_as_delivered() {
    let report = reply_of(Reply::Drip(format!("{OK}content-length: 9999\r\n\r\n"))).await;
    assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
    assert!(
        report.duration <= TIMEOUT + Duration::from_millis(2),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_or_cannot_be_read_changes_nothing() {
    let replies = [
        Reply::Reset(format!("{OK}content-length: 9999\r\n\r\nabc")),
        Reply::Whole(format!(
            "{OK}transfer-encoding: chunked\r\n\r\nno chunk\r\n"
        )),
        Reply::Reset(format!("{OK}content-encoding: gzip\r\n\r\nno gzip")),
    ];
    for reply in replies {
        let report = reply_of(reply).await;
        assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
    }
    let broken = Reply::Reset("HTTP/1.1 500 No\r\ncontent-length: 9\r\n\r\n".into());
    assert_eq!(
        reply_of(broken).await.result,
        refused(500, "Internal Server Error")
    );
}

#[tokio::test(start_paused = true)]
async fn a_huge_body_is_not_read() {
    const HUGE: usize = 10 << 20;
    let announced = Reply::Flood(format!("{OK}content-length: {HUGE}\r\n\r\n"), HUGE);
    let endless = Reply::Flood(format!("{OK}connection: close\r\n\r\n"), HUGE);
    for reply in [announced, endless] {
        let mut receiver = Receiver::start(reply).await;
        let report = send(&settings(&receiver.url())).await;
        assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
        let ending = receiver.ending().await;
        assert!(ending.cut && ending.written < HUGE, "{ending:?}");
        assert_eq!(report.duration, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_after_a_body_within_the_limit_only() {
    for (length, connections) in [(MAX_ANSWER, 1), (1 << 20, 2)] {
        let body = "x".repeat(length);
        let text = format!("{OK}content-length: {length}\r\n\r\n{body}");
        let receiver = Receiver::start(Reply::Whole(text)).await;
        let sender = Sender::new(Clock::driven(NOW), &[], Sockets::default()).unwrap();
        let webhook = settings(&receiver.url());
        sender.send(&webhook, &message()).await.unwrap();
        let (clone, same) = (sender.clone(), webhook.clone());
        tokio::spawn(async move { clone.send(&same, &message()).await })
            .await
            .unwrap()
            .unwrap();
        let last = receiver.requests().pop().unwrap();
        assert_eq!(last.connection, connections, "{length} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_the_receiver_closes_costs_no_attempt() {
    let reply = Reply::Reset(format!("{OK}content-length: 0\r\n\r\n"));
    let mut receiver = Receiver::start(reply).await;
    let sender = Sender::new(Clock::driven(NOW), &[], Sockets::default()).unwrap();
    let webhook = settings(&receiver.url());
    for connection in 1..=3 {
        let report = sender.send(&webhook, &message()).await.unwrap();
        assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
        receiver.ending().await;
        assert_eq!(receiver.connections(), connection);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let report = send(&settings(&format!("http://{address}/hook"))).await;
    let (class, detail) = unreachable(report.result);
    assert_eq!(class, AttemptErrorClass::Connect);
    assert!(detail.starts_with("Connection refused"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_the_status_is_an_http_error() {
    let (class, _) = unreachable(reply_of(Reply::Reset(String::new())).await.result);
    assert_eq!(class, AttemptErrorClass::Http);
    let half = Reply::Reset("HTTP/1.1 20".into());
    let (class, _) = unreachable(reply_of(half).await.result);
    assert_eq!(class, AttemptErrorClass::Http);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_http_is_an_http_error() {
    let garbage = Reply::Whole("SSH-2.0-canary\r\n\r\n".into());
    let (class, detail) = unreachable(reply_of(garbage).await.result);
    assert_eq!(class, AttemptErrorClass::Http);
    assert_eq!(detail, "invalid HTTP version parsed");
    let endless = Reply::Flood(format!("{OK}x: "), 10 << 20);
    let (class, _) = unreachable(reply_of(endless).await.result);
    assert_eq!(class, AttemptErrorClass::Http);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_or_drips_its_headers_is_left_at_the_deadline() {
    for reply in [Reply::Hang, Reply::Drip(format!("{OK}x-slow: "))] {
        let report = reply_of(reply).await;
        assert_eq!(
            unreachable(report.result),
            (AttemptErrorClass::Timeout, "no status within 15s".into())
        );
        assert!(report.duration >= TIMEOUT);
        assert!(report.duration <= TIMEOUT + Duration::from_millis(2));
    }
}
