//! Who is delivered what, in which order, and what happens when a webhook does not take it.

mod answers;
mod clocks;
mod expiring;
mod holding;
mod hostile;
mod order;
mod pauses;
mod spoilt;

use std::net::SocketAddr;
use std::time::Duration;

use jobtrackd::simulator::HANG;

use crate::support::receiver::{kinds, receiver_at};
use crate::support::world::World;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A section for a webhook of the receiver.
pub(crate) fn webhook(name: &str, lines: &str) -> String {
    format!(
        "[webhooks.{name}]\nurl = \"http://SINK/{name}\"\nsecret = \"SECRET\"\nallow_private = true\n{lines}\n"
    )
}

/// A world in which "all" has these lines, with more sections.
pub(crate) async fn delivering_world(all: &str, more: &str) -> World {
    let mut world = World::new().await;
    all.clone_into(&mut world.all);
    more.clone_into(&mut world.more);
    world.start().await;
    world
}

/// Follows a job that is done when first looked at; with `events = ["*"]` it has two events.
pub(crate) async fn done(world: &mut World, id: &str) {
    world.follow(id, &[(0, &[("a", "success")])]).await;
}

#[tokio::test(start_paused = true)]
async fn each_webhook_gets_what_it_subscribes_to() {
    let more = [
        webhook("usual", ""),
        webhook("steps", "events = [\"job.step_changed\"]"),
        webhook("ends", "events = [\"job.failed\", \"job.completed\"]"),
        webhook("none", "events = [\"job.delayed\"]"),
    ]
    .concat();
    let mut world = delivering_world("events = [\"*\"]", &more).await;
    done(&mut world, "good").await;
    world.follow("bad", &[(0, &[("a", "failed")])]).await;
    world.until_ended(MINUTE).await;
    let expected: [(&str, &[&str], &[&str]); 5] = [
        (
            "all",
            &["job.step_changed", "job.completed"],
            &["job.step_changed", "job.failed"],
        ),
        ("usual", &["job.completed"], &["job.failed"]),
        ("steps", &["job.step_changed"], &["job.step_changed"]),
        ("ends", &["job.completed"], &["job.failed"]),
        ("none", &[], &[]),
    ];
    for (name, good, bad) in expected {
        assert_eq!(world.sink.kinds(name, "good"), good, "{name}");
        assert_eq!(world.sink.kinds(name, "bad"), bad, "{name}");
    }
    let sent = world.sink.requests("usual");
    let same = world
        .value("SELECT body FROM events WHERE type = 'job.completed'")
        .await;
    assert!(
        sent.iter().any(|each| each.body == same),
        "the bytes are those of the row"
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_with_a_webhook_tells_only_that_one() {
    let mut world = delivering_world("events = [\"*\"]", &webhook("billing", "")).await;
    world.make("mine", &[(0, &[("a", "success")])]);
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('mine', 'billing')")
        .await;
    world.until_ended(MINUTE).await;
    let received = world.sink.received();
    assert_eq!(kinds(&received), ["job.completed"]);
    assert_eq!(received[0].hook, "billing");
}

#[tokio::test(start_paused = true)]
async fn a_job_with_an_unknown_webhook_is_tracked_and_the_problem_shown() {
    let mut world = World::running().await;
    world.make(
        "odd",
        &[(0, &[("a", "in-progress")]), (30_000, &[("a", "success")])],
    );
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('odd', 'nobody')")
        .await;
    world.pass(10 * SECOND).await;
    let (code, ready) = world.get("/readyz").await;
    assert_eq!(
        (code, ready["jobs_with_unknown_webhook"].as_u64()),
        (200, Some(1))
    );
    let state = "SELECT state FROM jobs";
    world.until(2 * MINUTE, state, "success").await;
    world.pass(MINUTE).await;
    assert!(world.sink.received().is_empty());
    let waiting = world
        .rows("SELECT webhook, sequence, state FROM deliveries")
        .await;
    assert_eq!(waiting, [["nobody", "3", "pending"]], "its end waits");
    let (_, ready) = world.get("/readyz").await;
    assert_eq!(ready["jobs_with_unknown_webhook"], 0, "it is over");
    assert_eq!(ready["status"], "degraded");
}

#[tokio::test(start_paused = true)]
async fn retries_follow_the_schedule_with_the_same_bytes_and_end_exhausted() {
    let mut world =
        delivering_world("events = [\"*\"]\nretry = [\"5s\", \"30s\", \"5m\"]", "").await;
    world
        .sink
        .reply_in_turn("all", &[(500, ""), (302, ""), (404, ""), (503, "")]);
    done(&mut world, "j").await;
    world.until_ended(HOUR).await;
    let requests = world.sink.requests("all");
    assert_eq!(kinds(&requests[..4]), ["job.step_changed"; 4]);
    assert_eq!(
        kinds(&requests[4..]),
        ["job.completed"],
        "then the next one goes"
    );
    for each in &requests[1..4] {
        assert_eq!((&each.id, &each.body), (&requests[0].id, &requests[0].body));
        assert!(each.timestamp() > requests[0].timestamp());
    }
    let rows = world
        .rows("SELECT number, started_at, status, error, trigger FROM attempts JOIN events ON id = event_id WHERE sequence = 1 ORDER BY number")
        .await;
    let times: Vec<i64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    for (pair, delay) in times.windows(2).zip([5000, 30_000, 300_000]) {
        let gap = pair[1] - pair[0];
        assert!(
            gap >= delay && gap <= delay + delay * 15 / 100 + 50,
            "{gap} for {delay}"
        );
    }
    let brief: Vec<[&str; 3]> = rows
        .iter()
        .map(|row| [row[0].as_str(), &row[2], &row[4]])
        .collect();
    let expected = [
        ["1", "500", "schedule"],
        ["2", "302", "schedule"],
        ["3", "404", "schedule"],
        ["4", "503", "schedule"],
    ];
    assert_eq!(brief, expected);
    assert!(rows.iter().all(|row| row[3] != "-"));
    assert_eq!(requests[3].timestamp(), times[3].div_euclid(1000));
    let states = world
        .rows("SELECT state, attempts, last_status, next_attempt_at, delivered_at IS NULL, last_error IS NULL FROM deliveries ORDER BY sequence")
        .await;
    assert_eq!(states[0], ["exhausted", "4", "503", "-", "1", "0"]);
    assert_eq!(states[1], ["delivered", "1", "204", "-", "0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_answers_410_is_disabled_and_the_others_go_on() {
    let mut world =
        delivering_world("events = [\"*\"]", &webhook("other", "events = [\"*\"]")).await;
    world.sink.reply_in_turn("all", &[(204, ""), (500, "")]);
    done(&mut world, "waiting").await;
    world.pass(SECOND).await;
    world.sink.reply_in_turn("all", &[(410, "")]);
    done(&mut world, "first").await;
    world.pass(MINUTE).await;
    done(&mut world, "later").await;
    world.pass(HOUR).await;
    let states = world
        .rows("SELECT job_id, sequence, state, next_attempt_at, last_status FROM deliveries WHERE webhook = 'all' ORDER BY job_id DESC, sequence")
        .await;
    let expected = [
        ["waiting", "1", "delivered", "-", "204"],
        ["waiting", "2", "disabled", "-", "500"],
        ["later", "1", "disabled", "-", "-"],
        ["later", "2", "disabled", "-", "-"],
        ["first", "1", "disabled", "-", "410"],
        ["first", "2", "disabled", "-", "-"],
    ];
    assert_eq!(states, expected);
    assert_eq!(world.sink.requests("all").len(), 3);
    assert_eq!(world.sink.accepted("other").len(), 6);
    world.stop().await;
    world.start().await;
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("all").len(), 3, "also after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_hangs_delays_no_other_and_is_cut_off() {
    let mut world =
        delivering_world("events = [\"*\"]\ntimeout = \"20s\"", &webhook("quick", "")).await;
    world.sink.reply_in_turn("all", &[(HANG, "")]);
    done(&mut world, "a").await;
    world.pass(2 * SECOND).await;
    done(&mut world, "b").await;
    world.pass(2 * SECOND).await;
    assert_eq!(world.sink.accepted("quick").len(), 2);
    assert_eq!(
        world.sink.kinds("all", "b").len(),
        2,
        "other jobs of the same webhook go on"
    );
    assert!(world.sink.kinds("all", "a").is_empty());
    world.until_ended(MINUTE).await;
    let first = world
        .rows("SELECT duration_ms / 1000, status, error FROM attempts WHERE webhook = 'all' AND error IS NOT NULL")
        .await;
    assert_eq!(first[0][..2], ["20", "-"]);
    assert!(first[0][2].starts_with("timeout"), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_open_to_a_webhook_than_its_max_in_flight() {
    let mut world =
        delivering_world("max_in_flight = 2\ntimeout = \"10s\"", &webhook("free", "")).await;
    world.sink.reply_in_turn("all", &[(HANG, ""), (HANG, "")]);
    for id in ["a", "b", "c", "d", "e"] {
        done(&mut world, id).await;
    }
    world.pass(8 * SECOND).await;
    assert_eq!(world.sink.requests("all").len(), 2);
    assert_eq!(world.sink.requests("free").len(), 5);
    world.until_ended(2 * MINUTE).await;
    assert_eq!(world.sink.accepted("all").len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_was_away_gets_its_events_when_it_is_back() {
    let place = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = place.local_addr().unwrap();
    drop(place);
    let away =
        webhook("away", "retry = [\"5s\", \"1m\", \"1m\"]").replace("SINK", &address.to_string());
    let mut world = delivering_world("events = [\"*\"]", &away).await;
    done(&mut world, "j").await;
    world.pass(30 * SECOND).await;
    let rows = world
        .rows("SELECT number, status, error FROM attempts WHERE webhook = 'away' ORDER BY number")
        .await;
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|row| row[1] == "-" && row[2].starts_with("connect")),
        "{rows:?}"
    );
    let back = receiver_at(address, world.clock.clone()).await;
    world.until_ended(5 * MINUTE).await;
    assert_eq!(back.inbox().kinds("away", "j"), ["job.completed"]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_reads_the_files_of_headers_and_urls_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let [headers, url] = ["headers", "url"].map(|name| folder.path().join(name));
    let mut world = World::new().await;
    world.more = format!(
        "[webhooks.filed]\nurl_file = {url:?}\nheaders_file = {headers:?}\nsecret = \"SECRET\"\nallow_private = true\n"
    );
    let write = |world: &World, part: &str| {
        let place = format!("http://{}/{part}", world.receiver.address());
        std::fs::write(&url, place).unwrap();
        std::fs::write(&headers, format!("x-part: {part}\n")).unwrap();
    };
    write(&world, "one");
    world.start().await;
    world.follow("1", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    write(&world, "two");
    world.reload();
    world.follow("2", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    let received = world.sink.received();
    let sent: Vec<_> = received
        .iter()
        .filter(|event| event.hook != "all")
        .map(|event| {
            (
                event.job.as_str(),
                event.hook.as_str(),
                event.header("x-part"),
            )
        })
        .collect();
    assert_eq!(sent, [("1", "one", "one"), ("2", "two", "two")]);
}
