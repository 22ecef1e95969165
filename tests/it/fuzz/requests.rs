//! Requests to the status server: whatever their path, query, and body, each is answered in JSON, or by a page where a page was asked
//! for, and none with an error of ours.

use proptest::prelude::*;
use proptest::sample::select;
use reqwest::{Client, Url};
use serde_json::Value;

use super::runner;
use crate::support::world::World;

const CASES: u32 = 200;

#[derive(Debug, Clone)]
struct Asked {
    path: Vec<String>,
    query: Vec<(String, String)>,
    /// A POST has one.
    body: Option<Vec<u8>>,
}

#[test]
fn any_request_is_answered_without_an_error_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let mut world = runtime.block_on(async {
        let mut world = World::running().await;
        world.follow("good", &[(0, &[("a", "success")])]).await;
        world.until_ended(std::time::Duration::from_secs(60)).await;
        world
    });
    jobtrackd::tls::install_provider();
    let client = Client::builder().no_proxy().build().unwrap();
    let address = world.daemon().status_address().unwrap();
    let base = Url::parse(&format!("http://{address}/")).unwrap();
    let clock = world.clock.clone();
    runner(CASES)
        .run(&asked(), |asked| {
            let mut url = base.clone();
            url.path_segments_mut().unwrap().clear().extend(&asked.path);
            url.query_pairs_mut().extend_pairs(&asked.query);
            let request = match &asked.body {
                None => client.get(url),
                Some(body) => client
                    .post(url)
                    .header("content-type", "application/json")
                    .body(body.clone()),
            };
            let (path, status, page, text) = runtime.block_on(clock.held(async {
                let answer = request.send().await.unwrap();
                let path = answer.url().path().to_owned();
                let kind = answer.headers().get("content-type").unwrap();
                let page = kind.to_str().unwrap().starts_with("text/html");
                let status = answer.status().as_u16();
                (path, status, page, answer.text().await.unwrap())
            }));
            prop_assert!(status < 500, "{} {}", status, text);
            if page {
                let of_pages = path == "/" || path.starts_with("/dashboard");
                prop_assert!(of_pages, "{}: {}", path, text);
            } else {
                let json = serde_json::from_str::<Value>(&text);
                prop_assert!(json.is_ok(), "{}: {}", path, text);
            }
            Ok(())
        })
        .unwrap();
}

fn asked() -> impl Strategy<Value = Asked> {
    let segment = prop_oneof![
        4 => select(vec![
            "dashboard", "jobs", "webhooks", "events", "good", "timeline", "mfa", "healthz", "",
        ])
        .prop_map(str::to_owned),
        1 => ".{0,30}",
    ];
    let path = prop_oneof![
        2 => Just(vec!["jobs".to_owned()]),
        2 => Just(vec!["events".to_owned()]),
        1 => Just(["jobs", "good", "timeline"].map(str::to_owned).to_vec()),
        1 => Just(["dashboard", "jobs"].map(str::to_owned).to_vec()),
        1 => proptest::collection::vec(segment, 1..5),
    ];
    let key = prop_oneof![
        9 => select(vec!["after", "limit", "state", "type", "job"]).prop_map(str::to_owned),
        1 => "[a-z]{0,3}",
    ];
    let value = prop_oneof![
        select(vec![
            "1",
            "0",
            "500",
            "-1",
            "99999999999999999999",
            "success",
            "job.failed",
            "good",
            // A cursor of jobs, one of another list, and one with a number too large.
            "WyJqb2IiLDE3OTUzNTk4NDUwMDAsImdvb2QiXQ",
            "WyJ0IiwxLDIsM10",
            "WyJqb2IiLDk5OTk5OTk5OTk5OTk5OTk5OTk5LCJ4Il0",
        ])
        .prop_map(str::to_owned),
        "[A-Za-z0-9_-]{0,60}",
        ".{0,20}",
    ];
    let body = prop_oneof![
        ".{0,60}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..60),
        ("[a-z]{1,8}", "[a-z_]{1,12}", any::<i64>()).prop_map(|(id, key, number)| {
            format!(r#"{{"id":"{id}","{key}":{number},"metadata":{{"n":{number}}}}}"#).into_bytes()
        }),
        any::<i64>().prop_map(|at| {
            let body =
                format!(r#"{{"id":"x{at}","deadline_at":{at},"not_before":{at},"priority":{at}}}"#);
            body.into_bytes()
        }),
    ];
    let query = proptest::collection::vec((key, value), 0..4);
    (path, query, proptest::option::weighted(0.3, body)).prop_map(|(path, query, body)| Asked {
        path,
        query: if body.is_some() { Vec::new() } else { query },
        body,
    })
}
