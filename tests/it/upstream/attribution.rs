//! Whose trouble a refused token is: one job's, or that of all.

use std::time::Duration;

use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::PollOutcome;
use jobtrackd::upstream::Auth;
use jobtrackd::upstream::gate::Credentials;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::server::{JOB, Server, envelope, reply};
use super::token::{closed_for, granting};
use super::{basiq, client_of, poll_job, poll_many};

/// A job that is refused with whatever token, among others that are read.
async fn one_bad_job(status: u16, body: String) -> Server {
    granting(3600, move |request| match request.line.as_str() {
        "GET /jobs/bad" => reply(status, "", &body),
        _ => reply(200, "", JOB),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn one_job_that_is_refused_costs_no_token_and_nobody_else_anything() {
    for (status, body) in [
        (401, envelope("unauthorized-access", "Unauthorized")),
        (403, envelope("access-denied", "Access denied")),
        (403, envelope("x", "The consent has expired")),
        (403, envelope("forbidden-access", "Forbidden")),
    ] {
        let server = one_bad_job(status, body).await;
        let upstream = client_of(&server, basiq("a2V5"));
        poll_job(&upstream, "good").await;
        for hour in 0..5 {
            for _ in 0..20 {
                let refused = poll_job(&upstream, "bad").await;
                assert!(
                    matches!(refused.outcome, PollOutcome::Forbidden { status: is, .. } if is == status),
                    "{:?}",
                    refused.outcome
                );
                assert_eq!(refused.requests, 1);
                assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
                assert_eq!(closed_for(&upstream), None);
                assert!(upstream.gate().degraded().is_empty());
            }
            let tokens = hour + 1;
            assert_eq!(
                server.count("POST /token"),
                tokens,
                "renewed early, no more"
            );
            sleep(Duration::from_secs(3301)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_race_at_the_start_closes_nothing() {
    let server = one_bad_job(401, String::new()).await;
    let upstream = client_of(&server, basiq("a2V5"));
    let bad = upstream.clone();
    let bad = tokio::spawn(async move { poll_job(&bad, "bad").await });
    poll_many(&upstream, 20).await;
    let outcome = bad.await.unwrap().outcome;
    assert!(
        matches!(outcome, PollOutcome::Forbidden { status: 401, .. }),
        "{outcome:?}"
    );
    assert_eq!(closed_for(&upstream), None);
    assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
    let tokens = server.count("POST /token");
    for _ in 0..20 {
        poll_job(&upstream, "bad").await;
    }
    assert_eq!(server.count("POST /token"), tokens);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_the_token_is_refused_for_one_job_alone_too() {
    let server = one_bad_job(401, String::new()).await;
    let upstream = client_of(
        &server,
        Auth::Bearer {
            token: "key".to_owned().into(),
        },
    );
    poll_job(&upstream, "bad").await;
    assert!(
        closed_for(&upstream).is_some(),
        "nothing is known of it yet"
    );
    poll_job(&upstream, "good").await;
    assert_eq!(closed_for(&upstream), None);
    for _ in 0..20 {
        poll_job(&upstream, "bad").await;
        assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
        assert_eq!(closed_for(&upstream), None);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_refused_do_not_cost_a_token_that_others_are_read_with() {
    let server = granting(3600, |request| match request.line.as_str() {
        "POST /jobs/7/mfa" => reply(401, "", "no"),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    let relay = async |job: &str| {
        let job = JobId::parse(job).unwrap();
        let body = || Zeroizing::new(b"{}".to_vec());
        let relayed = upstream
            .relay(&job, "/jobs/7/mfa", None, body)
            .await
            .unwrap();
        assert_eq!(relayed.status, 401);
        server.count("POST /token")
    };
    poll_job(&upstream, "7").await;
    assert_eq!(relay("7").await, 2, "only the job itself was read with it");
    poll_job(&upstream, "8").await;
    assert_eq!(relay("7").await, 2);
}
