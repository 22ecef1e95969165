//! Memory for answers: who waits for it, for how long, and when it is given back.

use std::io::Write as _;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jobtrackd::core::job::JobId;
use jobtrackd::core::poll::{MAX_BODY, Poll, PollOutcome, TroubleClass};
use jobtrackd::memory::Reservation;
use jobtrackd::upstream::{AnswerMemory, Auth, PollRequest, Upstream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::server::{JOB, Reply, Request, Server, reply};
use super::{assert_read, client_of, poll_job, settings, try_client};

/// So many of the largest answers take all the memory for reading.
const ALL: usize = 32;

const TIMEOUT: Duration = Duration::from_secs(15);

/// A job of so many bytes.
fn job(bytes: usize) -> Vec<u8> {
    let mut body = JOB.as_bytes().to_vec();
    body.resize(bytes, b' ');
    body
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(body).unwrap();
    packer.finish().unwrap()
}

/// An answer with as much of the largest body as is read for nothing, and a little more; then nothing for ever.
fn stuck() -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {MAX_BODY}\r\n\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(job(20 << 10));
    Reply::Hang(bytes)
}

fn script(request: &Request) -> Reply {
    let id = request.line.rsplit('/').next().unwrap();
    match id.trim_end_matches(char::is_numeric) {
        "stuck-" => stuck(),
        "small-" => reply(200, "", JOB),
        "large-" => reply(200, "", job(MAX_BODY)),
        "packed-" => reply(200, "", packed(&job(MAX_BODY))),
        "little-" => reply(200, "", packed(JOB.as_bytes())),
        _ => panic!("{id}"),
    }
}

/// Polls that go on until they are dropped or awaited.
fn polling(upstream: &Upstream, ids: impl IntoIterator<Item = String>) -> JoinSet<Poll> {
    let mut polls = JoinSet::new();
    for id in ids {
        let upstream = upstream.clone();
        polls.spawn(async move { poll_job(&upstream, &id).await });
    }
    polls
}

