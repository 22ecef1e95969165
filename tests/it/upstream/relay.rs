//! Answers to challenges over the wire: whose token they go with, that they go once, and that the API's word comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::TroubleClass;
use jobtrackd::core::user::UserId;
use jobtrackd::upstream::{Auth, NotRelayed, Relayed, TokenTrouble, Upstream};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::server::{Reply, Request, Server, envelope, granted, reply};
use super::{basiq, client_of, poll};

const BODY: &str = r#"{"mfa-response":["1234"]}"#;
const CLIENT: &str = "scope=CLIENT_ACCESS&userId=";

fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

fn job() -> JobId {
    JobId::parse("7").unwrap()
}

async fn relay(upstream: &Upstream, id: Option<&str>) -> Result<Relayed, NotRelayed> {
    let id = id.map(user);
    let body = || Zeroizing::new(BODY.as_bytes().to_vec());
    let link = "/jobs/7/mfa";
    upstream.relay(&job(), link, id.as_ref(), body).await
}

/// Grants each kind of token once more each time it is asked for: `SERVER_ACCESS-1`, `u1-1`, `u1-2` …
async fn granting(job: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request| {
        if request.line == "POST /token" {
            let kind = request.body.rsplit('=').next().unwrap();
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            granted(&format!("{kind}-{number}"), 3600)
        } else {
            job(request)
        }
    })
    .await
}

fn taken(_: &Request) -> Reply {
    reply(202, "", r#"{"type":"job","id":"7"}"#)
}

/// The requests so far, without those for tokens: line, token and body.
fn sent(server: &Server) -> Vec<(String, String, String)> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.line != "POST /token")
        .map(|request| {
            let token = request.header("authorization").unwrap_or("-").to_owned();
            (request.line, token, request.body)
        })
        .collect()
}

/// The forms that tokens were asked for with.
fn forms(server: &Server) -> Vec<String> {
    let requests = server.requests().into_iter();
    let asked = requests.filter(|request| request.line == "POST /token");
    asked.map(|request| request.body).collect()
}

