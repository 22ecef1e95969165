//! Canaries for every secret: none of them comes out anywhere, not even when peers repeat what they were sent.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get as on_get, post};
use serde_json::json;

use super::house::{House, get, readyz};
use crate::support::waiting::until;

const KEY: &str = "Y2FuYXJ5LWtleS01ZjJhOmNhbmFyeS1rZXktNWYyYQ==";
const TOKEN: &str = "canary-token-91bc.e30.sig";
/// The signing secret as it is written down, and as it is used.
const SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC03N2FhLWNhbmFyeS1zZWNyZXQ=";
const SECRET_BYTES: &str = "canary-secret-77aa";
/// A user and password of a webhook's address would be secrets too; a token in its query or its path is.
const IN_URL: &str = "canary-in-url-c0de";

fn assert_clean(what: &str, text: &str) {
    for canary in [
        KEY,
        "canary-key",
        TOKEN,
        SECRET,
        &SECRET[6..],
        SECRET_BYTES,
        IN_URL,
        "Y2FuYXJ5",
    ] {
        let found = text.find(canary).map(|at| {
            let around = at.saturating_sub(300)..(at + 200).min(text.len());
            String::from_utf8_lossy(&text.as_bytes()[around]).into_owned()
        });
        assert_eq!(found, None, "{canary} came out in {what}");
    }
}

fn refusal(status: StatusCode, detail: &str) -> Response {
    let body = json!({"type": "list", "data": [{"code": "x", "title": detail, "detail": detail}]});
    (status, axum::Json(body)).into_response()
}

