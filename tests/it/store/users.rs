//! Whom jobs belong to, and their jobs in pages.

use jobtrackd::core::dialect::Basiq;
use jobtrackd::store::{UserFilter, UserPage, Users as _};

use super::bench::Bench;

/// Rows of `job_users`: user and job.
const USERS: &str = "SELECT user, job_id FROM job_users ORDER BY user, job_id";

/// The same with the user's connections.
const CONNECTIONS: &str = "SELECT user, job_id, connections FROM job_users ORDER BY user, job_id";

/// A remote job that leads to these users.
fn job(id: &str, source: &str, more: &str) -> String {
    format!(
        r#"{{"type":"job","id":"{id}","steps":[{{"title":"a","status":"odd","result":{{"url":"{more}"}}}}],"links":{{"source":"{source}"}}}}"#
    )
}

async fn page(bench: &Bench, filter: &UserFilter) -> (Vec<String>, UserPage) {
    let page = bench.store.jobs_of_user(filter).await.unwrap();
    let id = |resource: &String| {
        let job: serde_json::Value = serde_json::from_str(resource).unwrap();
        job["id"].as_str().unwrap().to_owned()
    };
    (page.resources.iter().map(id).collect(), page)
}

fn of(user: &str, limit: u32) -> UserFilter {
    UserFilter {
        user: user.to_owned(),
        connection: None,
        after: None,
        limit,
    }
}

#[tokio::test]
async fn a_recorded_job_belongs_to_those_it_leads_to_now_and_a_deleted_one_to_nobody() {
    let mut bench = Bench::with_jobs(&["1", "2"]).await;
    bench
        .sees(
            "1",
            &job("1", "/users/u1/connections/c", "/users/u2/x"),
            &[],
        )
        .await;
    bench
        .sees(
            "2",
            &job("2", "/reports/7", "https://api/v3/users/u2?x=/users/u9"),
            &[],
        )
        .await;
    assert_eq!(bench.outsider.rows(USERS).await, ["u1|1", "u2|1", "u2|2"]);
    let dated = "SELECT count(*) FROM job_users AS u JOIN jobs AS j ON j.id = u.job_id AND j.created_at = u.created_at";
    assert_eq!(bench.outsider.value(dated).await, "3");
    let done = job("1", "/users/u1/connections/c", "/users/u3").replace("odd", "success");
    bench.sees("1", &done, &[]).await;
    assert_eq!(bench.outsider.rows(USERS).await, ["u1|1", "u2|2", "u3|1"]);
    bench
        .outsider
        .run("DELETE FROM jobs WHERE id = '1'")
        .await
        .unwrap();
    assert_eq!(bench.outsider.rows(USERS).await, ["u2|2"]);
}

#[tokio::test]
async fn what_is_not_recorded_changes_nobody_s_jobs() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    let before = bench.tracked("1").await;
    bench.sees("1", &job("1", "/users/u1", ""), &[]).await;
    let stale = super::fixtures::seen(&before, &job("1", "/users/u2", ""));
    bench
        .record(vec![super::fixtures::with_deliveries(stale, &[])])
        .await;
    assert_eq!(bench.outsider.rows(USERS).await, ["u1|1"]);
}

#[tokio::test]
async fn a_page_of_a_user_s_jobs_has_at_most_4_mib_and_one_job_more_and_none_is_left_out() {
    let bench = Bench::with_jobs(&["1", "2", "3", "4", "5", "6", "7"]).await;
    let large = "x".repeat(900 << 10);
    for id in ["1", "2", "3", "4", "5", "6", "7"] {
        let of_user = if id == "4" {
            "/users/u2/x"
        } else {
            "/users/u1/x"
        };
        bench.sees(id, &job(id, of_user, &large), &[]).await;
    }
    let mut filter = of("u1", 500);
    let (first, one) = page(&bench, &filter).await;
    assert_eq!(first.len(), 5, "{first:?}");
    let bytes: usize = one.resources.iter().map(String::len).sum();
    assert!(bytes < (5 << 20), "{bytes}");
    filter.after = one.next;
    let (rest, last) = page(&bench, &filter).await;
    assert_eq!((rest.len(), last.next), (1, None));
    let mut all: Vec<String> = first.into_iter().chain(rest).collect();
    all.sort();
    assert_eq!(all, ["1", "2", "3", "5", "6", "7"]);
    assert_eq!(page(&bench, &of("u2", 500)).await.0, ["4"]);
}

#[tokio::test]
async fn jobs_of_a_connection_are_found_among_those_of_its_user() {
    let mut bench = Bench::fresh().await;
    let script = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        INSERT INTO jobs (id, created_at)
        SELECT printf('j%03d', i), (unixepoch() * 1000) + i FROM n;
        UPDATE jobs SET resource = json_object('id', id, 'links', json_object('source',
            '/users/u1/connections/c' || (substr(id, 2) IN ('001', '550', '600'))));
        INSERT INTO job_users (user, created_at, job_id, connections)
        SELECT 'u1', created_at, id, json_array('c' || (substr(id, 2) IN ('001', '550', '600'))) FROM jobs";
    bench.outsider.run(script).await.unwrap();
    let mut filter = of("u1", 1);
    filter.connection = Some("c1".to_owned());
    let mut found = Vec::new();
    let mut requests = 0;
    loop {
        let (ids, page) = page(&bench, &filter).await;
        assert!(ids.len() <= 1);
        found.extend(ids);
        requests += 1;
        match page.next {
            Some(next) => filter.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, ["j600", "j550", "j001"]);
    assert!(requests <= 4, "{requests}");
}

#[tokio::test]
async fn the_migration_finds_whom_recording_would_have_found() {
    let (_folder, file, outsider) = super::released::copied(2).await;
    outsider.leave().await;
    super::files::create(&file).await.unwrap().close().await;
    let mut outsider = super::bench::Outsider::of(&file).await;
    let mut expected = Vec::new();
    for row in outsider
        .rows("SELECT id, resource FROM jobs WHERE resource IS NOT NULL")
        .await
    {
        let (id, resource) = row.split_once('|').unwrap();
        let users = Basiq::snapshot(resource, None).unwrap().users;
        expected.extend(users.iter().map(|of| {
            let connections = serde_json::to_string(&of.connections).unwrap();
            format!("{}|{id}|{connections}", of.user)
        }));
    }
    expected.sort();
    assert!(expected.len() > 2, "{expected:?}");
    assert_eq!(outsider.rows(CONNECTIONS).await, expected);
}
