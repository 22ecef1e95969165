//! What is kept of an answer, and that nothing in it can change what its status has decided.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobtrackd::core::answer::{Answer, Cut, MAX_ANSWER};
use jobtrackd::core::delivery::{AttemptResult, Directive};
use jobtrackd::webhook::{CustomHeader, WebhookSettings};

use super::{OK, TIMEOUT, refused, reply_of, send, settings};
use crate::support::hostile::{Receiver, Reply};

const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\n";

fn kept(text: &str, cut: Option<Cut>) -> Option<Answer> {
    let text = text.to_owned();
    Some(Answer { text, cut })
}

#[tokio::test(start_paused = true)]
async fn the_beginning_of_every_answer_is_kept_and_says_why_it_is_not_all() {
    let long = "x".repeat(MAX_ANSWER);
    let cases = [
        (
            Reply::Whole(format!("{OK}content-length: 5\r\n\r\nthank")),
            kept("thank", None),
        ),
        (Reply::Whole(format!("{OK}content-length: 0\r\n\r\n")), None),
        (
            Reply::Flood(format!("{OK}content-length: 999999\r\n\r\n"), 999_999),
            kept(&long, Some(Cut::TooLarge)),
        ),
        (
            Reply::Flood(format!("{BAD}connection: close\r\n\r\n"), 10 << 20),
            kept(&long, Some(Cut::TooLarge)),
        ),
        (
            Reply::Reset(format!("{OK}content-length: 99\r\n\r\n")),
            kept("", Some(Cut::Broken)),
        ),
        (
            Reply::Drip(format!("{OK}content-length: 99\r\n\r\nslow ")),
            kept("slow xxxxxxxxxxxxxx", Some(Cut::TooSlow)),
        ),
    ];
    for (reply, expected) in cases {
        let report = reply_of(reply.clone()).await;
        assert_eq!(report.answer, expected, "{reply:?}");
        assert!(report.duration <= TIMEOUT + Duration::from_millis(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_drips_is_too_slow_and_a_redirect_stays_one() {
    let slow = Reply::Drip(format!("{BAD}content-length: 99\r\n\r\n"));
    let result = reply_of(slow).await.result;
    assert_eq!(result.class(), Some("too_slow"));
    assert_eq!(
        result.error().unwrap(),
        "too_slow: 500 Internal Server Error, and the answer did not end in time"
    );
    assert_eq!(result.status(), Some(500));
    let away = "HTTP/1.1 302 Found\r\nlocation: https://new.example/\r\ncontent-length: 99\r\n\r\n";
    let result = reply_of(Reply::Drip(away.to_owned())).await.result;
    assert_eq!(result.class(), Some("redirect"));
    let throttled = "HTTP/1.1 429 Slow\r\nretry-after: 7\r\ncontent-length: 99\r\n\r\n";
    let result = reply_of(Reply::Drip(throttled.to_owned())).await.result;
    assert_eq!(result.class(), Some("throttled"));
}

#[tokio::test(start_paused = true)]
async fn a_compressed_answer_is_not_unpacked_and_not_kept() {
    // A gzip stream that would unpack to a megabyte; what stands in it does not matter, since nobody looks.
    let bomb = "\u{1f}\u{8b}".repeat(500);
    for encoding in ["gzip", "br", "anything"] {
        let head = format!(
            "content-encoding: {encoding}\r\ncontent-length: {}",
            bomb.len()
        );
        let report = reply_of(Reply::Whole(format!("{OK}{head}\r\n\r\n{bomb}"))).await;
        assert_eq!(report.result, AttemptResult::Delivered { status: 200 });
        assert_eq!(report.answer, kept("(compressed; not kept)", None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_we_sent_as_secrets_is_not_kept_in_whatever_form_it_comes_back() {
    for (body, expected) in [
        (
            "x-key: header/canary, token=query%2Fcanary, id evt_1, ok=1",
            "x-key: ***, token=***, id evt_1, ok=1",
        ),
        ("invalid token auth+canary", "invalid token ***"),
        ("no Bearer at all", "no Bearer at all"),
        (r#"{"got":"header\/canary"}"#, r#"{"got":"***"}"#),
        (
            r#"{"got":"query/canary \u0061uth\u002bcanary"}"#,
            r#"{"got":"*** ***"}"#,
        ),
        ("no such hook T0Pabcdef0123456789", "no such hook ***"),
        (
            "/hook/T0Pabcdef0123456789?token=query%2fcanary",
            "/hook/***?token=***",
        ),
        // BASE64("Bearer auth+canary")
        ("QmVhcmVyIGF1dGgrY2FuYXJ5", "***"),
    ] {
        let reply = format!("{BAD}content-length: {}\r\n\r\n{body}", body.len());
        let report = send(&secretive(&Receiver::start(Reply::Whole(reply)).await)).await;
        assert_eq!(report.answer, kept(expected, None), "{body}");
    }
    let broken = Reply::Reset(format!("{BAD}content-length: 99\r\n\r\nno auth%2Bcan"));
    let report = send(&secretive(&Receiver::start(broken).await)).await;
    assert!(!format!("{report:?}").contains("can"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn signing_secrets_are_not_kept_in_whatever_form_a_receiver_shows_them() {
    for secret in crate::webhook::SECRETS {
        let text = secret.trim_start_matches("whsec_");
        let bytes = STANDARD.decode(text).unwrap();
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for shown in [
            secret.to_owned(),
            format!("{{\"WEBHOOK_SECRET\":\"{}\"}}", secret.replace('/', "\\/")),
            text.trim_end_matches('=')
                .replace('+', "-")
                .replace('/', "_"),
            text.replace('+', "%2B")
                .replace('/', "%2F")
                .replace('=', "%3D"),
            digits,
        ] {
            let reply = format!("{BAD}content-length: {}\r\n\r\n{shown}", shown.len());
            let webhook = settings(&Receiver::start(Reply::Whole(reply)).await.url());
            let answer = send(&webhook).await.answer.unwrap().text;
            assert!(answer.contains("***"), "{answer}");
            let left = answer.split("***").map(str::len).max();
            assert!(
                left <= Some("{\"WEBHOOK_SECRET\":\"whsec_".len()),
                "{answer}"
            );
            assert!(!answer.contains(&text[8..16]), "{answer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_we_sent_as_secrets_is_not_kept_when_a_redirect_names_it() {
    let away = "HTTP/1.1 302 Found\r\nlocation: https://t0pabcdef0123456789.example/auth+canary\r\ncontent-length: 0\r\n\r\n";
    let mut webhook = secretive(&Receiver::start(Reply::Whole(away.to_owned())).await);
    let header = CustomHeader::parse("x-name", "t0pabcdef0123456789").unwrap();
    webhook.headers.push(header);
    let error = send(&webhook).await.result.error().unwrap();
    assert_eq!(
        error,
        "redirect: Found, which is not followed, to https://***.example"
    );
}

/// A webhook with secrets in its URL and its headers.
fn secretive(receiver: &Receiver) -> WebhookSettings {
    let place = "hook/T0Pabcdef0123456789?token=query%2Fcanary&v=1";
    let mut webhook = settings(&format!("http://{}/{place}", receiver.address));
    for (name, value) in [
        ("x-key", "header/canary"),
        ("authorization", "Bearer auth+canary"),
    ] {
        webhook
            .headers
            .push(CustomHeader::parse(name, value).unwrap());
    }
    webhook
}

#[tokio::test(start_paused = true)]
async fn wishes_are_heard_at_any_status_and_unknown_ones_are_none() {
    for (value, directive) in [
        ("disable", Some(Directive::Disable)),
        ("abort-message", Some(Directive::AbortMessage)),
        ("abort", None),
        ("", None),
    ] {
        for status in ["200 OK", "500 Internal Server Error"] {
            let header = format!("webhook-delivery: {value}\r\n");
            let receiver = Receiver::answering(status, &header).await;
            let report = send(&settings(&receiver.url())).await;
            assert_eq!(report.directive, directive, "{status} {value}");
        }
    }
    let refusal = reply_of(Reply::Whole(format!("{BAD}content-length: 0\r\n\r\n"))).await;
    assert_eq!(refusal.result, refused(500, "Internal Server Error"));
    assert_eq!(refusal.directive, None);
}
