//! One throttled poll is a pause for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobtrackd::core::poll::PollOutcome;
use jobtrackd::upstream::Auth;
use jobtrackd::upstream::gate::{Credentials, GateState};
use tokio::time::{Instant, sleep};

use super::server::{Server, envelope, reply};
use super::{basiq, client, client_of, poll, poll_many, settings};

fn closed_for(upstream: &jobtrackd::upstream::Upstream) -> Duration {
    let now = Instant::now();
    match upstream.gate().state(now) {
        GateState::Open => Duration::ZERO,
        GateState::Closed { until, .. } => until - now,
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_closes_the_gate_for_all_as_long_as_it_says() {
    for (status, value, least, most) in [
        (429, "60", 60, 66),
        (503, "60", 60, 66),
        (429, "Sun, 06 Nov 1994 08:51:37 GMT", 120, 132),
        (429, "0", 1, 2),
        (429, "99999999999999999999", 86_400, 86_400),
        (429, "rubbish", 1, 2),
    ] {
        let server =
            Server::start(move |_| reply(status, &format!("retry-after: {value}\r\n"), "")).await;
        let upstream = client_of(&server, Auth::None);
        poll(&upstream).await;
        let pause = closed_for(&upstream);
        assert!(
            (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&pause),
            "{value}: {pause:?}"
        );
        sleep(pause).await;
        assert_eq!(upstream.gate().state(Instant::now()), GateState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_our_own_doubles_per_wave_and_ends_with_a_success() {
    let good = Arc::new(AtomicUsize::new(0));
    let answer = Arc::clone(&good);
    let server = Server::start(move |_| match answer.load(Ordering::SeqCst) {
        0 => reply(429, "", ""),
        _ => reply(200, "", "{}"),
    })
    .await;
    let upstream = client_of(&server, Auth::None);
    for least in [1000, 2000, 4000, 8000] {
        poll_many(&upstream, 20).await;
        let pause = closed_for(&upstream).as_millis();
        assert!((least..=least + least / 10).contains(&pause), "{pause}");
        assert_eq!(upstream.gate().degraded().len(), 1);
        sleep(closed_for(&upstream)).await;
    }
    good.store(1, Ordering::SeqCst);
    poll(&upstream).await;
    assert_eq!(closed_for(&upstream), Duration::ZERO);
    assert!(upstream.gate().degraded().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_gate_is_told_of_a_change_after_asking() {
    let server = Server::start(|_| reply(429, "retry-after: 9\r\n", "")).await;
    let upstream = client_of(&server, Auth::None);
    let changed = upstream.gate().changed();
    poll(&upstream).await;
    changed.await;
    let unchanged = tokio::time::timeout(Duration::from_secs(60), upstream.gate().changed());
    assert!(unchanged.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_job_is_not_a_reason_to_leave_the_others_alone() {
    let server = Server::start(|request| match request.line.as_str() {
        "POST /token" => super::server::granted("t", 3600),
        "GET /theirs" => reply(403, "", envelope("forbidden-access", "Forbidden")),
        _ => reply(200, "", "{}"),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    let id = jobtrackd::core::job::JobId::parse("1").unwrap();
    let theirs = upstream.target(&id, Some("/theirs")).unwrap();
    let forbidden = upstream.poll(&theirs).await;
    assert!(matches!(forbidden.outcome, PollOutcome::Forbidden { .. }));
    assert_eq!(closed_for(&upstream), Duration::ZERO);
    assert!(matches!(
        upstream.gate().credentials(),
        Credentials::Refused { .. }
    ));
    poll(&upstream).await;
    upstream.poll(&theirs).await;
    assert_eq!(upstream.gate().credentials(), Credentials::Accepted);
}

#[tokio::test(start_paused = true)]
async fn the_second_request_of_a_poll_is_taken_out_of_the_budget() {
    let server = Server::start(|request| match request.line.as_str() {
        "POST /token" => super::server::granted("t", 3600),
        _ => reply(401, "", ""),
    })
    .await;
    let mut settings = settings(&server.url(), basiq("a2V5"));
    settings.requests_per_second = std::num::NonZeroU32::new(2);
    let upstream = client(&settings);
    let start = Instant::now();
    assert_eq!(upstream.budget().try_take(), Ok(()));
    assert_eq!(poll(&upstream).await.requests, 2);
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert!(upstream.budget().try_take().is_err());
}
