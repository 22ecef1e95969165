//! A user's answers are in the request to the API, and nowhere else: not in a table, a log, an event or another request.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get as on_get, post as on_post};
use parking_lot::Mutex;
use serde_json::json;

use super::run;
use crate::process::house::House;
use crate::process::program::Program;
use crate::support::challenges::mfa;
use crate::support::waiting::until;

const CANARY: &str = "canary-4711";
/// What a JSON writer may make of it, and what a form or header may.
const FACES: [&str; 3] = ["canary-4711", "Y2FuYXJ5LTQ3MT", "canary%2D4711"];

/// Every request as it came: its line, headers and body.
type Captured = Arc<Mutex<Vec<String>>>;

async fn capture(State(captured): State<Captured>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let text = format!(
        "{} {} {:?}\n{}",
        parts.method,
        parts.uri,
        parts.headers,
        String::from_utf8_lossy(&bytes)
    );
    captured.lock().push(text);
    next.run(Request::from_parts(parts, bytes.into())).await
}

async fn token() -> Response {
    axum::Json(json!({"access_token": "t", "token_type": "Bearer", "expires_in": 3600}))
        .into_response()
}

async fn job(Path(id): Path<String>) -> Response {
    let mfa = mfa(&format!("/jobs/{id}/mfa"));
    let steps = json!([
        {"title": "verify-credentials", "status": "success", "result": {"url": "/users/u1/connections/c"}},
        {"title": "mfa-challenge", "status": "in-progress", "result": mfa},
    ]);
    axum::Json(json!({"type": "job", "id": id, "steps": steps})).into_response()
}

/// Repeats what it was sent, with a status that says what the job's id is.
async fn answer(Path(id): Path<String>, body: String) -> Response {
    let status = id.split('-').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(StatusCode::OK), body).into_response()
}

async fn api(captured: &Captured) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/token", on_post(token))
        .route("/jobs/{id}", on_get(job))
        .route("/jobs/{id}/mfa", on_post(answer))
        .layer(from_fn_with_state(Arc::clone(captured), capture));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn post(address: &str, path: &str, body: String) -> (u16, String) {
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("http://{address}{path}")).body(body);
    let request = request.header("content-type", "application/json");
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn assert_clean(what: &str, text: &str) {
    for face in FACES {
        assert!(!text.contains(face), "{face} came out in {what}: {text}");
    }
}

#[tokio::test]
async fn answers_are_found_in_the_relayed_request_only() {
    let captured = Captured::default();
    let mut house = House::new().await;
    house.set("upstream", "base_url", &api(&captured).await);
    // Of the libraries too, which say no more than info unless asked.
    house.set("log", "level", "trace,jobtrackd=trace");
    let daemon = house.running().await;
    let status = daemon.ready().await;
    let ids = ["a-202", "b-400", "c-401", "d-500", "e-202"];
    for id in ids {
        house
            .sql(&format!("INSERT INTO jobs (id) VALUES ('{id}')"))
            .await;
    }
    let delivered = "SELECT count(*) FROM events WHERE type = 'job.action_required'";
    house.until(delivered, "5").await;

    let right = json!({ "mfa-response": [CANARY] }).to_string();
    for id in &ids[..4] {
        let wanted = id[2..].parse().unwrap();
        let (code, text) = post(&status, &format!("/jobs/{id}/mfa"), right.clone()).await;
        assert_eq!((code, &text), (wanted, &right));
    }
    let twice = json!({ "mfa-response": [CANARY, CANARY] }).to_string();
    for (path, body) in [
        ("/jobs/a-202/mfa", twice),
        ("/jobs/nobody/mfa", right.clone()),
        ("/jobs/a-202/mfa", format!("{CANARY}{right}")),
        ("/jobs/a-202/mfa", format!("{{\"{CANARY}\":1}}")),
    ] {
        let (code, text) = post(&status, path, body).await;
        assert!((400..500).contains(&code), "{text}");
        assert_clean("a refusal", &text);
    }
    let (code, _, err) = run(&house, &["e-202", CANARY], "").await;
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, _, err) = run(&house, &["e-202", CANARY, CANARY], "").await;
    assert_eq!(code, 1);
    assert_clean("what the command says", &err);

    let asked = |id: &str| {
        let line = format!("GET /jobs/{id} ");
        let requests = captured.lock();
        let polls = requests.iter().filter(|each| each.starts_with(&line));
        polls.count()
    };
    until("polls", || ids.iter().all(|id| asked(id) >= 3)).await;
    left_behind(&house, daemon).await;

    let all = captured.lock().clone().into_iter();
    let with: Vec<String> = all
        .filter(|request| FACES.iter().any(|face| request.contains(face)))
        .collect();
    // A refused token is replaced once, and the answers go out with the new one.
    let wanted = ["a-202", "b-400", "c-401", "c-401", "d-500", "e-202"];
    assert_eq!(with.len(), wanted.len(), "{with:#?}");
    for (request, id) in with.iter().zip(wanted) {
        let (head, body) = request.split_once('\n').unwrap();
        assert!(head.starts_with(&format!("POST /jobs/{id}/mfa ")), "{head}");
        assert_clean("a head", head);
        assert_eq!(body, right);
    }
}

/// Looks at everything the daemon writes, and at what is left when it is gone.
async fn left_behind(house: &House, daemon: Program) {
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock"] {
        let bytes = std::fs::read(house.path(name)).unwrap();
        assert_clean(name, &String::from_utf8_lossy(&bytes));
    }
    let ended = daemon.stop().await;
    for wanted in [
        "TRACE",
        "\"target\":\"hyper_util",
        "answers to a challenge were relayed",
    ] {
        assert!(ended.text.contains(wanted), "{wanted}");
    }
    assert_clean("the log", &ended.text);
    let bytes = std::fs::read(house.database()).unwrap();
    assert_clean("the database", &String::from_utf8_lossy(&bytes));
    let received = house.sink.received();
    assert!(received.len() >= 5, "{}", received.len());
    for event in received {
        assert_clean("an event", &event.text());
    }
}
