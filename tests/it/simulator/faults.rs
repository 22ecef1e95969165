//! Faults on request, and the end of the simulator.

use std::time::Duration;

use jobtrackd::simulator::{Fault, FaultRule, NewJob, Phase, RetryAfter, Scenario, Script};
use reqwest::{Method, StatusCode};

use super::{Stage, send};

#[tokio::test(start_paused = true)]
async fn faults_strike_where_and_as_often_as_asked() {
    let stage = Stage::plain().await;
    for id in ["1", "2"] {
        stage
            .control
            .create(NewJob::of(Scenario::NeverEnds).with_id(id))
            .unwrap();
    }
    let rule =
        r#"{"job":"1","times":2,"fault":{"status":{"status":503,"retry_after":{"seconds":7}}}}"#;
    let request = stage.request(Method::POST, "/_control/faults").body(rule);
    assert_eq!(
        stage.send(request).await.unwrap().status,
        StatusCode::CREATED
    );
    for _ in 0..2 {
        let answer = stage.get("/jobs/1").await;
        assert_eq!(answer.error().1, "service-unavailable");
        assert_eq!(answer.retry_after.as_deref(), Some("7"));
        stage.job("2").await;
    }
    stage.job("1").await;
    let log = stage.control.requests();
    let struck: Vec<_> = log
        .iter()
        .map(|entry| (entry.job.as_deref(), entry.status, entry.fault))
        .collect();
    assert_eq!(struck[1], (Some("1"), Some(503), Some("status")));
    assert_eq!(struck[2], (Some("2"), Some(200), None));
    assert_eq!(stage.control.truth("1").unwrap().counts.polls, 1);

    let at = RetryAfter::DateInSeconds(10);
    let rule = FaultRule::new(Fault::RateLimit {
        per_second: 2,
        retry_after: Some(at),
    });
    let id = stage.control.inject(rule.on_path("/jobs")).unwrap();
    stage.job("1").await;
    stage.job("1").await;
    let limited = stage.get("/jobs/1").await;
    assert_eq!(limited.error().1, "too-many-requests");
    assert_eq!(
        limited.retry_after.as_deref(),
        Some("Sun, 22 Nov 2026 15:04:15 GMT")
    );
    stage.later(1000).await;
    stage.job("1").await;
    assert!(stage.control.remove_fault(id));
    assert!(
        stage
            .control
            .inject(FaultRule {
                probability: 1.5,
                ..FaultRule::new(Fault::Html)
            })
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn texts_that_no_server_would_send_in_a_header_are_refused() {
    let stage = Stage::plain().await;
    for text in ["é", "a\r\nb", "\u{7f}", &"x".repeat(4097)] {
        let to = text.to_owned();
        let retry_after = Some(RetryAfter::Text(text.to_owned()));
        for fault in [
            Fault::Redirect { to, status: None },
            Fault::Status {
                status: 503,
                retry_after: retry_after.clone(),
                body: None,
            },
            Fault::RateLimit {
                per_second: 1,
                retry_after,
            },
        ] {
            let refused = stage.control.inject(FaultRule::new(fault)).unwrap_err();
            assert!(refused.to_string().contains("printable ASCII"), "{refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_distorted() {
    let stage = Stage::plain().await;
    let text = r#"{"type":"job","id":"1","steps":[]}"#;
    let script = Script::new(vec![Phase::verbatim(0, text)]);
    stage
        .control
        .create(NewJob::scripted(script).with_id("1"))
        .unwrap();
    let once = |fault| {
        stage
            .control
            .inject(FaultRule::new(fault).on_job("1").times(1))
            .unwrap()
    };

    once(Fault::Truncated);
    assert_eq!(stage.get("/jobs/1").await.text, text[..text.len() / 2]);
    once(Fault::Empty);
    assert_eq!(stage.get("/jobs/1").await.text, "");
    once(Fault::Padded { bytes: 100_000 });
    assert_eq!(stage.get("/jobs/1").await.text.len(), 100_000);
    once(Fault::WrongId { id: "2".to_owned() });
    assert_eq!(stage.job("1").await["id"], "2");
    once(Fault::Html);
    let html = stage.get("/jobs/1").await;
    assert!(html.status == StatusCode::BAD_GATEWAY && html.text.contains("<html>"));
    once(Fault::Redirect {
        to: "http://elsewhere.test/".to_owned(),
        status: None,
    });
    assert_eq!(stage.get("/jobs/1").await.status, StatusCode::FOUND);
    stage
        .control
        .inject(FaultRule::new(Fault::NotFoundFor { ms: 500 }))
        .unwrap();
    assert_eq!(stage.get("/jobs/1").await.error().0, 404);
    stage.later(500).await;
    assert_eq!(stage.get("/jobs/1").await.text, text);
}

#[tokio::test(start_paused = true)]
async fn connections_can_drip_break_off_and_hang() {
    let stage = Stage::plain().await;
    let text = format!(r#"{{"type":"job","id":"1","x":"{}"}}"#, "y".repeat(500));
    let script = Script::new(vec![Phase::verbatim(0, text.clone())]);
    stage
        .control
        .create(NewJob::scripted(script).with_id("1"))
        .unwrap();
    let once = |fault| {
        stage
            .control
            .inject(FaultRule::new(fault).on_job("1").times(1))
            .unwrap()
    };

    once(Fault::Drip {
        bytes: 50,
        every_ms: 1000,
    });
    let before = stage.clock.now();
    let dripped = send(stage.request(Method::GET, "/jobs/1")).await.unwrap();
    assert_eq!(dripped.text, text);
    assert!(stage.clock.now().since(before) >= Duration::from_secs(10));

    once(Fault::Reset { after_bytes: 100 });
    let broken = stage.send(stage.request(Method::GET, "/jobs/1")).await;
    assert!(broken.is_err_and(|error| error.is_body() || error.is_decode()));

    once(Fault::Delay { ms: 2000 });
    let before = stage.clock.now();
    send(stage.request(Method::GET, "/jobs/1")).await.unwrap();
    assert_eq!(stage.clock.now().since(before), Duration::from_secs(2));

    once(Fault::Hang);
    let hung = stage
        .request(Method::GET, "/jobs/1")
        .timeout(Duration::from_secs(30));
    assert!(send(hung).await.is_err_and(|error| error.is_timeout()));
    let last = stage.control.requests().pop().unwrap();
    assert_eq!((last.status, last.fault), (None, Some("hang")));
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_a_request_that_hangs_and_frees_the_port() {
    let stage = Stage::plain().await;
    stage.control.inject(FaultRule::new(Fault::Hang)).unwrap();
    let address = stage.simulator.address();
    let request = stage.request(Method::GET, "/jobs/1");
    let hung = tokio::spawn(send(request));
    while stage.control.requests().len() < 2 {
        stage.clock.held(tokio::task::yield_now()).await;
    }
    stage.clock.held(stage.simulator.shutdown()).await;
    let ended = stage.clock.held(hung).await.unwrap();
    assert!(
        ended.is_err()
            || ended.is_ok_and(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE)
    );
    tokio::net::TcpListener::bind(address).await.unwrap();
}