#[tokio::test(start_paused = true)]
async fn answers_of_one_user_share_a_token_and_nobody_else_has_it() {
    let server = granting(taken).await;
    let upstream = client_of(&server, basiq("a2V5"));
    let relays: Vec<_> = (0..20)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move { relay(&upstream, Some("u1")).await })
        })
        .collect();
    for each in relays {
        let relayed = each.await.unwrap().unwrap();
        assert_eq!(relayed.status, 202);
        assert_eq!(relayed.body, br#"{"type":"job","id":"7"}"#);
    }
    assert_eq!(forms(&server), [format!("{CLIENT}u1")]);
    let all = sent(&server);
    assert_eq!(all.len(), 20);
    for (line, token, body) in all {
        assert_eq!(
            (line.as_str(), token.as_str(), body.as_str()),
            ("POST /jobs/7/mfa", "Bearer u1-1", BODY)
        );
    }
    relay(&upstream, Some("u2")).await.unwrap();
    relay(&upstream, None).await.unwrap();
    poll(&upstream).await;
    relay(&upstream, Some("u1")).await.unwrap();
    let tokens: Vec<String> = sent(&server)
        .into_iter()
        .map(|(_, token, _)| token)
        .collect();
    assert_eq!(
        tokens[20..],
        [
            "Bearer u2-2",
            "Bearer SERVER_ACCESS-3",
            "Bearer SERVER_ACCESS-3",
            "Bearer u1-1"
        ]
    );
    let server_form = "scope=SERVER_ACCESS".to_owned();
    assert_eq!(
        forms(&server),
        [format!("{CLIENT}u1"), format!("{CLIENT}u2"), server_form]
    );
    let request = server.requests().pop().unwrap();
    assert_eq!(request.header("content-type"), Some("application/json"));
    // Early: a fifth of its life, at most five minutes, before its end.
    sleep(Duration::from_secs(3301)).await;
    relay(&upstream, Some("u1")).await.unwrap();
    assert_eq!(forms(&server).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_of_a_user_is_replaced_once_and_then_the_refusal_comes_back() {
    for (status, code, title) in [
        (401, "unauthorized-access", "Unauthorized"),
        (403, "access-denied", "Token has expired"),
    ] {
        let server = granting(move |request| {
            if request.header("authorization") == Some("Bearer u1-1") {
                reply(status, "", envelope(code, title))
            } else {
                taken(request)
            }
        })
        .await;
        let upstream = client_of(&server, basiq("a2V5"));
        assert_eq!(relay(&upstream, Some("u1")).await.unwrap().status, 202);
        let all = sent(&server);
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|(_, _, body)| body == BODY), "{all:?}");
        assert_eq!(all[1].1, "Bearer u1-2");

        let body = envelope(code, title);
        let server = granting(move |_| reply(status, "", envelope(code, title))).await;
        let upstream = client_of(&server, basiq("a2V5"));
        let relayed = relay(&upstream, Some("u1")).await.unwrap();
        assert_eq!((relayed.status, relayed.body), (status, body.into_bytes()));
        assert_eq!(sent(&server).len(), 2);
    }
    // Forbidden for another reason: another token would not help.
    let server = granting(|_| reply(403, "", envelope("forbidden-access", "Forbidden"))).await;
    let upstream = client_of(&server, basiq("a2V5"));
    assert_eq!(relay(&upstream, Some("u1")).await.unwrap().status, 403);
    assert_eq!(sent(&server).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_token_requests_stop_all_of_them_and_a_users_refusal_only_that_users() {
    let server = Server::start(|request| match request.line.as_str() {
        "POST /token" if request.body.ends_with("busy") => {
            reply(403, "", envelope("request-not-valid", "Invalid request"))
        }
        "POST /token" if request.body.ends_with("unknown") => {
            reply(404, "", envelope("resource-not-found", "No such user"))
        }
        "POST /token" => granted("t", 3600),
        _ => taken(request),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    for _ in 0..2 {
        let Err(NotRelayed::Token(error)) = relay(&upstream, Some("unknown")).await else {
            panic!("it has no token");
        };
        assert!(matches!(error.trouble, TokenTrouble::Refused { .. }));
    }
    relay(&upstream, Some("u1")).await.unwrap();
    assert_eq!(
        forms(&server).len(),
        2,
        "a refusal is not asked for again at once"
    );

    for id in ["busy", "busy", "u2"] {
        let Err(NotRelayed::Token(error)) = relay(&upstream, Some(id)).await else {
            panic!("{id} has no token");
        };
        assert!(
            matches!(error.trouble, TokenTrouble::TooMany { .. }),
            "{id}"
        );
    }
    relay(&upstream, None).await.unwrap_err();
    relay(&upstream, Some("u1")).await.unwrap();
    assert_eq!(forms(&server).len(), 3);
    sleep(Duration::from_secs(331)).await;
    relay(&upstream, Some("u2")).await.unwrap();
    relay(&upstream, None).await.unwrap();
    assert_eq!(forms(&server).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_says_comes_back_as_it_is() {
    let large = "x".repeat(300 << 10);
    let too_large = "x".repeat((1 << 20) + 1);
    for (status, body, comes) in [
        (200, "", ""),
        (
            400,
            "{\"type\":\"list\" , \"data\":[]}\n",
            "{\"type\":\"list\" , \"data\":[]}\n",
        ),
        (302, "moved", "moved"),
        (502, "<html>502</html>", "<html>502</html>"),
        (500, &large, &large),
        (500, &too_large, ""),
    ] {
        let text = body.to_owned();
        let server = Server::start(move |_| reply(status, "location: /token\r\n", &text)).await;
        let upstream = client_of(&server, Auth::None);
        let relayed = relay(&upstream, Some("u1")).await.unwrap();
        assert_eq!(relayed.status, status);
        assert!(relayed.body == comes.as_bytes(), "{status}");
        assert_eq!(relayed.is_success(), status == 200);
        assert_eq!(
            format!("{relayed:?}"),
            format!("Relayed {{ status: {status}, .. }}")
        );
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_whose_fate_is_unknown_are_not_sent_again() {
    for (answer, class) in [
        (Reply::Reset as fn(Vec<u8>) -> Reply, TroubleClass::Broken),
        (Reply::Hang, TroubleClass::Timeout),
    ] {
        let server = Server::start(move |_| answer(Vec::new())).await;
        let upstream = client_of(&server, Auth::None);
        let Err(NotRelayed::Trouble(trouble)) = relay(&upstream, None).await else {
            panic!("{class:?}");
        };
        assert_eq!(trouble.class, class);
        assert_eq!(server.requests().len(), 1, "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_at_all_is_sent_for_an_address_that_is_not_the_apis() {
    let server = granting(taken).await;
    let upstream = client_of(&server, basiq("a2V5"));
    let elsewhere = granting(taken).await;
    let userinfo = server.url().replace("http://", "http://x@");
    for link in [
        &format!("{}/jobs/7/mfa", elsewhere.url()),
        "//evil.test/jobs/7/mfa",
        "https://evil.test/jobs/7/mfa",
        "/../jobs/7/mfa",
        "/jobs/%2e%2e/mfa",
        "jobs/7/mfa",
        "",
        &format!("{userinfo}/jobs/7/mfa"),
        &format!("{}.evil.test/jobs/7/mfa", server.url()),
    ] {
        let body = || Zeroizing::new(BODY.as_bytes().to_vec());
        let refused = upstream.relay(&job(), link, Some(&user("u1")), body).await;
        assert!(matches!(refused, Err(NotRelayed::Target(_))), "{link}");
    }
    assert!(server.requests().is_empty() && elsewhere.requests().is_empty());
    let whole = format!("{}/jobs/7/mfa?a=b", server.url());
    let body = || Zeroizing::new(BODY.as_bytes().to_vec());
    upstream.relay(&job(), &whole, None, body).await.unwrap();
    assert_eq!(sent(&server)[0].0, "POST /jobs/7/mfa?a=b");
}

#[tokio::test(start_paused = true)]
async fn with_a_key_that_is_the_token_every_user_has_that_one() {
    for (auth, header) in [
        (Auth::None, "-"),
        (
            Auth::Bearer {
                token: "key".to_owned().into(),
            },
            "Bearer key",
        ),
    ] {
        let server = granting(|_| reply(401, "", "no")).await;
        let upstream = client_of(&server, auth);
        let relayed = relay(&upstream, Some("u1")).await.unwrap();
        assert_eq!((relayed.status, relayed.body.as_slice()), (401, &b"no"[..]));
        let tokens: Vec<String> = sent(&server)
            .into_iter()
            .map(|(_, token, _)| token)
            .collect();
        assert_eq!(tokens, [header]);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_user_go_ahead_of_all_polls_that_wait_for_the_budget() {
    let server = granting(taken).await;
    let mut settings = super::settings(&server.url(), Auth::None);
    settings.requests_per_second = std::num::NonZeroU32::new(2);
    let upstream = super::client(&settings);
    assert_eq!(upstream.budget().try_take(), Ok(()));
    let mut relaying = std::pin::pin!(relay(&upstream, None));
    let at_once = tokio::time::timeout(Duration::ZERO, &mut relaying);
    assert!(at_once.await.is_err());
    sleep(Duration::from_millis(600)).await;
    assert!(upstream.budget().try_take().is_err(), "it is the user's");
    let start = tokio::time::Instant::now();
    relaying.await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(100));
}