/// A client whose memory for reading is taken by polls that hang.
async fn full(server: &Server) -> (Upstream, JoinSet<Poll>) {
    let upstream = client_of(server, Auth::None);
    let stuck = polling(&upstream, (0..ALL).map(|n| format!("stuck-{n}")));
    while server.count("GET /jobs/stuck-") < ALL {
        poll_job(&upstream, "small-0").await;
    }
    // They have all read what they can.
    for _ in 0..10 {
        poll_job(&upstream, "small-0").await;
    }
    (upstream, stuck)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_others_to_be_read_does_not_time_out_and_small_ones_do_not_wait() {
    let server = Server::start(script).await;
    let begun = Instant::now();
    let (upstream, mut stuck) = full(&server).await;
    let mut innocent = polling(&upstream, (0..ALL).map(|n| format!("large-{n}")));
    for n in 0..50 {
        assert_read(&poll_job(&upstream, &format!("small-{n}")).await);
        assert_read(&poll_job(&upstream, &format!("little-{n}")).await);
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(innocent.try_join_next().is_none());
    while let Some(poll) = innocent.join_next().await {
        assert_read(&poll.unwrap());
    }
    // Nobody was kept waiting for longer than those may take.
    assert_eq!(begun.elapsed(), TIMEOUT);
    while let Some(poll) = stuck.join_next().await {
        let outcome = poll.unwrap().outcome;
        let PollOutcome::Trouble(trouble) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(trouble.class, TroubleClass::Timeout);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_before_and_after_the_wait_counts() {
    let server = Server::start(script).await;
    let begun = Instant::now();
    let (upstream, stuck) = full(&server).await;
    let mut late = polling(&upstream, ["stuck-99".to_owned()]);
    while server.count("GET /jobs/stuck-99") == 0 {
        poll_job(&upstream, "small-0").await;
    }
    tokio::time::sleep(TIMEOUT / 3).await;
    drop(stuck);
    late.join_next().await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), TIMEOUT + TIMEOUT / 3);
}

#[tokio::test(start_paused = true)]
async fn clients_of_other_settings_share_the_memory() {
    let server = Server::start(script).await;
    let memory = AnswerMemory::default();
    let with = |memory: &AnswerMemory| {
        try_client(&settings(&server.url(), Auth::None), memory.clone()).unwrap()
    };
    let (before, after) = (with(&memory), with(&memory));
    let begun = Instant::now();
    let stuck = polling(&before, (0..ALL).map(|n| format!("stuck-{n}")));
    while server.count("GET /jobs/stuck-") < ALL {
        poll_job(&after, "small-0").await;
    }
    for _ in 0..10 {
        poll_job(&after, "small-0").await;
    }
    assert_read(&poll_job(&after, "large-0").await);
    assert_eq!(begun.elapsed(), TIMEOUT);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn what_is_compressed_counts_by_what_comes_out() {
    let server = Server::start(script).await;
    let begun = Instant::now();
    let (upstream, _stuck) = full(&server).await;
    assert_read(&poll_job(&upstream, "little-0").await);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(packed(&job(MAX_BODY)).len() < 2 << 10);
    assert_read(&poll_job(&upstream, "packed-0").await);
    assert_eq!(begun.elapsed(), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_dropped_or_fail_give_back_what_they_have() {
    let server = Server::start(|request| {
        let large = job(MAX_BODY);
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {MAX_BODY}\r\n\r\n");
        let open = "HTTP/1.1 200 OK\r\n\r\n";
        let id = request.line.rsplit('/').next().unwrap();
        match id.trim_end_matches(char::is_numeric) {
            "cut-" => Reply::Bytes([whole.as_bytes(), &large[1..]].concat()),
            "reset-" => Reply::Reset([whole.as_bytes(), &large[1..]].concat()),
            "endless-" => Reply::Endless(open.into(), large),
            "bomb-" => reply(200, "", packed(&job(MAX_BODY + 1))),
            "broken-" => reply(200, "", &packed(&large)[..500]),
            "nonsense-" => reply(200, "", &large[1..]),
            "words-" => reply(500, "", &large[..60 << 10]),
            _ => script(request),
        }
    })
    .await;
    let (upstream, stuck) = full(&server).await;
    drop(stuck);
    let begun = Instant::now();
    for fault in [
        "cut", "reset", "endless", "bomb", "broken", "nonsense", "words",
    ] {
        let mut failed = polling(&upstream, (0..2 * ALL).map(|n| format!("{fault}-{n}")));
        while let Some(poll) = failed.join_next().await {
            let outcome = poll.unwrap().outcome;
            assert!(
                matches!(outcome, PollOutcome::Trouble(_)),
                "{fault}: {outcome:?}"
            );
        }
    }
    let mut large = polling(&upstream, (0..2 * ALL).map(|n| format!("large-{n}")));
    while let Some(poll) = large.join_next().await {
        assert_read(&poll.unwrap());
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_utf_8_are_read_until_the_text_is_too_large() {
    let server = Server::start(|request| {
        let broken = if request.line.ends_with("0") {
            300
        } else {
            1000
        } << 10;
        let text = [
            br#"{"type":"job","id":""#,
            &vec![0xff; broken][..],
            br#"","steps":[]}"#,
        ];
        reply(200, "", text.concat())
    })
    .await;
    let upstream = client_of(&server, Auth::None);
    let url = |id: &str| upstream.target(&JobId::parse(id).unwrap(), None).unwrap();
    for (id, class) in [("0", TroubleClass::Unusable), ("1", TroubleClass::TooLarge)] {
        let id = JobId::parse(id).unwrap();
        let request = PollRequest {
            url: &url(id.as_str()),
            job: &id,
            expected: Some(&id),
            known: None,
            if_none_match: None,
        };
        // The first one is read, and is another job.
        let PollOutcome::Trouble(trouble) = upstream.poll(&request).await.outcome else {
            panic!("{id}");
        };
        assert_eq!(trouble.class, class, "{}", trouble.detail);
    }
}

async fn keeping(upstream: &Upstream, id: &str) -> (Poll, Option<Reservation>) {
    let id = JobId::parse(id).unwrap();
    let url = upstream.target(&id, None).unwrap();
    let request = PollRequest {
        url: &url,
        job: &id,
        expected: Some(&id),
        known: None,
        if_none_match: None,
    };
    upstream.poll_counted(&request, &AtomicU32::new(0)).await
}

#[tokio::test(start_paused = true)]
async fn what_follows_from_large_answers_waits_until_others_are_recorded_and_small_ones_do_not() {
    let server = Server::start(script).await;
    let upstream = client_of(&server, Auth::None);
    let mut kept = Vec::new();
    // One more than fit.
    let more = loop {
        let id = format!("large-{}", kept.len());
        let large = keeping(&upstream, &id);
        let large = async { tokio::time::timeout(2 * TIMEOUT, large).await.ok() };
        match large.await {
            Some((poll, memory)) => {
                assert_read(&poll);
                kept.push(memory.unwrap());
            }
            None => break id,
        }
        assert!(kept.len() < 48, "each takes more than its bytes");
    };
    assert!(!kept.is_empty(), "one always fits");
    let begun = Instant::now();
    for n in 0..50 {
        let (poll, memory) = keeping(&upstream, &format!("small-{n}")).await;
        assert_read(&poll);
        kept.push(memory.unwrap());
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let (giving_back, waiting) = tokio::join!(
        async {
            tokio::time::sleep(10 * TIMEOUT).await;
            kept.clear();
        },
        keeping(&upstream, &more)
    );
    let ((), (poll, _)) = (giving_back, waiting);
    assert_read(&poll);
    assert_eq!(begun.elapsed(), 10 * TIMEOUT);
}
