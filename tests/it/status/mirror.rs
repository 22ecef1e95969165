//! Reads that clients of the API know: tags, conditions, the jobs of a user.

use std::time::Duration;

use jobtrackd::simulator::Phase;
use reqwest::Method;

use super::client::{answer, get, request};
use crate::support::world::{EPOCH, World};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_read_has_a_tag_of_its_bytes_and_is_not_sent_again_to_those_who_have_it() {
    let mut world = World::running().await;
    world
        .follow(
            "j",
            &[(0, &[("a", "in-progress")]), (9000, &[("a", "success")])],
        )
        .await;
    world.pass(SECOND).await;
    let paths = [
        "/jobs/j",
        "/jobs",
        "/jobs/j/timeline",
        "/events",
        "/users/u/jobs",
        "/openapi.json",
    ];
    let mut tags = Vec::new();
    for path in paths {
        let first = get(&mut world, path).await;
        let tag = first.header("etag").to_owned();
        assert_eq!(
            (first.status, first.header("cache-control")),
            (200, "no-cache")
        );
        assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
        let same = get(&mut world, path).await;
        assert_eq!(
            (same.header("etag"), &same.text),
            (tag.as_str(), &first.text)
        );
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = request(&mut world, Method::GET, path).header("if-none-match", &known);
            let again = answer(&world, again).await;
            assert_eq!(
                (again.status, again.text.as_str()),
                (304, ""),
                "{path} {known}"
            );
            assert_eq!(again.header("etag"), tag, "{path}");
        }
        let head = request(&mut world, Method::HEAD, path);
        let head = answer(&world, head).await;
        assert_eq!((head.status, head.header("etag")), (200, tag.as_str()));
        assert_eq!(head.header("content-length"), first.text.len().to_string());
        tags.push(tag);
    }
    world.pass(20 * SECOND).await;
    for (path, tag) in paths.into_iter().zip(tags).take(4) {
        let stale = request(&mut world, Method::GET, path).header("if-none-match", &tag);
        assert_eq!(
            answer(&world, stale).await.status,
            200,
            "{path} has changed"
        );
    }
    let refusal = request(&mut world, Method::GET, "/jobs/none").header("if-none-match", "*");
    let refusal = answer(&world, refusal).await;
    refusal.refused(404, "resource-not-found");
    assert!(!refusal.headers.contains_key("etag"));
}

#[tokio::test(start_paused = true)]
async fn a_user_s_jobs_come_word_for_word_newest_first_and_in_pages() {
    let mut world = World::running().await;
    let job = |id: &str, source: &str| {
        format!(
            r#"{{"type":"job","id":"{id}","n":1.50,"steps":[{{"title":"a","status":"odd","result":null}}],"links":{{"source":"{source}"}}}}"#
        )
    };
    let sources = [
        ("a", "/users/u1/connections/c1"),
        ("b", "https://api/users/u1/connections/c2"),
        ("c", "/users/u2/connections/c1"),
        ("d", "/users/u1/connections/c1"),
    ];
    for (n, (id, source)) in sources.iter().enumerate() {
        world.tell(id, vec![Phase::verbatim(0, job(id, source))]);
        let row = format!(
            "INSERT INTO jobs (id) VALUES ('{id}'); UPDATE jobs SET created_at = {} WHERE id = '{id}'",
            EPOCH.0 + n as i64
        );
        world.sql(&row).await;
    }
    world.enqueue("never-polled").await;
    world.pass(SECOND).await;
    let all = get(&mut world, "/users/u1/jobs").await;
    assert_eq!(all.column("id"), ["d", "b", "a"]);
    assert!(all.text.contains(&job("d", sources[3].1)), "{}", all.text);
    let json = all.json();
    assert_eq!(json["size"], 3);
    assert_eq!(
        (&json["links"]["self"], &json["next"]),
        (&"/users/u1/jobs".into(), &().into())
    );
    let one = get(&mut world, "/users/u1/jobs?filter=connection.id.eq('c1')").await;
    assert_eq!(one.column("id"), ["d", "a"]);
    let page = get(&mut world, "/users/u1/jobs?limit=2").await;
    assert_eq!(page.column("id"), ["d", "b"]);
    let rest = format!("/users/u1/jobs?limit=2&after={}", page.next().unwrap());
    let rest = get(&mut world, &rest).await;
    assert_eq!(
        (rest.column("id"), rest.next()),
        (vec!["a".to_owned()], None)
    );
    let nobody = get(&mut world, "/users/nobody/jobs").await;
    assert_eq!(
        (nobody.column("id"), &nobody.json()["size"]),
        (vec![], &0.into())
    );
    for wrong in ["filter=id.eq('x')", "limit=0", "after=x", "after=MTI"] {
        let path = format!("/users/u1/jobs?{wrong}");
        get(&mut world, &path)
            .await
            .refused(400, "parameter-not-valid");
    }
    get(&mut world, "/users/a%2Fb/jobs")
        .await
        .refused(400, "parameter-not-valid");
}

#[tokio::test(start_paused = true)]
async fn a_method_that_a_route_has_not_is_refused_in_the_envelope() {
    let mut world = World::running().await;
    let wrong = request(&mut world, Method::DELETE, "/jobs");
    let wrong = answer(&world, wrong).await;
    wrong.refused(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), "GET,HEAD,POST");
}
