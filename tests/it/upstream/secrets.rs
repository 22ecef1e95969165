//! Keys and tokens go to the upstream's origin, and nowhere else: not to other servers, not into texts, not into logs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::{PollOutcome, TroubleClass};
use jobtrackd::upstream::AnswerMemory;
use serde_json::json;
use url::Url;

use super::log::logged;
use super::server::{JOB, Reply, Request, Server, granted, reply};
use super::{basic, basiq, bearer, client_of, header, oauth2, poll, poll_at};

const KEY: &str = "canary-key-5f2a";
const TOKEN: &str = "canary-token-91bc";

fn assert_clean(text: &str) {
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_port_is_not_followed() {
    let other = Server::start(|_| reply(200, "", JOB)).await;
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
async fn a_redirected_token_request_does_not_give_the_key_away() {
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
    let other = Server::start(|_| reply(200, "", JOB)).await;
    let server = Server::start(|_| granted(TOKEN, 3600)).await;
    let upstream = client_of(&server, basiq(KEY));
    let id = JobId::parse("1").unwrap();
    assert!(
        upstream
            .target(&id, Some(&format!("{}/jobs/1", other.url())))
            .is_err()
    );
    let poll = poll_at(&upstream, &id, &Url::parse(&other.url()).unwrap()).await;
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
        let bearer = client_of(&granting, bearer(TOKEN));
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
async fn a_key_that_no_header_can_hold_is_refused_without_being_printed() {
    for key in ["", "canary\nx", "canary\0"] {
        for auth in [basiq(key), bearer(key), header("x-api-key", key)] {
            let settings = super::settings("http://127.0.0.1:1", auth);
            let error = super::try_client(&settings, AnswerMemory::default());
            assert_clean(&format!("{:?} {settings:?}", error.unwrap_err()));
        }
    }
}

/// What a request was authorized with, in the forms in which an API could repeat it: as it was sent, and decoded.
fn repeated(request: &Request) -> String {
    let lines = request
        .head
        .lines()
        .filter_map(|line| line.split_once(": "));
    let keys = lines.filter(|(name, _)| ["authorization", "x-api-key"].contains(name));
    let forms = keys.flat_map(|(_, sent)| {
        let word = sent.rsplit(' ').next().unwrap();
        let decoded = STANDARD.decode(word).unwrap_or_default();
        [
            sent.to_owned(),
            String::from_utf8(decoded).unwrap_or_default(),
        ]
    });
    forms.collect::<Vec<_>>().join(" and ")
}

#[tokio::test(start_paused = true)]
async fn neither_login_nor_key_nor_client_secret_comes_back_into_texts_or_logs() {
    let (log, _guard) = logged(tracing::Level::TRACE);
    let password = format!("{KEY} p\u{e4}ss:word");
    let client_secret = format!("{KEY}+/");
    for status in [400, 401, 403, 404, 429, 500, 503] {
        for (secret, grants) in [
            (&password, false),
            (&client_secret, false),
            (&client_secret, true),
        ] {
            let raw = secret.clone();
            let echoing = Server::start(move |request| {
                let said = format!("{} {raw}", repeated(request));
                let is_token = request.line == "POST /oauth2/token";
                let body = match is_token {
                    true if grants => return granted(TOKEN, 3600),
                    true => json!({"error": "invalid_client", "error_description": said}),
                    false if grants => json!({"data": [{"code": "x", "title": repeated(request)}]}),
                    false => json!({"data": [{"code": said, "title": said, "detail": said}]}),
                };
                reply(status, "", body.to_string())
            })
            .await;
            for auth in [
                basic(&format!("anna:{secret}")),
                basic(&format!("{KEY}:")),
                header("x-api-key", secret),
                oauth2(&echoing, secret, None),
            ] {
                assert_clean(&format!("{auth:?}"));
                let upstream = client_of(&echoing, auth);
                for _ in 0..4 {
                    assert_clean(&format!("{:?}", poll(&upstream).await));
                }
                assert_clean(&format!("{upstream:?} {:?}", upstream.gate().degraded()));
                assert_clean(&format!("{:?}", upstream.check().await));
            }
        }
    }
    assert_clean(&log.text());
}
