//! Tokens of an OAuth 2.0 token endpoint elsewhere: what it is sent, what its refusals mean, and who never gets what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::{PollOutcome, TroubleClass};
use jobtrackd::core::user::UserId;
use jobtrackd::upstream::gate::{Credentials, GateReasonKind};
use jobtrackd::upstream::{CheckError, Upstream};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::server::{JOB, Reply, Request, Server, envelope, granted, reply};
use super::token::closed_for;
use super::{assert_read, client_of, oauth2, poll, poll_job, poll_many};

const SECRET: &str = "s3cret:+";

/// `a client` and [`SECRET`], form-urlencoded: `a+client:s3cret%3A%2B`.
const CLIENT: &str = "Basic YStjbGllbnQ6czNjcmV0JTNBJTJC";

/// Grants `t1`, `t2`, …
async fn granting(expires_in: u64) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        granted(&format!("t{number}"), expires_in)
    })
    .await
}

async fn refusing(status: u16, headers: &'static str, body: &str) -> Server {
    let body = body.to_owned();
    Server::start(move |_| reply(status, headers, &body)).await
}

async fn api() -> Server {
    Server::start(|_| reply(200, "", JOB)).await
}

fn client(api: &Server, tokens: &Server) -> Upstream {
    client_of(api, oauth2(tokens, SECRET, None))
}

