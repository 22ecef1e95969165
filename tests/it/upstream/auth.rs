//! Keys that are sent as they are, or nearly: which header is on the wire, and what a refusal of it means.

use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::PollOutcome;
use jobtrackd::core::user::UserId;
use jobtrackd::upstream::Auth;
use jobtrackd::upstream::gate::Credentials;
use zeroize::Zeroizing;

use super::server::{JOB, Request, Server, reply};
use super::{assert_read, basic, bearer, client_of, header, poll, poll_job};

/// The headers of a request that could hold a key.
fn keys(request: &Request) -> Vec<(&str, &str)> {
    let lines = request.head.lines().skip(1);
    let ours = [
        "accept",
        "accept-encoding",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    ];
    lines
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !ours.contains(name))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_auth_sends_its_own_header_with_polls_and_answers_and_no_other() {
    for (auth, expected) in [
        (Auth::None, None),
        (bearer("key"), Some(("authorization", "Bearer key"))),
        (
            basic("anna:s3cret"),
            Some(("authorization", "Basic YW5uYTpzM2NyZXQ=")),
        ),
        (basic("key:"), Some(("authorization", "Basic a2V5Og=="))),
        (
            basic("anna:pä:ss"),
            Some(("authorization", "Basic YW5uYTpww6Q6c3M=")),
        ),
        (header("X-API-Key", "a b:c"), Some(("x-api-key", "a b:c"))),
        (
            header("Authorization", "Token token=x"),
            Some(("authorization", "Token token=x")),
        ),
    ] {
        let server = Server::start(|_| reply(200, "", JOB)).await;
        let upstream = client_of(&server, auth);
        assert_read(&poll(&upstream).await);
        for user in [None, UserId::parse("u1")] {
            let body = || Zeroizing::new(b"{}".to_vec());
            let job = JobId::parse("7").unwrap();
            let relayed = upstream.relay(&job, "/jobs/7/mfa", user.as_ref(), body);
            assert_eq!(relayed.await.unwrap().status, 200);
        }
        let requests = server.requests();
        let lines: Vec<_> = requests.iter().map(|each| each.line.as_str()).collect();
        assert_eq!(
            lines,
            ["GET /jobs/61723", "POST /jobs/7/mfa", "POST /jobs/7/mfa"]
        );
        for request in &requests {
            assert_eq!(keys(request), Vec::from_iter(expected));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_refused_for_all_unless_others_are_read_with_it() {
    for auth in [basic("anna:s3cret"), header("x-api-key", "s3cret")] {
        let server = Server::start(|request| match request.line.as_str() {
            "GET /jobs/bad" => reply(401, "", "no"),
            _ => reply(200, "", JOB),
        })
        .await;
        let upstream = client_of(&server, auth);
        let refused = poll_job(&upstream, "bad").await;
        assert!(
            matches!(refused.outcome, PollOutcome::CredentialsRefused { .. }),
            "{:?}",
            refused.outcome
        );
        assert_eq!(refused.requests, 1, "there is no other key to try");
        assert!(matches!(
            upstream.gate().credentials(),
            Credentials::Refused { .. }
        ));
        assert_read(&poll_job(&upstream, "good").await);
        let refused = poll_job(&upstream, "bad").await;
        assert!(matches!(
            refused.outcome,
            PollOutcome::Forbidden { status: 401, .. }
        ));
        assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
    }
}
