//! The `http-status` dialect: 202 while it runs, and every way to end.

use std::collections::BTreeSet;

use jobtrackd::simulator::{NewJob, Scenario};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::Stage;

#[tokio::test(start_paused = true)]
async fn http_statuses_say_it_in_every_form_a_client_may_meet() {
    let stage = Stage::speaking("http-status").await;
    let made = stage.post("/", &json!({})).await;
    assert_eq!(made.status, StatusCode::ACCEPTED);
    assert!(made.retry_after.is_some());
    let location = made.header("location").unwrap();
    let path = location
        .strip_prefix(stage.control.base_url())
        .unwrap()
        .to_owned();
    let running = stage.get(&path).await;
    assert_eq!(
        (running.status, running.retry_after.is_some()),
        (StatusCode::ACCEPTED, true)
    );
    assert_eq!(
        stage.get(&format!("/results{path}")).await.status,
        StatusCode::NOT_FOUND
    );
    stage.later(60_000).await;
    assert!(matches!(
        stage.get(&path).await.status.as_u16(),
        200 | 201 | 204 | 303
    ));
    assert_eq!(
        stage.get(&format!("/results{path}")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        stage.call(Method::DELETE, &path).await.status,
        StatusCode::CONFLICT
    );

    let (mut running, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..200 {
        for scenario in [Scenario::NeverEnds, Scenario::Instant, Scenario::Failed] {
            let id = format!("{scenario}-{number}");
            let new = NewJob::of(scenario).with_id(&id).within_ms(0);
            stage.control.create(new).unwrap();
            let answer = stage.get(&format!("/{id}")).await;
            let kind = answer.header("content-type").map(str::to_owned);
            if let Some(location) = answer.header("location") {
                assert!(location.ends_with(&format!("/results/{id}")));
            }
            let seen = (answer.status.as_u16(), kind);
            match scenario {
                Scenario::NeverEnds => running.insert(seen),
                _ => ended.insert(seen),
            };
        }
    }
    let json = || Some("application/json".to_owned());
    let problem = || Some("application/problem+json".to_owned());
    assert_eq!(running, BTreeSet::from([(202, None), (202, json())]));
    let all = [
        (200, None),
        (200, json()),
        (201, None),
        (201, json()),
        (204, None),
        (303, None),
        (409, json()),
        (409, problem()),
        (422, json()),
        (422, problem()),
    ];
    assert_eq!(ended, BTreeSet::from(all));
}

#[tokio::test(start_paused = true)]
async fn a_script_chooses_the_http_status_where_the_dialect_leaves_it_open() {
    let stage = Stage::speaking("http-status").await;
    for (status, wanted) in [("running", 200), ("succeeded", 303), ("failed", 418)] {
        let operation = json!({"status": status, "http_status": wanted});
        let new = json!({"id": status, "script": {"phases": [{"operation": operation}]}});
        stage.post("/_control/jobs", &new).await;
        assert_eq!(
            stage.get(&format!("/{status}")).await.status.as_u16(),
            wanted
        );
    }
}
