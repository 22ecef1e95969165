//! Whom jobs belong to, and their jobs in pages.

use jobtrackd::core::dialect::Basiq;
use jobtrackd::store::{UserFilter, UserPage, Users as _};

use super::bench::Bench;

/// Rows of `job_users`: user, job and the user's connections.
const CONNECTIONS: &str = "SELECT user, job_id, connections FROM job_users ORDER BY user, job_id";

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
