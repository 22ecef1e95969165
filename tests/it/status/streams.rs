//! `GET /stream` and `GET /jobs/{id}/stream`: server-sent events without loss or duplicate.

use std::time::Duration;

use jobtrackd::simulator::Phase;
use reqwest::Method;

use super::client::{Listener, answer, get, request, until};
use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);

async fn cursors(world: &World, condition: &str) -> Vec<String> {
    let sql = format!("SELECT cursor FROM events WHERE {condition} ORDER BY cursor");
    world.rows(&sql).await.concat()
}

#[tokio::test(start_paused = true)]
async fn a_job_s_stream_tells_it_from_the_beginning_and_ends_with_it() {
    let mut world = World::running().await;
    let pretty = "{\n \"type\": \"job\", \"id\": \"j\",\r\n \"steps\": [{\"title\":\"a\",\"status\":\"success\",\"result\":null}]\n}";
    world.tell(
        "j",
        vec![
            Phase::steps(0, &[jobtrackd::simulator::Step::new("a", "in-progress")]),
            Phase::verbatim(5000, pretty),
        ],
    );
    world.enqueue("j").await;
    world.follow("other", &[(0, &[("a", "success")])]).await;
    world.pass(SECOND).await;
    let listener = Listener::start(&mut world, "/jobs/j/stream", None).await;
    listener
        .hears(&world.clock, "event: job.step_changed")
        .await;
    world.until_ended(Duration::from_secs(60)).await;
    listener.ended(&world.clock).await;
    assert_eq!(listener.field("id"), cursors(&world, "job_id = 'j'").await);
    let kinds = ["job.step_changed", "job.step_changed", "job.completed"];
    assert_eq!(listener.field("event"), kinds);
    let bodies = world
        .rows("SELECT body FROM events WHERE job_id = 'j' ORDER BY cursor")
        .await;
    let bodies: Vec<String> = bodies
        .concat()
        .iter()
        .map(|body| body.replace(['\n', '\r'], " "))
        .collect();
    assert_eq!(listener.field("data"), bodies);
    assert!(
        bodies[2].contains("{  \"type\": \"job\""),
        "it had line breaks: {}",
        bodies[2]
    );
    // Who comes again after the end is asked not to.
    let last = listener.field("id").pop().unwrap();
    let again = request(&mut world, Method::GET, "/jobs/j/stream").header("last-event-id", last);
    assert_eq!(answer(&world, again).await.status, 204);
    get(&mut world, "/jobs/none/stream")
        .await
        .refused(404, "resource-not-found");
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_behind_the_last_event_over_a_restart() {
    let mut world = World::running().await;
    world.follow("before", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    let mut received = Vec::new();
    let mut last = None;
    for round in 0..3 {
        let listener = Listener::start(&mut world, "/stream", last.as_deref()).await;
        let id = format!("r{round}");
        world.follow(&id, &[(0, &[("a", "in-progress")])]).await;
        listener
            .hears(&world.clock, &format!("\"job_id\":\"{id}\""))
            .await;
        world.stop().await;
        listener.ended(&world.clock).await;
        received.extend(listener.field("id"));
        last = received.last().cloned();
        // What is committed while nobody listens is sent later.
        world.start().await;
        world
            .follow(&format!("between{round}"), &[(0, &[("a", "success")])])
            .await;
        world.pass(SECOND).await;
    }
    let last = last.unwrap();
    let listener = Listener::start(&mut world, "/stream?after=1", Some(&last)).await;
    listener
        .hears(&world.clock, "\"job_id\":\"between2\",\"sequence\":2")
        .await;
    received.extend(listener.field("id"));
    assert_eq!(received, cursors(&world, "job_id <> 'before'").await);
    let parameter = Listener::start(&mut world, &format!("/stream?after={last}"), None).await;
    parameter
        .hears(&world.clock, "\"job_id\":\"between2\",\"sequence\":2")
        .await;
    assert_eq!(parameter.field("id"), listener.field("id"));
    for wrong in ["/stream?after=x", "/jobs/before/stream?from=1"] {
        get(&mut world, wrong)
            .await
            .refused(400, "parameter-not-valid");
    }
    let wrong = request(&mut world, Method::GET, "/stream").header("last-event-id", "x");
    answer(&world, wrong)
        .await
        .refused(400, "parameter-not-valid");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_shows_that_it_lives() {
    let mut world = World::running().await;
    let listener = Listener::start(&mut world, "/stream", None).await;
    for beat in 1..=3 {
        world.pass(15 * SECOND).await;
        let beats = || listener.text().matches(": nothing new\n\n").count() >= beat;
        until(&world.clock, "a heartbeat", beats).await;
    }
    assert!(listener.text().starts_with("retry: 2000\n\n: nothing new"));
}

#[tokio::test(start_paused = true)]
async fn one_stream_too_many_is_asked_to_come_again_and_room_is_made_by_those_who_leave() {
    let mut world = World::running().await;
    let mut listeners = Vec::new();
    let stream = request(&mut world, Method::GET, "/stream");
    for _ in 0..jobtrackd::status::MAX_STREAMS {
        let one = stream.try_clone().unwrap();
        listeners.push(Listener::open(one, &world.clock).await);
    }
    let refused = get(&mut world, "/stream").await;
    refused.refused(503, "service-unavailable");
    assert_eq!(refused.header("retry-after"), "5");
    listeners.clear();
    let waiting = world.daemon().waiting().clone();
    until(&world.clock, "all have left", || waiting.streams() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_no_more_than_a_few_events() {
    let mut world = World::running().await;
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    let many = format!(
        "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 402) \
         INSERT INTO events (id, job_id, sequence, type, created_at, body) \
         SELECT 'x' || i, 'j', i, 'job.delayed', 0, '\"{}\"' FROM n",
        "y".repeat(100_000)
    );
    world.foreign_sql(&many).await;
    let slow = request(&mut world, Method::GET, "/stream?after=0").send();
    let mut slow = world.clock.held(slow).await.unwrap();
    assert_eq!(get(&mut world, "/healthz").await.status, 200);
    // All of it comes when it is read at last.
    let reading = async {
        let mut length = 0;
        while length < 40_000_000 {
            length += slow.chunk().await.unwrap().unwrap().len();
        }
    };
    world.clock.held(reading).await;
}