fn authorization(headers: &HeaderMap) -> String {
    let found = headers.get(header::AUTHORIZATION);
    found.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

async fn token(headers: HeaderMap) -> Response {
    if authorization(&headers) == format!("Basic {KEY}") {
        let granted = json!({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"});
        return axum::Json(granted).into_response();
    }
    refusal(StatusCode::BAD_REQUEST, &authorization(&headers))
}

async fn job(Path(id): Path<String>, headers: HeaderMap) -> Response {
    let sent = authorization(&headers);
    assert_eq!(sent, format!("Bearer {TOKEN}"));
    match id.as_str() {
        "forbidden" => refusal(StatusCode::FORBIDDEN, &sent),
        "broken" => refusal(StatusCode::INTERNAL_SERVER_ERROR, &sent),
        "rejected" => refusal(StatusCode::BAD_REQUEST, &sent),
        "nonsense" => sent.into_response(),
        _ => {
            let steps = json!([{"title": "a", "status": "success"}]);
            axum::Json(json!({"type": "job", "id": id, "steps": steps})).into_response()
        }
    }
}

/// An upstream that repeats the credentials in everything that is no success.
async fn repeating() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/token", post(token))
        .route("/jobs/{id}", on_get(job));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn house() -> House {
    let mut house = House::new().await;
    house.set("upstream", "base_url", &repeating().await);
    house.set("upstream", "api_key", KEY);
    // Of the libraries too, which say no more than info unless asked.
    house.set("log", "level", "trace,jobtrackd=trace");
    // It never comes through: nobody listens there.
    house.webhook("down");
    house.set(
        "webhooks.down",
        "url",
        &format!("http://127.0.0.1:1/hook/{IN_URL}?token={IN_URL}"),
    );
    house.set("webhooks.down", "secret", SECRET);
    let headers = house.path("down.headers");
    std::fs::write(&headers, format!("Authorization: Bearer {TOKEN}\n")).unwrap();
    house.set("webhooks.down", "headers_file", headers.to_str().unwrap());
    house
}

#[tokio::test]
async fn no_secret_comes_out_of_a_daemon_that_logs_everything() {
    let house = house().await;
    let program = house.running().await;
    let status = program.ready().await;
    house
        .sql("INSERT INTO jobs (id) VALUES ('good'), ('forbidden'), ('broken'), ('rejected'), ('nonsense')")
        .await;
    for (id, column, wanted) in [
        ("good", "state", "success"),
        ("rejected", "state", "failed"),
        ("forbidden", "last_error IS NULL", "0"),
        ("broken", "last_error IS NULL", "0"),
        ("nonsense", "last_error IS NULL", "0"),
    ] {
        let sql = format!("SELECT {column} FROM jobs WHERE id = '{id}'");
        house.until(&sql, wanted).await;
    }
    let sent = "SELECT count(*) FROM deliveries WHERE webhook = 'down' AND last_error IS NOT NULL";
    until("events", || house.sink.received().len() >= 2).await;
    house.until(&format!("SELECT ({sent}) > 0"), "1").await;
    for path in ["/readyz", "/healthz", "/jobs/rejected", "/jobs/nonsense"] {
        let (_, body) = get(&status, path).await.unwrap();
        assert_clean(path, &body.to_string());
    }
    for name in ["jobs.db", "jobs.db-wal", "jobs.db.lock"] {
        let bytes = std::fs::read(house.path(name)).unwrap();
        assert_clean(name, &String::from_utf8_lossy(&bytes));
    }
    let ended = program.stop().await;
    for wanted in [
        "TRACE",
        "\"target\":\"hyper_util",
        "\"polled\"",
        "\"attempted\"",
    ] {
        assert!(ended.text.contains(wanted), "{wanted}: {}", ended.text);
    }
    assert_clean("the log", &ended.text);
    let bytes = std::fs::read(house.database()).unwrap();
    assert_clean("the database", &String::from_utf8_lossy(&bytes));
}

#[tokio::test]
async fn a_refused_key_is_reported_without_the_key() {
    let mut house = house().await;
    // Valid base64, so that it is sent; the upstream knows another one and repeats this one.
    house.set("upstream", "api_key", &format!("Y2FuYXJ5{KEY}"));
    let program = house.running().await;
    let status = program.ready().await;
    house.sql("INSERT INTO jobs (id) VALUES ('good')").await;
    let body = readyz(&status, 503).await;
    assert!(
        body.to_string().contains("refuses our credentials"),
        "{body}"
    );
    assert_clean("/readyz", &body.to_string());
    for name in ["jobs.db", "jobs.db-wal"] {
        let bytes = std::fs::read(house.path(name)).unwrap();
        assert_clean(name, &String::from_utf8_lossy(&bytes));
    }
    assert_clean("the log", &program.stop().await.text);
}

#[tokio::test]
async fn a_secret_that_is_written_wrongly_is_not_repeated() {
    for (section, key, value) in [
        ("upstream", "api_key", format!("{KEY} {KEY}\\n")),
        ("upstream", "api_kee", KEY.to_owned()),
        ("upstream", "auth", KEY.to_owned()),
        ("webhooks.all", "secret", SECRET_BYTES.to_owned()),
        ("webhooks.all", "secret", format!("{SECRET}!")),
        ("webhooks.all", "secrt", SECRET.to_owned()),
        (
            "webhooks.all",
            "url",
            format!("http://me:{IN_URL}@x.example/?t={IN_URL}"),
        ),
        ("webhooks.all", "url", format!("ftp://x.example/{IN_URL}")),
    ] {
        let mut house = house().await;
        house.set(section, key, &value);
        let ended = house.run().ended().await;
        assert_eq!(ended.code, Some(78), "{section}.{key}: {}", ended.text);
        assert_clean(&format!("what is said of {section}.{key}"), &ended.text);
    }
    // A line that is no TOML at all, with the secret in it.
    let house = house().await;
    std::fs::write(
        house.file(),
        format!("[upstream]\napi_key = {KEY}\nsecret = '{SECRET}\n"),
    )
    .unwrap();
    let ended = house.run().ended().await;
    assert_eq!(ended.code, Some(78), "{}", ended.text);
    assert_clean("a broken line", &ended.text);
}
