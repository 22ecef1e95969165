//! `GET /jobs` and `GET /jobs/{id}/timeline` in pages.

use std::time::Duration;

use jobtrackd::simulator::Phase;

use super::client::{Answer, get};
use crate::support::world::{EPOCH, World};

const SECOND: Duration = Duration::from_secs(1);

/// All pages of a list, one row each: the values of a field.
async fn pages(world: &mut World, path: &str, field: &str, limit: u32) -> Vec<String> {
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = get(world, &format!("{path}?limit={limit}{after}")).await;
        assert!(page.column(field).len() <= limit as usize);
        seen.extend(page.column(field));
        match page.next() {
            Some(next) => after = format!("&after={next}"),
            None => return seen,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_are_listed_newest_first_in_pages_that_rows_and_restarts_do_not_shift() {
    let mut world = World::running().await;
    for (n, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        world.make(
            id,
            &[(0, &[("s", if n == 1 { "success" } else { "in-progress" })])],
        );
        // Two of them in the same millisecond.
        let row = format!(
            "INSERT INTO jobs (id, metadata) VALUES ('{id}', '{{\"n\":1.50}}'); \
             UPDATE jobs SET created_at = {} WHERE id = '{id}'",
            EPOCH.0 + n as i64 / 2
        );
        world.sql(&row).await;
    }
    world.pass(SECOND).await;
    assert_eq!(
        pages(&mut world, "/jobs", "id", 2).await,
        ["e", "d", "c", "b", "a"]
    );
    assert_eq!(
        pages(&mut world, "/jobs", "id", 5).await,
        ["e", "d", "c", "b", "a"]
    );
    let first = get(&mut world, "/jobs?limit=2").await;
    documented_fields(&first);
    world
        .sql(&format!(
            "INSERT INTO jobs (id) VALUES ('f'); UPDATE jobs SET created_at = {} WHERE id = 'f'",
            EPOCH.0 + 9
        ))
        .await;
    world.stop().await;
    world.start().await;
    let second = format!("/jobs?limit=2&after={}", first.next().unwrap());
    assert_eq!(get(&mut world, &second).await.column("id"), ["c", "b"]);
    let ended = get(&mut world, "/jobs?state=success").await;
    assert_eq!(
        (ended.column("id"), ended.next()),
        (vec!["b".to_owned()], None)
    );
    assert_eq!(
        get(&mut world, "/jobs?state=failed")
            .await
            .column("id")
            .len(),
        0
    );
}

fn documented_fields(first: &Answer) {
    let record = &first.json()["data"][0];
    let expected = [
        "created_at",
        "failure",
        "finished_at",
        "id",
        "last_error",
        "metadata",
        "next_poll_at",
        "polls",
        "state",
        "steps",
        "webhook",
    ];
    let mut keys: Vec<&String> = record.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, expected);
    assert!(
        first.text.contains("\"metadata\":{\"n\":1.50}"),
        "{}",
        first.text
    );
    assert_eq!(
        record["created_at"].as_str().unwrap().len(),
        "2026-11-22T15:04:05.123Z".len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_of_jobs_with_large_results_is_short_and_goes_on() {
    let mut world = World::running().await;
    let result = "x".repeat(1000 << 10);
    let ids: Vec<String> = (0..9).map(|n| format!("j{n}")).collect();
    for id in &ids {
        let body = format!(
            r#"{{"type":"job","id":"{id}","steps":[{{"title":"a","status":"success","result":"{result}"}}]}}"#
        );
        world.tell(id, vec![Phase::verbatim(0, body)]);
        world.enqueue(id).await;
    }
    world.until_ended(Duration::from_secs(60)).await;
    let first = get(&mut world, "/jobs?limit=500").await;
    assert_eq!(first.column("id").len(), 5);
    assert!(first.text.len() < 5 << 20, "{}", first.text.len());
    let mut listed = pages(&mut world, "/jobs", "id", 500).await;
    listed.sort();
    assert_eq!(listed, ids);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_page_is_refused() {
    let mut world = World::running().await;
    world.follow("a", &[(0, &[("s", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    let timeline_cursor = get(&mut world, "/jobs/a/timeline?limit=1")
        .await
        .next()
        .unwrap();
    for wrong in [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=",
        "limit=1&limit=1",
        "state=done",
        "after=x",
        "stat=failed",
        &format!("after={timeline_cursor}"),
    ] {
        get(&mut world, &format!("/jobs?{wrong}"))
            .await
            .refused(400, "parameter-not-valid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeline_has_all_that_happened_to_a_job_in_one_order_however_it_is_cut() {
    let mut world = World::running().await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    world
        .follow(
            "j",
            &[
                (0, &[("a", "in-progress"), ("b", "pending")]),
                (3000, &[("a", "success"), ("b", "success")]),
            ],
        )
        .await;
    // So that the refusal was for this job.
    let attempts = "SELECT count(*) FROM attempts";
    world.until(SECOND, attempts, "1").await;
    world.follow("other", &[(0, &[("a", "success")])]).await;
    world.until_ended(Duration::from_secs(60)).await;
    let whole = get(&mut world, "/jobs/j/timeline").await;
    let kinds = whole.column("kind");
    let count = |kind: &str| kinds.iter().filter(|each| *each == kind).count();
    assert_eq!(
        (
            count("transition"),
            count("event"),
            count("delivery"),
            count("attempt")
        ),
        (4, 5, 5, 6)
    );
    assert_eq!(kinds[..4], ["transition", "transition", "event", "event"]);
    let times = whole.column("at");
    assert!(times.is_sorted(), "{times:?}");
    let json = whole.json();
    let last = json["data"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|entry| entry["kind"] == "delivery");
    assert_eq!(
        (&last.unwrap()["state"], &last.unwrap()["attempts"]),
        (&"delivered".into(), &1.into())
    );
    for limit in [1, 3, 20] {
        assert_eq!(
            pages(&mut world, "/jobs/j/timeline", "kind", limit).await,
            kinds
        );
        assert_eq!(
            pages(&mut world, "/jobs/j/timeline", "at", limit).await,
            times
        );
    }
    let sql = "SELECT count(*) FROM timeline WHERE job_id = 'j'";
    assert_eq!(
        world.value(sql).await,
        (kinds.len() - 5).to_string(),
        "as the view has it"
    );
    get(&mut world, "/jobs/none/timeline")
        .await
        .refused(404, "resource-not-found");
    get(&mut world, "/jobs/j/timeline?after=x")
        .await
        .refused(400, "parameter-not-valid");
}
