//! Jobs of other APIs, from their row to the webhook: the same tables, events and ends, whatever the API speaks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use jobtrackd::clock::Clock;
use jobtrackd::core::time::UnixMillis;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::world::World;

const MINUTE: Duration = Duration::from_secs(60);

/// An answer: status, a header, body.
type Answer = (u16, Option<(&'static str, &'static str)>, String);

/// An API whose answers at each path come one after the other; the last one stays.
#[derive(Clone)]
struct Api {
    answers: Arc<BTreeMap<&'static str, Vec<Answer>>>,
    seen: Arc<Mutex<Vec<(String, UnixMillis)>>>,
    clock: Clock,
}

impl Api {
    /// A world that follows jobs of this API, by these lines of `[upstream]` and further sections.
    async fn world(
        upstream: &str,
        more: &str,
        answers: &[(&'static str, &[Answer])],
    ) -> (World, Self) {
        let mut world = World::new().await;
        let answers = answers
            .iter()
            .map(|(path, answers)| (*path, answers.to_vec()));
        let api = Self {
            answers: Arc::new(answers.collect()),
            seen: Arc::default(),
            clock: world.clock.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        world.api = Some(format!("http://{}", listener.local_addr().unwrap()));
        world.upstream = format!("auth = \"none\"\n{upstream}");
        more.clone_into(&mut world.more);
        let router = Router::new().fallback(answer).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        world.start().await;
        (world, api)
    }

    /// When a path was requested, in milliseconds since the first time.
    fn polled_at(&self, path: &str) -> Vec<i64> {
        let seen = self.seen.lock();
        let at: Vec<i64> = seen
            .iter()
            .filter(|(seen, _)| seen == path)
            .map(|(_, at)| at.0)
            .collect();
        at.iter().map(|each| each - at[0]).collect()
    }
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    let path = request.uri().to_string();
    let before = {
        let mut seen = api.seen.lock();
        let before = seen.iter().filter(|(seen, _)| *seen == path).count();
        seen.push((path.clone(), api.clock.now()));
        before
    };
    let none = vec![(404, None, String::new())];
    let answers = api.answers.get(path.as_str()).unwrap_or(&none);
    let (status, header, body) = answers
        .get(before)
        .unwrap_or(answers.last().unwrap())
        .clone();
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}

fn ok(body: &Value) -> Answer {
    (
        200,
        Some(("content-type", "application/json")),
        body.to_string(),
    )
}

/// The `data` of the events that webhook "all" accepted of a job.
fn events(world: &World, job: &str) -> Vec<(String, Value)> {
    let accepted = world.sink.accepted("all").into_iter();
    let mine = accepted.filter(|received| received.job == job);
    mine.map(|received| {
        let body: Value = serde_json::from_slice(&received.body).unwrap();
        (received.event, body["data"].clone())
    })
    .collect()
}

/// What changed of the only step, in order.
fn words(world: &World, job: &str) -> Vec<String> {
    let events = events(world, job).into_iter();
    let changes = events.filter(|(kind, _)| kind == "job.step_changed");
    changes
        .map(|(_, data)| {
            assert_eq!(data["transition"]["title"], "operation");
            data["transition"]["to"].as_str().unwrap().to_owned()
        })
        .collect()
}

async fn state(world: &World, job: &str) -> String {
    world
        .value(&format!("SELECT state FROM jobs WHERE id = '{job}'"))
        .await
}

#[tokio::test(start_paused = true)]
async fn a_status_says_how_a_job_is_and_the_location_of_a_303_is_its_result() {
    let running = (
        202,
        Some(("retry-after", "20")),
        r#"{"queue":3}"#.to_owned(),
    );
    let (mut world, api) = Api::world(
        "dialect = \"http-status\"\njob_path = \"/imports/{id}/state?full=1\"",
        "",
        &[
            (
                "/imports/7/state?full=1",
                &[
                    running.clone(),
                    running,
                    (303, Some(("location", "/reports/7")), String::new()),
                ],
            ),
            (
                "/imports/8/state?full=1",
                &[(
                    422,
                    Some(("content-type", "application/problem+json")),
                    json!({"type": "about:blank", "title": "Too many rows", "detail": "12001"})
                        .to_string(),
                )],
            ),
        ],
    )
    .await;
    for id in ["7", "8"] {
        world.enqueue(id).await;
    }
    world.until_ended(5 * MINUTE).await;
    assert_eq!(words(&world, "7"), ["202", "303"]);
    let ended = events(&world, "7").pop().unwrap();
    assert_eq!(
        (ended.0.as_str(), &ended.1["job"]),
        ("job.completed", &Value::Null)
    );
    let result = world
        .value("SELECT result FROM steps WHERE job_id = '7'")
        .await;
    assert_eq!(result, "\"/reports/7\"");
    let polled = api.polled_at("/imports/7/state?full=1");
    assert!(
        polled.len() == 3 && polled[1] >= 20_000 && polled[2] - polled[1] >= 20_000,
        "{polled:?}"
    );
    let failed = events(&world, "8").pop().unwrap();
    assert_eq!(failed.0, "job.failed");
    assert_eq!(
        failed.1["failure"],
        json!({"kind": "step", "step": "operation", "code": "about:blank", "title": "Too many rows", "detail": "12001"})
    );
    assert_eq!(failed.1["job"]["title"], "Too many rows");
}

#[tokio::test(start_paused = true)]
async fn a_status_counts_whatever_its_body_is() {
    let csv = |bytes: usize| {
        (
            200,
            Some(("content-type", "text/csv")),
            "1,2\n".repeat(bytes / 4),
        )
    };
    let long = json!({"error": {"code": "long", "message": "x".repeat(70_000)}});
    let (mut world, _api) = Api::world(
        "dialect = \"http-status\"",
        "",
        &[
            ("/large", &[csv(1_100_000)]),
            ("/number", &[(200, None, "123".to_owned())]),
            ("/long", &[(422, None, long.to_string())]),
        ],
    )
    .await;
    for id in ["large", "number", "long"] {
        world.enqueue(id).await;
    }
    world.until_ended(MINUTE).await;
    let job = |id| events(&world, id).pop().unwrap().1["job"].take();
    assert_eq!((job("large"), job("number")), (Value::Null, json!(123)));
    let failure = events(&world, "long").pop().unwrap().1["failure"].take();
    assert_eq!(failure["code"], "long");
}

#[tokio::test(start_paused = true)]
async fn operations_of_azure_google_and_openai_come_to_their_ends() {
    let azure = [
        ok(&json!({"id": "/x/1", "status": "Running"})),
        ok(&json!({"id": "/x/1", "status": "Replicating"})),
        ok(
            &json!({"id": "/x/1", "status": "Canceled", "error": {"code": "UserCanceled", "message": "by request"}}),
        ),
    ];
    let google = [
        ok(&json!({"name": "operations/1"})),
        ok(&json!({"name": "operations/1", "done": true, "response": {"total": 3}})),
    ];
    let batch = |status: &str, more: Value| {
        let mut batch = json!({"id": "1", "object": "batch", "status": status});
        batch
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ok(&batch)
    };
    let openai = [
        batch("validating", json!({})),
        batch(
            "in_progress",
            json!({"request_counts": {"total": 10, "completed": 4}}),
        ),
        batch(
            "in_progress",
            json!({"request_counts": {"total": 10, "completed": 9}}),
        ),
        batch("completed", json!({"output_file_id": "file-1"})),
    ];
    for (dialect, path, answers, seen, end) in [
        (
            "azure",
            "/operations/1",
            &azure[..],
            &["Running", "Replicating", "Canceled"][..],
            "failed",
        ),
        (
            "google-lro",
            "/v1/1",
            &google[..],
            &["false", "true"][..],
            "success",
        ),
        (
            "openai-batch",
            "/v1/batches/1",
            &openai[..],
            &["validating", "in_progress", "completed"][..],
            "success",
        ),
    ] {
        let upstream = format!("dialect = \"{dialect}\"");
        let (mut world, _api) = Api::world(&upstream, "", &[(path, answers)]).await;
        world.enqueue("1").await;
        world.until_ended(5 * MINUTE).await;
        assert_eq!(words(&world, "1"), seen, "{dialect}");
        assert_eq!(state(&world, "1").await, end, "{dialect}");
        let last: Value = serde_json::from_str(&answers.last().unwrap().2).unwrap();
        assert_eq!(
            events(&world, "1").pop().unwrap().1["job"],
            last,
            "{dialect}: verbatim"
        );
        world.stop().await;
    }
}

const JSON: &str = "
    [upstream.json]
    status = \"/task/state\"
    success = [\"DONE\"]
    failure = [\"BROKEN\"]
    error_code = \"/task/error/number\"
    error_title = \"/task/error/text\"
    progress = \"/task/percent\"
";

#[tokio::test(start_paused = true)]
async fn any_json_is_followed_by_the_operator_s_pointers_and_words() {
    let task =
        |state: &str, percent: u32| ok(&json!({"task": {"state": state, "percent": percent}}));
    let broken =
        ok(&json!({"task": {"state": "BROKEN", "error": {"number": 17, "text": "out of paper"}}}));
    let (mut world, _api) = Api::world(
        "dialect = \"json\"\njob_path = \"/tasks/{id}\"\nprogress = true",
        JSON,
        &[
            (
                "/tasks/1",
                &[
                    task("NEW", 0),
                    task("BUSY", 12),
                    task("BUSY", 17),
                    task("BUSY", 21),
                    task("DONE", 100),
                ],
            ),
            ("/tasks/2", &[broken]),
        ],
    )
    .await;
    for id in ["1", "2"] {
        world.enqueue(id).await;
    }
    world.until_ended(5 * MINUTE).await;
    // Seventeen is no new tenth.
    assert_eq!(words(&world, "1"), ["NEW", "BUSY", "BUSY", "DONE"]);
    assert_eq!(state(&world, "1").await, "success");
    let failure = events(&world, "2").pop().unwrap().1["failure"].take();
    assert_eq!(
        failure,
        json!({"kind": "step", "step": "operation", "code": 17, "title": "out of paper", "detail": null})
    );
}

#[tokio::test(start_paused = true)]
async fn a_404_in_the_words_of_the_api_ends_a_job_after_the_grace_and_a_page_does_not() {
    let words =
        json!({"error": {"code": 404, "message": "Operation not found.", "status": "NOT_FOUND"}});
    let (mut world, _api) = Api::world(
        "dialect = \"google-lro\"",
        "",
        &[
            ("/v1/1", &[(404, None, words.to_string())]),
            ("/v1/2", &[(404, None, "<html>404</html>".to_owned())]),
        ],
    )
    .await;
    for id in ["1", "2"] {
        world.enqueue(id).await;
    }
    world
        .until(
            5 * MINUTE,
            "SELECT state FROM jobs WHERE id = '1'",
            "failed",
        )
        .await;
    let failure = world
        .value("SELECT failure ->> 'kind' FROM jobs WHERE id = '1'")
        .await;
    assert_eq!(
        (failure.as_str(), state(&world, "2").await.as_str()),
        ("not_found", "pending")
    );
}

#[tokio::test(start_paused = true)]
async fn a_pointer_that_never_finds_a_status_is_said_after_ten_polls() {
    let (mut world, api) = Api::world(
        "dialect = \"json\"\njob_path = \"/tasks/{id}\"",
        JSON,
        &[("/tasks/1", &[ok(&json!({"state": "DONE"}))])],
    )
    .await;
    world.enqueue("1").await;
    let mut polls = Vec::new();
    let said = loop {
        polls.push(api.polled_at("/tasks/1").len());
        let (status, ready) = world.get("/readyz").await;
        assert_eq!(status, 200);
        if ready["status"] == "degraded" {
            break ready["reasons"].to_string();
        }
        world.pass(Duration::from_secs(1)).await;
    };
    assert!(
        said.contains("upstream.json.status (/task/state)"),
        "{said}"
    );
    let (now, before) = (polls.pop(), polls.pop());
    assert_eq!((before, now), (Some(9), Some(10)), "ten polls");
}

#[tokio::test(start_paused = true)]
async fn a_job_of_an_api_without_bodies_is_mirrored_with_its_step() {
    let (mut world, _api) = Api::world(
        "dialect = \"http-status\"",
        "",
        &[("/1", &[(204, None, String::new())])],
    )
    .await;
    world.enqueue("1").await;
    world.until_ended(MINUTE).await;
    let resource = world.value("SELECT resource FROM jobs").await;
    assert_eq!(resource, "-");
    let (_, job) = world.get("/jobs/1").await;
    assert_eq!(
        job["steps"],
        json!([{"title": "operation", "status": "204", "result": null}])
    );
}