fn authorizations(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let sent = requests.iter().map(|each| each.header("authorization"));
    sent.map(|sent| sent.unwrap_or("-").to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn fifty_polls_at_once_ask_for_one_token_with_the_clients_credentials() {
    for (scope, form) in [
        (None, "grant_type=client_credentials"),
        (
            Some("jobs.read x/y"),
            "grant_type=client_credentials&scope=jobs.read+x%2Fy",
        ),
    ] {
        let (tokens, api) = (granting(3600).await, api().await);
        let upstream = client_of(&api, oauth2(&tokens, SECRET, scope));
        for poll in poll_many(&upstream, 50).await {
            assert_read(&poll);
            assert_eq!(poll.requests, 1);
        }
        let [asked] = &tokens.requests()[..] else {
            panic!("{:?}", tokens.requests())
        };
        assert_eq!(asked.line, "POST /oauth2/token");
        assert_eq!(asked.header("authorization"), Some(CLIENT));
        let form_type = Some("application/x-www-form-urlencoded");
        assert_eq!(asked.header("content-type"), form_type);
        assert_eq!(asked.header("accept"), Some("application/json"));
        assert_eq!(asked.header("basiq-version"), None);
        assert_eq!(asked.body, form);
        assert_eq!(authorizations(&api), ["Bearer t1"].repeat(50));
        assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_early_replaced_when_it_is_refused_and_used_while_renewal_fails() {
    let (down, revoked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (failing, refuse) = (Arc::clone(&down), Arc::clone(&revoked));
    let count = AtomicUsize::new(0);
    let tokens = Server::start(move |_| match failing.load(Ordering::SeqCst) {
        true => reply(502, "", ""),
        false => {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            granted(&format!("t{number}"), 100)
        }
    })
    .await;
    let api = Server::start(move |request| {
        let old = request.header("authorization") == Some("Bearer t2");
        match old && refuse.load(Ordering::SeqCst) {
            true => reply(
                401,
                "www-authenticate: Bearer error=\"invalid_token\"\r\n",
                "",
            ),
            false => reply(200, "", JOB),
        }
    })
    .await;
    let upstream = client(&api, &tokens);
    poll(&upstream).await;
    sleep(Duration::from_secs(79)).await;
    poll(&upstream).await;
    assert_eq!(tokens.requests().len(), 1);
    sleep(Duration::from_secs(2)).await;
    poll(&upstream).await;
    assert_eq!(tokens.requests().len(), 2);

    revoked.store(true, Ordering::SeqCst);
    let polled = poll(&upstream).await;
    assert_read(&polled);
    assert_eq!(polled.requests, 2);
    assert_eq!(tokens.requests().len(), 3);
    let sent = ["t1", "t1", "t2", "t2", "t3"];
    assert_eq!(
        authorizations(&api),
        sent.map(|token| format!("Bearer {token}"))
    );

    down.store(true, Ordering::SeqCst);
    sleep(Duration::from_secs(81)).await;
    assert_read(&poll(&upstream).await);
    assert_eq!(tokens.requests().len(), 4);
    assert_eq!(authorizations(&api).last().unwrap(), "Bearer t3");
    assert_eq!(closed_for(&upstream), None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_words_of_oauth_refuses_the_credentials_and_says_what_it_said() {
    for (status, body, detail) in [
        (
            401,
            r#"{"error":"invalid_client","error_description":"Client authentication\nfailed"}"#,
            "HTTP 401, invalid_client (Client authentication\\nfailed)",
        ),
        (
            400,
            r#"{"error":"unauthorized_client"}"#,
            "HTTP 400, unauthorized_client",
        ),
        (
            400,
            r#"{"error":"invalid_grant","error_description":""}"#,
            "HTTP 400, invalid_grant",
        ),
        (
            400,
            r#"{"error":"invalid_scope","error_description":"s3cret:+ is no scope"}"#,
            "HTTP 400, invalid_scope (*** is no scope)",
        ),
        (
            403,
            r#"{"error":"invalid_client"}"#,
            "HTTP 403, invalid_client",
        ),
        (401, "<html>", "HTTP 401"),
    ] {
        let (tokens, api) = (refusing(status, "", body).await, api().await);
        let upstream = client(&api, &tokens);
        for polled in poll_many(&upstream, 20).await {
            let detail = format!("the token endpoint refuses our credentials: {detail}");
            assert_eq!(polled.outcome, PollOutcome::CredentialsRefused { detail });
            assert_eq!(polled.requests, 0);
        }
        assert_eq!(tokens.requests().len(), 1);
        let (pause, kind) = closed_for(&upstream).unwrap();
        assert_eq!(kind, GateReasonKind::CredentialsRefused);
        assert!((5000..=5500).contains(&pause.as_millis()), "{pause:?}");
        assert!(api.requests().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_error_of_the_token_endpoint_says_nothing_of_the_credentials() {
    let busy = r#"{"error":"temporarily_unavailable"}"#;
    let kind = r#"{"error":"unsupported_grant_type","error_description":"no"}"#;
    let mac = r#"{"access_token":"t","token_type":"mac"}"#;
    let basiq = envelope("resource-not-found", "check your API key");
    for (status, headers, body, detail, least) in [
        (400, "", kind, "HTTP 400, unsupported_grant_type (no)", 1),
        (400, "", "<html>", "HTTP 400, not in the API's own words", 1),
        (404, "", &basiq, "HTTP 404, resource-not-found: check", 1),
        (502, "", "", "HTTP 502", 1),
        (503, "", busy, "HTTP 503, temporarily_unavailable", 1),
        (
            503,
            "retry-after: 60\r\n",
            busy,
            "throttles us: HTTP 503, temporarily_unavailable",
            60,
        ),
        (429, "retry-after: 90\r\n", "", "throttles us: HTTP 429", 90),
        (200, "", mac, "the token_type is not Bearer", 1),
        (200, "", "<html>", "not a JSON object", 1),
    ] {
        let (tokens, api) = (refusing(status, headers, body).await, api().await);
        let upstream = client(&api, &tokens);
        let PollOutcome::NotSent { detail: said } = poll(&upstream).await.outcome else {
            panic!("{status} {body}");
        };
        assert!(said.contains(detail), "{said}");
        let (pause, kind) = closed_for(&upstream).unwrap();
        assert_eq!(kind, GateReasonKind::TokenUnavailable);
        let most = least + least / 10 + 1;
        assert!((least..=most).contains(&pause.as_secs()), "{pause:?}");
        assert_eq!(upstream.gate().credentials(), Credentials::Unknown);
        assert!(api.requests().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_secret_goes_to_the_token_endpoint_and_the_token_to_the_api_and_neither_anywhere_else()
{
    let other = api().await;
    for status in [301, 302, 307, 308] {
        let location = format!("location: {}/oauth2/token\r\n", other.url());
        let redirecting = Server::start(move |_| reply(status, &location, "")).await;
        let api = api().await;
        let upstream = client(&api, &redirecting);
        let PollOutcome::NotSent { detail } = poll(&upstream).await.outcome else {
            panic!("{status}");
        };
        assert!(detail.contains("not followed"), "{detail}");
        let error = upstream.check().await.unwrap_err();
        assert!(!matches!(error, CheckError::Refused(_)), "{error:?}");
        assert!(api.requests().is_empty());
    }
    let tokens = granting(3600).await;
    let location = format!("location: {}/jobs/1\r\n", other.url());
    let redirecting = Server::start(move |_| reply(302, &location, "")).await;
    poll(&client(&redirecting, &tokens)).await;
    assert_eq!(authorizations(&redirecting), ["Bearer t1"]);
    assert_eq!(authorizations(&tokens), [CLIENT]);
    assert!(other.requests().is_empty());

    // A job may not lead a poll to the token endpoint.
    let api = api().await;
    let upstream = client(&api, &tokens);
    let at_tokens = format!("{}/oauth2/token", tokens.url());
    let id = JobId::parse("1").unwrap();
    assert!(upstream.target(&id, Some(&at_tokens)).is_err());
    let polled = super::poll_at(&upstream, &id, &url::Url::parse(&at_tokens).unwrap()).await;
    assert!(matches!(polled.outcome, PollOutcome::Rejected { .. }));
    assert_eq!(authorizations(&tokens), [CLIENT]);
}

#[tokio::test(start_paused = true)]
async fn answers_of_every_user_go_with_the_token_of_the_polls() {
    fn refused(request: &Request) -> Reply {
        match request.line.as_str() {
            "POST /jobs/7/mfa" => reply(401, "", "no"),
            _ => reply(200, "", JOB),
        }
    }
    let (tokens, api) = (granting(3600).await, Server::start(refused).await);
    let upstream = client(&api, &tokens);
    let relay = async |user: &str| {
        let (job, user) = (JobId::parse("7").unwrap(), UserId::parse(user).unwrap());
        let body = || Zeroizing::new(b"{}".to_vec());
        let relayed = upstream.relay(&job, "/jobs/7/mfa", Some(&user), body);
        assert_eq!(relayed.await.unwrap().status, 401);
        tokens.requests().len()
    };
    poll_job(&upstream, "7").await;
    assert_eq!(relay("u1").await, 2, "only the job itself was read with it");
    poll_job(&upstream, "8").await;
    assert_eq!(relay("u1").await, 2, "others are read with it");
    assert_eq!(relay("u2").await, 2);
    let sent = ["t1", "t1", "t2", "t2", "t2", "t2"];
    assert_eq!(
        authorizations(&api),
        sent.map(|token| format!("Bearer {token}"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_check_says_whether_the_token_endpoint_or_the_api_is_at_fault() {
    let found = envelope("resource-not-found", "Not found");
    let api = Server::start(move |_| reply(404, "", &found)).await;
    let tokens = granting(3600).await;
    let checked = client(&api, &tokens).check().await.unwrap();
    assert!(
        checked.summary.contains("a token was granted"),
        "{checked:?}"
    );

    let page = refusing(200, "", "<html>").await;
    let error = client(&api, &page).check().await.unwrap_err();
    assert!(
        matches!(error, CheckError::NotATokenEndpoint(_)),
        "{error:?}"
    );
    assert!(error.to_string().contains("is upstream.token_url right"));

    let refused = refusing(401, "", r#"{"error":"invalid_client"}"#).await;
    let error = client(&api, &refused).check().await.unwrap_err();
    let text = "no token for the upstream: the token endpoint refuses our credentials: HTTP 401, invalid_client";
    assert_eq!(error.to_string(), text);

    let error = client(&page, &tokens).check().await.unwrap_err();
    assert!(matches!(error, CheckError::NotTheApi(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_local_token_endpoint_serves_an_api_that_is_reached_by_tls_only() {
    let tokens = granting(3600).await;
    let auth = oauth2(&tokens, SECRET, None);
    let upstream = super::client(&super::settings("https://127.0.0.1:1", auth));
    let PollOutcome::Trouble(trouble) = poll(&upstream).await.outcome else {
        panic!("nobody listens there");
    };
    assert_eq!(trouble.class, TroubleClass::Connect);
    assert_eq!(authorizations(&tokens), [CLIENT]);
}
