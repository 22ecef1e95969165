//! Tokens over the wire: asked for once, renewed early, renewed once when refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jobtrackd::core::poll::PollOutcome;
use jobtrackd::upstream::Auth;
use jobtrackd::upstream::gate::{Credentials, GateReasonKind};
use tokio::time::{Instant, sleep};

use super::server::{JOB, Reply, Request, Server, envelope, granted, reply};
use super::{assert_read, basiq, client_of, poll, poll_many};

/// Grants `t1`, `t2`, … and lets `job` answer everything else.
pub(super) async fn granting(
    expires_in: u64,
    job: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |request| {
        if request.line == "POST /token" {
            granted(
                &format!("t{}", count.fetch_add(1, Ordering::SeqCst) + 1),
                expires_in,
            )
        } else {
            job(request)
        }
    })
    .await
}

/// Refuses token requests with this answer.
pub(super) async fn refusing(status: u16, headers: &'static str, body: String) -> Server {
    Server::start(move |_| reply(status, headers, &body)).await
}

fn bearer(request: &Request) -> &str {
    request.header("authorization").unwrap_or_default()
}

pub(super) fn closed_for(
    upstream: &jobtrackd::upstream::Upstream,
) -> Option<(Duration, GateReasonKind)> {
    let closed = upstream.gate().closed();
    closed.map(|(left, reason)| (left, reason.kind))
}

