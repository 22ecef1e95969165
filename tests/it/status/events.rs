//! `GET /events`: a receiver that catches up gets each event once.

use std::time::Duration;

use serde_json::Value;

use super::client::{Waiter, get};
use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// A receiver that keeps where it was.
#[derive(Default)]
struct Receiver {
    next: Option<String>,
    got: Vec<String>,
}

impl Receiver {
    /// Takes pages until one is empty.
    async fn catch_up(&mut self, world: &mut World, filter: &str) {
        loop {
            let after = self.next.as_ref().map(|next| format!("&after={next}"));
            let path = format!("/events?limit=3{filter}{}", after.unwrap_or_default());
            let page = get(world, &path).await;
            self.next = page.next();
            let ids = page.column("id");
            if ids.is_empty() {
                return;
            }
            self.got.extend(ids);
        }
    }
}

async fn ids(world: &World, condition: &str) -> Vec<String> {
    let sql = format!("SELECT id FROM events WHERE {condition} ORDER BY cursor");
    world.rows(&sql).await.concat()
}

#[tokio::test(start_paused = true)]
async fn a_receiver_gets_each_event_once_in_the_order_of_commits_also_over_a_restart() {
    let mut world = World::running().await;
    let mut receiver = Receiver::default();
    receiver.catch_up(&mut world, "").await;
    assert_eq!((receiver.next.as_ref(), receiver.got.len()), (None, 0));
    for id in ["a", "b", "c"] {
        world
            .follow(
                id,
                &[(0, &[("x", "in-progress")]), (20_000, &[("x", "success")])],
            )
            .await;
    }
    world.pass(SECOND).await;
    receiver.catch_up(&mut world, "").await;
    assert_eq!(receiver.got.len(), 3);
    receiver.catch_up(&mut world, "").await;
    assert_eq!(receiver.got.len(), 3, "nothing comes twice");
    world.pass(5 * SECOND).await;
    world.stop().await;
    world.start().await;
    receiver.catch_up(&mut world, "").await;
    world.until_ended(Duration::from_secs(120)).await;
    receiver.catch_up(&mut world, "").await;
    let all = ids(&world, "true").await;
    assert_eq!((all.len(), &receiver.got), (9, &all));
}

#[tokio::test(start_paused = true)]
async fn an_event_comes_with_the_bytes_its_webhooks_were_sent() {
    let mut world = World::running().await;
    world.make("j", &[(0, &[("a", "success")])]);
    world
        .sql("INSERT INTO jobs (id, metadata) VALUES ('j', '{\"n\":1.50}')")
        .await;
    world.until_ended(Duration::from_secs(60)).await;
    let page = get(&mut world, "/events").await;
    let (accepted, cursors) = (world.sink.accepted("all"), page.column("cursor"));
    assert_eq!((accepted.len(), cursors.len()), (2, 2));
    for (received, cursor) in accepted.iter().zip(cursors) {
        assert!(page.text.contains(&format!("\"body\":{}", received.text())));
        let event = format!(
            "\"cursor\":\"{cursor}\",\"id\":\"{}\",\"job_id\":\"j\"",
            received.id
        );
        assert!(page.text.contains(&event), "{event}");
    }
    let json = page.json();
    let events = json["data"].as_array().unwrap();
    let keys: Vec<&String> = events[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "body",
            "created_at",
            "cursor",
            "id",
            "job_id",
            "sequence",
            "type"
        ]
    );
    assert_eq!(json["next"], events.last().unwrap()["cursor"]);
}

#[tokio::test(start_paused = true)]
async fn filters_leave_out_what_is_not_asked_for_and_nothing_else() {
    let mut world = World::running().await;
    for id in ["a", "b"] {
        world
            .follow(
                id,
                &[(0, &[("x", "in-progress")]), (5000, &[("x", "success")])],
            )
            .await;
    }
    world.until_ended(Duration::from_secs(60)).await;
    for (filter, condition, count) in [
        ("&type=job.completed", "type = 'job.completed'", 2),
        ("&job=b", "job_id = 'b'", 3),
        (
            "&job=b&type=job.step_changed",
            "job_id = 'b' AND type = 'job.step_changed'",
            2,
        ),
        ("&job=nobody", "false", 0),
        ("&type=job.delayed", "false", 0),
    ] {
        let mut receiver = Receiver::default();
        receiver.catch_up(&mut world, filter).await;
        let expected = ids(&world, condition).await;
        assert_eq!(
            (receiver.got, expected.len()),
            (expected, count),
            "{filter}"
        );
        assert_eq!(
            receiver.next.as_deref(),
            Some("6"),
            "{filter}: all were looked at"
        );
    }
    for wrong in [
        "type=job.done",
        "type=webhook.test",
        "job=a%20b",
        "after=-1",
        "after=x",
        "limit=501",
        "wait=61",
        "since=1",
    ] {
        get(&mut world, &format!("/events?{wrong}"))
            .await
            .refused(400, "parameter-not-valid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_goes_far_in_one_request_and_says_how_far() {
    let mut world = World::running().await;
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    // 25,000 events of another type between two of the wanted one.
    let many = "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 25002) \
                INSERT INTO events (id, job_id, sequence, type, created_at, body) \
                SELECT 'x' || i, 'j', i, CASE i WHEN 25002 THEN 'job.delayed' ELSE 'job.step_changed' END, 0, '{}' FROM n";
    world.foreign_sql(many).await;
    let page = get(&mut world, "/events?type=job.delayed").await;
    assert_eq!(
        (page.column("id"), page.next().as_deref()),
        (vec!["x25002".to_owned()], Some("25002"))
    );
    let large = format!(
        "UPDATE sqlite_sequence SET seq = seq; INSERT INTO events (id, job_id, sequence, type, created_at, body) \
         SELECT 'y' || value, 'j', 30000 + value, 'job.delayed', 0, '\"{}\"' FROM json_each('[1,2,3,4,5,6]')",
        "y".repeat(1 << 20)
    );
    world.foreign_sql(&large).await;
    let page = get(&mut world, "/events?after=25002").await;
    assert_eq!(
        page.column("id"),
        ["y1", "y2", "y3", "y4"],
        "four mebibytes at once"
    );
    let rest = format!("/events?after={}", page.next().unwrap());
    assert_eq!(get(&mut world, &rest).await.column("id"), ["y5", "y6"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_an_event_ends_with_the_event_or_with_where_to_go_on() {
    let mut world = World::running().await;
    world.make("j", &[(0, &[("a", "success")])]);
    let waiter = Waiter::start(&mut world, "/events?wait=60&type=job.completed", None).await;
    let before = world.elapsed();
    world.enqueue("j").await;
    let answer = waiter.answer(&world).await;
    assert_eq!(answer.column("type"), ["job.completed"]);
    assert!(world.elapsed() - before < 1000);
    let next = answer.next().unwrap();
    let path = format!("/events?wait=10&after={next}");
    let waiter = Waiter::start(&mut world, &path, None).await;
    world.pass(11 * SECOND).await;
    let empty = waiter.answer(&world).await;
    assert_eq!((empty.column("id").len(), empty.next()), (0, Some(next)));
    let early = get(&mut world, "/events?wait=60").await;
    assert_eq!(
        early.json()["data"][0]["sequence"],
        Value::from(1),
        "there is one already"
    );
}
