//! Polls over TLS, with HTTP/2 where the server offers it.

use std::process::Command;
use std::time::Duration;

use h2::Reason;
use jobtrackd::core::poll::{Poll, PollOutcome, Trouble, TroubleClass};
use jobtrackd::memory::Memory;
use jobtrackd::upstream::{AnswerMemory, Auth, Upstream};

use super::server::JOB;
use super::tls_server::{CERTIFICATE, Reply, TlsServer};
use super::{assert_read, client, poll, poll_job, poll_many, settings, try_client};

/// Runs a test in a process that trusts the certificate of [`TlsServer`]: the system's roots are chosen by the environment,
/// and one process has one environment.
fn trusting(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os("SSL_CERT_FILE").as_deref() != Some(CERTIFICATE.as_ref()) {
        let tests = std::env::current_exe().unwrap();
        let output = Command::new(tests)
            .args([&format!("upstream::http2::{name}"), "--exact"])
            .env("SSL_CERT_FILE", CERTIFICATE)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.contains("1 passed"), "{text}");
        return;
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build();
    runtime.unwrap().block_on(test);
}

/// Waits until the server has read so many requests, which takes turns of the runtime but no time.
async fn until_read(server: &TlsServer, requests: usize) {
    for _ in 0..1_000_000 {
        if server.versions().len() >= requests {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("only {} requests were read", server.versions().len());
}

fn client_of(server: &TlsServer) -> Upstream {
    client(&settings(&server.url(), Auth::None))
}

#[track_caller]
fn trouble(poll: &Poll) -> &Trouble {
    match &poll.outcome {
        PollOutcome::Trouble(trouble) => trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn polls_share_a_connection_of_http_2_where_it_is_offered() {
    let name = "polls_share_a_connection_of_http_2_where_it_is_offered";
    trusting(name, async {
        let server = TlsServer::start(&["h2", "http/1.1"], |_| Reply::Body(JOB.to_owned())).await;
        let upstream = client_of(&server);
        assert_read(&poll(&upstream).await);
        for poll in poll_many(&upstream, 50).await {
            assert_read(&poll);
        }
        assert_eq!(server.versions(), ["h2"; 51]);
        assert_eq!(server.made(), 1);
    });
}

#[test]
fn a_server_that_offers_http_1_1_alone_is_polled_with_it() {
    let name = "a_server_that_offers_http_1_1_alone_is_polled_with_it";
    trusting(name, async {
        for offered in [&["http/1.1"][..], &[]] {
            let server = TlsServer::start(offered, |_| Reply::Body(JOB.to_owned())).await;
            assert_read(&poll(&client_of(&server)).await);
            assert_eq!(server.versions(), ["http/1.1"]);
        }
    });
}

#[test]
fn more_polls_than_one_connection_takes_are_in_flight_at_once() {
    let name = "more_polls_than_one_connection_takes_are_in_flight_at_once";
    trusting(name, async {
        // Nothing is answered before all are there.
        let server = TlsServer::start(&["h2"], |request| match request {
            1 => Reply::Body(JOB.to_owned()),
            _ => Reply::BodyAfter(251, JOB.to_owned()),
        });
        let server = server.await;
        let upstream = client_of(&server);
        assert_read(&poll(&upstream).await);
        let polling = tokio::spawn(async move { poll_many(&upstream, 250).await });
        until_read(&server, 251).await;
        for poll in polling.await.unwrap() {
            assert_read(&poll);
        }
        assert_eq!(server.most_of_one(), 101, "the first, then 100 at once");
    });
}

#[test]
fn a_connection_that_the_api_is_about_to_close_is_replaced_and_no_poll_fails() {
    let name = "a_connection_that_the_api_is_about_to_close_is_replaced_and_no_poll_fails";
    trusting(name, async {
        let server = TlsServer::start(&["h2"], |request| match request {
            3 => Reply::LastBody(JOB.to_owned()),
            _ => Reply::Body(JOB.to_owned()),
        });
        let server = server.await;
        let upstream = client_of(&server);
        for _ in 0..6 {
            let poll = poll(&upstream).await;
            assert_read(&poll);
            assert_eq!(poll.requests, 1);
        }
        assert_eq!(server.made(), 2);
    });
}

#[test]
fn polls_that_the_api_refuses_unread_are_sent_once_more() {
    let name = "polls_that_the_api_refuses_unread_are_sent_once_more";
    trusting(name, async {
        let server = TlsServer::start(&["h2"], |request| match request {
            2 | 4 | 5 => Reply::Refuse,
            _ => Reply::Body(JOB.to_owned()),
        });
        let server = server.await;
        let upstream = client_of(&server);
        assert_sent(&poll(&upstream).await, 1, true);
        assert_sent(&poll(&upstream).await, 2, true);
        assert_sent(&poll(&upstream).await, 2, false);
        assert_sent(&poll(&upstream).await, 1, true);
        assert_eq!((server.versions().len(), server.made()), (6, 1));
    });
}

#[test]
fn polls_on_a_connection_that_is_closed_before_they_are_read_are_sent_once_more() {
    let name = "polls_on_a_connection_that_is_closed_before_they_are_read_are_sent_once_more";
    trusting(name, async {
        for (closed, is_read) in [(1, true), (2, false)] {
            let server = TlsServer::start(&["h2"], |_| Reply::Body(JOB.to_owned())).await;
            server.close_unread(closed);
            let upstream = client_of(&server);
            assert_sent(&poll(&upstream).await, 2, is_read);
            assert_sent(&poll(&upstream).await, 1, true);
        }
    });
}

#[track_caller]
fn assert_sent(poll: &Poll, requests: u32, is_read: bool) {
    assert_eq!(poll.requests, requests, "{poll:?}");
    match is_read {
        true => assert_read(poll),
        false => assert_eq!(trouble(poll).class, TroubleClass::Broken, "{poll:?}"),
    }
}

#[test]
fn a_connection_that_fails_is_trouble_of_its_polls_and_the_next_one_has_another() {
    let name = "a_connection_that_fails_is_trouble_of_its_polls_and_the_next_one_has_another";
    trusting(name, async {
        let server = TlsServer::start(&["h2"], |request| match request {
            2 => Reply::Close(Reason::ENHANCE_YOUR_CALM),
            _ => Reply::Body(JOB.to_owned()),
        });
        let server = server.await;
        let upstream = client_of(&server);
        assert_read(&poll(&upstream).await);
        let failed = poll(&upstream).await;
        assert_eq!(trouble(&failed).class, TroubleClass::Broken);
        assert_eq!(failed.requests, 1);
        assert_read(&poll(&upstream).await);
        assert_eq!(server.made(), 2);
    });
}

#[test]
fn a_dead_connection_is_given_up_before_its_polls_time_out_one_after_the_other() {
    let name = "a_dead_connection_is_given_up_before_its_polls_time_out_one_after_the_other";
    trusting(name, async {
        let server = TlsServer::start(&["h2"], |request| match request {
            2 => Reply::Dead,
            _ => Reply::Body(JOB.to_owned()),
        });
        let server = server.await;
        let upstream = client_of(&server);
        assert_read(&poll(&upstream).await);
        let polling = {
            let upstream = upstream.clone();
            tokio::spawn(async move { poll(&upstream).await })
        };
        until_read(&server, 2).await;
        for _ in 0..11 {
            assert!(server.made() == 1);
            tokio::time::advance(Duration::from_secs(1)).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        assert!(polling.is_finished(), "before the 15 s of upstream.timeout");
        trouble(&polling.await.unwrap());
        assert_read(&poll(&upstream).await);
        assert_eq!(server.made(), 2);
    });
}

#[test]
fn answers_that_wait_for_memory_hold_up_no_others_of_their_connection() {
    let name = "answers_that_wait_for_memory_hold_up_no_others_of_their_connection";
    trusting(name, async {
        let large = format!("{JOB}{}", " ".repeat(1_000_000));
        let server = TlsServer::start(&["h2"], move |request| match request {
            ..=60 => Reply::BodyAfter(60, large.clone()),
            _ => Reply::Body(JOB.to_owned()),
        });
        let server = server.await;
        let reading = Memory::of(1 << 20);
        let all = reading.reserve(1 << 20).await;
        let memory = AnswerMemory::of(reading, Memory::of(48 << 20));
        let upstream = try_client(&settings(&server.url(), Auth::None), memory).unwrap();
        let many = {
            let upstream = upstream.clone();
            tokio::spawn(async move { poll_many(&upstream, 60).await })
        };
        until_read(&server, 60).await;
        // None of the large ones can be read.
        assert_read(&poll_job(&upstream, "small").await);
        assert_eq!(server.made(), 1);
        assert!(!many.is_finished());
        drop(all);
    });
}

#[test]
fn an_answer_with_too_many_headers_is_trouble_of_its_poll_alone() {
    let name = "an_answer_with_too_many_headers_is_trouble_of_its_poll_alone";
    trusting(name, async {
        let server = TlsServer::start(&["h2"], |request| match request {
            1 => Reply::Headers(30 << 10),
            2 => Reply::Headers(33 << 10),
            _ => Reply::Body(JOB.to_owned()),
        });
        let server = server.await;
        let upstream = client_of(&server);
        assert_read(&poll(&upstream).await);
        trouble(&poll(&upstream).await);
        assert_read(&poll(&upstream).await);
        assert_eq!(server.made(), 1);
    });
}

#[test]
fn a_busy_connection_of_http_2_is_replaced_after_five_minutes_too() {
    let name = "a_busy_connection_of_http_2_is_replaced_after_five_minutes_too";
    trusting(name, async {
        let server = TlsServer::start(&["h2"], |_| Reply::Body(JOB.to_owned())).await;
        let upstream = client_of(&server);
        let mut made = Vec::new();
        for second in 0..=900_u64 {
            assert_read(&poll(&upstream).await);
            if second % 150 == 0 {
                made.push(server.made());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(made, [1, 1, 2, 2, 3, 3, 4]);
        assert_eq!(server.open(), 1, "the old ones are closed");
    });
}