#[tokio::test(start_paused = true)]
async fn fifty_polls_at_once_ask_for_one_token() {
    let server = granting(3600, |_| reply(200, "", JOB)).await;
    let upstream = client_of(&server, basiq("a2V5"));
    for poll in poll_many(&upstream, 50).await {
        assert_read(&poll);
        assert_eq!(poll.requests, 1);
    }
    assert_eq!(server.count("POST /token"), 1);
    let requests = server.requests();
    let asked = &requests[0];
    assert_eq!(asked.header("authorization"), Some("Basic a2V5"));
    assert_eq!(asked.header("basiq-version"), Some("3.0"));
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(asked.body, "scope=SERVER_ACCESS");
    let polls: Vec<&str> = requests[1..].iter().map(bearer).collect();
    assert_eq!(polls, ["Bearer t1"; 50]);
    assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_runs_out_and_used_while_that_fails() {
    let down = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&down);
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| match request.line.as_str() {
        "POST /token" if failing.load(Ordering::SeqCst) => reply(502, "", ""),
        "POST /token" => granted(
            &format!("t{}", count.fetch_add(1, Ordering::SeqCst) + 1),
            100,
        ),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    poll(&upstream).await;
    sleep(Duration::from_secs(79)).await;
    poll(&upstream).await;
    assert_eq!(server.count("POST /token"), 1);
    sleep(Duration::from_secs(2)).await;
    poll_many(&upstream, 20).await;
    assert_eq!(server.count("POST /token"), 2);

    down.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(81)).await;
    poll(&upstream).await;
    poll(&upstream).await;
    assert_eq!(
        server.count("POST /token"),
        3,
        "the second waits for its turn"
    );
    assert_eq!(bearer(server.requests().last().unwrap()), "Bearer t2");
    assert_eq!(closed_for(&upstream), None);

    sleep(Duration::from_secs(20)).await;
    let poll = poll(&upstream).await;
    assert!(
        matches!(poll.outcome, PollOutcome::NotSent { .. }),
        "{:?}",
        poll.outcome
    );
    assert_eq!(poll.requests, 0);
    let (pause, kind) = closed_for(&upstream).unwrap();
    assert_eq!(kind, GateReasonKind::TokenUnavailable);
    assert!((2000..=2200).contains(&pause.as_millis()), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_and_the_poll_repeated() {
    let expired = envelope("access-denied", "Token has expired");
    let worded = envelope("x", "The token expired");
    for (status, body) in [(401, String::new()), (403, expired), (403, worded)] {
        let server = granting(3600, move |request| match bearer(request) {
            "Bearer t1" => reply(status, "", &body),
            _ => reply(200, "", JOB),
        })
        .await;
        let upstream = client_of(&server, basiq("a2V5"));
        let poll = poll(&upstream).await;
        assert_read(&poll);
        assert_eq!(poll.requests, 2);
        assert_eq!(server.count("POST /token"), 2);
        assert_eq!(closed_for(&upstream), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_revoked_under_many_polls_is_replaced_once() {
    let revoked = Arc::new(AtomicBool::new(false));
    let refuse = Arc::clone(&revoked);
    let server = granting(3600, move |request| {
        if refuse.load(Ordering::SeqCst) && bearer(request) == "Bearer t1" {
            reply(401, "", "")
        } else {
            reply(200, "", JOB)
        }
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    poll_many(&upstream, 256).await;
    revoked.store(true, Ordering::SeqCst);
    let (mut read, mut forbidden) = (0, 0);
    for poll in poll_many(&upstream, 256).await {
        match poll.outcome {
            PollOutcome::Snapshot { .. } => read += 1,
            PollOutcome::Forbidden { status: 401, .. } => forbidden += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (read, forbidden),
        (254, 2),
        "the third who is refused shows that it is the token"
    );
    assert_eq!(server.count("POST /token"), 2);
    assert_eq!(closed_for(&upstream), None);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_is_refused_too_closes_the_gate() {
    let server = granting(3600, |_| {
        reply(401, "", envelope("unauthorized-access", "No"))
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    let refused = poll(&upstream).await;
    let detail = "HTTP 401, unauthorized-access: No".to_owned();
    assert_eq!(
        (refused.outcome, refused.requests),
        (
            PollOutcome::CredentialsRefused {
                detail: detail.clone()
            },
            2
        )
    );
    let (pause, kind) = closed_for(&upstream).unwrap();
    assert_eq!(kind, GateReasonKind::CredentialsRefused);
    assert!((5000..=5500).contains(&pause.as_millis()), "{pause:?}");
    assert_eq!(
        upstream.gate().credentials(),
        Credentials::Refused {
            since: super::START,
            detail
        }
    );
    poll_many(&upstream, 100).await;
    assert!(
        server.count("POST /token") <= 4,
        "{}",
        server.count("POST /token")
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_key_is_tried_ever_more_rarely() {
    let server = refusing(
        404,
        "",
        envelope("resource-not-found", "Please, check your API key"),
    )
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    let start = Instant::now();
    let mut asked = Vec::new();
    while asked.len() < 9 {
        for poll in poll_many(&upstream, 3).await {
            let detail = "the token endpoint refuses our credentials: \
                          HTTP 404, resource-not-found: Please, check your API key";
            assert_eq!(
                poll.outcome,
                PollOutcome::CredentialsRefused {
                    detail: detail.into()
                }
            );
            assert_eq!(poll.requests, 0);
        }
        asked.push(start.elapsed().as_secs());
        assert_eq!(
            server.count("POST /token"),
            asked.len(),
            "one request per pause"
        );
        let (pause, _) = closed_for(&upstream).unwrap();
        sleep(pause + Duration::from_millis(1)).await;
    }
    let pauses: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([5, 10, 20, 40, 80, 160, 300, 300]) {
        assert!(
            (least..=least + least / 10 + 1).contains(pause),
            "{pauses:?}"
        );
    }
    assert_eq!(server.count("GET /"), 0);
}

#[tokio::test(start_paused = true)]
async fn after_too_many_token_requests_none_is_made_for_five_minutes() {
    let server = refusing(403, "", envelope("request-not-valid", "Invalid request")).await;
    let upstream = client_of(&server, basiq("a2V5"));
    let first = poll(&upstream).await;
    assert!(
        matches!(first.outcome, PollOutcome::NotSent { .. }),
        "{:?}",
        first.outcome
    );
    sleep(Duration::from_secs(299)).await;
    poll(&upstream).await;
    assert_eq!(server.count("POST /token"), 1);
    assert_eq!(
        closed_for(&upstream).unwrap().1,
        GateReasonKind::TokenUnavailable
    );
    sleep(Duration::from_secs(32)).await;
    poll(&upstream).await;
    assert_eq!(server.count("POST /token"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_itself_the_token_is_sent_and_not_replaced() {
    let server = Server::start(|request| match bearer(request) {
        "Bearer good" => reply(200, "", JOB),
        _ => reply(401, "", ""),
    })
    .await;
    let auth = |token: &str| Auth::Bearer {
        token: token.to_owned().into(),
    };
    let good = poll(&client_of(&server, auth("good"))).await;
    assert_read(&good);
    let bad = poll(&client_of(&server, auth("bad"))).await;
    assert!(matches!(
        bad.outcome,
        PollOutcome::CredentialsRefused { .. }
    ));
    assert_eq!(bad.requests, 1);
    assert_eq!(server.count("POST"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_dropped_while_it_asks_leaves_the_asking_to_the_next() {
    let first = AtomicBool::new(true);
    let server = Server::start(move |request| match request.line.as_str() {
        "POST /token" if first.swap(false, Ordering::SeqCst) => Reply::Hang(Vec::new()),
        "POST /token" => granted("t", 3600),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    let asking = tokio::spawn({
        let upstream = upstream.clone();
        async move { poll(&upstream).await }
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let upstream = upstream.clone();
        async move { poll(&upstream).await }
    });
    tokio::task::yield_now().await;
    asking.abort();
    assert_read(&waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_proxy_at_the_token_endpoint_says_nothing_of_the_key() {
    for status in [400, 403, 404, 500, 502] {
        let server = refusing(status, "", "<html>".to_owned()).await;
        let upstream = client_of(&server, basiq("a2V5"));
        let outcome = poll(&upstream).await.outcome;
        assert!(
            matches!(outcome, PollOutcome::NotSent { .. }),
            "{outcome:?}"
        );
        assert_eq!(upstream.gate().credentials(), Credentials::Unknown);
    }
    let throttling = refusing(
        403,
        "retry-after: 60\r\n",
        envelope("too-many-requests", "Query limit reached"),
    )
    .await;
    let upstream = client_of(&throttling, basiq("a2V5"));
    poll(&upstream).await;
    let (pause, kind) = closed_for(&upstream).unwrap();
    assert_eq!(kind, GateReasonKind::TokenUnavailable);
    assert!((60..=66).contains(&pause.as_secs()), "{pause:?}");
    upstream.resume();
    assert_eq!(closed_for(&upstream), None);
    poll(&upstream).await;
    assert_eq!(throttling.count("POST /token"), 2);
}
