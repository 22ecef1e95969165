//! One throttled poll is a pause for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::core::machines::gate;
use jobtrackd::core::poll::PollOutcome;
use jobtrackd::upstream::Auth;
use jobtrackd::upstream::gate::Credentials;
use tokio::time::{Instant, sleep};

use super::server::{JOB, Server, envelope, reply};
use super::{basiq, client, client_of, poll, poll_job, poll_many, settings};

fn closed_for(upstream: &jobtrackd::upstream::Upstream) -> Duration {
    let closed = upstream.gate().closed();
    closed.map_or(Duration::ZERO, |(left, _)| left)
}

#[tokio::test(start_paused = true)]
async fn retry_after_closes_the_gate_for_all_as_long_as_it_says_once_two_jobs_are_throttled() {
    for (status, headers, least, most) in [
        (429, "retry-after: 60\r\n", 60, 66),
        (503, "retry-after: 60\r\n", 60, 66),
        (
            429,
            "retry-after: Sun, 06 Nov 1994 08:51:37 GMT\r\n",
            120,
            132,
        ),
        (
            429,
            "retry-after: Sunday, 06-Nov-94 08:51:37 GMT\r\n",
            120,
            132,
        ),
        (429, "retry-after: Sun Nov  6 08:51:37 1994\r\n", 120, 132),
        (429, "retry-after: 4, 4\r\n", 4, 5),
        (429, "retry-after: 4\r\nretry-after: 30\r\n", 30, 33),
        (429, "retry-after: 0\r\n", 1, 2),
        (429, "retry-after: 784111837000\r\n", 3600, 3600),
        (429, "retry-after: 99999999999999999999\r\n", 3600, 3600),
        (429, "retry-after: nonsense\r\n", 1, 2),
    ] {
        let server = Server::start(move |_| reply(status, headers, "")).await;
        let upstream = client_of(&server, Auth::None);
        for _ in 0..3 {
            poll_job(&upstream, "1").await;
            assert!(closed_for(&upstream).as_secs() <= 1, "{headers}");
        }
        sleep(Duration::from_secs(1)).await;
        poll_job(&upstream, "2").await;
        let pause = closed_for(&upstream);
        assert!(
            (Duration::from_secs(least)..=Duration::from_secs(most)).contains(&pause),
            "{headers}: {pause:?}"
        );
        sleep(pause).await;
        assert_eq!(upstream.gate().closed(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_our_own_doubles_per_wave_and_ends_with_a_success() {
    let good = Arc::new(AtomicUsize::new(0));
    let answer = Arc::clone(&good);
    let server = Server::start(move |_| match answer.load(Ordering::SeqCst) {
        0 => reply(429, "", ""),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, Auth::None);
    poll(&upstream).await;
    sleep(closed_for(&upstream)).await;
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
async fn whoever_waits_for_the_gate_wakes_at_a_change_after_the_call() {
    let server = Server::start(|_| reply(429, "retry-after: 9\r\n", "")).await;
    let upstream = client_of(&server, Auth::None);
    let changed = upstream.gate().changed();
    poll(&upstream).await;
    changed.await;
    let unchanged = tokio::time::timeout(Duration::from_secs(60), upstream.gate().changed());
    assert!(unchanged.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_decision_under_both_limits_wakes_nobody() {
    let mut settings = settings("http://127.0.0.1:9", Auth::None);
    settings.requests_per_second = std::num::NonZeroU32::new(1);
    let (upstream, clock) = (client(&settings), Clock::system());
    let minute = Duration::from_secs(60);
    let (changed, now) = (upstream.gate().changed(), clock.monotonic());
    let taken = upstream.with_limits(|gate, budget| {
        assert_eq!(gate.state(now), gate::GateState::Open);
        [budget.try_take(now), budget.try_take(now)]
    });
    assert_eq!(taken, [Ok(()), Err(Duration::from_secs(1))]);
    assert!(tokio::time::timeout(minute, changed).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_job_is_not_a_reason_to_leave_the_others_alone() {
    let server = Server::start(|request| match request.line.as_str() {
        "POST /token" => super::server::granted("t", 3600),
        "GET /jobs/theirs" => reply(403, "", envelope("forbidden-access", "Forbidden")),
        _ => reply(200, "", JOB),
    })
    .await;
    let upstream = client_of(&server, basiq("a2V5"));
    let forbidden = poll_job(&upstream, "theirs").await;
    assert!(matches!(forbidden.outcome, PollOutcome::Forbidden { .. }));
    assert_eq!(closed_for(&upstream), Duration::ZERO);
    assert!(matches!(
        upstream.gate().credentials(),
        Credentials::Refused { .. }
    ));
    poll(&upstream).await;
    poll_job(&upstream, "theirs").await;
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
